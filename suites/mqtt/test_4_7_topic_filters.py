"""MQTT section 4.7: which topics a filter selects; and the home of the founding document."""

import pytest
from mqproof.harness.wires.mqtt import FENCE

# Filter, and for each topic whether it is selected; all below a level that only this test uses.
SELECTION = [
    ("a/b", {"a/b": True, "a": False, "a/b/c": False, "a/B": False, "b": False}),
    ("+", {"a": True, "a/b": False, "": True}),
    ("a/+", {"a/b": True, "a/": True, "a": False, "a/b/c": False}),
    ("+/b", {"a/b": True, "/b": True, "b": False, "a/b/c": False}),
    ("a/+/c", {"a/b/c": True, "a//c": True, "a/c": False, "a/b/b/c": False}),
    ("+/+", {"a/b": True, "/": True, "a": False}),
    ("#", {"a": True, "a/b": True, "a/b/c": True, "": True}),
    ("a/#", {"a": True, "a/b": True, "a/b/c": True, "a/": True, "ab": False, "b": False}),
    ("+/b/#", {"a/b": True, "a/b/c/d": True, "a": False, "a/c": False}),
    ("a/$x", {"a/$x": True, "a/x": False}),
    ("räume/küche", {"räume/küche": True, "ra\u0308ume/ku\u0308che": False}),
    ("a b", {"a b": True, "ab": False, "a  b": False}),
]


def reached(subscriber, publisher, topics, fence, expected):
    """Publish to each topic, and return the topics that the subscriber got: weak absence for those that are left."""
    for topic in topics:
        publisher.publish(topic, b"body", qos=1)
    publisher.publish(fence, FENCE, qos=1)
    got = [message.topic for message in subscriber.must_reach()]
    got += [message.topic for message in subscriber.must_take(max(len(expected) - len(got), 0))]
    return sorted(got + [packet.topic for packet in subscriber.stays_silent(0.05)])


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.3.2-3",
    "mqtt-3.1.1:MQTT-4.5.0-1",
    "mqtt-3.1.1:MQTT-4.7.3-4",
    "mqtt-5.0:MQTT-3.3.2-3",
    "mqtt-5.0:MQTT-4.5.0-1",
    "mqtt-5.0:MQTT-4.7.3-4",
)
@pytest.mark.parametrize(("topic_filter", "topics"), SELECTION, ids=[selected[0] for selected in SELECTION])
def test_filter_selects_topics(wires, topic, topic_filter, topics):
    subscriber, publisher, fence = wires(), wires(), f"{topic}-fence"
    subscriber.subscribe(f"{topic}/{topic_filter}", fence, qos=1)
    expected = sorted(f"{topic}/{name}" for name, selected in topics.items() if selected)
    assert reached(subscriber, publisher, [f"{topic}/{name}" for name in topics], fence, expected) == expected


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.2-1", "mqtt-5.0:MQTT-4.7.2-1")
@pytest.mark.parametrize("pattern", ["+/{}", "+/+/{}"])
def test_filter_that_begins_with_a_wildcard_selects_no_dollar_topics(wires, topic, pattern):
    """The filters end in a level of our own, so that they read nobody else's messages."""
    subscriber, publisher = wires(), wires()
    name = pattern.replace("+/+", "$mqproof/x").replace("+", "$mqproof").format(topic)
    subscriber.subscribe(pattern.format(topic), topic, qos=1)
    witness = wires()
    witness.subscribe(name, qos=1)
    publisher.publish(name, b"body", qos=1)
    assert witness.take(1)[0].topic == name
    publisher.publish(topic, FENCE, qos=1)
    assert [m.topic for m in subscriber.must_reach()] + subscriber.stays_silent(0.05) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_every_matching_subscriber_gets_the_message(wires, topic):
    filters = [f"{topic}/a/b", f"{topic}/+/b", f"{topic}/#", f"{topic}/a/+"]
    subscribers = [wires() for _ in filters]
    for subscriber, topic_filter in zip(subscribers, filters, strict=True):
        subscriber.subscribe(topic_filter, qos=1)
    wires().publish(f"{topic}/a/b", b"for all", qos=1)
    assert [subscriber.must_take(1)[0].payload for subscriber in subscribers] == [b"for all"] * 4


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-5.0:MQTT-4.5.0-1")
def test_home_of_sensor_light_thermostat_and_dashboard(clients, topic):
    sensor, light, thermostat, dashboard = clients(), clients(), clients(), clients()
    thermostat.subscribe(f"{topic}/home/temp", qos=1)
    light.subscribe(f"{topic}/home/light/cmd", qos=1)
    dashboard.subscribe(f"{topic}/home/#", qos=1)
    sensor.publish(f"{topic}/home/temp", b"21.5", qos=1)
    dashboard.publish(f"{topic}/home/light/cmd", b"on", qos=1)
    assert thermostat.must_reach(b"21.5") == []
    assert light.must_reach(b"on") == []
    seen = [message.payload for message in dashboard.must_take(2)]
    assert sorted(seen) == [b"21.5", b"on"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.10.4-2", "mqtt-5.0:MQTT-3.10.4-2")
def test_unsubscribed_filter_selects_nothing_more(wires, topic):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, f"{topic}/fence", qos=1)
    publisher.publish(topic, b"before", qos=1)
    before = subscriber.must_take(1)
    subscriber.unsubscribe(topic)
    publisher.publish(topic, b"after", qos=1)
    publisher.publish(f"{topic}/fence", FENCE, qos=1)
    after = [message.payload for message in subscriber.must_reach()] + subscriber.stays_silent(0.05)
    assert [[message.payload for message in before], after] == [[b"before"], []]
