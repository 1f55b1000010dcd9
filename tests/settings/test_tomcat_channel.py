"""What stands in a Channel."""

from __future__ import annotations

from replsession.settings.tomcat_channel import (
    CHANNELS,
    LOCAL_MEMBERS,
    MEMBERSHIPS,
    RECEIVERS,
    STATIC_MEMBERS,
)


def test_a_channel_has_what_tomcats_has() -> None:
    (channel,) = CHANNELS.values()
    assert channel.children == ("Membership", "Receiver", "Sender", "Interceptor")


def test_memberships_other_than_multicast_have_no_multicast() -> None:
    without = [name for name, each in MEMBERSHIPS.items() if "multicast" in each.implies]
    assert [name.rpartition(".")[2] for name in without] == [
        "StaticMembershipService",
        "CloudMembershipService",
    ]


def test_the_local_member_says_nothing_with_the_same_attributes() -> None:
    (one,), (other,) = STATIC_MEMBERS.values(), LOCAL_MEMBERS.values()
    assert set(one.attributes) == set(other.attributes)
    assert all(attribute.read is None for attribute in other.attributes.values())


def test_a_receiver_says_where_it_listens() -> None:
    (receiver,) = RECEIVERS.values()
    read = [name for name, attribute in receiver.attributes.items() if attribute.read]
    assert read == ["address", "port", "autoBind"]
