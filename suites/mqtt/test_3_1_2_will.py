"""Section 3.1.2.5: the will, published when a connection ends without DISCONNECT."""

import pytest
from mqproof.dissectors.mqtt.packets import Will
from mqproof.harness.verdicts import check
from mqproof.harness.wires.mqtt_packets import PUBLISH
from mqproof.suites.mqtt.ahead import ahead

PUBLISHED = ("mqtt-3.1.1:MQTT-3.1.2-8", "mqtt-5.0:MQTT-3.1.2-8")
AT_QOS = ("mqtt-3.1.1:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.8.4-8")
REMOVED = ("mqtt-3.1.1:MQTT-3.1.2-10", "mqtt-5.0:MQTT-3.1.2-10")
ENDS = ("cut", "close", "protocol error")


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-8", "mqtt-5.0:MQTT-3.1.2-8", "mqtt-5.0:MQTT-3.1.2-7")
@pytest.mark.parametrize("end", ENDS)
def test_will_is_published_when_the_connection_ends_without_disconnect(wires, topic, end):
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    die(wires(will=Will(topic, b"gone", qos=1)), end)
    assert [p.payload for p in subscriber.must_get(1)] == [b"gone"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-1", "mqtt-5.0:MQTT-3.1.3-1")
def test_will_topic_is_read_before_the_will_message(wires, topic):
    """Its payload is a topic, too, so that the server publishes either way."""
    subscriber, other = wires(), wires.names("topic")
    subscriber.subscribe(topic, other, qos=1)
    wires(will=Will(topic, other.encode(), qos=1)).cut()
    got = subscriber.expect(PUBLISH)
    assert (got.topic, got.payload) == (topic, other.encode())


@pytest.mark.normative(*PUBLISHED, *AT_QOS)
@pytest.mark.parametrize(("qos", "granted"), [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2)])
def test_will_is_published_at_its_qos(wires, topic, qos, granted):
    subscriber = wires()
    subscriber.subscribe(topic, qos=granted)
    wires(will=Will(topic, b"gone", qos=qos)).cut()
    got = subscriber.must_get(1, statement=PUBLISHED)[0].qos
    check(got == qos, expected=f"QoS {qos}", actual=f"QoS {got}", statement=AT_QOS)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-8", "mqtt-5.0:MQTT-3.1.2-8")
def test_will_is_published_when_another_connection_takes_over(wires, topic, client_id):
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(client_id, will=Will(topic, b"gone", qos=1))
    wires(client_id)
    assert [p.payload for p in subscriber.must_get(1)] == [b"gone"]


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.2-10", "mqtt-3.1.1:MQTT-3.14.4-3", "mqtt-3.1.1:MQTT-3.1.2-8", "mqtt-5.0:MQTT-3.1.2-10",
    "mqtt-5.0:MQTT-3.14.4-3", "mqtt-5.0:MQTT-3.1.2-8",
)  # fmt: skip
def test_will_is_dropped_after_disconnect(wires, topic):
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(will=Will(topic, b"gone", qos=1)).disconnect()
    wires(will=Will(topic, b"fence", qos=1)).cut()
    assert [p.payload for p in subscriber.until(b"fence")] == [b"fence"]


@pytest.mark.normative(*PUBLISHED, *REMOVED)
@ahead
def test_will_is_published_once(wires, topic, client_id):
    """It is removed when it is published: neither the next end of a connection nor resuming brings it again."""
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(client_id, keep=True, will=Will(topic, b"gone", qos=1)).cut()
    got = subscriber.must_get(1, statement=PUBLISHED)
    wires(client_id, keep=True).cut()
    got += subscriber.settle(wires())
    again = [p.payload for p in got]
    check(again == [b"gone"], expected=[b"gone"], actual=again, statement=REMOVED)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-12")
def test_without_will_flag_nothing_is_published(wires, topic, client_id):
    """The will of an earlier connection of the same session is not used again."""
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(client_id, keep=True, will=Will(topic, b"old", qos=1)).disconnect()
    wires(client_id, keep=True).cut()
    wires(will=Will(topic, b"fence", qos=1)).cut()
    assert [p.payload for p in subscriber.until(b"fence")] == [b"fence"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-16", "mqtt-5.0:MQTT-3.1.2-14")
@pytest.mark.needs("retain")
@ahead
def test_will_without_retain_is_not_stored(wires, topic):
    present, late = wires(), wires()
    present.subscribe(topic, qos=1)
    wires(will=Will(topic, b"gone", qos=1)).cut()
    retain = present.until(b"gone")[0].retain
    late.subscribe(topic, qos=1)
    assert (retain, late.settle(wires())) == (False, [])


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-17", "mqtt-5.0:MQTT-3.1.2-15")
@pytest.mark.needs("retain")
def test_will_with_retain_is_stored(wires, topic):
    present, late = wires(), wires()
    present.subscribe(topic, qos=1)
    wires(will=Will(topic, b"gone", qos=1, retain=True)).cut()
    present.until(b"gone")
    late.subscribe(topic, qos=1)
    got = late.opened(1)
    if not got:  # the server may pass it on before it stores it
        late.subscribe(topic, qos=1)
        got = late.opened(1)
    assert [p.payload for p in got] == [b"gone"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-8")
def test_disconnect_with_will_message_publishes_the_will(wires, topic):
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(will=Will(topic, b"gone", qos=1)).disconnect(0x04)
    assert [p.payload for p in subscriber.must_get(1)] == [b"gone"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.3-10")
def test_user_properties_of_the_will_keep_their_order(wires, topic):
    given = [("b", "2"), ("a", "1"), ("b", "1"), ("a", "1")]
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(will=Will(topic, b"gone", 1, properties=tuple(("user_property", pair) for pair in given))).cut()
    got = subscriber.until(b"gone")[0]
    assert [value for name, value in got.properties if name == "user_property" and value in given] == given


@pytest.mark.normative(
    "mqtt-5.0:MQTT-3.3.2-4", "mqtt-5.0:MQTT-3.3.2-15", "mqtt-5.0:MQTT-3.3.2-16", "mqtt-5.0:MQTT-3.3.2-20",
)  # fmt: skip
@pytest.mark.parametrize(("name", "value"), [
    pytest.param("payload_format_indicator", 1, marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-4")),
    pytest.param("content_type", "text/plain", marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-20")),
    pytest.param("response_topic", "answers", marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-15")),
    pytest.param("correlation_data", b"\x00\x01", marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-16")),
])  # fmt: skip
def test_properties_of_the_will_are_forwarded(wires, topic, name, value):
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(will=Will(topic, b"gone", 1, properties=((name, value),))).cut()
    assert (name, value) in subscriber.until(b"gone")[0].properties


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-8")
@ahead
def test_will_is_published_when_the_session_ends_before_its_delay(wires, topic, client_id):
    """Without an expiry interval the session ends with its connection, whatever the delay."""
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    wires(client_id, will=Will(topic, b"gone", 1, properties=(("will_delay_interval", 60),))).cut()
    assert [p.payload for p in subscriber.must_get(1)] == [b"gone"]


def die(wire, end):
    """End a client's connection in one of the ways that are no DISCONNECT."""
    if end == "protocol error":
        wire.send(b"\xf0\x00" if not wire.is_v5 else b"\x00\x00")
        wire.reaction(probe=False)
    getattr(wire, "cut" if end == "cut" else "close")()
