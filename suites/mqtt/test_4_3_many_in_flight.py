"""Sections 4.3 to 4.6 and 4.9: many messages in flight at once, from a publisher and to a subscriber.

3.1.1 knows no window and 5.0 announces one, so that a hundred may be in flight, or as many as the server announces.
What it answered with PUBACK or PUBREC it has taken ownership of, and its subscribers must get it.
"""

import pytest
from mqproof.harness.verdicts import Blocked, check
from mqproof.harness.wires.mqtt import MESSAGE
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, describe, made
from mqproof.suites.mqtt.ahead import ahead

V4, V5 = "mqtt-3.1.1:MQTT-", "mqtt-5.0:MQTT-"
AT_ONCE = 100  # messages of a publisher
WAITING = 45  # messages for a subscriber: more than brokers send unacknowledged unless told otherwise
TAKEN = {
    1: (f"{V4}4.3.2-2", f"{V4}4.5.0-1", f"{V5}4.3.2-4", f"{V5}4.5.0-1"),
    2: (f"{V4}4.3.3-2", f"{V4}4.5.0-1", f"{V5}4.3.3-8", f"{V5}4.5.0-1"),
}
ONCE = (f"{V4}4.3.3-2", f"{V5}4.3.3-10")
ORDER = (f"{V4}4.6.0-6", f"{V5}4.6.0-5")
STORED = (f"{V4}4.5.0-1", f"{V5}4.5.0-1")
FENCE = b"fence"
RESENT = (f"{V4}4.4.0-1", f"{V5}4.4.0-1")


