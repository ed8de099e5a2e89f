"""Section 2.1 (3.1.1: 2.2) and those on each packet's fixed header: reserved flags, QoS bits, reserved types."""

import pytest
from mqproof.dissectors.mqtt.packets import Will
from mqproof.harness.verdicts import Untested
from mqproof.harness.wires.base import End
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBLISH, PUBREC
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import packet, publish, sent_on


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-2.2.2-2", "mqtt-3.1.1:MQTT-2.2.2-1", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-2.1.3-1",
    "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
@pytest.mark.parametrize("kind", [0x40, 0x50, 0x70, 0xC0], ids=["PUBACK", "PUBREC", "PUBCOMP", "PINGREQ"])
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
@ahead
def test_packet_with_reserved_flags_ends_the_connection(wire, kind, flags):
    wire.send(packet(kind | flags, b"" if kind == 0xC0 else b"\0\1"))
    wire.must_close(lenient=True)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-2.2.2-2", "mqtt-3.1.1:MQTT-2.2.2-1", "mqtt-3.1.1:MQTT-3.1.4-1", "mqtt-5.0:MQTT-2.1.3-1",
    "mqtt-5.0:MQTT-3.1.4-1",
)  # fmt: skip
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_connect_with_reserved_flags_ends_the_connection(wires, flags):
    wire = wires.raw()
    octets = bytearray(b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2ab" if not wire.is_v5 else b"\x10\x0f\0\4MQTT\5\2\0\x3c\0\0\2ab")
    octets[0] |= flags
    wire.send(bytes(octets))
    wire.must_close(probe=False)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.6.1-1", "mqtt-3.1.1:MQTT-2.2.2-1", "mqtt-3.1.1:MQTT-2.2.2-2", "mqtt-5.0:MQTT-3.6.1-1",
    "mqtt-5.0:MQTT-2.1.3-1", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
@pytest.mark.parametrize("flags", [flags for flags in range(16) if flags != 2])
def test_pubrel_with_other_flags_ends_the_connection(wire, flags):
    wire.send(packet(0x60 | flags, b"\0\5"))
    wire.must_close()


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.14.1-1", "mqtt-3.1.1:MQTT-2.2.2-2", "mqtt-5.0:MQTT-3.14.1-1", "mqtt-5.0:MQTT-2.1.3-1",
)  # fmt: skip
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_disconnect_with_reserved_flags_is_no_disconnect(wires, topic, flags):
    """The connection ends either way; but the will is published, as after any error."""
    subscriber, wire = wires(), wires(will=Will(topic, b"gone", 1))
    subscriber.subscribe(topic, qos=1)
    wire.send(packet(0xE0 | flags))
    wire.must_close(probe=False)
    assert [p.payload for p in subscriber.must_get(1)] == [b"gone"]


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.3.1-4", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-3.3.1-4", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
@pytest.mark.parametrize("first", [0x36, 0x37, 0x3E, 0x3F])
def test_publish_with_qos_3_ends_the_connection(wires, topic, first):
    """5.0 section 3.3.1.2 names the reaction, too: DISCONNECT 0x81."""
    wire = wires()
    wire.send(publish(wire, topic.encode(), first=first, number=5))
    wire.must_close()


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-2", "mqtt-5.0:MQTT-3.3.1-2")
@pytest.mark.parametrize("first", [0x38, 0x39])
@ahead
def test_dup_of_a_qos_0_message_is_not_passed_on(wires, topic, first):
    """The text binds the sender; the server may refuse such a message, or take it and send it on with DUP 0."""
    subscriber, wire = wires(), wires()
    subscriber.subscribe(topic)
    wire.send(publish(wire, topic.encode(), b"twice", first=first))
    wire.reaction()
    wires().deliver(topic, b"fence")
    _, ended = subscriber.messages(lambda so_far: any(p.payload == b"fence" for p in so_far))
    assert getattr(ended, "end", None) is not End.MALFORMED


