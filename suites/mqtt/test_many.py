"""Sections 3.3.1.3, 3.8, 3.10, 4.5 and 4.7: many filters, levels, retained messages and subscribers at once."""

import pytest
from mqproof.dissectors.mqtt.packets import Subscription
from mqproof.harness.verdicts import check
from mqproof.suites.mqtt.ahead import ahead

FILTERS = 80  # in one packet
LEVELS = 60  # of a topic; there are brokers that fail above a hundred
RETAINED = 50
SUBSCRIBERS = 20


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.8.4-4", "mqtt-3.1.1:MQTT-3.8.4-5", "mqtt-3.1.1:MQTT-3.9.3-1", "mqtt-5.0:MQTT-3.8.4-5",
    "mqtt-5.0:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.9.3-1",
)  # fmt: skip
def test_every_filter_of_a_long_subscribe_counts(wires, topic):
    subscriber, publisher = wires(), wires()
    codes = subscriber.subscribe(*(Subscription(f"{topic}/{number}", 1 - number % 2) for number in range(FILTERS)))
    told = ("mqtt-3.1.1:MQTT-3.8.4-5", "mqtt-3.1.1:MQTT-3.9.3-1", "mqtt-5.0:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.9.3-1")
    check(len(codes.reason_codes) == FILTERS, expected=f"{FILTERS} codes", actual=codes.reason_codes, statement=told)
    numbers = (0, FILTERS // 2, FILTERS - 2)
    for number in numbers:
        publisher.deliver(f"{topic}/{number}", f"{number}".encode(), qos=1)
    got = {p.payload for p in subscriber.must_get(3, statement=("mqtt-3.1.1:MQTT-3.8.4-4", "mqtt-5.0:MQTT-3.8.4-5"))}
    assert got == {f"{number}".encode() for number in numbers}


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-6", "mqtt-5.0:MQTT-3.10.4-6")
@ahead
def test_every_filter_of_a_long_unsubscribe_counts(wires, topic):
    subscriber, publisher = wires(), wires()
    filters = [f"{topic}/{number}" for number in range(FILTERS)]
    subscriber.subscribe(*filters, qos=1)
    subscriber.unsubscribe(*filters)
    subscriber.ping()
    for name in filters[:: FILTERS - 1]:
        publisher.deliver(name, b"unsubscribed", qos=1)
    assert subscriber.settle(publisher) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
@pytest.mark.parametrize("pattern", ["~", "~/#", "a/+"])
def test_topic_of_many_levels_reaches_its_subscriber(wires, topic, pattern):
    name = f"{topic}/" + "/".join("a" * LEVELS)
    wanted = name[:-1] + "+" if pattern == "a/+" else pattern.replace("~", name if pattern == "~" else name[:-4])
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(wanted, qos=1)
    publisher.deliver(name, qos=1)
    assert [p.topic for p in subscriber.must_get(1)] == [name]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-6", "mqtt-5.0:MQTT-3.3.1-9")
@pytest.mark.needs("retain")
@ahead
def test_new_subscription_brings_every_retained_message_of_many(wires, topic):
    publisher, subscriber = wires(), wires()
    names = {f"{topic}/{number}" for number in range(RETAINED)}
    for name in names:
        publisher.deliver(name, qos=1, retain=True)
    subscriber.subscribe(f"{topic}/+", qos=1)
    assert {p.topic for p in subscriber.settle(publisher, at_least=RETAINED)} == names


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
@ahead
def test_message_reaches_every_one_of_many_subscribers(wires, topic):
    subscribers, publisher = [wires() for _ in range(SUBSCRIBERS)], wires()
    for subscriber in subscribers:
        subscriber.subscribe(topic, qos=1)
    publisher.deliver(topic, b"to many", qos=1)
    assert [[p.payload for p in each.must_get(1)] for each in subscribers] == [[b"to many"]] * SUBSCRIBERS
