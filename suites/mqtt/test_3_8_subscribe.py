"""Sections 3.8 and 3.9: SUBSCRIBE and SUBACK."""

import pytest
from mqproof.dissectors.mqtt.packets import Subscription
from mqproof.dissectors.mqtt.tables import REASON_CODES, SUBACK_RETURN_CODES, PacketType
from mqproof.harness.verdicts import Unsupported
from mqproof.harness.wires.mqtt_packets import PUBACK, SUBACK
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import BAD_UTF8, field, packet, properties, subscribe

HASH = pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.1-2", "mqtt-5.0:MQTT-4.7.1-1")
PLUS = pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.1-3", "mqtt-5.0:MQTT-4.7.1-2")


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.8.4-1", "mqtt-3.1.1:MQTT-3.8.4-2", "mqtt-3.1.1:MQTT-2.3.1-7", "mqtt-5.0:MQTT-3.8.4-1",
    "mqtt-5.0:MQTT-3.8.4-2", "mqtt-5.0:MQTT-2.2.1-6",
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 255, 256, 65535])
def test_subscribe_is_answered_by_suback_with_its_id(wire, topic, number):
    wire.send(subscribe(wire, topic.encode(), number=number))
    wire.must_receive(SUBACK, packet_id=number)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.8.4-5", "mqtt-3.1.1:MQTT-3.9.3-1", "mqtt-3.1.1:MQTT-3.8.4-4", "mqtt-3.1.1:MQTT-3.9.3-2",
    "mqtt-5.0:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.9.3-1", "mqtt-5.0:MQTT-3.8.4-5", "mqtt-5.0:MQTT-3.8.4-7",
    "mqtt-5.0:MQTT-3.9.3-2",
)  # fmt: skip
def test_suback_has_a_code_for_each_filter_in_their_order(wire, topic):
    """Each is granted what it asks for, or less."""
    levels = (2, 0, 1, 0, 2)
    entries = [Subscription(f"{topic}/{number}", qos) for number, qos in enumerate(levels)]
    codes = wire.ask(*entries).reason_codes
    assert len(codes) == 5
    assert all(code <= qos for code, qos in zip(codes, levels, strict=True))


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.9.3-1", "mqtt-5.0:MQTT-3.9.3-1")
@pytest.mark.parametrize("levels", [(2, 0, 1), (1, 0)])
def test_codes_of_suback_follow_the_order_of_the_filters(wires, topic, levels):
    """Each filter's own grant is what its messages come at."""
    subscriber, publisher = wires(), wires()
    codes = subscriber.ask(*(Subscription(f"{topic}/{qos}", qos) for qos in levels)).reason_codes
    for qos in levels:
        publisher.deliver(f"{topic}/{qos}", f"{qos}".encode(), qos=max(levels))
    got = {int(p.payload): p.qos for p in subscriber.must_get(len(levels))}
    assert codes == tuple(got[qos] for qos in levels)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.9.3-2", "mqtt-5.0:MQTT-3.9.3-2", "mqtt-5.0:MQTT-3.8.4-7")
def test_codes_of_suback_are_defined(wire, topic):
    odd = [topic, f"{topic}/#", f"{topic}/" + "x/" * 100, f"${topic}/a", f"{topic}/\u00e4", " ", "$share/g/" + topic]
    codes = {code for pattern in odd for code in wire.ask(pattern, qos=2).reason_codes}
    assert codes <= (REASON_CODES[PacketType.SUBACK] if wire.is_v5 else SUBACK_RETURN_CODES)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-4", "mqtt-5.0:MQTT-3.8.4-5")
