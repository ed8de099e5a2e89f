"""MQTT section 4.3.2: QoS 1, at least once."""

import pytest
from mqproof.dissectors.mqtt.codec import Puback, Publish
from mqproof.harness.wires.mqtt import FENCE


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.3.2-2", "mqtt-3.1.1:MQTT-2.3.1-6", "mqtt-3.1.1:MQTT-3.3.4-1",
    "mqtt-5.0:MQTT-4.3.2-4", "mqtt-5.0:MQTT-2.2.1-5", "mqtt-5.0:MQTT-3.3.4-1",
)  # fmt: skip
@pytest.mark.parametrize("packet_id", [1, 7, 256, 65535])
def test_publish_is_answered_by_puback_with_its_identifier(wires, topic, packet_id):
    publisher = wires()
    publisher.start_publish(topic, b"body", qos=1, packet_id=packet_id)
    assert publisher.must_receive(Puback).packet_id == packet_id


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.3.2-1", "mqtt-3.1.1:MQTT-2.3.1-4",
    "mqtt-5.0:MQTT-4.3.2-1", "mqtt-5.0:MQTT-4.3.2-2", "mqtt-5.0:MQTT-2.2.1-4",
)  # fmt: skip
def test_deliveries_in_flight_have_identifiers_of_their_own_and_no_dup(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    for number in range(5):
        publisher.publish(topic, b"%d" % number, qos=1)
    messages = [subscriber.must_receive(Publish) for _ in range(5)]
    assert ({message.dup for message in messages}, len({message.packet_id for message in messages})) == ({False}, 5)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.3.2-2", "mqtt-5.0:MQTT-4.3.2-5",
)  # fmt: skip
@pytest.mark.parametrize("dup", [False, True])
def test_identifier_means_a_new_message_after_puback(wires, topic, dup):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.publish(topic, b"first", qos=1, packet_id=9)
    publisher.publish(topic, b"second", qos=1, packet_id=9, dup=dup)
    publisher.publish(topic, FENCE, qos=1)
    assert [message.payload for message in subscriber.must_reach()] == [b"first", b"second"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-3", "mqtt-5.0:MQTT-3.3.1-3")
def test_dup_of_the_publisher_is_not_passed_on(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.publish(topic, b"again", qos=1, dup=True)
    assert subscriber.must_take(1)[0].dup is False


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_subscriber_gets_every_message_at_least_once(clients, topic):
    subscriber, publisher = clients(), clients()
    subscriber.subscribe(topic, qos=1)
    sent = [publisher.publish(topic, b"%d" % number, qos=1) for number in range(5)]
    publisher.publish(topic, FENCE, qos=1)
    messages = subscriber.must_reach()
    assert [(message.payload, message.qos) for message in messages] == [(payload, 1) for payload in sent]
