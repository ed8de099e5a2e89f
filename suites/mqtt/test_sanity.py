"""Ten conversations that any broker holds, whichever single promise it breaks: they prove that it lives at all."""

import pytest
from mqproof.dissectors.mqtt.codec import (
    Connack,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
)

pytestmark = pytest.mark.sanity

CONNECTS = ("mqtt-3.1.1:MQTT-3.1.4-4", "mqtt-5.0:MQTT-3.1.4-5")
ROUTES = ("mqtt-3.1.1:MQTT-3.3.2-1", "mqtt-5.0:MQTT-3.3.2-1")


@pytest.mark.normative(*CONNECTS)
def test_broker_accepts_a_connection(wires):
    wire = wires.raw()
    wire.send(wire.hello())
    assert wire.must_receive(Connack).reason_code == 0


@pytest.mark.normative(*CONNECTS)
def test_broker_accepts_a_second_client(wires):
    first, second = wires(), wires()
    first.must_accept()
    second.must_accept()


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.12.4-1", "mqtt-5.0:MQTT-3.12.4-1")
def test_broker_answers_a_ping(wire):
    wire.send(Pingreq())
    wire.must_receive(Pingresp)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.8.4-1", "mqtt-5.0:MQTT-3.8.4-1")
def test_broker_answers_a_subscription(wire, topic):
    wire.send(Subscribe(1, (Subscription(topic),)))
    wire.must_receive(Suback)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-4", "mqtt-5.0:MQTT-3.10.4-4")
def test_broker_answers_the_end_of_a_subscription(wire, topic):
    wire.subscribe(topic)
    wire.send(Unsubscribe(2, (topic,)))
    wire.must_receive(Unsuback)


@pytest.mark.normative(*ROUTES)
def test_broker_passes_a_message_on(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic)
    publisher.publish(topic, b"sane")
    assert subscriber.must_take(1)[0].topic == topic


@pytest.mark.normative(*ROUTES)
def test_broker_passes_a_large_message_on(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic)
    publisher.publish(topic, bytes(20_000))
    assert subscriber.must_take(1)[0].payload == bytes(20_000)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.4-1", "mqtt-5.0:MQTT-3.3.4-1")
def test_broker_acknowledges_a_message(wire, topic):
    wire.send(Publish(topic, b"sane", qos=1, packet_id=1))
    wire.must_receive(Puback)


@pytest.mark.normative(*ROUTES)
def test_client_may_hear_itself(wire, topic):
    wire.subscribe(topic)
    wire.publish(topic, b"echo")
    assert wire.must_take(1)[0].payload == b"echo"


@pytest.mark.normative(*ROUTES)
def test_broker_serves_an_application(clients, topic):
    client = clients()
    client.subscribe(topic)
    client.publish(topic, b"sane")
    assert client.must_reach(b"sane") == []
