"""Sections 4.2 of MQTT 5.0 and 7 of 3.1.1: the transport is an ordered stream of octets, and nothing else is needed."""

import pytest
from mqproof.harness.wires.mqtt_packets import CONNACK, PINGRESP, PUBACK, PUBLISH, SUBACK, UNSUBACK
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import connect, packet, publish, subscribe, unsubscribe

ANSWERS = ((SUBACK,), (PUBACK, PUBLISH), (UNSUBACK,), (PINGRESP,))  # to each packet of the conversation
CONVERSATION = tuple(kind for kinds in ANSWERS for kind in kinds)


@pytest.mark.normative("mqtt-3.1.1:MQTT-7.1.1-1", "mqtt-3.1.1:MQTT-7.0.0-2", "mqtt-5.0:MQTT-4.2-1")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_packets_may_be_cut_and_joined_by_the_transport(wires, topic, size):
    """Octet by octet, or all in one segment: a plain conversation without anything optional.

    It waits for CONNACK: whether a server reads on before it has answered CONNECT is another question,
    and so is what is not answered in segments of its own either.
    """
    plain, wire = wires(), wires.raw()
    for octets, kinds in zip(packets(plain, topic.encode()), ANSWERS, strict=True):
        plain.send(octets)
        for kind in kinds:
            plain.expect(kind)
    plain.disconnect()
    cut(wire, opening(wire, wires.names.client_id().encode()), size)
    wire.must_receive(CONNACK)
    cut(wire, conversation(wire, topic.encode()), size)
    for kind in CONVERSATION:
        wire.must_receive(kind)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.5-2")
@ahead
def test_message_that_is_not_allowed_is_acknowledged_or_ends_the_connection(wire, topic):
    """Clients commonly may not publish on $SYS; where they may, it is acknowledged like any other."""
    wire.publish(f"$SYS/{topic}", qos=1, packet_id=9)
    ended, _ = wire.reaction()
    acknowledged = [p.packet_id for p in wire.arrived(PUBACK)]
    assert acknowledged == [9] or ended.closed


def cut(wire, said, size):
    """Send octets in parts of this size."""
    for start in range(0, len(said), size):
        wire.send(said[start : start + size])


def opening(wire, client_id):
    """Return the octets of a CONNECT with the target's login."""
    login = [text.encode() for text in (wire.target.user, wire.target.password) if text is not None]
    return connect(wire, client_id, *login, flags=(0, 0x80, 0xC0)[len(login)] | 2)


def conversation(wire, topic):
    """Return the octets of a client that says everything but QoS 2, which has tests of its own."""
    return b"".join(packets(wire, topic))


def packets(wire, topic):
    """Return the packets of that client."""
    return [
        subscribe(wire, topic, 0), publish(wire, topic, first=0x32, number=2),
        unsubscribe(wire, topic + b"/other", number=4), packet(0xC0),  # another: PUBLISH may come at any time
    ]  # fmt: skip
