"""MQTT 5.0 sections 3.4 to 3.7: reason codes and sizes of PUBACK, PUBREC, PUBREL and PUBCOMP."""

import pytest
from mqproof.dissectors.mqtt.tables import REASON_CODES, PacketType
from mqproof.harness.verdicts import Unsupported, check
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from mqproof.suites.mqtt.ahead import ahead


@pytest.mark.normative("mqtt-5.0:MQTT-3.4.2-1")
@pytest.mark.parametrize("name", ["~", "~/nobody/listens", "$SYS/~"])
@ahead
def test_puback_has_a_defined_code(wires, topic, name):
    wires().subscribe(topic, qos=1)
    wire = wires()
    wire.publish(name.replace("~", topic), qos=1)
    wire.reaction()
    assert {p.reason_code for p in wire.arrived(PUBACK)} <= REASON_CODES[PacketType.PUBACK]


@pytest.mark.normative("mqtt-5.0:MQTT-3.5.2-1", "mqtt-5.0:MQTT-3.7.2-1")
@pytest.mark.parametrize("name", ["~", "~/nobody/listens", "$SYS/~"])
@ahead
def test_pubrec_and_pubcomp_have_defined_codes(wires, topic, name):
    wires().subscribe(topic, qos=2)
    wire = wires()
    number = wire.publish(name.replace("~", topic), qos=2)
    wire.send(PUBREL, packet_id=number)
    wire.reaction()
    for kind, packet_type, statement in (
        (PUBREC, PacketType.PUBREC, "mqtt-5.0:MQTT-3.5.2-1"), (PUBCOMP, PacketType.PUBCOMP, "mqtt-5.0:MQTT-3.7.2-1"),
    ):  # fmt: skip
        codes = {p.reason_code for p in wire.arrived(kind)}
        check(codes <= REASON_CODES[packet_type], expected="defined codes", actual=codes, statement=statement)


@pytest.mark.normative("mqtt-5.0:MQTT-3.7.2-1")
@ahead
def test_pubrel_of_an_unknown_id_is_answered_with_a_defined_code(wire):
    wire.send(PUBREL, packet_id=777)
    wire.reaction()
    assert {p.reason_code for p in wire.arrived(PUBCOMP)} <= REASON_CODES[PacketType.PUBCOMP]


@pytest.mark.normative("mqtt-5.0:MQTT-3.6.2-1", "mqtt-5.0:MQTT-4.3.3-4")
def test_pubrel_has_a_defined_code(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.deliver(topic, qos=2)
    subscriber.send(PUBREC, packet_id=subscriber.expect(PUBLISH).packet_id)
    assert subscriber.must_receive(PUBREL).reason_code in REASON_CODES[PacketType.PUBREL]


@pytest.mark.normative("mqtt-5.0:MQTT-4.3.3-9")
def test_refused_id_means_a_new_message(wires, topic):
    """Where a message on $SYS is refused by PUBREC, its identifier is free at once."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.publish(f"$SYS/{topic}", b"refused", qos=2, packet_id=5)
    ended, _ = publisher.reaction()
    if ended.closed or [p.reason_code >= 0x80 for p in publisher.arrived(PUBREC)] != [True]:
        raise Unsupported("the server refuses no message of ours by PUBREC")
    publisher.publish(topic, b"new", qos=2, packet_id=5)
    publisher.must_receive(PUBREC, packet_id=5)
    publisher.send(PUBREL, packet_id=5)
    publisher.must_receive(PUBCOMP, packet_id=5)
    assert [p.payload for p in subscriber.must_get(1)] == [b"new"]


@pytest.mark.normative(
    "mqtt-5.0:MQTT-3.4.2-2", "mqtt-5.0:MQTT-3.4.2-3", "mqtt-5.0:MQTT-3.5.2-2", "mqtt-5.0:MQTT-3.5.2-3",
    "mqtt-5.0:MQTT-3.6.2-2", "mqtt-5.0:MQTT-3.6.2-3", "mqtt-5.0:MQTT-3.7.2-2", "mqtt-5.0:MQTT-3.7.2-3",
)  # fmt: skip
@ahead
def test_acknowledgements_fit_the_clients_maximum_packet_size(wires, topic):
    """Also those that have a reason to tell."""
    wire = wires(properties={"maximum_packet_size": 32})
    for qos in (1, 2):
        wire.publish(f"$SYS/{topic}", qos=qos)
        wire.publish(topic, qos=qos)
    wire.send(PUBREL, packet_id=999)
    wire.send(PUBREC, packet_id=998)
    wire.reaction()
    for packet, size in zip(wire.heard[1:], wire.sizes()[1:], strict=True):
        sections = {PUBACK: "3.4", PUBREC: "3.5", PUBREL: "3.6", PUBCOMP: "3.7"}
        section = sections.get(type(packet))
        broken = (f"mqtt-5.0:MQTT-{section}.2-2", f"mqtt-5.0:MQTT-{section}.2-3") if section else None
        check(size <= 32 or not section, expected="at most 32 octets", actual=size, statement=broken)


@pytest.mark.normative("mqtt-5.0:MQTT-4.13.2-1")
def test_negative_acknowledgements_leave_the_connection_open(wires, topic):
    """PUBACK, PUBREC, SUBACK and UNSUBACK with 0x80 or above end nothing."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    for qos, answer in ((1, PUBACK), (2, PUBREC)):
        publisher.deliver(topic, f"{qos}".encode(), qos=qos)
        got = subscriber.expect(PUBLISH, payload=f"{qos}".encode())
        subscriber.send(answer, packet_id=got.packet_id, reason_code=0x80)
        subscriber.must_stay()
