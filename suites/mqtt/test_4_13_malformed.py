"""Sections 4.8 of MQTT 3.1.1 and 4.13 of 5.0: malformed packets of every kind, each on a connection of its own.

A witness, connected all the while, proves that nobody else noticed. What the text does not forbid is not accused: a
server of 5.0 that overlooks a fault is a finding in the transcript (section 4.13.1).
"""

import time

import pytest
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType, Version
from mqproof.harness.verdicts import Blocked, check
from mqproof.harness.wires.base import End, Ended
from mqproof.harness.wires.mqtt_link import deadline
from mqproof.harness.wires.mqtt_packets import CONNACK, DISCONNECT, PINGREQ, PINGRESP
from mqproof.suites.mqtt import malformed

AT_ONCE = 24  # connections that are open together
DISCONNECTS = 0xE0  # the first octet of DISCONNECT, behind which nothing is answered
GRACE = 0.05  # seconds, before patience: a server that answers PINGREQ first may close so much later


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-4.13.1-1", "mqtt-5.0:MQTT-4.13.2-1", "mqtt-5.0:MQTT-3.14.2-1",
)  # fmt: skip
@pytest.mark.parametrize("group", malformed.groups(Version.V3_1_1))
def test_malformed_packets_end_their_connection_or_are_overlooked(wires, topic, group):
    bad = misjudged(wires, topic, group)
    check(not bad, expected="a legal reaction to each", actual=bad, statement=broken(bad))


@pytest.mark.normative("mqtt-5.0:MQTT-4.13.1-1", "mqtt-5.0:MQTT-4.13.2-1", "mqtt-5.0:MQTT-3.14.2-1")
@pytest.mark.parametrize("group", sorted({*malformed.groups(Version.V5_0)} - {*malformed.groups(Version.V3_1_1)}))
def test_malformed_properties_and_codes_end_their_connection_or_are_overlooked(wires, topic, group):
    bad = misjudged(wires, topic, group)
    check(not bad, expected="a legal reaction to each", actual=bad, statement=broken(bad))


def broken(bad):
    """Return the statements that these reactions break, not the reactions of other cases."""
    found = {
        "mqtt-5.0:MQTT-3.14.2-1": any("DISCONNECT 0x" in text for text in bad),
        "mqtt-5.0:MQTT-4.13.2-1": any("after DISCONNECT" in text for text in bad),
    }
    return (*(key for key, is_found in found.items() if is_found), "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-4.13.1-1")


def misjudged(wires, topic, group):
    """Send each case of a group and return those that met an illegal reaction. Raises Blocked without the witness."""
    witness, bad, overlooked = wires(), [], []
    witness.subscribe(f"{topic}/witness", qos=1)
    waiting = list(malformed.cases(group, wires.version, topic))
    witness.note(f"{len(waiting)} malformed packets of the group {group!r}")
    while waiting:
        batch, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
        begun = list(zip(batch, let_in(wires, len(batch)), strict=True))
        for case, wire in begun:
            wire.send(case.octets, PINGREQ())
        until = deadline()
        for case, wire in begun:
            verdict = judge(wire, case, until)
            bad += [f"{case.name}: {verdict}"] if verdict not in ("closed", "overlooked") else []
            overlooked += [case.name] if verdict == "overlooked" else []
            wire.close()
    witness.note(f"finding: {len(overlooked)} overlooked: {', '.join(overlooked[:40])}")
    witness.deliver(f"{topic}/witness", b"fence", qos=1)
    witness.until(b"fence")
    return bad


def let_in(wires, number):
    """Return so many accepted connections. Raises Blocked.

    What is malformed comes later: a server that meets it before it has answered CONNECT may close without an answer.
    """
    opened = [wires.raw(silent=True) for _ in range(number)]
    for wire in opened:
        wire.send(wire.connect_packet())
    for wire in opened:
        if code := wire.expect(CONNACK).reason_code:
            raise Blocked(f"the broker lets us in no more: CONNACK 0x{code:02X}")
    return opened


def judge(wire, case, until):
    """Return ``closed``, ``overlooked``, or what was wrong with the reaction until that moment, the batch's."""
    said = []
    while not isinstance(got := wire.arrive(until), Ended):
        said.append(got)
        if isinstance(got, PINGRESP):
            until = min(until, deadline(GRACE)) if case.demanded else time.monotonic()
    codes = [packet.reason_code for packet in said if isinstance(packet, DISCONNECT)]
    if got.end is End.MALFORMED:
        return f"answered by {got.detail}"
    if any(code < 0x80 or code not in REASON_CODES[PacketType.DISCONNECT] for code in codes):
        return f"DISCONNECT 0x{codes[0]:02X}"
    if codes and not isinstance(said[-1], DISCONNECT):
        return f"{said[-1]} after DISCONNECT"
    if got.closed:
        return "closed"
    if got.end is End.TIMEOUT and not case.demanded and not codes and case.octets[0] == DISCONNECTS:
        return "overlooked"  # the server may leave it to the client to close (5.0 section 3.14.4)
    if codes or not any(isinstance(packet, PINGRESP) for packet in said):
        return str(got)
    return "the connection stays open" if case.demanded else "overlooked"
