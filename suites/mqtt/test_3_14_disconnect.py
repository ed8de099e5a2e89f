"""Sections 3.12 to 3.14: PINGREQ, PINGRESP and DISCONNECT."""

import pytest
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType
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
    wire.must_close()
    said = [type(p) for p in wire.heard[1:]]
    codes = {p.reason_code for p in wire.heard if isinstance(p, DISCONNECT)}
    names = {name for p in wire.heard if isinstance(p, DISCONNECT) for name, _ in p.properties}
    assert (DISCONNECT in said[:-1], codes <= REASON_CODES[PacketType.DISCONNECT]) == (False, True)
    assert "session_expiry_interval" not in names


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
    wire.send(packet(0xE0, bytes([code])))
    wire.must_close(probe=False)


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-23")
def test_session_expiry_cannot_be_set_by_disconnect_where_connect_set_none(wires, client_id):
    """Section 3.14.2.2.2 calls it a Protocol Error: the session must not be kept."""
    wires(client_id).disconnect(properties={"session_expiry_interval": 60})
    again = wires(client_id, keep=True)
    assert again.connack.session_present is False
