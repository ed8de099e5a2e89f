"""Sections 4.7 of MQTT 3.1.1 and 5.0: topic names, topic filters, and which filter selects which name.

Topics begin with a name of this run, so that nothing of anybody else's is selected: ``~`` stands for it.
"""

import pytest
from mqproof.harness.verdicts import Unsupported, check
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBLISH, SUBACK
from mqproof.suites.mqtt.ahead import ahead

DELIVERY = ("mqtt-3.1.1:MQTT-4.5.0-1", "mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-5.0:MQTT-4.5.0-1", "mqtt-5.0:MQTT-3.3.2-3")


@pytest.mark.normative(*DELIVERY)
@pytest.mark.parametrize(("pattern", "name", "reaches"), [
    ("~/sport/tennis/player1/#", "~/sport/tennis/player1", True),      # the parent level, too
    ("~/sport/tennis/player1/#", "~/sport/tennis/player1/ranking", True),
    ("~/sport/tennis/player1/#", "~/sport/tennis/player1/score/wimbledon", True),
    ("~/sport/#", "~/sport", True),
    ("~/sport/#", "~/sports", False),
    ("~/#", "~//", True),                                              # empty levels are levels
    ("~/sport/tennis/+", "~/sport/tennis/player1", True),
    ("~/sport/tennis/+", "~/sport/tennis/player1/ranking", False),     # + is one level
    ("~/sport/+", "~/sport", False),                                   # never none
    ("~/sport/+", "~/sport/", True),                                   # but an empty one
    ("~/+/tennis/#", "~/sport/tennis", True),
    ("~/+/tennis/#", "~/sport/golf", False),
    ("~/sport/+/player1", "~/sport/tennis/player1", True),
    ("~/sport/+/player1", "~/sport/tennis/player2", False),
    ("~/+/+", "~//finance", True),
    ("~/+", "~//finance", False),
    ("~/+/+/#", "~/a/b", True),
    ("~/+/+/#", "~/a", False),
    ("~/a b/c", "~/a b/c", True),                                      # spaces are ordinary
    ("~/a", "~/a/", False),                                            # a slash at the end makes another topic
    ("~/a/", "~/a", False),
])  # fmt: skip
@ahead
def test_filter_selects_topic(wires, topic, pattern, name, reaches):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(pattern.replace("~", topic), qos=1)
    publisher.deliver(name.replace("~", topic), b"body", qos=1)
    got = [p.topic for p in subscriber.settle(publisher, at_least=reaches)]
    check(got or not reaches, expected=[name.replace("~", topic)], actual=got, statement=DELIVERY[::2])
    assert got == [name.replace("~", topic)] * reaches


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.3-4", "mqtt-5.0:MQTT-4.7.3-4")
@pytest.mark.parametrize(("pattern", "name"), [
    ("~/ACCOUNTS", "~/Accounts"),
    ("~/caf\u00e9", "~/cafe\u0301"),      # composed and decomposed forms look alike
    ("~/\u212b", "~/\u00c5"),             # the sign for angstrom and the letter
    ("~/a//b", "~/a/b"),
    ("~/a/./b", "~/a/b"),
    ("~/%41", "~/A"),
    ("~/*", "~/a"),                       # no wildcard in MQTT
    ("~/\ufeffa", "~/a"),
])  # fmt: skip
@ahead
def test_topics_are_compared_octet_by_octet(wires, topic, pattern, name):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(pattern.replace("~", topic), qos=1)
    publisher.deliver(name.replace("~", topic), b"near", qos=1)
    publisher.deliver(pattern.replace("~", topic), b"same", qos=1)
    assert [p.payload for p in subscriber.settle(publisher, at_least=1)] == [b"same"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.2-1", "mqtt-5.0:MQTT-4.7.2-1")
@pytest.mark.parametrize("pattern", ["+/~", "+/~/#", "+/+/~"])
@ahead
def test_wildcard_at_the_start_does_not_select_dollar_topics(wires, topic, pattern):
    subscriber, publisher, teller = wires(), wires(), wires()
    subscriber.subscribe(pattern.replace("~", topic), qos=1)
    levels = "x/y" if pattern.startswith("+/+") else "x"
    teller.publish(f"${levels}/{topic}", b"dollar", qos=1)
    if teller.reaction()[0].closed:
        raise Unsupported("the server keeps clients from topics that begin with $, as section 4.7.2 advises")
    publisher.deliver(f"{levels}/{topic}", b"fence", qos=1)
    assert [p.payload for p in subscriber.until(b"fence")] == [b"fence"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.2-1", "mqtt-5.0:MQTT-4.7.2-1")
@pytest.mark.destructive
@pytest.mark.parametrize("pattern", ["#", "+/broker/#"])
def test_wildcard_at_the_start_does_not_select_the_servers_own_topics(wires, pattern):
    subscriber = wires()
    subscriber.subscribe(pattern)
    subscriber.ping()
    assert [p.topic for p in subscriber.arrived(PUBLISH) if p.topic.startswith("$")] == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.6.0-5", "mqtt-5.0:MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_topic_is_ordered(wires, topic, qos):
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(f"{topic}/#", qos=qos)
    bodies = [f"{number}".encode() for number in range(12)]
    for body in bodies:
        publisher.deliver(topic, body, qos=qos)
    assert list(dict.fromkeys(p.payload for p in subscriber.must_get(12))) == bodies


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.3.2-2", "mqtt-3.1.1:MQTT-4.7.1-1", "mqtt-5.0:MQTT-3.3.2-2", "mqtt-5.0:MQTT-4.7.0-1"
)
@pytest.mark.parametrize("name", ["~/+", "~/#", "~/a+", "#/~", "+/~", "~/a#b"])
@ahead
def test_topic_name_with_wildcards_reaches_nobody(wires, topic, name):
    """The connection ends in 3.1.1 (section 4.8); in 5.0 the message may also be refused by its acknowledgement."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    publisher.publish(name.replace("~", topic), b"wild", qos=1)
    publisher.reaction()
    refused = [p for p in publisher.arrived(PUBACK) if p.reason_code < 0x80]
    assert (refused, subscriber.settle(wires())) == ([], [])


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.3-1", "mqtt-5.0:MQTT-4.7.3-1")
def test_empty_topic_name_ends_the_connection(wires):
    publisher = wires()
    publisher.publish("", b"nowhere", qos=0)
    publisher.must_close()


@pytest.mark.normative("mqtt-3.1.1:MQTT-4.7.3-1", "mqtt-5.0:MQTT-4.7.3-1")
def test_empty_topic_filter_is_not_granted(wire):
    wire.send(b"\x82\x06\x00\x01\x00\x00\x00\x00" if wire.is_v5 else b"\x82\x05\x00\x01\x00\x00\x00")
    wire.reaction()
    granted = [code for suback in wire.arrived(SUBACK) for code in suback.reason_codes if code < 0x80]
    assert granted == []
