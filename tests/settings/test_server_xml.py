"""Tomcat's server.xml as a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replsession import ConfigError
from replsession.settings.server_xml import read
from replsession.settings.toml import read as read_toml
from replsession.settings.toml import to_toml

CLUSTER = Path(__file__).parent / "cluster.xml"
TRIBES = "org.apache.catalina.tribes"
INTERCEPTORS = f"{TRIBES}.group.interceptors"
MULTICAST = f'<Membership className="{TRIBES}.membership.McastService" %s/>'
RECEIVER = f'<Receiver className="{TRIBES}.transport.nio.NioReceiver" %s/>'
DELTA = '<Manager className="org.apache.catalina.ha.session.DeltaManager" %s/>'
BACKUP = '<Manager className="org.apache.catalina.ha.session.BackupManager" %s/>'
VALVE = '<Valve className="org.apache.catalina.ha.tcp.ReplicationValve" %s/>'
STATIC = f'<Member className="{TRIBES}.membership.StaticMember" %s/>'
KEY = "00112233445566778899aAbBcCdDeEfF"


def cluster(*inside: str, attributes: str = "") -> str:
    name = "org.apache.catalina.ha.tcp.SimpleTcpCluster"
    lines = "\n".join(inside)
    return f'<Cluster className="{name}" {attributes}>\n{lines}\n</Cluster>'


def channel(*inside: str) -> str:
    lines = "\n".join(inside)
    return cluster(f'<Channel className="{TRIBES}.group.GroupChannel">\n{lines}\n</Channel>')


def interceptor(name: str, attributes: str = "", inside: str = "") -> str:
    return f'<Interceptor className="{INTERCEPTORS}.{name}" {attributes}>{inside}</Interceptor>'


def file(folder: Path, text: str) -> Path:
    path = folder / "server.xml"
    path.write_text(text)
    return path


def values(folder: Path, text: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    found = dict(read(file(folder, text), environment or {}).values)
    if found.get("cluster") == "lan:Catalina":
        del found["cluster"]
    return found


def refused(folder: Path, text: str, environment: dict[str, str] | None = None) -> ConfigError:
    path = file(folder, text)
    with pytest.raises(ConfigError) as caught:
        read(path, environment or {})
    assert caught.value.field.startswith(str(path))
    return caught.value


def test_the_element_of_the_documentation_loads_as_it_stands() -> None:
    assert read(CLUSTER).values == {
        "cluster": "lan:shop",
        "bind": "auto",
        "port": 4000,
        "auto_bind": 100,
        "multicast": ("228.0.0.4", 45564),
        "heartbeat_interval_s": 0.5,
        "drop_after_s": 3.0,
        "valve": r".*\.gif;.*\.js;.*\.jpg;.*\.png;.*\.css;.*\.txt;",
        "notify_listeners_on_replication": True,
        "expire_sessions_on_shutdown": False,
        "concern": "async",
    }


def test_whatever_has_no_effect_is_told_with_its_line_and_why() -> None:
    remarks = read(CLUSTER).remarks
    told = [remark.partition(": ")[0] for remark in remarks]
    assert told == [
        "line 6, <Receiver> selectorTimeout",
        "line 6, <Receiver> maxThreads",
        "line 8, <Transport> PooledParallelSender",
        "line 10, <Interceptor> TcpFailureDetector",
        "line 11, <Interceptor> MessageDispatch15Interceptor",
        "line 14, <ClusterListener> ClusterSessionListener",
    ]
    assert all(len(remark.split(": ", 2)[2]) > 10 for remark in remarks)


def test_it_becomes_a_toml_file_that_says_the_same(tmp_path: Path) -> None:
    found = read(CLUSTER)
    path = tmp_path / "replsession.toml"
    path.write_text(to_toml(found))
    assert read_toml(path).values == found.values


def test_it_may_stand_in_a_whole_file(tmp_path: Path) -> None:
    inner = cluster()
    renamed = cluster(attributes='clusterName="b"')
    in_host = f'<Host name="localhost" appBase="webapps">{inner}</Host>'
    in_service = f'<Service name="x"><Engine name="shop">{inner}</Engine></Service>'
    for text, name in [
        (inner, "Catalina"),
        (f'<Server port="8005">{in_service}</Server>', "shop"),
        (f'<Engine name="shop">{in_host}</Engine>', "shop"),
        (f'<Engine name="a">{renamed}</Engine>', "b"),
    ]:
        assert read(file(tmp_path, text)).values["cluster"] == f"lan:{name}"
    named = f'<Engine name="shop" jvmRoute="left">{inner}</Engine>'
    assert values(tmp_path, named) == {"cluster": "lan:shop", "member_name": "left"}


def test_there_must_be_one(tmp_path: Path) -> None:
    assert refused(tmp_path, "<Server/>").given == "none"
    two = f"<Server>\n{cluster()}\n{cluster()}\n</Server>"
    assert refused(tmp_path, two).given == "lines 2, 5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (cluster(attributes='channelSendOptions="6"'), {"concern": "all", "on_shortfall": "warn"}),
        (cluster(attributes='channelSendOptions="sync_ack"'),
         {"concern": "all", "on_shortfall": "warn"}),
        (cluster(attributes='channelStartOptions="3"'), {"multicast": None}),
        (cluster(DELTA % 'stateTransferTimeout="30"'), {"transfer_timeout_s": 30.0}),
        (cluster(DELTA % 'sendAllSessions="false" sendAllSessionsSize="100"'), {}),
        (cluster(DELTA % 'maxInactiveInterval="600" name="localhost#/app"'),
         {"max_inactive_interval": 600.0, "context": "/app"}),
        (cluster(DELTA % 'sessionAttributeNameFilter="user|cart.*"'),
         {"local_attributes": r"(?!(?:user|cart.*)\Z)(?s:.*)"}),
        (cluster(DELTA % 'maxActiveSessions="-1" enableStatistics="true"'), {}),
        (cluster(DELTA % 'notifySessionListenersOnReplication="false"'),
         {"notify_listeners_on_replication": False}),
        (cluster(BACKUP % ""), {"concern": "one", "on_shortfall": "warn"}),
        (cluster(BACKUP % 'mapSendOptions="8" terminateOnStartFailure="true" rpcTimeout="15000"'),
         {"concern": "async", "on_shortfall": "warn", "required": True,
          "transfer_timeout_s": 15.0}),
        # Both as in the documentation of Tomcat.
        (cluster(BACKUP % 'expireSessionsOnShutdown="false" notifyListenersOnReplication="true" '
                          'mapSendOptions="6"'),
         {"concern": "one", "on_shortfall": "warn", "notify_listeners_on_replication": True}),
        (channel(interceptor("TcpFailureDetector"), interceptor("MessageDispatchInterceptor"),
                 interceptor("TcpPingInterceptor")), {}),
        (channel(MULTICAST % 'port="45565"'), {"multicast": ("228.0.0.4", 45565)}),
        (channel(MULTICAST % 'address="239.1.2.3" ttl="1"'), {"multicast": ("239.1.2.3", 45564)}),
        (channel(MULTICAST % 'bind="10.0.0.5"', RECEIVER % 'address="auto"'),
         {"bind": "10.0.0.5"}),
        (channel(MULTICAST % 'bind="10.0.0.5"', RECEIVER % 'address="10.0.0.5" autoBind="0"'),
         {"bind": "10.0.0.5", "auto_bind": 1}),
        (channel(MULTICAST % 'domain="eu"'), {}),
        (channel(interceptor("DomainFilterInterceptor", 'domain="eu"')), {"domain": "eu"}),
        (channel(interceptor("EncryptInterceptor", f'encryptionKey="{KEY}"')),
         {"secret": KEY.lower()}),
        (channel(interceptor("StaticMembershipInterceptor", "",
                             STATIC % 'host="10.0.0.6" port="4001" uniqueId="{0,1}"'
                             + STATIC % 'host="shop-2"')),
         {"seeds": ["10.0.0.6:4001", "shop-2:4000"]}),
        (cluster(VALVE % 'filter=""'), {"valve": ""}),
        (cluster(VALVE % 'primaryIndicator="true"'),
         {"primary_indicator": "org.apache.catalina.ha.tcp.isPrimarySession"}),
        (cluster(VALVE % 'primaryIndicator="true" primaryIndicatorName="mine"'),
         {"primary_indicator": "mine"}),
        (cluster(VALVE % 'primaryIndicatorName="mine"'), {}),
        (cluster('<Valve className="org.apache.catalina.ha.session.JvmRouteBinderValve" '
                 'enabled="true"/>'), {}),
        (cluster('<Deployer className="org.apache.catalina.ha.deploy.FarmWarDeployer" '
                 'tempDir="/tmp/war-temp/" watchEnabled="false"/>'), {}),
    ],
)  # fmt: skip
def test_what_the_elements_say(tmp_path: Path, text: str, said: dict[str, Any]) -> None:
    assert values(tmp_path, text) == said


def test_static_membership_and_that_of_a_cloud(tmp_path: Path) -> None:
    member = STATIC % 'host="10.0.0.6" port="4001"'
    local = member.replace("Member ", "LocalMember ", 1)
    service = (
        f'<Membership className="{TRIBES}.membership.StaticMembershipService" %s>%s</Membership>'
    )
    text = channel(service % ('expirationTime="5000"', member + local))
    assert values(tmp_path, text) == {
        "multicast": None,
        "seeds": ["10.0.0.6:4001"],
        "drop_after_s": 5.0,
    }
    name = f"{TRIBES}.membership.cloud.CloudMembershipService"
    for provider in ("", 'membershipProviderClassName="dns"'):
        text = channel(f'<Membership className="{name}" {provider}/>', RECEIVER % 'port="4001"')
        assert values(tmp_path, text, {"DNS_MEMBERSHIP_SERVICE_NAME": "shop.default"}) == {
            "multicast": None,
            "port": 4001,
            "seeds": ["shop.default:4001"],
        }
        assert "DNS_MEMBERSHIP_SERVICE_NAME" in refused(tmp_path, text).allowed


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        (cluster("<Manger/>"), "line 2: <Manger>", "did you mean 'Manager'?"),
        (cluster("<Manager/>"), "line 2: <Manager> className", "DeltaManager"),
        (cluster('<Manager className="org.apache.catalina.ha.session.DeltaManger"/>'),
         "line 2: <Manager> className", "did you mean 'org.apache.catalina.ha.session.Delta"),
        (cluster('<Manager className="com.example.Other"/>'), "line 2: <Manager> className",
         "one of org.apache"),
        (cluster(attributes='chanelSendOptions="8"'), "line 1: <Cluster> chanelSendOptions",
         "did you mean 'channelSendOptions'?"),
        (cluster(attributes='channelSendOptions="32"'), "line 1: <Cluster> channelSendOptions",
         "TCP"),
        (cluster(attributes='channelStartOptions="7"'), "line 1: <Cluster> channelStartOptions",
         "15"),
        (cluster(attributes='clusterName="${name}"'), "line 1: <Cluster> clusterName",
         "only Tomcat knows"),
        (cluster(DELTA % 'expireSessionsOnShutdown="no"'),
         "line 2: <Manager> expireSessionsOnShutdown", "true or false"),
        (cluster(DELTA % 'stateTransferTimeout="-1"'), "line 2: <Manager> stateTransferTimeout",
         "above 0"),
        (cluster(DELTA % 'maxActiveSessions="1000"'), "line 2: <Manager> maxActiveSessions",
         "not supported"),
        (cluster(DELTA % 'sessionAttributeValueClassNameFilter="x"'),
         "line 2: <Manager> sessionAttributeValueClassNameFilter", "not supported"),
        (cluster(DELTA % 'notifyListenersOnReplication="true" '
                         'notifySessionListenersOnReplication="false"'),
         "line 2: <Manager> notifySessionListenersOnReplication", "one switch"),
        (cluster(DELTA % "", DELTA % ""), "line 3: <Manager>", "line 2"),
        (cluster('<ClusterListener className="org.apache.catalina.ha.session.'
                 'ClusterSessionListener">\n<Manager/></ClusterListener>'),
         "line 3: <Manager>", "nothing"),
        (cluster('<Valve className="org.apache.catalina.ha.authenticator.ClusterSingleSignOn"/>'),
         "line 2: <Valve> className", "not supported"),
        (cluster(VALVE % r'filter="[a&amp;&amp;b]"'), "line 2: <Valve> filter", "Python"),
        (channel(MULTICAST % 'frequency="0"'), "line 3: <Membership> frequency", "milliseconds"),
        (channel(MULTICAST % 'ttl="8"'), "line 3: <Membership> ttl", "seeds"),
        (channel(MULTICAST % 'address=""'), "line 3: <Membership> address", "not empty"),
        (channel(MULTICAST % 'bind="10.0.0.5"', RECEIVER % 'address="10.0.0.6"'),
         "line 3: <Membership> bind", "10.0.0.6"),
        (channel(MULTICAST % 'domain="eu"', interceptor("DomainFilterInterceptor", 'domain="us"')),
         "line 3: <Membership> domain", "'us'"),
        (channel(interceptor("StaticMembershipInterceptor", "", STATIC % 'port="4000"')),
         "line 3: <Member> host", "where"),
        (channel(interceptor("EncryptInterceptor", 'encryptionKey="cafebabe-cafebabe"')),
         "line 3: <Interceptor> encryptionKey", "hexadecimal"),
        (channel(interceptor("EncryptInterceptor", 'encryptionKey="cafebabe${rest}"')),
         "line 3: <Interceptor> encryptionKey", "only Tomcat knows"),
    ],
)  # fmt: skip
def test_what_is_not_known_or_not_allowed(tmp_path: Path, text: str, where: str, says: str) -> None:
    error = refused(tmp_path, text)
    assert error.field.endswith(f", {where}")
    assert says in error.allowed
    assert "cafebabe" not in str(error)