@pytest.mark.normative("mqtt-3.1.1:MQTT-2.3.1-1", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-2.2.1-3")
@pytest.mark.parametrize("first", [0x32, 0x34])
def test_publish_with_packet_id_0_is_not_acknowledged(wire, topic, first):
    wire.send(publish(wire, topic.encode(), first=first, number=0))
    wire.reaction()
    assert [p for p in wire.arrived(PUBACK, PUBREC) if p.reason_code < 0x80] == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-2.3.1-5", "mqtt-5.0:MQTT-2.2.1-2")
def test_qos_0_message_has_its_payload_behind_the_topic(wires, topic):
    """Octets there are payload, as no packet identifier is."""
    subscriber, wire = wires(), wires()
    subscriber.subscribe(topic)
    wire.send(publish(wire, topic.encode(), b"\0\1payload"))
    assert subscriber.must_get(1)[0].payload == b"\0\1payload"


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.2-1", "mqtt-5.0:MQTT-3.3.2-1")
def test_topic_comes_first_in_a_message(wires, topic):
    subscriber, wire = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    wire.deliver(topic, b"body", qos=1)
    octets = subscriber.must_receive(PUBLISH) and subscriber.transcript.lines[-1].octets
    assert octets[4 : 4 + len(topic)] == topic.encode()


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.3.2-1", "mqtt-3.1.1:MQTT-1.5.3-1", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-3.3.2-1",
    "mqtt-5.0:MQTT-1.5.4-1",
)  # fmt: skip
@pytest.mark.parametrize("octets", [b"\x80", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff"])
@ahead
def test_topic_that_is_no_utf8_ends_the_connection(wires, topic, octets):
    subscriber, wire = wires(), wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    wire.send(publish(wire, topic.encode() + b"/" + octets))
    wire.must_close(lenient=True)
    sent_on(subscriber, wires())


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-1.5.3-2", "mqtt-3.1.1:MQTT-4.7.3-2", "mqtt-5.0:MQTT-1.5.4-2", "mqtt-5.0:MQTT-4.7.3-2",
)  # fmt: skip
@pytest.mark.parametrize("octets", [b"/\0", b"/a\0b", b"\0"])
@ahead
def test_topic_with_a_null_character_is_not_sent_on(wires, topic, octets):
    subscriber, wire = wires(), wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    wire.send(publish(wire, topic.encode() + octets))
    wire.must_close(lenient=True)
    sent_on(subscriber, wires())


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-4.13.1-1")
@pytest.mark.parametrize("first", [0x00, 0x0F, 0x0A, 0xF1, 0xFF])
def test_packet_of_a_reserved_type_ends_the_connection(wire, first):
    """Type 0 in both versions; type 15 in 3.1.1, where AUTH of 5.0 has flags that it may not have."""
    wire.send(packet(first))
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-1.5.5-1", "mqtt-5.0:MQTT-4.13.1-1")
def test_remaining_length_of_five_octets_ends_the_connection(wire):
    wire.send(b"\x30\xff\xff\xff\xff\x7f")
    wire.must_close(probe=False, lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-1.5.5-1")
def test_server_encodes_lengths_in_the_shortest_form(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    for size in (0, 50, 127, 128, 300, 16383, 16384):
        publisher.deliver(topic, bytes(size), qos=1)
    subscriber.must_get(7)
    assert [line.octets[:6].hex() for line in heard(subscriber) if not is_shortest(line.octets)] == []


@pytest.mark.normative("mqtt-5.0:MQTT-2.2.2-1")
def test_absent_properties_are_a_length_of_0(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic)
    publisher.publish(topic, b"x")
    if subscriber.must_get(1)[0].properties:
        raise Untested("the server adds properties of its own")
    assert heard(subscriber)[-1].octets[4 + len(topic) :] == b"\0x"


def heard(wire):
    return [line for line in wire.transcript.lines if line.direction == "<"]


def is_shortest(octets):
    """Whether no octet of the remaining length is a needless zero."""
    length = next(index for index in range(1, 5) if not octets[index] & 0x80)
    return length == 1 or octets[length] != 0
