"""Sections 4.3 of MQTT 3.1.1 and 5.0: what QoS 0, 1 and 2 promise, and which packets keep the promise."""

import pytest
from mqproof.harness.verdicts import Blocked, Untested, check
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from mqproof.suites.mqtt.ahead import ahead

V4, V5 = "mqtt-3.1.1:MQTT-", "mqtt-5.0:MQTT-"
ONE_AT_A_TIME = "the server has one message in flight at a time, as the text leaves to it"


@pytest.mark.normative(f"{V4}4.3.1-1", f"{V4}3.3.1-2", f"{V4}2.3.1-5", f"{V5}4.3.1-1", f"{V5}3.3.1-2", f"{V5}2.2.1-2")
def test_qos_0_message_has_neither_dup_nor_packet_id(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic)
    publisher.publish(topic, b"at most once")
    got = subscriber.must_get(1)[0]
    assert (got.payload, got.qos, got.dup, got.packet_id) == (b"at most once", 0, False, None)


@pytest.mark.normative(f"{V4}3.3.4-1", f"{V5}3.3.4-1")
@ahead
def test_qos_0_message_is_not_acknowledged(wire, topic):
    wire.publish(topic)
    wire.ping()
    assert wire.arrived(PUBACK, PUBREC) == []


@pytest.mark.normative(f"{V4}4.3.1-1", f"{V5}4.3.1-1")
def test_qos_0_message_is_delivered_at_most_once(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic)
    publisher.publish(topic, b"once")
    publisher.publish(topic, b"fence")
    assert [p.payload for p in subscriber.until(b"fence")] == [b"once", b"fence"]


@pytest.mark.normative(
    f"{V4}4.3.2-2", f"{V4}2.3.1-6", f"{V4}3.3.4-1", f"{V5}4.3.2-4", f"{V5}2.2.1-5", f"{V5}3.3.4-1"
)
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_qos_1_message_is_answered_by_puback_with_its_id(wire, topic, packet_id):
    wire.publish(topic, qos=1, packet_id=packet_id)
    wire.must_receive(PUBACK, packet_id=packet_id)


