"""
What the elements of Tomcat's ``<Cluster>`` mean here, as data.

The loader reads it, and the table in docs/configuration.md is made of it.

*Source*: the documentation of Tomcat 9 to 11 (cluster, cluster-manager, cluster-channel,
cluster-membership, cluster-receiver, cluster-sender, cluster-interceptor, cluster-valve).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from replsession.settings import readers
from replsession.settings.configuration import SWITCH, TEXT
from replsession.settings.elements import (
    ALWAYS,
    BETTER,
    MILLISECONDS,
    NO_MEANING,
    NOT_SUPPORTED,
    SAME,
    Attribute,
    Element,
    none,
    only,
)
from replsession.settings.tomcat_channel import (
    CHANNELS,
    LOCAL_MEMBERS,
    MEMBERSHIPS,
    RECEIVERS,
    SENDERS,
    STATIC_MEMBERS,
    TRANSPORTS,
)
from replsession.settings.tomcat_interceptors import INTERCEPTORS

CLUSTER: Final = Element(
    SAME,
    "a cluster on this network",
    {
        "clusterName": Attribute(SAME, "the cluster's name, instead of the Engine's", readers.name),
        "channelSendOptions": Attribute(
            SAME,
            "`concern`: with `asynchronous` (8) `async`; with `use_ack` (2) or `sync_ack` (4) and "
            'without 8 `all`, and `on_shortfall = "warn"`, as Tomcat answers all the same',
            readers.send_options,
            "a sum of 0, 1, 2, 4, 8 and 16, or their names with commas between them; neither udp "
            "(32) nor multicast (64): sessions travel over TCP",
        ),
        "channelStartOptions": Attribute(
            SAME,
            "15: all; 3: `multicast = false`",
            readers.start_options,
            "15, or 3 for no multicast",
        ),
        **none(NO_MEANING, ALWAYS, "heartbeatBackgroundEnabled"),
        **none(
            BETTER,
            "what does not fit is counted and logged",
            "notifyLifecycleListenerOnFailure",
        ),
    },
    ("Manager", "Channel", "Valve", "Deployer", "ClusterListener"),
)

_MANAGER: Final = {
    "name": Attribute(SAME, "`context`", readers.context, "`/app`, or `host#/app`"),
    "notifyListenersOnReplication": Attribute(
        SAME,
        "`notify_listeners_on_replication`",
        readers.sets("notify_listeners_on_replication", SWITCH),
        SWITCH.says,
    ),
    "maxInactiveInterval": Attribute(
        SAME,
        "`max_inactive_interval`; 0 and less: never over",
        readers.idle_interval,
        "a whole number of seconds",
    ),
    "maxActiveSessions": only(
        "there is no bound on all; `max_sessions_per_principal` is one on those of a user",
        "-1",
        "-1",
    ),
    "sessionAttributeNameFilter": Attribute(
        SAME,
        "`local_attributes`, turned round: names that it does not match stay on their member",
        readers.name_filter,
        "a regular expression that Python has as well",
    ),
    "sessionAttributeValueClassNameFilter": Attribute(
        NOT_SUPPORTED,
        "no class is ever loaded: plain values, and types that were registered",
        readers.refused,
        "not there; which values may be stored is said in docs/values.md",
    ),
    **none(
        BETTER,
        "a value that cannot be stored is an error with its path",
        "warnOnSessionAttributeFilterFailure",
    ),
    **none(
        BETTER,
        "judged at the request, and every quarter of a second for a 256th of the sessions",
        "processExpiresFrequency",
    ),
    **none(BETTER, "the newest write to each attribute travels", "recordAllActions"),
    **none(
        NO_MEANING,
        "ids come from the system's random numbers",
        "secureRandomClass",
        "secureRandomProvider",
        "secureRandomAlgorithm",
        "sessionIdLength",
    ),
    **none(
        NO_MEANING,
        "nor has it one in Tomcat, whose clusters lose it",
        "notifyAttributeListenerOnUnchangedValue",
        "notifyBindingListenerOnUnchangedValue",
        "sessionActivityCheck",
        "sessionLastAccessAtStart",
        "persistAuthentication",
    ),
    **none(NO_MEANING, "everything is counted, always", "enableStatistics"),
}

MANAGERS: Final = {
    "org.apache.catalina.ha.session.DeltaManager": Element(
        SAME,
        "every member has every session",
        {
            **_MANAGER,
            "expireSessionsOnShutdown": Attribute(
                SAME,
                "`expire_sessions_on_shutdown`",
                readers.sets("expire_sessions_on_shutdown", SWITCH),
                SWITCH.says,
            ),
            "notifySessionListenersOnReplication": Attribute(
                SAME,
                "`notify_listeners_on_replication`: one switch for all listeners",
                readers.sets("notify_listeners_on_replication", SWITCH),
                SWITCH.says,
            ),
            "stateTransferTimeout": Attribute(
                SAME,
                "`transfer_timeout_s`; a donor that is silent is given up for the next one before",
                readers.seconds("transfer_timeout_s"),
                "a whole number of seconds above 0: a start neither waits for ever nor skips it",
            ),
            **none(
                NO_MEANING,
                "there are no container's listeners",
                "notifyContainerListenersOnReplication",
            ),
            **none(
                BETTER,
                "chunks of 64 KiB, as many as the joiner takes, and live writes in between",
                "sendAllSessions",
                "sendAllSessionsSize",
                "sendAllSessionsWaitTime",
            ),
            **none(BETTER, "news are merged whenever they come, by no clock", "stateTimestampDrop"),
        },
        ("SessionIdGenerator",),
    ),
    "org.apache.catalina.ha.session.BackupManager": Element(
        BETTER,
        'every member has every session, not one other; a write waits for one: `concern = "one"`',
        {
            **_MANAGER,
            "mapSendOptions": Attribute(
                SAME,
                "`concern`: with 8 `async`, else `one`",
                readers.map_send_options,
                "a sum of 0, 1, 2, 4, 8 and 16, or their names",
            ),
            "rpcTimeout": Attribute(
                SAME,
                "`transfer_timeout_s`",
                readers.milliseconds("transfer_timeout_s"),
                MILLISECONDS,
            ),
            "terminateOnStartFailure": Attribute(
                SAME, "`required`", readers.sets("required", SWITCH), SWITCH.says
            ),
            **none(BETTER, "members are judged by the membership alone", "accessTimeout"),
            **none(
                NO_MEANING,
                "nor has it one in Tomcat, whose documentation has it in its example",
                "expireSessionsOnShutdown",
            ),
        },
        ("SessionIdGenerator",),
        {"concern": "one", "on_shortfall": "warn"},
    ),
}

VALVES: Final = {
    "org.apache.catalina.ha.tcp.ReplicationValve": Element(
        SAME,
        "requests without session work; a write there is kept all the same",
        {
            "filter": Attribute(
                SAME,
                "`valve`; without it, the one of Tomcat's documentation",
                readers.pattern("valve"),
                "regular expressions that Python has as well, with semicolons between them",
            ),
            "primaryIndicator": Attribute(
                SAME,
                "`primary_indicator`: whether this member had served the session before",
                readers.sets("primary", SWITCH),
                SWITCH.says,
            ),
            "primaryIndicatorName": Attribute(
                SAME, "`primary_indicator`, its name", readers.sets("primary_name", TEXT)
            ),
            **none(NO_MEANING, "everything is counted, always", "statistics"),
        },
    ),
    "org.apache.catalina.ha.session.JvmRouteBinderValve": Element(
        BETTER,
        "not needed: an id names no member, so a failover changes neither id nor cookie",
        none(BETTER, "see the element", "enabled", "sessionIdAttribute", "sessionIDAttribute"),
    ),
    "org.apache.catalina.ha.authenticator.ClusterSingleSignOn": Element(
        NOT_SUPPORTED, "applications that share a login share a `context`"
    ),
}

DEPLOYERS: Final = {
    "org.apache.catalina.ha.deploy.FarmWarDeployer": Element(
        NO_MEANING,
        "what brings your application to its machines brings the next version as well",
        none(
            NO_MEANING,
            "see the element",
            "deployDir",
            "tempDir",
            "watchDir",
            "watchEnabled",
            "processDeployFrequency",
            "maxValidTime",
        ),
    ),
}

LISTENERS: Final = {
    f"org.apache.catalina.ha.session.{name}": Element(NO_MEANING, "what it does is built in")
    for name in ("ClusterSessionListener", "JvmRouteSessionIDBinderListener")
}

GENERATORS: Final = {
    "org.apache.catalina.util.StandardSessionIdGenerator": Element(
        NO_MEANING,
        "ids are signed random numbers",
        none(NO_MEANING, "see the element", "sessionIdLength", "jvmRoute"),
    ),
}

ELEMENTS: Final[Mapping[str, Mapping[str, Element]]] = {
    "Cluster": {"org.apache.catalina.ha.tcp.SimpleTcpCluster": CLUSTER},
    "Manager": MANAGERS,
    "SessionIdGenerator": GENERATORS,
    "Channel": CHANNELS,
    "Membership": MEMBERSHIPS,
    "Member": STATIC_MEMBERS,
    "LocalMember": LOCAL_MEMBERS,
    "Receiver": RECEIVERS,
    "Sender": SENDERS,
    "Transport": TRANSPORTS,
    "Interceptor": INTERCEPTORS,
    "Valve": VALVES,
    "Deployer": DEPLOYERS,
    "ClusterListener": LISTENERS,
}
"""By tag and ``className``."""
