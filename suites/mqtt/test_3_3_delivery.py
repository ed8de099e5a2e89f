"""Sections 3.3.4, 3.3.5 and 3.8.4: which subscribers get a message, how often, and at which QoS."""

import pytest
from mqproof.dissectors.mqtt.packets import Subscription
from mqproof.harness.verdicts import Blocked, Unsupported, check
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBREC
from mqproof.suites.mqtt.ahead import ahead


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.8.4-8")
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_message_is_delivered_at_the_lower_of_published_and_granted_qos(wires, topic, published, granted):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=granted)
    publisher.deliver(topic, qos=published)
    assert {p.qos for p in subscriber.must_get(1)} == {min(published, granted)}


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.5-1", "mqtt-5.0:MQTT-3.3.4-2")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@ahead
def test_overlapping_subscriptions_deliver_at_the_highest_qos(wires, topic, order):
    """Further copies may come, each at the QoS of its own subscription."""
    subscriber, publisher = wires(), wires()
    for pattern, qos in zip((f"{topic}/#", f"{topic}/+", f"{topic}/a"), order, strict=True):
        subscriber.subscribe(pattern, qos=qos)
    publisher.deliver(f"{topic}/a", qos=2)
    assert max((p.qos for p in subscriber.settle(publisher, at_least=1)), default=None) == 2


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.3.5-1", "mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-5.0:MQTT-3.3.4-2", "mqtt-5.0:MQTT-3.3.2-3",
)  # fmt: skip
@ahead
def test_overlapping_subscriptions_deliver_one_copy_each_at_most(wires, topic):
    subscriber, publisher = wires(), wires()
    for pattern in (f"{topic}/#", f"{topic}/+", f"{topic}/a"):
        subscriber.subscribe(pattern, qos=1)
    publisher.deliver(f"{topic}/a", qos=1)
    copies = [p for p in subscriber.settle(publisher, at_least=1) if not p.dup]
    assert 1 <= len(copies) <= 3


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.4-3", "mqtt-5.0:MQTT-3.3.4-4", "mqtt-5.0:MQTT-3.3.4-5")
@pytest.mark.needs("subscription_identifier")
@ahead
def test_overlapping_subscriptions_send_their_identifiers_along(wires, topic):
    """One copy with all of them, or several copies with one each."""
    subscriber, publisher = wires(), wires()
    for number, pattern in enumerate((f"{topic}/#", f"{topic}/+", f"{topic}/a"), 1):
        subscriber.subscribe(pattern, qos=1, properties={"subscription_identifier": number})
    publisher.deliver(f"{topic}/a", qos=1)
    got = [identifiers(p) for p in subscriber.settle(publisher, at_least=1)]
    if not got:
        raise Blocked("no message comes")
    check(any(got), expected="identifiers", actual=got, statement="mqtt-5.0:MQTT-3.3.4-3")
    broken = "mqtt-5.0:MQTT-3.3.4-4" if len(got) == 1 else "mqtt-5.0:MQTT-3.3.4-5"
    found = sorted(number for numbers in got for number in numbers)
    check(found == [1, 2, 3], expected="each of 1, 2, 3 once", actual=got, statement=broken)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.4-3", "mqtt-5.0:MQTT-3.3.4-4")
