"""A command of which the arguments are ids, and those may begin with a hyphen."""

from __future__ import annotations

import click


class WithIds(click.Command):
    """
    A command that takes ``-ahR7…`` for an id.

    click reads a word with one hyphen as short options, letter by letter, and an ``h`` in it would
    ask for help. No option here has a single letter but ``-h``, so any other such word is an id.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the ids behind ``--``, where nothing is taken for an option."""
        taking = {
            name
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        words: list[str] = []
        ids: list[str] = []
        left = iter(args)
        for word in left:
            if word == "--":
                ids += left
            elif len(word) > 2 and word[0] == "-" and word[1] != "-":
                ids.append(word)
            else:
                words.append(word)
                if word in taking:
                    words += [value for value in [next(left, None)] if value is not None]
        return super().parse_args(ctx, [*words, "--", *ids] if ids else words)
