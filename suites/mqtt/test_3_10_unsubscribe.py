"""Sections 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK."""

import pytest
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType
from mqproof.harness.verdicts import Untested, check
from mqproof.harness.wires.mqtt_packets import PUBCOMP, PUBLISH, PUBREC, PUBREL, UNSUBACK
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import BAD_UTF8, packet, properties, unsubscribe

EACH = ("mqtt-5.0:MQTT-3.11.3-1", "mqtt-5.0:MQTT-3.11.3-2", "mqtt-5.0:MQTT-3.10.4-6")


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.10.4-4", "mqtt-3.1.1:MQTT-2.3.1-7", "mqtt-5.0:MQTT-3.10.4-4", "mqtt-5.0:MQTT-3.10.4-5",
    "mqtt-5.0:MQTT-2.2.1-6",
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 255, 256, 65535])
def test_unsubscribe_is_answered_by_unsuback_with_its_id(wire, topic, number):
    wire.subscribe(topic)
    wire.send(unsubscribe(wire, topic.encode(), number=number))
    wire.must_receive(UNSUBACK, packet_id=number)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-5", "mqtt-5.0:MQTT-3.10.4-5")
def test_unsuback_comes_even_if_nothing_was_removed(wire, topic):
    wire.send(unsubscribe(wire, topic.encode(), number=9))
    wire.must_receive(UNSUBACK, packet_id=9)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.10.4-2", "mqtt-3.1.1:MQTT-3.10.4-1", "mqtt-5.0:MQTT-3.10.4-2", "mqtt-5.0:MQTT-3.10.4-1",
)  # fmt: skip
@pytest.mark.parametrize("qos", [0, 1, 2])
@ahead
def test_no_message_is_added_after_unsubscribe(wires, topic, qos):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=qos)
    subscriber.unsubscribe(topic)
    publisher.deliver(topic, b"too late", qos=qos)
    assert subscriber.settle(publisher) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-1", "mqtt-5.0:MQTT-3.10.4-1")
