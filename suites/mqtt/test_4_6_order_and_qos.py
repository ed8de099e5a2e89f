"""MQTT sections 4.6 and 3.8.4: the order of messages, and the QoS at which they are delivered."""

import pytest
from mqproof.harness.wires.mqtt import FENCE


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.6.0-5", "mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-5.0:MQTT-4.6.0-5", "mqtt-5.0:MQTT-4.6.0-6",
)  # fmt: skip
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_one_publisher_topic_and_qos_arrive_in_order(wires, topic, qos):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=qos)
    sent = [publisher.publish(topic, b"%d" % number, qos=qos) for number in range(20)]
    publisher.publish(topic, FENCE, qos=qos)
    assert [message.payload for message in subscriber.must_reach()] == sent


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.8.4-8")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
def test_delivery_has_the_lower_of_published_and_granted_qos(wires, topic, published, granted):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=granted)
    publisher.publish(topic, b"body", qos=published)
    assert subscriber.must_take(1)[0].qos == min(published, granted)
