"""MQTT 5.0 sections 3.3.4 and 4.9: Receive Maximum, in both directions."""

import pytest
from mqproof.harness.verdicts import Unsupported, check
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import subscribe, unsubscribe

BOUND = ("mqtt-5.0:MQTT-4.9.0-2", "mqtt-5.0:MQTT-3.3.4-9")
STORED = "mqtt-5.0:MQTT-4.5.0-1"


@pytest.mark.normative(*BOUND, "mqtt-5.0:MQTT-4.9.0-1")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("window", [1, 3])
@ahead
def test_server_keeps_within_the_clients_receive_maximum(wires, topic, qos, window):
    """The server may begin with less than the client lets it (4.9.0-1), but not with nothing."""
    subscriber, publisher = wires(properties={"receive_maximum": window}), wires()
    subscriber.subscribe(topic, qos=qos)
    for number in range(window + 3):
        publisher.deliver(topic, f"{number}".encode(), qos=qos)
    quota = len(subscriber.opened(window + 1))
    check(quota > 0, expected="a message", actual="none", statement="mqtt-5.0:MQTT-4.9.0-1")
    assert quota <= window


@pytest.mark.normative(STORED, "mqtt-5.0:MQTT-4.6.0-5")
@pytest.mark.parametrize("qos", [1, 2])
def test_window_opens_with_each_acknowledgement(wires, topic, qos):
    subscriber, publisher = wires(properties={"receive_maximum": 1}), wires()
    subscriber.subscribe(topic, qos=qos)
    bodies = [f"{number}".encode() for number in range(4)]
    for body in bodies:
        publisher.deliver(topic, body, qos=qos)
    got = []
    for _ in bodies:
        message = subscriber.must_receive(PUBLISH, statement=STORED)
        got.append(message.payload)
        acknowledge(subscriber, message)
    check(sorted(got) == bodies, expected=bodies, actual=got, statement=STORED)
    check(got == bodies, expected=bodies, actual=got, statement="mqtt-5.0:MQTT-4.6.0-5")


@pytest.mark.normative(*BOUND)
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_each_acknowledgement_lets_one_more_message_through(wires, topic, qos):
    """The oldest is acknowledged while all others of the window stay open."""
    window = 4
    subscriber, publisher = wires(properties={"receive_maximum": window}), wires()
    subscriber.subscribe(topic, qos=qos)
    for number in range(3 * window):
        publisher.deliver(topic, f"{number}".encode(), qos=qos)
    opened = subscriber.opened(window + 1)
    most = len(opened)
    for _ in range(window):
        if opened:
            acknowledge(subscriber, opened.pop(0))
        opened += subscriber.opened(window + 1 - len(opened))
        most = max(most, len(opened))
    assert 0 < most <= window


@pytest.mark.normative(*BOUND)
def test_window_stays_shut_until_pubcomp(wires, topic):
    """A PUBREC below 0x80 gives nothing back; PUBCOMP does."""
    subscriber, publisher = wires(properties={"receive_maximum": 1}), wires()
    subscriber.subscribe(topic, qos=2)
    for body in (b"1", b"2"):
        publisher.deliver(topic, body, qos=2)
    first = subscriber.expect(PUBLISH)
    subscriber.send(PUBREC, packet_id=first.packet_id)
    subscriber.expect(PUBREL)
    subscriber.ping()
    early = subscriber.arrived(PUBLISH)
    subscriber.send(PUBCOMP, packet_id=first.packet_id)
    assert early == []
    subscriber.expect(PUBLISH, payload=b"2")


@pytest.mark.normative(STORED)
@pytest.mark.parametrize(("qos", "answer"), [(1, PUBACK), (2, PUBREC)])
def test_refusal_opens_the_window(wires, topic, qos, answer):
    subscriber, publisher = wires(properties={"receive_maximum": 1}), wires()
    subscriber.subscribe(topic, qos=qos)
    for body in (b"1", b"2"):
        publisher.deliver(topic, body, qos=qos)
    first = subscriber.expect(PUBLISH)
    subscriber.send(answer, packet_id=first.packet_id, reason_code=0x80)
    assert subscriber.must_receive(PUBLISH).payload == b"2"


@pytest.mark.normative("mqtt-5.0:MQTT-4.9.0-3", "mqtt-5.0:MQTT-3.3.4-10")
def test_other_packets_are_handled_while_the_window_is_shut(wires, topic):
    """PINGRESP, SUBACK, UNSUBACK and PUBACK come through; messages at QoS 0 may wait, too (section 4.9)."""
    subscriber, publisher = wires(properties={"receive_maximum": 1}), wires()
    subscriber.subscribe(topic, qos=1)
    for body in (b"1", b"2", b"3"):
        publisher.deliver(topic, body, qos=1)
    subscriber.expect(PUBLISH, payload=b"1")
    subscriber.must_stay()
    subscriber.send(subscribe(subscriber, f"{topic}/0".encode(), 0, number=77))
    subscriber.must_receive(SUBACK, packet_id=77)
    subscriber.send(unsubscribe(subscriber, f"{topic}/0".encode(), number=78))
    subscriber.must_receive(UNSUBACK, packet_id=78)
    subscriber.publish(f"{topic}/mine", qos=1, packet_id=79)
    subscriber.must_receive(PUBACK, packet_id=79)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.4-7", "mqtt-5.0:MQTT-4.9.0-1")
def test_server_takes_as_many_messages_as_its_receive_maximum(wires, topic):
    """One more may end the connection (0x93); these may not."""
    wire = wires()
    window = dict(wire.connack.properties).get("receive_maximum", 65535)
    if window > 2000:
        raise Unsupported("the server's Receive Maximum is too large to fill")
    for number in range(1, window + 1):
        wire.publish(topic, qos=2, packet_id=number)
    for number in range(1, window + 1):
        wire.must_receive(PUBREC, packet_id=number)
    wire.must_stay()


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.4-7", "mqtt-5.0:MQTT-4.13.1-1")
@ahead
def test_server_that_is_flooded_closes_with_a_reason_or_copes(wires, topic):
    wire = wires()
    window = dict(wire.connack.properties).get("receive_maximum", 65535)
    if window > 2000:
        raise Unsupported("the server's Receive Maximum is too large to exceed")
    for number in range(1, window + 3):
        wire.publish(topic, qos=2, packet_id=number)
    wire.must_close({0x93, 0x81, 0x82}, lenient=True)


def acknowledge(subscriber, message):
    """Finish the exchange of one message."""
    subscriber.answer(message)
    if message.qos == 2:
        subscriber.answer(subscriber.expect(PUBREL, packet_id=message.packet_id))