@pytest.mark.parametrize("pattern", ["~/#", "~/+", "~/A", "~/a/", "~"])
@ahead
def test_only_the_very_same_filter_is_removed(wires, topic, pattern):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(f"{topic}/a", qos=1)
    subscriber.unsubscribe(pattern.replace("~", topic))
    publisher.deliver(f"{topic}/a", b"still here", qos=1)
    assert [p.payload for p in subscriber.settle(publisher, at_least=1)] == [b"still here"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-1", "mqtt-5.0:MQTT-3.10.4-1")
@ahead
def test_filter_with_wildcards_is_removed_as_it_was_written(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(f"{topic}/+/#", qos=1)
    subscriber.subscribe(f"{topic}/a", qos=1)
    subscriber.unsubscribe(f"{topic}/+/#")
    publisher.deliver(f"{topic}/a", b"by the other", qos=1)
    publisher.deliver(f"{topic}/b", b"by none", qos=1)
    assert [p.payload for p in subscriber.settle(publisher, at_least=1)] == [b"by the other"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-6", "mqtt-5.0:MQTT-3.10.4-6")
@ahead
def test_unsubscribe_with_several_filters_acts_as_several(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(*(f"{topic}/{level}" for level in "abc"), qos=1)
    subscriber.unsubscribe(f"{topic}/a", f"{topic}/x", f"{topic}/c")
    subscriber.ping()
    for level in "abc":
        publisher.deliver(f"{topic}/{level}", level.encode(), qos=1)
    got = [p.payload for p in subscriber.settle(publisher, at_least=1)]
    assert (subscriber.arrived(UNSUBACK), got) == ([], [b"b"])


@pytest.mark.normative("mqtt-5.0:MQTT-3.11.3-1", "mqtt-5.0:MQTT-3.11.3-2", "mqtt-5.0:MQTT-3.10.4-6")
def test_codes_of_unsuback_follow_the_order_of_the_filters(wire, topic):
    """0x11 says that there was none; 0x00 that it was removed. That a server tells them apart is not demanded."""
    wire.subscribe(f"{topic}/a", f"{topic}/c")
    codes = wire.unsubscribe(f"{topic}/none", f"{topic}/a", f"{topic}/c").reason_codes
    check(len(codes) == 3, expected="a code for each filter", actual=codes, statement=EACH)
    if sorted(codes) != [0x00, 0x00, 0x11]:
        raise Untested("the server does not say which subscription there was")
    check(codes == (0x11, 0x00, 0x00), expected=(0x11, 0x00, 0x00), actual=codes, statement="mqtt-5.0:MQTT-3.11.3-1")


@pytest.mark.normative("mqtt-5.0:MQTT-3.11.3-2", "mqtt-5.0:MQTT-3.11.3-1")
def test_codes_of_unsuback_are_defined(wire, topic):
    wire.subscribe(topic)
    codes = wire.unsubscribe(topic, topic, "$share/group/x", f"${topic}").reason_codes
    assert len(codes) == 4
    assert set(codes) <= REASON_CODES[PacketType.UNSUBACK]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-3", "mqtt-5.0:MQTT-3.10.4-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_deliveries_that_have_started_are_finished_after_unsubscribe(wires, topic, client_id, qos):
    """What was not acknowledged comes again when the session resumes, although its subscription is gone."""
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, b"started", qos=qos)
    subscriber.expect(PUBLISH, payload=b"started")
    subscriber.unsubscribe(topic)
    subscriber.cut()
    assert [p.payload for p in wires(client_id, keep=True).must_get(1)] == [b"started"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-3", "mqtt-5.0:MQTT-3.10.4-3")
def test_qos_2_exchange_goes_on_after_unsubscribe(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"started", qos=2)
    number = subscriber.expect(PUBLISH, payload=b"started").packet_id
    subscriber.unsubscribe(topic)
    subscriber.send(PUBREC, packet_id=number)
    subscriber.must_receive(PUBREL, packet_id=number)
    subscriber.send(PUBCOMP, packet_id=number)
    subscriber.must_stay()


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.10.1-1", "mqtt-3.1.1:MQTT-2.2.2-1", "mqtt-3.1.1:MQTT-2.2.2-2", "mqtt-5.0:MQTT-3.10.1-1",
    "mqtt-5.0:MQTT-2.1.3-1", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
@pytest.mark.parametrize("flags", [flags for flags in range(16) if flags != 2])
def test_unsubscribe_with_other_flags_ends_the_connection(wire, topic, flags):
    wire.send(unsubscribe(wire, topic.encode(), first=0xA0 | flags))
    wire.must_close()


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.10.3-2", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-3.10.3-2", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
def test_unsubscribe_without_filter_ends_the_connection(wire):
    wire.send(packet(0xA2, b"\0\1", properties(wire)))
    wire.must_close(lenient=True)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.10.3-1", "mqtt-3.1.1:MQTT-1.5.3-1", "mqtt-5.0:MQTT-3.10.3-1", "mqtt-5.0:MQTT-1.5.4-1",
)  # fmt: skip
@pytest.mark.parametrize("text", BAD_UTF8)
def test_unsubscribe_from_a_filter_that_is_no_utf8_ends_the_connection(wire, topic, text):
    wire.send(unsubscribe(wire, topic.encode() + BAD_UTF8[text]))
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-3.1.1:MQTT-2.3.1-1", "mqtt-5.0:MQTT-2.2.1-3")
def test_unsubscribe_with_packet_id_0_is_not_answered(wire, topic):
    wire.send(unsubscribe(wire, topic.encode(), number=0))
    wire.reaction()
    assert [p for p in wire.arrived(UNSUBACK) if not any(code >= 0x80 for code in p.reason_codes)] == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.11.2-1", "mqtt-5.0:MQTT-3.11.2-2")
def test_unsuback_fits_the_clients_maximum_packet_size(wires, topic):
    wire = wires(properties={"maximum_packet_size": 20})
    wire.unsubscribe(*[f"{topic}/{number}" for number in range(3)])
    assert max(wire.sizes()[1:]) <= 20
