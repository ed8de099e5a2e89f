"""MQTT 5.0 section 3.3.2.3.4: topic aliases, in both directions."""

import pytest
from mqproof.harness.verdicts import Unsupported
from mqproof.harness.wires.mqtt_packets import PUBACK


@pytest.fixture
def publisher(wires):
    """A connection whose CONNACK announces topic aliases."""
    wire = wires()
    if not maximum(wire):
        raise Unsupported("the server announces no Topic Alias Maximum")
    return wire


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-12", "mqtt-5.0:MQTT-3.3.2-3")
def test_server_accepts_each_alias_up_to_its_maximum(wires, publisher, topic):
    subscriber = wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    aliases = sorted({1, 2, maximum(publisher) // 2 or 1, maximum(publisher)})
    for alias in aliases:
        for name, body in ((f"{topic}/{alias}", b"named"), ("", f"{alias}".encode())):
            number = publisher.publish(name, body, qos=1, properties={"topic_alias": alias})
            publisher.must_receive(PUBACK, packet_id=number)
    got = [(p.topic, p.payload) for p in subscriber.must_get(2 * len(aliases)) if p.payload != b"named"]
    assert got == [(f"{topic}/{alias}", f"{alias}".encode()) for alias in aliases]


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-3", "mqtt-5.0:MQTT-3.3.2-12", "mqtt-5.0:MQTT-4.7.3-1")
def test_alias_can_be_given_to_another_topic(wires, publisher, topic):
    subscriber = wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    for level in "ab":
        publisher.deliver(f"{topic}/{level}", b"", qos=1, properties={"topic_alias": 1})
        publisher.deliver("", b"", qos=1, properties={"topic_alias": 1})
    assert [p.topic[-1] for p in subscriber.must_get(4)] == ["a", "a", "b", "b"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-7")
def test_alias_ends_with_its_connection(wires, publisher, topic, client_id):
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    first = wires(client_id, keep=True)
    first.deliver(topic, b"named", qos=1, properties={"topic_alias": 1})
    first.disconnect()
    second = wires(client_id, keep=True)
    second.publish("", b"by the old alias", qos=1, properties={"topic_alias": 1})
    second.reaction()
    assert [p.payload for p in subscriber.settle(wires(), at_least=1)] == [b"named"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-7")
def test_alias_is_known_to_its_own_connection_only(wires, publisher, topic):
    subscriber, other = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.deliver(topic, b"named", qos=1, properties={"topic_alias": 1})
    other.publish("", b"by somebody's alias", qos=1, properties={"topic_alias": 1})
    other.reaction()
    assert [p.payload for p in subscriber.settle(wires(), at_least=1)] == [b"named"]


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-8", "mqtt-5.0:MQTT-4.13.1-1")
def test_alias_0_ends_the_connection(wire, topic):
    wire.publish(topic, properties={"topic_alias": 0})
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-9", "mqtt-5.0:MQTT-4.13.1-1")
def test_alias_above_the_servers_maximum_ends_the_connection(wire, topic):
    if maximum(wire) == 65535:
        raise Unsupported("the server accepts every alias")
    wire.publish(topic, properties={"topic_alias": maximum(wire) + 1})
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-11", "mqtt-5.0:MQTT-3.1.2-26", "mqtt-5.0:MQTT-3.3.2-8")
@pytest.mark.parametrize("allowed", [1, 5])
def test_servers_aliases_stay_within_the_clients_maximum(wires, topic, allowed):
    subscriber, publisher = wires(properties={"topic_alias_maximum": allowed}), wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    for number in range(3 * allowed):
        publisher.deliver(f"{topic}/{number % (allowed + 2)}", qos=1)
    aliases = [value for p in subscriber.must_get(3 * allowed) for name, value in p.properties if name == "topic_alias"]
    assert all(1 <= alias <= allowed for alias in aliases)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-3")
def test_servers_aliases_stand_for_the_topics(wires, topic):
    subscriber, publisher = wires(properties={"topic_alias_maximum": 3}), wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    sent = [f"{topic}/{number % 5}" for number in range(10)]
    for name in sent:
        publisher.deliver(name, qos=1)
    assert resolved(subscriber.must_get(10)) == sent


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-27", "mqtt-5.0:MQTT-3.3.2-11")
@pytest.mark.parametrize("given", [(), (("topic_alias_maximum", 0),)])
def test_server_sends_no_alias_where_none_is_allowed(wires, topic, given):
    subscriber, publisher = wires(properties=given), wires()
    subscriber.subscribe(topic, qos=1)
    for _ in range(3):
        publisher.deliver(topic, qos=1)
    assert [p.properties for p in subscriber.must_get(3) if "topic_alias" in dict(p.properties)] == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-7", "mqtt-5.0:MQTT-3.3.4-1")
def test_alias_without_a_name_that_was_never_given_ends_the_connection(wire):
    """Sections 3.3.2.1 and 3.3.2.3.4: a zero-length name with no mapping is a Protocol Error."""
    if not maximum(wire):
        raise Unsupported("the server announces no Topic Alias Maximum")
    wire.publish("", qos=1, properties={"topic_alias": 1})
    wire.must_close(lenient=True)
    assert [p for p in wire.arrived(PUBACK) if p.reason_code < 0x80] == []


def maximum(wire):
    return dict(wire.connack.properties).get("topic_alias_maximum", 0)


def resolved(publishes):
    """Return the topics, with the aliases of one connection resolved."""
    known: dict[int | None, str] = {}
    for packet in publishes:
        alias = dict(packet.properties).get("topic_alias")
        known |= {alias: packet.topic} if alias and packet.topic else {}
    return [packet.topic or known.get(dict(packet.properties).get("topic_alias")) for packet in publishes]