@pytest.mark.needs("subscription_identifier")
@pytest.mark.parametrize("identifier", [1, 127, 128, 16383, 16384, 2097152, 268435455])
def test_subscription_identifier_comes_with_each_message(wires, topic, identifier):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1, properties={"subscription_identifier": identifier})
    publisher.deliver(topic, qos=1)
    assert identifiers(subscriber.must_get(1)[0]) == [identifier]


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.4-5", "mqtt-5.0:MQTT-3.3.4-4")
@pytest.mark.needs("subscription_identifier")
def test_message_carries_no_identifier_of_a_subscription_that_does_not_match(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(f"{topic}/a", qos=1, properties={"subscription_identifier": 1})
    subscriber.subscribe(f"{topic}/b", qos=1, properties={"subscription_identifier": 2})
    subscriber.subscribe(f"{topic}/c", qos=1)
    for level in "abc":
        publisher.deliver(f"{topic}/{level}", level.encode(), qos=1)
    got = {p.payload: identifiers(p) for p in subscriber.must_get(3)}
    assert got == {b"a": [1], b"b": [2], b"c": []}


@pytest.mark.normative("mqtt-5.0:MQTT-3.8.4-3")
@pytest.mark.needs("subscription_identifier")
@pytest.mark.parametrize(("second", "wanted"), [({"subscription_identifier": 2}, [2]), ({}, [])])
def test_replaced_subscription_has_its_new_identifier(wires, topic, second, wanted):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1, properties={"subscription_identifier": 1})
    subscriber.subscribe(topic, qos=1, properties=second)
    publisher.deliver(topic, qos=1)
    assert identifiers(subscriber.must_get(1)[0]) == wanted


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
@ahead
def test_message_reaches_every_subscriber(wires, topic, qos):
    subscribers, publisher = [wires() for _ in range(4)], wires()
    for number, subscriber in enumerate(subscribers):
        subscriber.subscribe((topic, f"{topic}/#", topic, f"{topic}/#")[number], qos=qos)
    publisher.deliver(topic, b"to all", qos=qos)
    assert [[p.payload for p in each.must_get(1)] for each in subscribers] == [[b"to all"]] * 4


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 100_000, 2_097_152])
def test_payload_of_any_size_arrives_unchanged(wires, topic, size):
    """The largest needs four octets of Remaining Length."""
    subscriber, publisher = wires(), wires()
    limit = dict(publisher.connack.properties).get("maximum_packet_size", 1 << 28)
    if size + 200 > limit:
        raise Unsupported(f"the server takes no packets above {limit} octets")
    subscriber.subscribe(topic, qos=1)
    payload = (bytes(number * 7 % 256 for number in range(256)) * (size // 256 + 1))[:size]
    publisher.deliver(topic, payload, qos=1)
    assert subscriber.must_get(1)[0].payload == payload


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-5.0:MQTT-4.6.0-5")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_one_publisher_topic_and_qos_keep_their_order(wires, topic, qos):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=qos)
    bodies = [f"{number}".encode() for number in range(15)]
    publisher.deliver_all([topic] * len(bodies), bodies, qos=qos)
    assert [p.payload for p in subscriber.must_get(15)] == bodies


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-3.1.1:MQTT-4.3.2-2", "mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-5.0:MQTT-4.6.0-5",
)  # fmt: skip
@pytest.mark.parametrize("qos", [1, 2])
def test_acknowledgements_come_in_the_order_of_the_messages(wire, topic, qos):
    wire.require_qos(qos)
    numbers = [wire.publish(topic, qos=qos, packet_id=number) for number in (9, 3, 7, 1, 8)[: wire.window]]
    assert [p.packet_id for p in wire.take(len(numbers), PUBACK if qos == 1 else PUBREC)] == numbers


@pytest.mark.normative("mqtt-5.0:MQTT-3.8.3-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
@ahead
def test_no_local_keeps_a_publishers_own_messages_away(wires, topic, qos):
    talker, listener = wires(), wires()
    talker.subscribe(topic, qos=qos, no_local=True)
    listener.subscribe(topic, qos=qos)
    talker.deliver(topic, b"mine", qos=qos)
    listener.deliver(topic, b"theirs", qos=qos)
    assert [p.payload for p in talker.settle(talker, at_least=1)] == [b"theirs"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.8.3-3", "mqtt-5.0:MQTT-3.8.4-3")
@ahead
def test_no_local_off_brings_a_publishers_own_messages(wire, topic):
    wire.ask(Subscription(topic, 1, no_local=True))
    wire.ask(Subscription(topic, 1, no_local=False))
    wire.deliver(topic, b"mine", qos=1)
    assert [p.payload for p in wire.must_get(1)] == [b"mine"]


def identifiers(packet):
    return sorted(value for name, value in packet.properties if name == "subscription_identifier")
