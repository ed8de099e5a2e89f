"""MQTT section 4.4: what was not acknowledged is sent again when the session resumes, and nothing else."""

import pytest
from mqproof.dissectors.mqtt.codec import Puback, Pubcomp, Publish, Pubrec, Pubrel
from mqproof.harness.wires.mqtt import FENCE


def subscribed(wires, topic, qos):
    subscriber = wires(session=True)
    subscriber.subscribe(topic, qos=qos)
    return subscriber


def resumed(wires, subscriber):
    subscriber.cut()
    again = wires.raw()
    connack = again.connect(session=True, client_id=subscriber.client_id)
    return again, connack


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.4.0-1", "mqtt-3.1.1:MQTT-3.3.1-1", "mqtt-3.1.1:MQTT-4.3.2-1",
    "mqtt-5.0:MQTT-4.4.0-1", "mqtt-5.0:MQTT-3.3.1-1", "mqtt-5.0:MQTT-4.3.2-3",
)  # fmt: skip
def test_unacknowledged_qos_1_message_comes_again_with_dup_and_its_identifier(wires, topic):
    subscriber = subscribed(wires, topic, 1)
    wires().publish(topic, b"body", qos=1)
    first = subscriber.expect(Publish)
    again, _ = resumed(wires, subscriber)
    second = again.must_receive(Publish)
    assert (second.payload, second.dup, second.packet_id) == (b"body", True, first.packet_id)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.4.0-1", "mqtt-3.1.1:MQTT-3.3.1-1", "mqtt-3.1.1:MQTT-4.3.3-1",
    "mqtt-5.0:MQTT-4.4.0-1", "mqtt-5.0:MQTT-3.3.1-1", "mqtt-5.0:MQTT-4.3.3-3",
)  # fmt: skip
def test_qos_2_message_without_pubrec_comes_again_with_dup_and_its_identifier(wires, topic):
    subscriber = subscribed(wires, topic, 2)
    wires().publish(topic, b"body", qos=2)
    first = subscriber.expect(Publish)
    again, _ = resumed(wires, subscriber)
    second = again.must_receive(Publish)
    assert (second.payload, second.dup, second.packet_id) == (b"body", True, first.packet_id)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-4.4.0-1", "mqtt-3.1.1:MQTT-4.3.3-1",
    "mqtt-5.0:MQTT-4.4.0-1", "mqtt-5.0:MQTT-4.3.3-5", "mqtt-5.0:MQTT-4.3.3-6",
)  # fmt: skip
def test_pubrel_without_pubcomp_comes_again_and_the_publish_does_not(wires, topic):
    subscriber, publisher = subscribed(wires, topic, 2), wires()
    publisher.publish(topic, b"body", qos=2)
    message = subscriber.expect(Publish)
    subscriber.send(Pubrec(message.packet_id))
    subscriber.expect(Pubrel, packet_id=message.packet_id)
    again, _ = resumed(wires, subscriber)
    again.must_receive(Pubrel, packet_id=message.packet_id)
    again.send(Pubcomp(message.packet_id))
    publisher.publish(topic, FENCE, qos=2)
    assert [found.payload for found in again.must_reach()] == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.2-1", "mqtt-5.0:MQTT-4.3.2-3")
def test_acknowledged_qos_1_message_does_not_come_again(wires, topic):
    subscriber, publisher = subscribed(wires, topic, 1), wires()
    publisher.publish(topic, b"body", qos=1)
    message = subscriber.expect(Publish)
    subscriber.send(Puback(message.packet_id))
    subscriber.ping()
    again, _ = resumed(wires, subscriber)
    publisher.publish(topic, FENCE, qos=1)
    assert [found.payload for found in again.must_reach()] == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.3-1", "mqtt-5.0:MQTT-4.3.3-5")
def test_completed_qos_2_message_does_not_come_again(wires, topic):
    subscriber, publisher = subscribed(wires, topic, 2), wires()
    publisher.publish(topic, b"body", qos=2)
    message = subscriber.expect(Publish)
    subscriber.send(Pubrec(message.packet_id))
    subscriber.expect(Pubrel, packet_id=message.packet_id)
    subscriber.send(Pubcomp(message.packet_id))
    subscriber.ping()
    again, _ = resumed(wires, subscriber)
    publisher.publish(topic, FENCE, qos=2)
    seen = [found.payload for found in again.must_reach()]
    assert (seen, again.arrived(Pubrel)) == ([], [])


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.2-5", "mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-5.0:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.6.0-5",
)  # fmt: skip
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_for_an_absent_session_wait_for_it_in_order(wires, topic, qos):
    subscriber, publisher = subscribed(wires, topic, qos), wires()
    subscriber.disconnect()
    sent = [publisher.publish(topic, b"%d" % number, qos=qos) for number in range(5)]
    again = wires(session=True, client_id=subscriber.client_id)
    publisher.publish(topic, FENCE, qos=qos)
    assert [found.payload for found in again.must_reach()] == sent


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.6.0-6", "mqtt-5.0:MQTT-4.6.0-5")
@pytest.mark.parametrize("qos", [1, 2])
def test_unacknowledged_messages_come_again_in_their_first_order(wires, topic, qos):
    subscriber, publisher = subscribed(wires, topic, qos), wires()
    sent = [publisher.publish(topic, b"%d" % number, qos=qos) for number in range(5)]
    for _ in sent:
        subscriber.expect(Publish)
    again, _ = resumed(wires, subscriber)
    publisher.publish(topic, FENCE, qos=qos)
    assert [found.payload for found in again.must_reach()] == sent
