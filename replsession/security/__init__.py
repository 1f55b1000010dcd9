"""
Who is let in: keys from the one secret, certificates for members, tokens for browsers.

::

    the cluster's secret ──HKDF──▶ keys.ClusterKeys ─┬─ ca_seed ────────▶ certificates (mutual TLS)
                                                     └─ heartbeat_key ──▶ keys.ClusterKeys.seal
    the application's secret_key ──▶ tokens.TokenSigner (what the cookie and the URL carry)

Nothing here opens a socket; :mod:`replsession.channel.tls` and
:mod:`replsession.channel.multicast` carry these keys to the network.
"""
