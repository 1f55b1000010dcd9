"""Tomcat's ``<Interceptor>`` elements; see ``elements.py``."""

from __future__ import annotations

from typing import Final

from replsession.settings import readers
from replsession.settings.elements import (
    BETTER,
    NO_MEANING,
    OPTION_FLAG,
    SAME,
    SOCKETS,
    Attribute,
    Element,
    none,
)
from replsession.settings.tomcat_channel import TAGS_OF_MEMBERS

_PACKAGE = "org.apache.catalina.tribes.group.interceptors."
_DISPATCH = Element(
    BETTER,
    "every write is dispatched, in order, from a bounded outbox for each member",
    OPTION_FLAG
    | none(
        NO_MEANING,
        SOCKETS,
        "maxQueueSize",
        "alwaysSend",
        "useDeepClone",
        "maxThreads",
        "maxSpareThreads",
        "keepAliveTime",
    ),
)

INTERCEPTORS: Final = {
    _PACKAGE + "TcpFailureDetector": Element(
        BETTER,
        "silence is verified over TCP, by a question that only a living process answers",
        OPTION_FLAG
        | none(
            BETTER,
            "see the element",
            "connectTimeout",
            "performSendTest",
            "performReadTest",
            "readTestTimeout",
            "removeSuspectsTimeout",
        ),
    ),
    _PACKAGE + "MessageDispatchInterceptor": _DISPATCH,
    _PACKAGE + "MessageDispatch15Interceptor": _DISPATCH,
    _PACKAGE + "TcpPingInterceptor": Element(
        BETTER,
        "links that are silent are pinged every `heartbeat_interval_s`",
        OPTION_FLAG | none(BETTER, "see the element", "interval", "useThread", "staticOnly"),
    ),
    _PACKAGE + "StaticMembershipInterceptor": Element(
        SAME, "its members as `seeds`", OPTION_FLAG, TAGS_OF_MEMBERS
    ),
    _PACKAGE + "DomainFilterInterceptor": Element(
        SAME,
        "`domain`: members of other domains are strangers",
        {
            **OPTION_FLAG,
            "domain": Attribute(SAME, "`domain`", readers.as_is("domain")),
            **none(NO_MEANING, "warnings are counted and rate-limited", "logInterval"),
        },
    ),
    _PACKAGE + "EncryptInterceptor": Element(
        BETTER,
        "always, with TLS 1.3 and mutual authentication",
        {
            **OPTION_FLAG,
            "encryptionKey": Attribute(
                SAME,
                "`secret`: the key's hexadecimal text in lower case",
                readers.encryption_key,
                "16, 24 or 32 bytes in hexadecimal",
            ),
            **none(
                BETTER,
                "TLS 1.3 has its own, and keys of each link",
                "encryptionAlgorithm",
                "providerName",
                "replayWindowTime",
                "replayWindowMessageCount",
            ),
        },
    ),
    _PACKAGE + "GzipInterceptor": Element(
        NO_MEANING,
        "only attributes that changed travel; they are not compressed",
        OPTION_FLAG
        | none(NO_MEANING, "see the element", "compressionMinSize", "statsEnabled", "interval"),
    ),
    _PACKAGE + "FragmentationInterceptor": Element(
        BETTER,
        "large sessions travel in pieces of 32 KiB, small ones between them",
        OPTION_FLAG | none(BETTER, "see the element", "maxSize", "expire"),
    ),
    _PACKAGE + "OrderInterceptor": Element(
        BETTER,
        "writes are ordered by their stamps, however they come",
        OPTION_FLAG | none(BETTER, "see the element", "expire", "forwardExpired", "maxQueue"),
    ),
    _PACKAGE + "ThroughputInterceptor": Element(
        BETTER,
        "everything is counted: `cluster.metrics`",
        OPTION_FLAG | none(BETTER, "see the element", "interval"),
    ),
    _PACKAGE + "TwoPhaseCommitInterceptor": Element(
        BETTER,
        "`concern` says who must hold a write",
        OPTION_FLAG | none(BETTER, "see the element", "expire", "deepclone"),
    ),
    _PACKAGE + "NonBlockingCoordinator": Element(NO_MEANING, "there is no leader", OPTION_FLAG),
    _PACKAGE + "SimpleCoordinator": Element(NO_MEANING, "there is no leader", OPTION_FLAG),
}
