"""What stands in Tomcat's ``<Channel>`` but for its interceptors; see ``elements.py``."""

from __future__ import annotations

from typing import Final

from replsession.settings import readers
from replsession.settings.configuration import WHOLE
from replsession.settings.elements import (
    ALWAYS,
    BETTER,
    MILLISECONDS,
    NO_MEANING,
    SAME,
    SOCKETS,
    TUNING,
    Attribute,
    Element,
    none,
    only,
)

TAGS_OF_MEMBERS = ("Member", "LocalMember")
_DROP = Attribute(SAME, "`drop_after_s`", readers.milliseconds("drop_after_s"), MILLISECONDS)

MEMBERSHIPS: Final = {
    "org.apache.catalina.tribes.membership.McastService": Element(
        SAME,
        "heartbeats by multicast; they are signed",
        {
            "address": Attribute(SAME, "`multicast`, the group", readers.as_is("group")),
            "port": Attribute(
                SAME, "`multicast`, the port", readers.sets("mcast_port", WHOLE), "a port"
            ),
            "frequency": Attribute(
                SAME,
                "`heartbeat_interval_s`",
                readers.milliseconds("heartbeat_interval_s"),
                MILLISECONDS,
            ),
            "dropTime": _DROP,
            "bind": Attribute(
                SAME, "`bind`, where the Receiver says auto", readers.as_is("mcast_bind")
            ),
            "ttl": only(
                "heartbeats stay in this network; members beyond a router are found as `seeds`",
                "-1 or 1",
                "-1",
                "1",
            ),
            "domain": Attribute(
                SAME,
                "as in Tomcat, of use with a DomainFilterInterceptor only",
                readers.as_is("mcast_domain"),
            ),
            "localLoopbackDisabled": only(
                "members on one machine see each other", "false", "false"
            ),
            **none(NO_MEANING, SOCKETS, "soTimeout"),
            **none(
                BETTER,
                "always, as long as the process runs",
                "recoveryEnabled",
                "recoveryCounter",
                "recoverySleepTime",
            ),
        },
    ),
    "org.apache.catalina.tribes.membership.StaticMembershipService": Element(
        SAME,
        "`multicast = false`, and its members as `seeds`",
        {
            "expirationTime": _DROP,
            "pingInterval": Attribute(
                SAME,
                "`heartbeat_interval_s`",
                readers.milliseconds("heartbeat_interval_s"),
                MILLISECONDS,
            ),
            **none(NO_MEANING, SOCKETS, "connectTimeout", "rpcTimeout", "useThread"),
        },
        TAGS_OF_MEMBERS,
        {"multicast": None},
    ),
    "org.apache.catalina.tribes.membership.cloud.CloudMembershipService": Element(
        SAME,
        "`multicast = false`, and the headless service in `DNS_MEMBERSHIP_SERVICE_NAME` as seed; "
        "only who has the secret is a member",
        {
            "membershipProviderClassName": Attribute(
                SAME,
                "dns and kubernetes alike: the headless service's name is looked up again and "
                "again, so no right to read pods is needed",
                readers.provider,
                "dns, kubernetes, or the class names of these two",
            ),
            "expirationTime": _DROP,
            **none(NO_MEANING, SOCKETS, "connectTimeout", "readTimeout"),
        },
        (),
        {"multicast": None, "service": True},
    ),
}

RECEIVERS: Final = {
    "org.apache.catalina.tribes.transport.nio.NioReceiver": Element(
        SAME,
        "where members listen; always TLS",
        {
            "address": Attribute(
                SAME,
                "`bind`; auto is the address that leads to the group, never a loopback address",
                readers.as_is("bind"),
            ),
            "port": Attribute(SAME, "`port`", readers.sets("port", WHOLE), "a port"),
            "autoBind": Attribute(SAME, "`auto_bind`", readers.auto_bind, "a whole number"),
            **none(BETTER, "the one port is always TLS", "securePort"),
            **none(NO_MEANING, "sessions travel over TCP", "udpPort"),
            **none(
                NO_MEANING,
                SOCKETS,
                "selectorTimeout",
                "maxThreads",
                "minThreads",
                "maxIdleTime",
                "maxTasks",
                "minTasks",
                "direct",
                "timeout",
                "useBufferPool",
                *TUNING,
            ),
        },
    ),
}

SENDERS: Final = {
    "org.apache.catalina.tribes.transport.ReplicationTransmitter": Element(
        SAME, "members send to all others", {}, ("Transport",)
    ),
}

TRANSPORTS: Final = {
    "org.apache.catalina.tribes.transport.nio.PooledParallelSender": Element(
        BETTER,
        "one link and one bounded outbox for each member; no member holds another one up",
        {
            "timeout": Attribute(
                SAME, "`ack_timeout_s`", readers.milliseconds("ack_timeout_s"), MILLISECONDS
            ),
            **none(
                BETTER,
                "what was lost on the way is repaired",
                "maxRetryAttempts",
                "throwOnFailedAck",
            ),
            **none(
                NO_MEANING,
                SOCKETS,
                "keepAliveCount",
                "keepAliveTime",
                "poolSize",
                "maxWait",
                "directBuffer",
                *TUNING,
            ),
        },
    ),
}

_STATIC_MEMBER = {
    "host": Attribute(SAME, "`seeds`", readers.as_is("host")),
    "port": Attribute(SAME, "`seeds`", readers.sets("member_port", WHOLE), "a port"),
    **none(BETTER, "the one port is always TLS", "securePort"),
    **none(NO_MEANING, "sessions travel over TCP", "udpPort"),
    **none(BETTER, "members say who they are themselves", "uniqueId", "domain"),
}
_STATIC = "org.apache.catalina.tribes.membership.StaticMember"

STATIC_MEMBERS: Final = {_STATIC: Element(SAME, "one of the `seeds`", _STATIC_MEMBER)}
LOCAL_MEMBERS: Final = {
    _STATIC: Element(
        BETTER,
        "a member knows its own address",
        {name: Attribute(BETTER, "see the element") for name in _STATIC_MEMBER},
    )
}

CHANNELS: Final = {
    "org.apache.catalina.tribes.group.GroupChannel": Element(
        SAME,
        "what is between the members",
        none(
            NO_MEANING,
            ALWAYS,
            "heartbeat",
            "heartbeatSleeptime",
            "optionCheck",
        )
        | none(
            NO_MEANING,
            "there is no JMX; see `cluster.metrics`",
            "jmxEnabled",
            "jmxDomain",
            "jmxPrefix",
        ),
        ("Membership", "Receiver", "Sender", "Interceptor"),
    ),
}