@ahead
def test_subscribe_with_several_filters_acts_as_several(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(*(f"{topic}/{level}" for level in "abc"), qos=1)
    for level in "abcd":
        publisher.deliver(f"{topic}/{level}", level.encode(), qos=1)
    assert [p.payload for p in subscriber.settle(publisher, at_least=3)] == [b"a", b"b", b"c"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-4", "mqtt-5.0:MQTT-3.8.4-5")
def test_subscribe_with_several_filters_gets_one_suback(wire, topic):
    wire.subscribe(*(f"{topic}/{level}" for level in "abc"))
    wire.ping()
    assert wire.arrived(SUBACK) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-3", "mqtt-5.0:MQTT-3.8.4-3")
@pytest.mark.parametrize(("first", "second"), [(0, 2), (2, 0), (1, 1)])
@ahead
def test_same_filter_again_replaces_the_subscription(wires, topic, first, second):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=first)
    subscriber.subscribe(topic, qos=second)
    publisher.deliver(topic, qos=2)
    assert [p.qos for p in subscriber.settle(publisher, at_least=1)] == [second]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-3", "mqtt-5.0:MQTT-3.8.4-4")
def test_replacing_a_subscription_loses_no_message(wires, topic):
    """The publisher goes on while the subscriber subscribes again and again."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    bodies = [f"{number}".encode() for number in range(20)]
    for first in range(0, len(bodies), publisher.window):
        begun = bodies[first : first + publisher.window]
        for body in begun:
            publisher.publish(topic, body, qos=1)
            subscriber.send(subscribe(subscriber, topic.encode(), 1, number=subscriber.packet_id()))
        publisher.take(len(begun), PUBACK)
    assert {p.payload for p in subscriber.must_get(20)} == set(bodies)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-3", "mqtt-5.0:MQTT-3.8.4-4")
@ahead
def test_replacing_a_subscription_keeps_messages_that_wait(wires, topic, client_id):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=1)
    subscriber.disconnect()
    for number in range(30):
        publisher.deliver(topic, f"{number}".encode(), qos=1)
    again = wires(client_id, keep=True, **({"properties": {"receive_maximum": 1}} if wires.is_v5 else {}))
    again.send(subscribe(again, topic.encode(), 1, number=77))
    assert len({p.payload for p in again.must_get(30)}) == 30


@pytest.mark.normative("mqtt-5.0:MQTT-3.8.4-3")
@ahead
def test_options_of_a_replaced_subscription_are_the_new_ones(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(Subscription(topic, 1, retain_as_published=True, no_local=True))
    subscriber.subscribe(Subscription(topic, 1))
    publisher.deliver(topic, b"a", qos=1)
    subscriber.deliver(topic, b"b", qos=1)
    assert [p.payload for p in subscriber.settle(publisher, at_least=2)] == [b"a", b"b"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.3-2")
@ahead
def test_wildcards_are_granted_or_refused_and_nothing_else(wires, topic):
    """A server without wildcards refuses them; one with them delivers."""
    subscriber, publisher = wires(), wires()
    granted = subscriber.ask(f"{topic}/+", qos=1).reason_codes[0] != 0x80
    publisher.deliver(f"{topic}/a", b"a", qos=1)
    got = [p.payload for p in subscriber.settle(publisher, at_least=granted)]
    assert got == [b"a"] * granted


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.8.1-1", "mqtt-3.1.1:MQTT-2.2.2-1", "mqtt-3.1.1:MQTT-2.2.2-2", "mqtt-5.0:MQTT-3.8.1-1",
    "mqtt-5.0:MQTT-2.1.3-1", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
@pytest.mark.parametrize("flags", [flags for flags in range(16) if flags != 2])
def test_subscribe_with_other_flags_ends_the_connection(wire, topic, flags):
    wire.send(subscribe(wire, topic.encode(), first=0x80 | flags))
    wire.must_close()


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.8.3-3", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-3.8.3-2", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
def test_subscribe_without_filter_ends_the_connection(wire):
    wire.send(packet(0x82, b"\0\1", properties(wire)))
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.3-4", "mqtt-5.0:MQTT-3.8.3-5")
@pytest.mark.parametrize("bit", [0x40, 0x80, 0xC0])
def test_subscribe_with_reserved_bits_ends_the_connection(wire, topic, bit):
    wire.send(subscribe(wire, topic.encode(), bit))
    wire.must_close()


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.3-4")
@pytest.mark.parametrize("options", [3, 4, 8, 16, 32])
def test_subscribe_with_bits_of_a_later_version_ends_the_connection(wire, topic, options):
    """In 3.1.1 the upper six bits are reserved, and there is no QoS 3."""
    wire.send(subscribe(wire, topic.encode(), options))
    wire.must_close()


@pytest.mark.normative("mqtt-5.0:MQTT-3.8.3-5", "mqtt-5.0:MQTT-4.13.1-1")
@pytest.mark.parametrize("options", [0x03, 0x30])
def test_subscribe_with_qos_3_or_retain_handling_3_ends_the_connection(wire, topic, options):
    """Section 3.8.3.1 calls both a Protocol Error."""
    wire.send(subscribe(wire, topic.encode(), options))
    wire.must_close(lenient=True)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.8.3-1", "mqtt-3.1.1:MQTT-1.5.3-1", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-3.8.3-1",
    "mqtt-5.0:MQTT-1.5.4-1", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
@pytest.mark.parametrize("text", BAD_UTF8)
def test_subscribe_to_a_filter_that_is_no_utf8_ends_the_connection(wire, topic, text):
    wire.send(subscribe(wire, topic.encode() + BAD_UTF8[text]))
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-3.1.1:MQTT-2.3.1-1", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-2.2.1-3")
def test_subscribe_with_packet_id_0_is_not_granted(wire, topic):
    wire.send(subscribe(wire, topic.encode(), number=0))
    wire.reaction()
    assert [p for p in wire.arrived(SUBACK) if p.reason_codes[0] < 0x80] == []


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.7.1-2", "mqtt-3.1.1:MQTT-4.7.1-3", "mqtt-5.0:MQTT-4.7.1-1", "mqtt-5.0:MQTT-4.7.1-2",
)  # fmt: skip
@pytest.mark.parametrize("pattern", [
    *(pytest.param(pattern, marks=HASH) for pattern in ("~/#/a", "~/a#", "~/#a", "~/##", "#~")),
    *(pytest.param(pattern, marks=PLUS) for pattern in ("~/a+", "~/+a", "~/++", "~/a+/b")),
    pytest.param("~/+#", marks=[HASH, PLUS]),
])  # fmt: skip
def test_filter_with_misplaced_wildcards_is_not_granted(wire, topic, pattern):
    """The connection ends, or SUBACK says no; the text demands neither, but it is no filter that could be granted."""
    wire.send(subscribe(wire, pattern.replace("~", topic).encode()))
    wire.reaction()
    assert [p for p in wire.arrived(SUBACK) if p.reason_codes[0] < 0x80] == []


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.7.3-2", "mqtt-3.1.1:MQTT-1.5.3-2", "mqtt-5.0:MQTT-4.7.3-2", "mqtt-5.0:MQTT-1.5.4-2",
)  # fmt: skip
def test_filter_with_a_null_character_is_not_granted(wire, topic):
    wire.send(subscribe(wire, topic.encode() + b"\0a"))
    wire.reaction()
    assert [p for p in wire.arrived(SUBACK) if p.reason_codes[0] < 0x80] == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.3-4", "mqtt-5.0:MQTT-4.7.3-4")
@pytest.mark.parametrize("length", [1000, 65535])
@ahead
def test_long_filter_is_compared_to_its_last_octet(wires, topic, length):
    """There is no duty to accept a filter of that length; but what is granted works."""
    subscriber, publisher = wires(), wires()
    long = topic + "x" * (length - len(topic))
    subscriber.send(subscribe(subscriber, long.encode(), 1, number=5))
    if subscriber.reaction()[0].closed or any(p.reason_codes[0] >= 0x80 for p in subscriber.arrived(SUBACK)):
        raise Unsupported(f"the server refuses a filter of {length} octets")
    publisher.deliver(long[:-1], b"shorter", qos=1)
    assert subscriber.settle(publisher) == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.8.3-4", "mqtt-5.0:MQTT-4.13.1-1")
@pytest.mark.needs("shared_subscription")
@ahead
def test_no_local_on_a_shared_subscription_ends_the_connection(wire, topic):
    wire.send(subscribe(wire, f"$share/group/{topic}".encode(), 0x04))
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-3.9.2-1", "mqtt-5.0:MQTT-3.9.2-2")
def test_suback_fits_the_clients_maximum_packet_size(wires, topic):
    wire = wires(properties={"maximum_packet_size": 20})
    wire.ask(*[f"{topic}/{number}" for number in range(3)])
    wire.ask(" ")
    assert max(wire.sizes()[1:]) <= 20


@pytest.mark.normative("mqtt-3.1.1:MQTT-1.5.3-3", "mqtt-5.0:MQTT-1.5.4-3")
@ahead
def test_zero_width_no_break_space_is_an_ordinary_character(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.send(packet(0x82, b"\0\5", properties(subscriber), field(topic.encode() + b"/\xef\xbb\xbf"), b"\1"))
    subscriber.expect(SUBACK)
    publisher.deliver(f"{topic}/", b"stripped", qos=1)
    publisher.deliver(f"{topic}/\ufeff", b"kept", qos=1)
    got = subscriber.settle(publisher, at_least=1)
    assert [(p.topic, p.payload) for p in got] == [(f"{topic}/\ufeff", b"kept")]
