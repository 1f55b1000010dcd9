"""Bytes between members: frames on a link, and messages in frames."""
