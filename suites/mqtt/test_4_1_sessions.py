"""Sections 3.1.2.4, 3.1.2.11.2 and 4.1: sessions, clean and stored, and how long they last."""

import pytest
from mqproof.harness.verdicts import check
from mqproof.harness.wires.mqtt_packets import CONNACK, PUBLISH, PUBREC, PUBREL, SUBACK
from mqproof.suites.mqtt.ahead import ahead

STORED = ("mqtt-3.1.1:MQTT-3.1.2-5", "mqtt-5.0:MQTT-4.5.0-1")


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.2-4", "mqtt-3.1.1:MQTT-3.2.2-2", "mqtt-3.1.1:MQTT-4.1.0-1", "mqtt-3.1.1:MQTT-3.1.4-3",
    "mqtt-5.0:MQTT-3.1.2-5", "mqtt-5.0:MQTT-3.2.2-3", "mqtt-5.0:MQTT-3.1.2-23", "mqtt-5.0:MQTT-3.1.4-4",
)  # fmt: skip
@pytest.mark.parametrize("end", ["disconnect", "cut", "close"])
@ahead
def test_stored_session_is_resumed_with_its_subscriptions(wires, topic, client_id, end):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=1)
    getattr(subscriber, end)()
    again = wires(client_id, keep=True)
    publisher.deliver(topic, b"remembered", qos=1)
    got = [p.payload for p in again.settle(publisher, at_least=1)]
    present, kept = again.connack.session_present, got == [b"remembered"]
    told = ("mqtt-3.1.1:MQTT-3.2.2-2", "mqtt-5.0:MQTT-3.2.2-3")
    check(present or not kept, expected="Session Present 1", actual="Session Present 0", statement=told)
    stored = (
        "mqtt-3.1.1:MQTT-3.1.2-4", "mqtt-3.1.1:MQTT-4.1.0-1", "mqtt-3.1.1:MQTT-3.1.4-3", "mqtt-5.0:MQTT-3.1.2-5",
        "mqtt-5.0:MQTT-3.1.2-23", "mqtt-5.0:MQTT-3.1.4-4",
    )  # fmt: skip
    check(kept, expected="the subscription kept", actual=got, statement=stored)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.2.2-3", "mqtt-5.0:MQTT-3.2.2-3", "mqtt-5.0:MQTT-3.1.2-6")
def test_session_present_is_0_where_no_session_is_stored(wires, client_id):
    assert wires(client_id, keep=True).connack.session_present is False


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-4", "mqtt-5.0:MQTT-3.1.2-6")
def test_session_is_created_where_none_is_stored(wires, client_id):
    wires(client_id, keep=True).disconnect()
    assert wires(client_id, keep=True).connack.session_present is True


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.2-6", "mqtt-3.1.1:MQTT-3.2.2-1", "mqtt-3.1.1:MQTT-3.1.4-3", "mqtt-5.0:MQTT-3.1.2-4",
    "mqtt-5.0:MQTT-3.2.2-2", "mqtt-5.0:MQTT-3.1.4-4",
)  # fmt: skip
@ahead
def test_clean_start_discards_the_stored_session(wires, topic, client_id):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=1)
    subscriber.disconnect()
    publisher.deliver(topic, b"queued", qos=1)
    anew = wires(client_id, clean_start=True)
    publisher.deliver(topic, b"forgotten", qos=1)
    present, got = anew.connack.session_present, anew.settle(publisher)
    told = ("mqtt-3.1.1:MQTT-3.2.2-1", "mqtt-5.0:MQTT-3.2.2-2")
    check(got or not present, expected="Session Present 0", actual="Session Present 1", statement=told)
    discarded = (
        "mqtt-3.1.1:MQTT-3.1.2-6", "mqtt-3.1.1:MQTT-3.1.4-3", "mqtt-5.0:MQTT-3.1.2-4", "mqtt-5.0:MQTT-3.1.4-4",
    )  # fmt: skip
    check(not got, expected="nothing of the earlier session", actual=got, statement=discarded)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-6")
def test_state_of_a_clean_session_is_never_used_again(wires, topic, client_id):
    clean = wires(client_id, clean_start=True)
    clean.subscribe(topic, qos=1)
    clean.disconnect()
    assert wires(client_id, keep=True).connack.session_present is False


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-23")
def test_session_that_began_clean_can_be_stored(wires, topic, client_id):
    first = wires(client_id, keep=True, clean_start=True)
    first.subscribe(topic)
    first.disconnect()
    assert wires(client_id, keep=True).connack.session_present is True


@pytest.mark.normative("mqtt-5.0:MQTT-4.1.0-2")
@pytest.mark.parametrize("given", [(), (("session_expiry_interval", 0),)])
@pytest.mark.parametrize("end", ["disconnect", "cut"])
def test_session_without_expiry_interval_ends_with_its_connection(wires, client_id, given, end):
    first = wires(client_id, clean_start=False, properties=given)
    getattr(first, end)()
    assert gone(wires, client_id)


