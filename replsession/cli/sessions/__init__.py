"""``replsession sessions``: list, show and end sessions, of whatever member answers."""