@pytest.mark.normative(f"{V4}4.3.2-1", f"{V4}2.3.1-1", f"{V5}4.3.2-2", f"{V5}4.3.2-1", f"{V5}2.2.1-4")
def test_qos_1_message_reaches_the_subscriber_with_an_id_and_without_dup(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.publish(topic, b"at least once", qos=1)
    got = subscriber.must_receive(PUBLISH, payload=b"at least once")
    assert (got.qos, got.dup, bool(got.packet_id)) == (1, False, True)


@pytest.mark.normative(f"{V4}2.3.1-4", f"{V4}4.3.2-1", f"{V5}2.2.1-4", f"{V5}4.3.2-1", f"{V5}4.3.3-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_unacknowledged_messages_have_different_ids(wires, topic, qos):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=qos)
    for number in range(10):
        publisher.deliver(topic, f"{number}".encode(), qos=qos)
    ids = [packet.packet_id for packet in subscriber.opened(10)]
    check(subscriber.ended is None, expected="PUBLISH", actual=subscriber.ended)
    if len(ids) < 2:
        raise Untested(ONE_AT_A_TIME)
    assert len(set(ids) - {None, 0}) == len(ids)


@pytest.mark.normative(f"{V4}4.3.2-2", f"{V5}4.3.2-5")
@pytest.mark.parametrize("dup", [False, True])
def test_packet_id_after_puback_means_a_new_message(wires, topic, dup):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    for body in (b"first", b"second"):
        publisher.publish(topic, body, qos=1, packet_id=7, dup=dup and body == b"second")
        publisher.expect(PUBACK, packet_id=7)
    publisher.deliver(topic, b"fence", qos=1)
    assert [p.payload for p in subscriber.until(b"fence")] == [b"first", b"second", b"fence"]


@pytest.mark.normative(
    f"{V4}4.3.3-2", f"{V4}2.3.1-6", f"{V4}3.3.4-1",
    f"{V5}4.3.3-8", f"{V5}4.3.3-11", f"{V5}2.2.1-5", f"{V5}3.3.4-1",
)  # fmt: skip
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_qos_2_message_is_answered_by_pubrec_and_pubrel_by_pubcomp(wire, topic, packet_id):
    wire.publish(topic, qos=2, packet_id=packet_id)
    wire.must_receive(PUBREC, packet_id=packet_id)
    wire.send(PUBREL, packet_id=packet_id)
    wire.must_receive(PUBCOMP, packet_id=packet_id)


@pytest.mark.normative(
    f"{V4}4.3.3-1", f"{V4}2.3.1-6", f"{V4}2.3.1-1",
    f"{V5}4.3.3-1", f"{V5}4.3.3-2", f"{V5}4.3.3-4", f"{V5}2.2.1-4", f"{V5}2.2.1-5",
)  # fmt: skip
def test_broker_sends_qos_2_in_four_steps(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"exactly once", qos=2)
    got = subscriber.must_receive(PUBLISH, payload=b"exactly once", qos=2, dup=False)
    subscriber.send(PUBREC, packet_id=got.packet_id)
    subscriber.must_receive(PUBREL, packet_id=got.packet_id)
    subscriber.send(PUBCOMP, packet_id=got.packet_id)
    subscriber.must_stay()


@pytest.mark.normative(f"{V4}4.3.3-1", f"{V5}4.3.3-6")
def test_broker_does_not_send_the_message_again_after_pubrel(wires, topic, client_id):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"once", qos=2)
    got = subscriber.expect(PUBLISH, payload=b"once")
    subscriber.send(PUBREC, packet_id=got.packet_id)
    subscriber.expect(PUBREL, packet_id=got.packet_id)
    subscriber.cut()
    again = wires(client_id, keep=True)
    publisher.deliver(topic, b"fence", qos=2)
    assert [p.payload for p in again.until(b"fence")] == [b"fence"]


@pytest.mark.normative(f"{V4}4.3.3-2", f"{V5}4.3.3-10")
@pytest.mark.parametrize("times", [1, 3, 7])
@ahead
def test_publish_repeated_before_pubrel_is_delivered_once(wires, topic, times):
    """A sender that lost the PUBREC sends again; the subscriber must not see two messages."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.publish(topic, b"once", packet_id=7, qos=2)
    publisher.expect(PUBREC, packet_id=7)
    for _ in range(times):
        publisher.publish(topic, b"once", packet_id=7, qos=2, dup=True)
        publisher.must_receive(PUBREC, packet_id=7)
    publisher.send(PUBREL, packet_id=7)
    publisher.expect(PUBCOMP, packet_id=7)
    publisher.deliver(topic, b"fence", qos=2)  # same client, topic and QoS: the order that 4.6 promises
    got, ended = subscriber.messages(lambda so_far: b"fence" in (p.payload for p in so_far))
    payloads = [p.payload for p in got]
    check(payloads.count(b"once") <= 1, expected="one message", actual=payloads)
    if ended is not None:
        raise Blocked(f"the fence did not come: {ended}")
    assert payloads == [b"once", b"fence"]


@pytest.mark.normative(f"{V4}4.3.3-2", f"{V5}4.3.3-10")
def test_publish_repeated_on_a_new_connection_is_delivered_once(wires, topic, client_id):
    subscriber, publisher = wires(), wires(client_id, keep=True)
    subscriber.subscribe(topic, qos=2)
    publisher.publish(topic, b"once", packet_id=7, qos=2)
    publisher.expect(PUBREC, packet_id=7)
    publisher.cut()
    again = wires(client_id, keep=True)
    again.publish(topic, b"once", packet_id=7, qos=2, dup=True)
    again.expect(PUBREC, packet_id=7)
    again.send(PUBREL, packet_id=7)
    again.expect(PUBCOMP, packet_id=7)
    again.deliver(topic, b"fence", qos=2, packet_id=8)
    assert [p.payload for p in subscriber.until(b"fence")] == [b"once", b"fence"]


@pytest.mark.normative(f"{V4}4.3.3-2", f"{V5}4.3.3-11")
def test_repeated_pubrel_is_answered_again_and_delivers_nothing(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.publish(topic, b"once", packet_id=7, qos=2)
    publisher.expect(PUBREC, packet_id=7)
    for _ in range(3):
        publisher.send(PUBREL, packet_id=7)
        publisher.must_receive(PUBCOMP, packet_id=7)
    publisher.deliver(topic, b"fence", qos=2)
    assert [p.payload for p in subscriber.until(b"fence")] == [b"once", b"fence"]


@pytest.mark.normative(f"{V4}4.3.3-2", f"{V5}4.3.3-12")
@pytest.mark.parametrize("dup", [False, True])
def test_packet_id_after_pubcomp_means_a_new_message(wires, topic, dup):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"first", qos=2, packet_id=7)
    publisher.deliver(topic, b"second", qos=2, packet_id=7, dup=dup)
    publisher.deliver(topic, b"fence", qos=2)
    assert [p.payload for p in subscriber.until(b"fence")] == [b"first", b"second", b"fence"]


@pytest.mark.normative(f"{V4}3.3.1-3", f"{V5}3.3.1-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_of_the_publisher_is_not_passed_on(wires, topic, qos):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, b"said twice", qos=qos, dup=True)
    assert subscriber.must_receive(PUBLISH, payload=b"said twice").dup is False


@pytest.mark.normative(f"{V4}2.3.1-4", f"{V5}4.3.3-5", f"{V5}2.2.1-4")
def test_id_stays_in_use_until_pubcomp(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"held", qos=2)
    held = subscriber.expect(PUBLISH, payload=b"held")
    subscriber.send(PUBREC, packet_id=held.packet_id)
    subscriber.expect(PUBREL, packet_id=held.packet_id)
    for number in range(5):
        publisher.deliver(topic, f"{number}".encode(), qos=2)
    later = [packet.packet_id for packet in subscriber.opened(5)]
    if not later:
        raise Untested(ONE_AT_A_TIME)
    assert held.packet_id not in later