@pytest.mark.normative("mqtt-5.0:MQTT-4.1.0-2")
def test_disconnect_can_end_the_session(wires, client_id):
    first = wires(client_id, keep=True)
    first.disconnect(properties=(("session_expiry_interval", 0),))
    assert gone(wires, client_id)


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-23")
def test_disconnect_can_prolong_the_session(wires, client_id):
    first = wires(client_id, properties=(("session_expiry_interval", 1),), clean_start=False)
    first.disconnect(properties=(("session_expiry_interval", 60),))
    assert wires(client_id, keep=True).connack.session_present is True


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.2-5", "mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-3.1.1:MQTT-4.1.0-1", "mqtt-5.0:MQTT-4.5.0-1",
    "mqtt-5.0:MQTT-3.1.2-23",
)  # fmt: skip
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_wait_for_an_absent_client(wires, topic, client_id, qos):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    subscriber.disconnect()
    bodies = [f"{number}".encode() for number in range(4)]
    for body in bodies:
        publisher.deliver(topic, body, qos=qos)
    again = wires(client_id, keep=True)
    kept = "mqtt-5.0:MQTT-4.5.0-1" if again.connack.session_present else "mqtt-5.0:MQTT-3.1.2-23"
    owed = (kept, "mqtt-3.1.1:MQTT-3.1.2-5", "mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-3.1.1:MQTT-4.1.0-1")
    got = [p.payload for p in again.must_get(4, statement=owed)]
    check(sorted(got) == bodies, expected=bodies, actual=got, statement=owed)  # their order is examined below


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.2-5", "mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-5.0:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.6.0-5",
)  # fmt: skip
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_waiting_messages_keep_their_order(wires, topic, client_id, qos):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    subscriber.cut()
    bodies = [f"{number}".encode() for number in range(15)]
    for body in bodies:
        publisher.deliver(topic, body, qos=qos)
    got = [p.payload for p in wires(client_id, keep=True).must_get(15, statement=STORED)]
    check(sorted(got) == sorted(bodies), expected=bodies, actual=got, statement=STORED)
    check(got == bodies, expected=bodies, actual=got, statement=("mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-5.0:MQTT-4.6.0-5"))


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.1.0-2", "mqtt-3.1.1:MQTT-4.1.0-1", "mqtt-5.0:MQTT-4.1.0-1")
@ahead
def test_clean_session_lasts_as_long_as_its_connection(wires, topic):
    """Other clients come and go; subscriptions and started exchanges of this one stay."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    subscriber.publish(topic, b"mine", qos=2, packet_id=900)
    subscriber.expect(PUBREC, packet_id=900)
    for _ in range(3):
        wires().disconnect()
    publisher.deliver(topic, b"theirs", qos=2)
    subscriber.publish(topic, b"mine", qos=2, packet_id=900, dup=True)
    subscriber.expect(PUBREC, packet_id=900)
    subscriber.send(PUBREL, packet_id=900)
    publisher.deliver(topic, b"more", qos=2)
    assert sorted(p.payload for p in subscriber.must_get(3)) == [b"mine", b"more", b"theirs"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-7")
@pytest.mark.needs("retain")
@pytest.mark.parametrize("end", ["disconnect", "cut"])
def test_retained_message_outlives_the_session_of_its_publisher(wires, topic, end):
    publisher = wires()
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    getattr(publisher, end)()
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    assert [p.payload for p in subscriber.must_get(1)] == [b"kept"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.2.0-1", "mqtt-5.0:MQTT-3.2.0-1")
def test_connack_comes_before_everything_that_waits(wires, topic, client_id):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=1)
    subscriber.disconnect()
    publisher.deliver(topic, b"waiting", qos=1)
    again = wires.raw()
    again.send(again.connect_packet(client_id, keep=True))
    first, _ = again.take(2, CONNACK, PUBLISH, SUBACK)
    assert isinstance(first, CONNACK)


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.0-2")
def test_there_is_one_connack(wire, topic):
    wire.subscribe(topic, qos=1)
    wire.deliver(topic, b"body", qos=1)
    wire.ping()
    assert wire.arrived(CONNACK) == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-1")
def test_flags_of_connack_are_0_but_for_session_present(wires, client_id):
    wires(client_id, keep=True).disconnect()
    again = wires.raw()
    again.send(again.connect_packet(client_id, keep=True))
    octets = again.must_receive(CONNACK) and next(
        line.octets for line in again.transcript.lines if line.direction == "<"
    )
    assert octets[2] == 1


def gone(wires, client_id):
    return wires(client_id, keep=True).connack.session_present is False