@pytest.mark.normative(*TAKEN[1], *ORDER)
@ahead
def test_all_qos_1_messages_in_flight_at_once_are_delivered(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    bodies = begin(publisher, topic, 1, window(publisher))
    accepted(publisher.take(len(bodies), PUBACK))
    must_arrive(subscriber, publisher, topic, 1, bodies, TAKEN[1])


def together(publisher, topic):
    """PUBLISH in one segment, PUBREL in one segment."""
    bodies = begin(publisher, topic, 2, window(publisher))
    answers = accepted(publisher.take(len(bodies), PUBREC))
    publisher.send(*(made(PUBREL, packet_id=answer.packet_id) for answer in answers))
    publisher.take(len(bodies), PUBCOMP)
    return bodies


def one_by_one(publisher, topic):
    """PUBLISH in one segment, then each PUBREL after the PUBCOMP of the one before."""
    bodies = begin(publisher, topic, 2, window(publisher))
    for answer in accepted(publisher.take(len(bodies), PUBREC)):
        publisher.send(PUBREL, packet_id=answer.packet_id)
        publisher.expect(PUBCOMP, packet_id=answer.packet_id)
    return bodies


def as_they_come(publisher, topic):
    """PUBLISH in one segment, each PUBREL at once upon its PUBREC."""
    bodies = begin(publisher, topic, 2, window(publisher))
    for number in range(1, len(bodies) + 1):
        accepted([publisher.expect(PUBREC, packet_id=number)])
        publisher.send(PUBREL, packet_id=number)
    publisher.take(len(bodies), PUBCOMP)
    return bodies


def full_window(publisher, topic):
    """After each PUBCOMP its packet identifier is used for the next message, so that the window stays full."""
    open_at_once = min(20, window(publisher))
    bodies = begin(publisher, topic, 2, open_at_once)
    later = [f"{number}".encode() for number in range(open_at_once, 3 * open_at_once)]
    for body in (*later, *[None] * open_at_once):
        (answer,) = accepted(publisher.take(1, PUBREC))
        publisher.send(PUBREL, packet_id=answer.packet_id)
        publisher.expect(PUBCOMP, packet_id=answer.packet_id)
        if body is not None:
            publisher.publish(topic, body, qos=2, packet_id=answer.packet_id)
    return bodies + later


RELEASES = {
    "together": together,
    "one by one": one_by_one,
    "as they come": as_they_come,
    "full window": full_window,
}


@pytest.mark.normative(*TAKEN[2], *ONCE, *ORDER)
@pytest.mark.parametrize("release", RELEASES)
@ahead
def test_all_qos_2_messages_in_flight_at_once_are_delivered_once(wires, topic, release):
    """PUBREL goes out in the order of PUBREC (4.6.0-4), in every rhythm that this allows."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    bodies = RELEASES[release](publisher, topic)
    must_arrive(subscriber, publisher, topic, 2, bodies, TAKEN[2])


@pytest.mark.normative(*STORED, *ONCE, *ORDER)
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_subscriber_that_withheld_its_acknowledgements_gets_everything(wires, topic, qos):
    """It then acknowledges in one segment what it has, and at once what follows."""
    subscriber, publisher = wires(**({"properties": {"receive_maximum": 7}} if wires.is_v5 else {})), wires()
    subscriber.subscribe(topic, qos=qos)
    bodies = delivered(publisher, topic, qos)
    subscriber.ping()
    held = subscriber.arrived(PUBLISH)
    subscriber.send(*(made(PUBACK if qos == 1 else PUBREC, packet_id=each.packet_id) for each in held))
    must_arrive(subscriber, publisher, topic, qos, bodies, STORED, already=held)


@pytest.mark.normative(*RESENT, *STORED, *ORDER)
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_all_unacknowledged_messages_come_again(wires, topic, client_id, qos):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    bodies = delivered(publisher, topic, qos)
    subscriber.ping()
    first = [(each.packet_id, each.payload) for each in subscriber.arrived(PUBLISH)]
    subscriber.cut()
    got, ended = received(wires(client_id, keep=True), publisher, topic, qos, bodies)
    repeated = {(each.packet_id, each.payload) for each in got}  # their DUP is examined for one message
    check(repeated >= {*first}, expected=f"again {first}", actual=sorted(repeated), statement=RESENT)
    must_be_all(got, ended, bodies, STORED)


@pytest.mark.normative(*STORED, *ORDER)
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_many_messages_wait_for_an_absent_client(wires, topic, client_id, qos):
    subscriber, publisher = wires(client_id, keep=True), wires()
    subscriber.subscribe(topic, qos=qos)
    subscriber.disconnect()
    bodies = delivered(publisher, topic, qos)
    must_arrive(wires(client_id, keep=True), publisher, topic, qos, bodies, STORED)


def window(publisher):
    """Return how many messages the server takes at once, a hundred at most."""
    return min(AT_ONCE, publisher.window)


def begin(publisher, topic, qos, number):
    """Send so many messages in one segment, with the packet identifiers from 1 on; return their payloads."""
    publisher.require_qos(qos)
    bodies = [f"{each}".encode() for each in range(number)]
    packets = (
        made(PUBLISH, topic=topic, payload=body, qos=qos, packet_id=each) for each, body in enumerate(bodies, 1)
    )
    publisher.send(*packets)
    return bodies


def delivered(publisher, topic, qos):
    """Publish one message after the other; return their payloads."""
    bodies = [f"{each}".encode() for each in range(WAITING)]
    for body in bodies:
        publisher.deliver(topic, body, qos=qos)
    return bodies


def accepted(answers):
    """Return the answers. Raises Blocked where the server has refused a message, as 5.0 lets it."""
    for answer in answers:
        if answer.reason_code >= 0x80:
            raise Blocked(f"the broker does not take a message: {describe(answer)}")
    return answers


def must_arrive(subscriber, publisher, topic, qos, bodies, owed, *, already=()):
    """Accuse the broker unless all messages come, in order, none twice; ``already``: those that have come before."""
    found, ended = received(subscriber, publisher, topic, qos, {*bodies} - {each.payload for each in already})
    must_be_all([*already, *found], ended, bodies, owed)


def received(subscriber, publisher, topic, qos, bodies):
    """Return what comes until a fence and these messages have come, and how the wait ended if it was before.

    The fence has the same publisher, topic and QoS: it ends the wait for a second copy. What it has overtaken is late,
    not lost, and gets its time.
    """
    publisher.deliver(topic, FENCE, qos=qos, packet_id=65535)
    missing = {*bodies, FENCE}

    def complete(so_far):
        if so_far:
            missing.discard(so_far[-1].payload)
        return not missing

    return subscriber.messages(complete, MESSAGE)


def must_be_all(got, ended, bodies, owed):
    """Accuse the broker where messages are lost, come twice at QoS 2, or for the first time out of order."""
    payloads, wanted = [each.payload for each in got], [*bodies, FENCE]
    lost = [body.decode() for body in wanted if body not in payloads]
    said = f"{len(lost)} of them lost: {' '.join(lost)}" + (f"; {ended}" if ended else "")
    check(not lost, expected=f"all {len(wanted)} messages", actual=said, statement=owed)
    firsts = list(dict.fromkeys(payloads))
    if got[0].qos == 2:
        check(len(payloads) == len(firsts), expected="each message once", actual=payloads, statement=ONCE)
    check(firsts == wanted, expected=wanted, actual=payloads, statement=ORDER)
