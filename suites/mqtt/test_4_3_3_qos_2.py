"""MQTT section 4.3.3: QoS 2, exactly once."""

import pytest
from mqproof.dissectors.mqtt.codec import Pubcomp, Publish, Pubrec, Pubrel
from mqproof.harness.wires.mqtt import FENCE


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-3.1.1:MQTT-2.3.1-6", "mqtt-3.1.1:MQTT-3.3.4-1",
    "mqtt-5.0:MQTT-4.3.3-8", "mqtt-5.0:MQTT-2.2.1-5", "mqtt-5.0:MQTT-3.3.4-1",
)  # fmt: skip
@pytest.mark.parametrize("packet_id", [1, 7, 256, 65535])
def test_publish_is_answered_by_pubrec_with_its_identifier(wires, topic, packet_id):
    publisher = wires()
    publisher.start_publish(topic, b"body", qos=2, packet_id=packet_id)
    assert publisher.must_receive(Pubrec).packet_id == packet_id


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-5.0:MQTT-4.3.3-11", "mqtt-5.0:MQTT-2.2.1-5")
def test_pubrel_is_answered_by_pubcomp_with_its_identifier(wires, topic):
    publisher = wires()
    publisher.start_publish(topic, b"body", qos=2, packet_id=300)
    publisher.expect(Pubrec, packet_id=300)
    publisher.send(Pubrel(300))
    assert publisher.must_receive(Pubcomp).packet_id == 300


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-5.0:MQTT-4.3.3-10")
@pytest.mark.parametrize("times", [1, 3])
def test_publish_repeated_before_pubrel_is_delivered_once(wires, topic, times):
    """A sender that lost the PUBREC sends again; the subscriber must not see two messages."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.start_publish(topic, b"once", qos=2, packet_id=7)
    publisher.expect(Pubrec, packet_id=7)
    for _ in range(times):
        publisher.start_publish(topic, b"once", qos=2, packet_id=7, dup=True)
        publisher.must_receive(Pubrec, packet_id=7)
    publisher.send(Pubrel(7))
    publisher.expect(Pubcomp, packet_id=7)
    publisher.publish(topic, FENCE, qos=2)  # same client, topic and QoS: the order that section 4.6 promises
    assert [message.payload for message in subscriber.must_reach()] == [b"once"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-5.0:MQTT-4.3.3-10")
def test_publish_repeated_on_a_new_connection_is_delivered_once(wires, topic):
    """The publisher's connection is cut before the PUBREC; its session resumes and it sends again."""
    subscriber, publisher = wires(), wires(session=True)
    subscriber.subscribe(topic, qos=2)
    publisher.start_publish(topic, b"once", qos=2, packet_id=7)
    publisher.expect(Pubrec, packet_id=7)
    publisher.cut()
    again = wires(session=True, client_id=publisher.client_id)
    again.start_publish(topic, b"once", qos=2, packet_id=7, dup=True)
    again.must_receive(Pubrec, packet_id=7)
    again.send(Pubrel(7))
    again.expect(Pubcomp, packet_id=7)
    again.publish(topic, FENCE, qos=2)
    assert [message.payload for message in subscriber.must_reach()] == [b"once"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-5.0:MQTT-4.3.3-11")
def test_pubrel_repeated_is_answered_again_and_delivers_nothing_more(wires, topic):
    """A sender that lost the PUBCOMP sends PUBREL again."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.publish(topic, b"once", qos=2, packet_id=8)
    publisher.send(Pubrel(8))
    publisher.must_receive(Pubcomp, packet_id=8)
    publisher.publish(topic, FENCE, qos=2)
    assert [message.payload for message in subscriber.must_reach()] == [b"once"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-5.0:MQTT-4.3.3-12")
def test_identifier_means_a_new_message_after_pubcomp(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.publish(topic, b"first", qos=2, packet_id=9)
    publisher.publish(topic, b"second", qos=2, packet_id=9)
    publisher.publish(topic, FENCE, qos=2)
    assert [message.payload for message in subscriber.must_reach()] == [b"first", b"second"]


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.3.3-1", "mqtt-3.1.1:MQTT-2.3.1-4",
    "mqtt-5.0:MQTT-4.3.3-1", "mqtt-5.0:MQTT-4.3.3-2", "mqtt-5.0:MQTT-2.2.1-4",
)  # fmt: skip
def test_deliveries_in_flight_have_identifiers_of_their_own_and_no_dup(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    for number in range(5):
        publisher.publish(topic, b"%d" % number, qos=2)
    messages = [subscriber.must_receive(Publish) for _ in range(5)]
    assert ({message.dup for message in messages}, len({message.packet_id for message in messages})) == ({False}, 5)


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.3-1", "mqtt-3.1.1:MQTT-3.6.1-1", "mqtt-5.0:MQTT-4.3.3-4")
def test_pubrec_is_answered_by_pubrel_with_its_identifier(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=2)
    publisher.publish(topic, b"body", qos=2)
    message = subscriber.expect(Publish)
    subscriber.send(Pubrec(message.packet_id))
    subscriber.must_receive(Pubrel, packet_id=message.packet_id)
    assert subscriber.last_octets[0] == 0x62


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_subscriber_gets_every_message_exactly_once(clients, topic):
    subscriber, publisher = clients(), clients()
    subscriber.subscribe(topic, qos=2)
    sent = [publisher.publish(topic, b"%d" % number, qos=2) for number in range(5)]
    publisher.publish(topic, FENCE, qos=2)
    messages = subscriber.must_reach()
    assert [(message.payload, message.qos) for message in messages] == [(payload, 2) for payload in sent]
