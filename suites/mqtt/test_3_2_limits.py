"""Section 3.2.2.3: what the server announces in CONNACK, and what it makes of the client's own limits."""

import pytest
from mqproof.dissectors.mqtt.packets import Will
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType
from mqproof.harness.verdicts import Unsupported
from mqproof.harness.wires.mqtt_packets import CONNACK, PUBLISH, PUBREC
from mqproof.suites.mqtt.ahead import ahead


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-9")
def test_server_without_qos_2_announces_it(wire, topic):
    if announced(wire, "maximum_qos") is not None:
        raise Unsupported("the server announces a Maximum QoS below 2")
    wire.publish(topic, qos=2, packet_id=5)
    wire.must_receive(PUBREC, packet_id=5)


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-10")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscription_at_any_qos_is_accepted(wire, topic, qos):
    """A server that lacks a QoS grants less."""
    assert wire.ask(topic, qos=qos).reason_codes[0] <= qos


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-12")
def test_will_qos_is_accepted_as_announced(wires, topic):
    maximum = announced(wires(), "maximum_qos")
    answers_to_will(wires, Will(topic, b"gone", qos=2), refused=maximum is not None)


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-13")
def test_will_retain_is_accepted_as_announced(wires, topic):
    answers_to_will(wires, Will(topic, b"gone", retain=True), refused=announced(wires(), "retain_available") == 0)


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-24")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_packet_exceeds_the_clients_maximum_packet_size(wires, topic, qos):
    subscriber, publisher = wires(properties={"maximum_packet_size": 128}), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, bytes(200), qos=qos)
    publisher.deliver(topic, bytes(129 - 8 - len(topic)), qos=qos)
    publisher.deliver(topic, b"fence", qos=qos)
    subscriber.until(b"fence")
    assert max(subscriber.sizes()) <= 128


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [1, 2])
@ahead
def test_message_that_is_too_large_counts_as_delivered(wires, topic, qos):
    """It neither blocks the messages behind it nor uses up the window."""
    limits = {"maximum_packet_size": 128, "receive_maximum": 1}
    subscriber, publisher = wires(properties=limits), wires()
    subscriber.subscribe(topic, qos=qos)
    for number in range(3):
        publisher.deliver(topic, bytes(200), qos=qos)
        publisher.deliver(topic, f"{number}".encode(), qos=qos)
    assert [p.payload for p in subscriber.must_get(3)] == [b"0", b"1", b"2"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-25", "mqtt-5.0:MQTT-3.1.2-24")
def test_message_too_large_for_one_client_reaches_the_others(wires, topic):
    narrow, wide, publisher = wires(properties={"maximum_packet_size": 128}), wires(), wires()
    for subscriber in (narrow, wide):
        subscriber.subscribe(topic, qos=1)
    publisher.deliver(topic, bytes(200), qos=1)
    publisher.deliver(topic, b"fence", qos=1)
    assert [[len(p.payload) for p in each.until(b"fence")] for each in (narrow, wide)] == [[5], [200, 5]]


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-19", "mqtt-5.0:MQTT-3.2.2-20")
def test_connack_with_a_reason_fits_the_clients_maximum_packet_size(wires):
    wire = wires.raw()
    limits = {"maximum_packet_size": 20, "authentication_method": "mqproof unknown"}
    wire.send(wire.connect_packet(properties=limits))
    wire.reaction(probe=False)
    assert max(wire.sizes(), default=0) <= 20


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-28")
@pytest.mark.parametrize("given", [(), (("request_response_information", 0),)])
def test_no_response_information_unless_it_is_asked_for(wires, given):
    assert announced(wires(properties=given), "response_information") is None


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-29")
def test_no_reason_strings_unless_they_are_wanted(wires, topic):
    """Only PUBLISH, CONNACK and DISCONNECT may hold Reason Strings and User Properties then."""
    wire = wires(properties={"request_problem_information": 0})
    wire.subscribe(topic, qos=2)
    wire.deliver(topic, b"1", qos=1)
    wire.deliver(topic, b"2", qos=2)
    wire.unsubscribe(topic, "no such filter")
    wire.ping()
    told = [
        name for packet in wire.heard if not isinstance(packet, (PUBLISH, CONNACK))
        for name, _ in getattr(packet, "properties", ()) if name in ("reason_string", "user_property")
    ]  # fmt: skip
    assert told == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.2.2-8")
def test_connack_has_a_defined_reason_code(wires):
    codes = [wires().connack.reason_code]
    for octets in (b"\x10\x0f\0\4MQTT\5\3\0\0\0\0\2id", b"\x10\x0f\0\4MQTT\5\2\0\0\0\0\2\xc3\x28"):
        wire = wires.raw()
        wire.send(octets)
        wire.reaction(probe=False)
        codes += [packet.reason_code for packet in wire.arrived(CONNACK)]
    assert set(codes) <= REASON_CODES[PacketType.CONNACK]


def announced(wire, name):
    return dict(wire.connack.properties).get(name)


def answers_to_will(wires, will, *, refused):
    """Accuse the broker unless it takes the will, or refuses and closes where it has announced so."""
    wire = wires.raw()
    wire.send(wire.connect_packet(will=will))
    if refused:
        wire.must_close(probe=False)
    else:
        wire.must_receive(CONNACK, reason_code=0)
        wire.disconnect()  # before the will is published, and kept
