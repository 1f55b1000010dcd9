"""How writes travel: outboxes, whole records in pieces, state transfer, and repair."""
