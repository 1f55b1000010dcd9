"""
``replsession status``: what members say of themselves, of each other, and of their sessions.

::

    choosing (which members) ──▶ looks (one look; rates between two) ──▶ report (tables, JSON)
                                                                          watching (again and again)
"""
