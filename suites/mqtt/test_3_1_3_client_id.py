"""Section 3.1.3.1: the client identifier."""

import string

import pytest
from mqproof.harness.verdicts import Blocked, Unsupported, check
from mqproof.harness.wires.mqtt_packets import CONNACK
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import connect

ALPHABET = string.digits + string.ascii_lowercase + string.ascii_uppercase
ODD = [" with space", "a/b", "a+b#", "\u00e4\u00f6\u4e2d", 24, 256, 65535]  # an ending, or a length


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-5", "mqtt-5.0:MQTT-3.1.3-5")
@pytest.mark.parametrize("length", [*range(14, 24), pytest.param(1, marks=pytest.mark.destructive)])
def test_identifier_of_letters_and_digits_is_accepted(wires, length):
    """One of a single character may be somebody's: only where nobody else is."""
    wire = wires.raw()
    wire.send(wire.connect_packet((wires.names.client_id()[-9:] + ALPHABET)[:length]))
    wire.must_receive(CONNACK, reason_code=0)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-5", "mqtt-5.0:MQTT-3.1.3-5")
@pytest.mark.parametrize("letters", [ALPHABET[start : start + 9] for start in range(0, 62, 9)])
def test_every_letter_and_digit_is_accepted(wires, letters):
    wire = wires.raw()
    wire.send(wire.connect_packet((letters + wires.names.client_id()[::-1])[:23]))
    wire.must_receive(CONNACK, reason_code=0)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-9", "mqtt-5.0:MQTT-3.1.3-8")
@pytest.mark.parametrize("odd", ODD)
@ahead
def test_identifier_that_may_be_refused_is_accepted_or_refused_properly(wires, odd):
    """More than 23 octets, and other characters, are the server's choice; so are its limits on packets."""
    wire = wires.raw()
    own = wires.names.client_id()  # of this test alone: a second client of the same name would end the first
    wire.send(wire.connect_packet(own.ljust(odd, "x") if isinstance(odd, int) else own + odd))
    ended, code = wire.reaction()
    refused = {0x02} if not wire.is_v5 else {0x85, 0x80, 0x83, 0x95, 0x97}
    assert (ended.closed, code) in [(False, 0), (True, None), *((True, each) for each in refused)]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-6", "mqtt-5.0:MQTT-3.1.3-6")
def test_clients_without_identifier_are_told_apart(wires):
    first, second = nameless(wires), nameless(wires)
    first.must_stay()
    second.must_stay()


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-16", "mqtt-5.0:MQTT-3.1.3-6")
def test_assigned_identifiers_are_told_and_differ(wires):
    names = [assigned(nameless(wires)) for _ in range(3)]
    assert len({*names} - {None, ""}) == 3


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.3-7")
def test_assigned_identifier_is_used_as_if_the_client_had_sent_it(wires, topic, client_id):
    lasting = (("session_expiry_interval", 60),)
    wires(client_id, properties=lasting).disconnect()
    if not wires(client_id, keep=True).connack.session_present:
        raise Blocked("a session that began clean is not kept for a client that has a name either")
    first = nameless(wires, properties=lasting)
    first.subscribe(topic, qos=1)
    first.disconnect()
    again = wires(assigned(first), keep=True)
    assert again.connack.session_present is True


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.3-8", "mqtt-3.1.1:MQTT-3.1.3-7", "mqtt-3.1.1:MQTT-3.2.2-4", "mqtt-3.1.1:MQTT-3.2.2-5",
)  # fmt: skip
def test_empty_identifier_without_clean_session_is_refused_with_code_2(wires):
    wire = wires.raw()
    wire.send(connect(wire, b"", flags=0))
    ended, code = wire.reaction(probe=False)
    code_2 = ("mqtt-3.1.1:MQTT-3.1.3-8", "mqtt-3.1.1:MQTT-3.1.3-7")
    check(code != 0, expected="no CONNACK 0x00", actual="CONNACK 0x00", statement=code_2)
    check(code == 2, expected="CONNACK 0x02", actual=f"{code}; {ended}", statement="mqtt-3.1.1:MQTT-3.1.3-8")
    closes = ("mqtt-3.1.1:MQTT-3.1.3-8", "mqtt-3.1.1:MQTT-3.2.2-5")
    check(ended.closed, expected="a close", actual=ended, statement=closes)
    flags = [p.session_present for p in wire.arrived(CONNACK)]
    check(flags == [False], expected="Session Present 0", actual=flags, statement="mqtt-3.1.1:MQTT-3.2.2-4")


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-2", "mqtt-5.0:MQTT-3.1.3-2")
def test_sessions_are_kept_by_identifier(wires, names, topic):
    """Identifiers that differ in their last letter, or in its case, are different clients."""
    first, second = names.client_id()[:21] + "aB", names.client_id()[:21] + "ab"
    stem = first[:21]
    wires(f"{stem}aB", keep=True).subscribe(f"{topic}/first", qos=1)
    others = [wires(f"{stem}{end}", keep=True).connack.session_present for end in ("ab", "aC")]
    again = wires(f"{stem}aB", keep=True).connack.session_present
    assert (others, again, second != first) == ([False, False], True, True)


def nameless(wires, **values):
    """Connect without an identifier. Raises Unsupported where the server does not allow that."""
    wire = wires.raw()
    wire.send(wire.connect_packet("", **values))
    wire.connack = wire.expect(CONNACK)
    if wire.connack.reason_code in (0x02, 0x85):
        raise Unsupported("the server accepts no empty client identifier (section 3.1.3.1)")
    return wire


def assigned(wire):
    return dict(wire.connack.properties).get("assigned_client_identifier")
