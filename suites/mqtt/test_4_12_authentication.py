"""MQTT 5.0 sections 3.15 and 4.12: AUTH and enhanced authentication.

The exchange itself is examined with the method of the reference broker, which sends the client's data back; a server
that does not offer it is examined only in how it says so.
"""

import pytest
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType
from mqproof.harness.verdicts import Blocked, Unsupported
from mqproof.harness.wires.mqtt_link import deadline
from mqproof.harness.wires.mqtt_packets import AUTH, CONNACK
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import packet

METHOD = "MQPROOF-ECHO"


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-1")
def test_unknown_method_is_refused(wires):
    wire = wires.raw()
    wire.send(wire.connect_packet(properties={"authentication_method": "mqproof unknown"}))
    wire.must_close({0x8C, 0x87, 0x80, 0x82, 0x83}, probe=False)


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-6")
def test_server_speaks_of_no_method_unless_the_client_does(wire, topic):
    wire.deliver(topic, qos=1)
    told = [dict(getattr(packet, "properties", ())) for packet in wire.heard if not isinstance(packet, AUTH)]
    assert len(told) == len(wire.heard)
    assert not any("authentication_method" in properties for properties in told)


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-7", "mqtt-5.0:MQTT-4.13.1-1")
@pytest.mark.parametrize("code", [0x00, 0x18, 0x19])
def test_auth_without_a_method_in_connect_ends_the_connection(wire, code):
    wire.send(AUTH, reason_code=code, properties={"authentication_method": METHOD})
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-3.15.1-1", "mqtt-5.0:MQTT-4.13.1-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_auth_with_reserved_flags_ends_the_connection(wire, flags):
    wire.send(packet(0xF0 | flags, b""))
    wire.must_close()


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-2", "mqtt-5.0:MQTT-3.15.2-1", "mqtt-5.0:MQTT-4.12.0-5")
def test_server_continues_with_code_0x18_and_the_same_method(wires):
    challenge = begun(wires).heard[0]
    assert (challenge.reason_code, dict(challenge.properties)["authentication_method"]) == (0x18, METHOD)


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-5", "mqtt-5.0:MQTT-4.12.0-3")
def test_successful_connack_names_the_method(wires):
    wire = begun(wires)
    answer(wire)
    connack = wire.must_receive(CONNACK, reason_code=0)
    assert dict(connack.properties).get("authentication_method") == METHOD


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-4", "mqtt-5.0:MQTT-3.1.4-2", "mqtt-5.0:MQTT-3.2.2-7")
def test_wrong_answer_is_refused(wires):
    wire = begun(wires)
    answer(wire, b"wrong")
    wire.must_close(REASON_CODES[PacketType.CONNACK] - {0}, probe=False)


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-3", "mqtt-5.0:MQTT-4.12.0-4")
@pytest.mark.parametrize("code", [0x00, 0x19])
def test_answer_with_another_code_is_refused(wires, code):
    wire = begun(wires)
    answer(wire, code=code)
    wire.must_close(probe=False)


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.0-5", "mqtt-5.0:MQTT-4.12.0-4")
def test_answer_with_another_method_is_refused(wires):
    wire = begun(wires)
    answer(wire, method="ANOTHER")
    wire.must_close(probe=False)


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-30")
@ahead
def test_other_packets_during_authentication_are_not_processed(wires, topic):
    subscriber, wire = wires(), begun(wires)
    subscriber.subscribe(topic, qos=1)
    wire.publish(topic, b"too early", qos=1)
    wire.reaction(probe=False)
    assert subscriber.settle(wires()) == []


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.1-1", "mqtt-5.0:MQTT-4.12.1-2")
def test_reauthentication_succeeds_with_the_same_method(wires):
    wire = authenticated(wires)
    wire.send(AUTH, reason_code=0x19, properties={"authentication_method": METHOD, "authentication_data": b"more"})
    wire.expect(AUTH)
    answer(wire)
    wire.must_receive(AUTH, reason_code=0)


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.1-1", "mqtt-5.0:MQTT-4.12.1-2")
def test_reauthentication_with_another_method_ends_the_connection(wires):
    wire = authenticated(wires)
    wire.send(AUTH, reason_code=0x19, properties={"authentication_method": "ANOTHER"})
    wire.must_close()


@pytest.mark.normative("mqtt-5.0:MQTT-4.12.1-2", "mqtt-5.0:MQTT-4.13.2-1")
def test_failed_reauthentication_ends_the_connection(wires):
    wire = authenticated(wires)
    wire.send(AUTH, reason_code=0x19, properties={"authentication_method": METHOD, "authentication_data": b"more"})
    wire.expect(AUTH)
    answer(wire, b"wrong")
    wire.must_close()


@pytest.mark.normative("mqtt-5.0:MQTT-3.15.2-2", "mqtt-5.0:MQTT-3.15.2-3")
def test_auth_fits_the_clients_maximum_packet_size(wires):
    wire = begun(wires, maximum_packet_size=60)
    answer(wire)
    wire.expect(CONNACK)
    assert max(wire.sizes()) <= 60


def begun(wires, **properties):
    """Begin an exchange. Raises Unsupported where the server does not offer the method."""
    wire = wires.raw()
    given = {"authentication_method": METHOD, "authentication_data": b"hello", **properties}
    wire.send(wire.connect_packet(properties=given))
    first = wire.poll(deadline())
    if not isinstance(first, AUTH):
        raise Unsupported("the server does not offer the method of the reference broker")
    return wire


def answer(wire, data=None, *, code=0x18, method=METHOD):
    """Send the answer to the challenge; without ``data`` the right one."""
    challenge = next(p for p in reversed(wire.heard) if isinstance(p, AUTH))
    right = dict(challenge.properties)["authentication_data"]
    wire.send(AUTH, reason_code=code, properties={
        "authentication_method": method, "authentication_data": data if isinstance(data, bytes) else right,
    })  # fmt: skip


def authenticated(wires):
    """Return a connection that has passed."""
    wire = begun(wires)
    answer(wire)
    connack = wire.expect(CONNACK)
    if connack.reason_code:
        raise Blocked("the right answer is refused")
    return wire
