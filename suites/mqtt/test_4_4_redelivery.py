"""Sections 4.4 of MQTT 3.1.1 and 5.0: what is sent again when a client comes back to its session."""

import pytest
from mqproof.harness.verdicts import Blocked, check
from mqproof.harness.wires.mqtt import MESSAGE
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from mqproof.suites.mqtt.ahead import ahead

V4, V5 = "mqtt-3.1.1:MQTT-", "mqtt-5.0:MQTT-"
RESENT = (f"{V4}4.4.0-1", f"{V5}4.4.0-1")
DUP = (f"{V4}3.3.1-1", f"{V5}3.3.1-1")
ORDER = (f"{V4}4.6.0-6", f"{V5}4.6.0-5")
UNACKNOWLEDGED = {1: f"{V5}4.3.2-3", 2: f"{V5}4.3.3-3"}


@pytest.mark.normative(*RESENT, *DUP, *UNACKNOWLEDGED.values())
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("end", ["cut", "disconnect"])
def test_unacknowledged_message_comes_again_with_dup_and_its_id(wires, topic, client_id, qos, end):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, b"again", qos=qos)
    first = subscriber.expect(PUBLISH, payload=b"again")
    getattr(subscriber, end)()
    owed = (*RESENT, UNACKNOWLEDGED[qos])
    second = resumed(wires, client_id).must_receive(PUBLISH, statement=owed, payload=b"again")
    wanted, got = (first.packet_id, qos), (second.packet_id, second.qos)
    check(got == wanted, expected=f"identifier and QoS {wanted}", actual=got, statement=RESENT)
    check(second.dup, expected="DUP 1", actual="DUP 0", statement=DUP)


@pytest.mark.normative(*RESENT, f"{V5}4.3.3-5")
def test_unacknowledged_pubrel_comes_again(wires, topic, client_id):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, b"released", qos=2)
    number = subscriber.expect(PUBLISH, payload=b"released").packet_id
    subscriber.send(PUBREC, packet_id=number)
    subscriber.expect(PUBREL, packet_id=number)
    subscriber.cut()
    again = resumed(wires, client_id)
    again.must_receive(PUBREL, packet_id=number)
    again.send(PUBCOMP, packet_id=number)
    again.must_stay()


@pytest.mark.normative(*RESENT, *ORDER)
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_come_again_in_their_order_and_before_later_ones(wires, topic, client_id, qos):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    bodies = [f"{number}".encode() for number in range(6)]
    for body in bodies[:3]:
        publisher.deliver(topic, body, qos=qos)
    sent = {p.payload for p in subscriber.opened(3)}
    if not sent:
        raise Blocked("no message comes")
    subscriber.cut()
    for body in bodies[3:]:
        publisher.deliver(topic, body, qos=qos)
    again = resumed(wires, client_id)
    got, ended = again.messages(lambda so_far: {p.payload for p in so_far} >= {*bodies}, MESSAGE)
    payloads = list(dict.fromkeys(p.payload for p in got))
    check({*payloads} >= sent, expected=f"again {sorted(sent)}", actual=payloads, statement=RESENT)
    if ended is not None:
        raise Blocked(f"not all of the later messages came: {payloads}, then {ended}")
    check(payloads == bodies, expected=bodies, actual=payloads, statement=ORDER)


@pytest.mark.normative(*RESENT)
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_acknowledged_message_does_not_come_again(wires, topic, client_id, qos):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, b"done", qos=qos)
    publisher.deliver(topic, b"more", qos=qos)
    subscriber.until(b"more")
    subscriber.quiet()
    subscriber.ping()
    subscriber.cut()
    again = wires(client_id, keep=True)
    publisher.deliver(topic, b"fence", qos=qos)
    assert [p.payload for p in again.until(b"fence")] == [b"fence"]


@pytest.mark.normative(f"{V5}4.4.0-2")
@pytest.mark.parametrize("answer", [PUBACK, PUBREC])
def test_refused_message_does_not_come_again(wires, topic, client_id, answer):
    qos = 1 if answer is PUBACK else 2
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, b"unwanted", qos=qos)
    number = subscriber.expect(PUBLISH, payload=b"unwanted").packet_id
    subscriber.send(answer, packet_id=number, reason_code=0x80)
    subscriber.ping()
    subscriber.cut()
    again = wires(client_id, keep=True)
    publisher.deliver(topic, b"fence", qos=qos)
    assert [p.payload for p in again.until(b"fence")] == [b"fence"]


@pytest.mark.normative(f"{V5}4.4.0-1")
def test_message_is_not_sent_again_while_the_connection_lasts(wires, topic):
    """A server that has one message in flight at a time keeps the fence back: then the silence tells."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.deliver(topic, b"held", qos=1)
    subscriber.expect(PUBLISH, payload=b"held")
    publisher.deliver(topic, b"fence", qos=1)
    found, ended = subscriber.messages(lambda so_far: bool(so_far) and so_far[-1].payload == b"fence")
    if ended is not None and ended.closed:
        raise Blocked(f"the fence did not come: {ended}")
    assert b"held" not in [p.payload for p in found]


def resumed(wires, client_id):
    """Return a new connection of a client to its session. Raises Blocked where the server has not kept it."""
    again = wires(client_id, keep=True)
    if not again.connack.session_present:
        raise Blocked("the session was not kept: that is examined elsewhere")
    return again
