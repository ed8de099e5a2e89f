"""Sections 3.12 to 3.14: PINGREQ, PINGRESP and DISCONNECT."""

import pytest
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType
from mqproof.harness.verdicts import Untested, check
from mqproof.harness.wires.mqtt_packets import DISCONNECT, PINGRESP, PUBLISH
from mqproof.suites.mqtt.octets import packet


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.12.4-1", "mqtt-5.0:MQTT-3.12.4-1")
def test_each_pingreq_is_answered(wire):
    wire.send(b"\xc0\0" * 3)
    for _ in range(3):
        wire.must_receive(PINGRESP)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.14.4-3", "mqtt-5.0:MQTT-3.14.4-3")
def test_disconnect_ends_the_subscriptions_of_a_clean_session(wires, topic, client_id):
    """Nothing is sent to a client that has said goodbye, although its socket is still open."""
    leaving, publisher = wires(client_id), wires()
    leaving.subscribe(topic)
    leaving.send(DISCONNECT)
    leaving.reaction(probe=False)  # a server that closes has done what it does for it, and is not met in the middle
    publisher.deliver(topic, b"too late", qos=1)
    leaving.reaction(probe=False)
    assert leaving.arrived(PUBLISH) == []


@pytest.mark.normative(
    "mqtt-5.0:MQTT-3.14.2-1", "mqtt-5.0:MQTT-3.14.4-1", "mqtt-5.0:MQTT-3.14.4-2", "mqtt-5.0:MQTT-3.14.2-2",
    "mqtt-5.0:MQTT-4.13.2-1",
)  # fmt: skip
@pytest.mark.parametrize("cause", [b"\x36\x05\0\1a\0\0", b"\x80\0", b"\x60\x02\0\1", b"\x10\0", b"\0\0"])
def test_disconnect_of_the_server_is_well_formed_and_the_last_thing_it_says(wire, cause):
    wire.send(cause)
    ended, _ = wire.reaction()
    said = wire.heard[1:]
    ends = [p for p in said if isinstance(p, DISCONNECT)]
    if not ends:
        raise Untested("the server ends the connection without DISCONNECT, or overlooks the error")
    codes, defined = {p.reason_code for p in ends}, REASON_CODES[PacketType.DISCONNECT]
    check(codes <= defined, expected="a defined code", actual=codes, statement="mqtt-5.0:MQTT-3.14.2-1")
    last = isinstance(said[-1], DISCONNECT) and len(ends) == 1
    check(last, expected="DISCONNECT as the last packet", actual=said, statement="mqtt-5.0:MQTT-3.14.4-1")
    closes = ("mqtt-5.0:MQTT-3.14.4-2", "mqtt-5.0:MQTT-4.13.2-1")
    check(ended.closed, expected="the broker to close the connection", actual=ended, statement=closes)
    names = {name for p in ends for name, _ in p.properties}
    expiry = "session_expiry_interval"
    check(expiry not in names, expected=f"no {expiry}", actual=names, statement="mqtt-5.0:MQTT-3.14.2-2")


@pytest.mark.normative("mqtt-5.0:MQTT-3.14.2-3", "mqtt-5.0:MQTT-3.14.2-4")
@pytest.mark.parametrize("cause", [b"\x36\x05\0\1a\0\0", b"\x80\0", b"\x60\x02\0\1"])
def test_disconnect_fits_the_clients_maximum_packet_size(wires, cause):
    wire = wires(properties={"maximum_packet_size": 32})
    wire.send(cause)
    wire.must_close()
    assert max(wire.sizes()[1:], default=0) <= 32


@pytest.mark.normative("mqtt-5.0:MQTT-3.14.2-1", "mqtt-5.0:MQTT-4.13.1-1")
@pytest.mark.parametrize("code", [0x01, 0x8E, 0x9C, 0xFF])
def test_disconnect_with_a_code_that_clients_do_not_have_ends_the_connection(wire, code):
    """A server that overlooks the code may leave it to the client to close (section 3.14.4)."""
    wire.send(packet(0xE0, bytes([code])))
    wire.must_close(probe=False, lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-4.1.0-2")
def test_session_expiry_cannot_be_set_by_disconnect_where_connect_set_none(wires, client_id):
    """Section 3.14.2.2.2 calls it a Protocol Error: the session must not be kept."""
    wires(client_id).disconnect(properties={"session_expiry_interval": 60})
    again = wires(client_id, keep=True)
    assert again.connack.session_present is False
