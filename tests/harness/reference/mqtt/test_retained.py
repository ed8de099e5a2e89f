"""Retained messages and the properties of messages: sections 3.3.1.3 and 3.3.2.3."""

import pytest
from mqproof.dissectors.mqtt.codec import Publish, Subscription, prop
from mqproof.dissectors.mqtt.tables import Version

V4, V5 = Version.V3_1_1, Version.V5_0


# -- retained messages


def test_retained_message_comes_with_the_subscription_only(world, version):
    client = world.client(version=version)
    client.publish("t", b"kept", 1, retain=True)
    (message,) = client.subscribe("t", qos=2)
    assert message == Publish("t", b"kept", 1, True, packet_id=1)
    client.publish("t", b"live", 0, retain=True)
    live = world.client(version=version)
    live.subscribe("t")
    client.send(Publish("t", b"live", retain=True))
    assert not live.one().retain


def test_retained_message_is_replaced_and_cleared(world, version):
    client, live = world.client(version=version), world.client(version=version)
    live.subscribe("t", qos=0)
    client.publish("t", b"1", 1, retain=True)
    client.publish("t", b"2", 0, retain=True)
    client.publish("t", b"3", 1)
    assert [message.payload for message in world.client(version=version).subscribe("#")] == [b"2"]
    client.publish("t", b"", 1, retain=True)
    assert world.client(version=version).subscribe("#") == []
    assert live.payloads() == [b"1", b"2", b"3", b""]


def test_retained_messages_outlive_their_publisher(world, version):
    client = world.client(version=version)
    client.publish("a/b", b"x", 2, retain=True)
    client.cut()
    assert len(world.client(version=version).subscribe("a/+", "#")) == 2


def test_retained_message_expires(world):
    world.client().publish("t", b"x", 1, retain=True, properties=(("message_expiry_interval", 10),))
    world.advance(4)
    (message,) = world.client().subscribe("t")
    assert prop(message.properties, "message_expiry_interval") == 6
    world.advance(6.1)
    assert world.client().subscribe("t") == []
    assert len(world.broker.retained) == 1


@pytest.mark.parametrize(("handling", "first", "second"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling(world, handling, first, second):
    world.client().publish("t", b"x", 1, retain=True)
    client = world.client()
    entry = Subscription("t", 1, retain_handling=handling)
    assert len(client.subscribe(entry)) == first
    assert len(client.subscribe(entry)) == second


def test_subscribing_again_brings_retained_messages_in_3_1_1(world):
    world.client().publish("t", b"x", 1, retain=True)
    client = world.client(version=V4)
    assert len(client.subscribe("t")) == len(client.subscribe("t")) == 1


@pytest.mark.parametrize("flag", [True, False])
def test_retain_as_published(world, flag):
    client = world.client()
    client.subscribe(Subscription("t", 0, retain_as_published=flag))
    client.send(Publish("t", b"1", retain=True), Publish("t", b"2"))
    assert [message.retain for message in client.read()] == [flag, False]


def test_retained_quota(make_world):
    world = make_world(retained_octets=1000)
    client = world.client()
    assert client.send(Publish("t", b"x" * 1001, 1, True, packet_id=1)).one().reason_code == 0x97
    old = world.client(version=V4)
    old.send(Publish("t", b"x" * 1001, 1, True, packet_id=1))
    assert old.closed
    assert world.client().subscribe("t") == []


# -- properties


PASSED = (
    ("payload_format_indicator", 1),
    ("response_topic", "r/t"),
    ("user_property", ("b", "2")),
    ("correlation_data", b"\0\1"),
    ("user_property", ("a", "1")),
    ("content_type", "text/plain"),
    ("user_property", ("b", "2")),
)


def test_properties_are_passed_on_in_order(world):
    client = world.client()
    client.subscribe("t", qos=1)
    client.send(Publish("t", b"x", 1, packet_id=1, properties=PASSED))
    assert client.read()[1].properties == PASSED


def test_properties_are_kept_with_retained_messages_and_dropped_for_3_1_1(world):
    world.client().publish("t", b"x", 1, retain=True, properties=PASSED)
    assert world.client().subscribe("t")[0].properties == PASSED
    assert world.client(version=V4).subscribe("t")[0].properties == ()


def test_message_expiry_for_a_session_that_was_away(world):
    subscriber, publisher = world.client("s", keep=True), world.client()
    subscriber.subscribe("t", qos=1)
    subscriber.cut()
    for seconds in (2, 10):
        publisher.publish("t", b"%d" % seconds, 1, properties=(("message_expiry_interval", seconds),))
    world.advance(3)
    (message,) = world.client("s", keep=True).after_connack
    assert message.payload == b"10"
    assert prop(message.properties, "message_expiry_interval") == 7


def test_expiry_zero_reaches_who_is_there(world):
    client = world.client()
    client.subscribe("t")
    client.send(Publish("t", properties=(("message_expiry_interval", 0),)))
    assert prop(client.one().properties, "message_expiry_interval") == 0


@pytest.mark.parametrize("qos", [1, 2])
def test_started_message_does_not_expire(world, qos):
    subscriber, publisher = world.client("s", keep=True), world.client()
    subscriber.subscribe("t", qos=qos)
    publisher.publish("t", b"x", qos, properties=(("message_expiry_interval", 1),))
    subscriber.cut()
    world.advance(5)
    assert [packet.payload for packet in world.client("s", keep=True).after_connack] == [b"x"]


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Publish("t", properties=(("subscription_identifier", 1),)), 0x82),
        (Publish("t", properties=(("response_topic", "a/#"),)), 0x82),
        (Publish("t", properties=(("response_topic", ""),)), 0x82),
        (Publish("t", properties=(("payload_format_indicator", 2),)), 0x82),
        (Publish("t", properties=(("topic_alias", 0),)), 0x94),
        (Publish("t", properties=(("topic_alias", 17),)), 0x94),
        (Publish("", properties=(("topic_alias", 5),)), 0x82),
        (Publish(""), 0x82),
        (Publish("t", qos=1, packet_id=0), 0x82),
    ],
)
def test_publish_that_breaks_a_rule(world, packet, code):
    client = world.client()
    client.send(packet)
    assert client.one().reason_code == code
    assert client.closed


@pytest.mark.parametrize(
    ("limits", "packet", "code"),
    [
        ({"maximum_qos": 1}, Publish("t", b"", 2, packet_id=1), 0x9B),
        ({"maximum_qos": 0}, Publish("t", b"", 1, packet_id=1), 0x9B),
        ({"retain_available": False}, Publish("t", retain=True), 0x9A),
        ({"topic_alias_maximum": 0}, Publish("t", properties=(("topic_alias", 1),)), 0x94),
    ],
)
def test_publish_beyond_what_is_available(make_world, limits, packet, code):
    client = make_world(**limits).client()
    client.send(packet)
    assert client.one().reason_code == code
