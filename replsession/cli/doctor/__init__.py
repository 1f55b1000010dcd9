"""
Why members do not see each other: a look at one machine, and what follows from it.

::

    look (sockets, /proc)  ──▶  facts  ──▶  diagnosis: findings  ──▶  report (text, JSON)

1. ``facts``, ``findings`` and ``diagnosis`` ask nobody anything: the same facts, the same findings.
2. A live cluster beside it is not disturbed: no member is made, no heartbeat is sent, no port is
   listened on. What it sends to the group is a probe of its own kind (``probing``), which members
   drop after its first bytes; what it opens to a receiver is one TLS handshake without a
   certificate, which counts there as one link refused.
3. What others send is a hint and no more: only the host that a datagram came from is ever dialled.
"""
