"""MQTT section 4.3.1: QoS 0, at most once."""

import pytest
from mqproof.dissectors.mqtt.codec import Puback, Pubrec
from mqproof.harness.wires.mqtt import FENCE


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.3.1-1", "mqtt-3.1.1:MQTT-3.3.1-2", "mqtt-3.1.1:MQTT-2.3.1-5",
    "mqtt-5.0:MQTT-4.3.1-1", "mqtt-5.0:MQTT-3.3.1-2", "mqtt-5.0:MQTT-2.2.1-2",
)  # fmt: skip
def test_delivery_at_qos_0_has_no_identifier_and_no_dup(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=0)
    publisher.publish(topic, b"body", qos=0)
    message = subscriber.must_take(1)[0]
    assert (message.qos, message.dup, message.packet_id, message.payload) == (0, False, None, b"body")


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.4-1", "mqtt-5.0:MQTT-3.3.4-1")
def test_publish_at_qos_0_is_not_acknowledged(wires, topic):
    publisher = wires()
    publisher.start_publish(topic, b"body", qos=0)
    publisher.ping()
    assert publisher.arrived(Puback) + publisher.arrived(Pubrec) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_connected_subscriber_gets_each_message_once(clients, topic):
    subscriber, publisher = clients(), clients()
    subscriber.subscribe(topic, qos=0)
    sent = [publisher.publish(topic, b"%d" % number, qos=0) for number in range(5)]
    publisher.publish(topic, FENCE, qos=0)
    assert [message.payload for message in subscriber.must_reach()] == sent
