"""Ten conversations that any broker holds, whichever single promise it breaks: they prove that it lives at all."""

import pytest
from mqproof.harness.wires.mqtt_packets import CONNACK, PINGREQ, PINGRESP, PUBACK, UNSUBACK

pytestmark = pytest.mark.sanity


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.4-4", "mqtt-5.0:MQTT-3.1.4-5")
def test_broker_accepts_a_client(wires):
    wire = wires.raw()
    wire.send(wire.connect_packet())
    wire.must_receive(CONNACK, reason_code=0)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.12.4-1", "mqtt-5.0:MQTT-3.12.4-1")
def test_broker_answers_a_ping(wire):
    wire.send(PINGREQ)
    wire.must_receive(PINGRESP)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-1", "mqtt-5.0:MQTT-3.8.4-1")
def test_broker_takes_a_subscription(wire, topic):
    assert wire.ask(topic).reason_codes == (0,)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-4", "mqtt-5.0:MQTT-3.10.4-4")
def test_broker_takes_an_unsubscription(wire, topic):
    wire.subscribe(topic)
    assert isinstance(wire.unsubscribe(topic), UNSUBACK)


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.3.1-1", "mqtt-5.0:MQTT-4.3.1-1")
def test_broker_delivers_a_message_at_qos_0(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic)
    publisher.publish(topic, b"hello")
    assert [p.payload for p in subscriber.must_get(1)] == [b"hello"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.4-1", "mqtt-5.0:MQTT-3.3.4-1")
def test_broker_acknowledges_a_message_at_qos_1(wire, topic):
    number = wire.publish(topic, qos=1)
    wire.must_receive(PUBACK, packet_id=number)


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_broker_delivers_a_message_at_qos_1(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.publish(topic, b"hello", qos=1)
    assert subscriber.must_get(1)[-1].payload == b"hello"


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_broker_delivers_a_message_to_its_own_publisher(wire, topic):
    wire.subscribe(topic)
    wire.publish(topic, b"to myself")
    assert [p.payload for p in wire.must_get(1)] == [b"to myself"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-5.0:MQTT-3.3.2-3")
def test_broker_delivers_under_the_topic_of_the_publisher(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic)
    publisher.publish(topic)
    assert subscriber.must_get(1)[0].topic == topic


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.14.4-3", "mqtt-5.0:MQTT-3.14.4-3")
def test_broker_accepts_a_client_that_comes_back(wires, client_id):
    wires(client_id).disconnect()
    again = wires.raw()
    again.send(again.connect_packet(client_id))
    again.must_receive(CONNACK, reason_code=0)
