"""MQTT 5.0 section 3.3.2.3: what the properties of a message become on their way to a subscriber."""

import pytest
from mqproof.harness.verdicts import check
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import BAD_UTF8, field, packet, sent_on

BY_PROPERTY = {
    "payload_format_indicator": "mqtt-5.0:MQTT-3.3.2-4",
    "response_topic": "mqtt-5.0:MQTT-3.3.2-15",
    "correlation_data": "mqtt-5.0:MQTT-3.3.2-16",
    "user_property": "mqtt-5.0:MQTT-3.3.2-17",
    "content_type": "mqtt-5.0:MQTT-3.3.2-20",
}
FORWARDED = [
    pytest.param("payload_format_indicator", 0, marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-4")),
    pytest.param("payload_format_indicator", 1, marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-4")),
    pytest.param("response_topic", "answers/here", marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-15")),
    pytest.param("response_topic", "\u00e4/\U0001f4e8", marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-15")),
    pytest.param("correlation_data", b"\x00\xff\x00", marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-16")),
    pytest.param("correlation_data", b"", marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-16")),
    pytest.param(
        "content_type", "application/json; charset=utf-8",
        marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-20"),
    ),
    pytest.param("user_property", ("key", ""), marks=pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-17")),
]


@pytest.mark.normative(*BY_PROPERTY.values())
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_are_forwarded_unchanged(wires, topic, qos):
    given = (
        ("payload_format_indicator", 1), ("content_type", "text/plain"), ("response_topic", "an/answer"),
        ("correlation_data", bytes(range(256))), ("user_property", ("name", "value")),
    )  # fmt: skip
    must_have(received(wires, topic, given, qos), given)


@pytest.mark.normative(*BY_PROPERTY.values())
@pytest.mark.parametrize(("name", "value"), FORWARDED)
def test_property_is_forwarded_unchanged(wires, topic, name, value):
    if name == "payload_format_indicator" and value == 0:
        assert ("payload_format_indicator", 1) not in received(wires, topic, ((name, value),)).properties
    else:
        assert (name, value) in received(wires, topic, ((name, value),)).properties


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-17", "mqtt-5.0:MQTT-3.3.2-18")
def test_user_properties_keep_their_order(wires, topic):
    """A server might add its own: ours must come unchanged and in order."""
    given = [("b", "2"), ("a", "1"), ("b", "1"), ("", ""), ("a", "1"), ("\u00e4", "\U0001f4e8")]
    got = received(wires, topic, tuple(("user_property", pair) for pair in given))
    assert [value for name, value in got.properties if name == "user_property" and value in given] == given


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-15", "mqtt-5.0:MQTT-3.3.2-16", "mqtt-5.0:MQTT-3.3.2-17")
@pytest.mark.needs("retain")
def test_properties_of_a_retained_message_are_kept(wires, topic):
    given = (("response_topic", "answers"), ("correlation_data", b"\1"), ("user_property", ("a", "b")))
    wires().deliver(topic, b"kept", qos=1, retain=True, properties=given)
    subscriber = wires()
    subscriber.subscribe(topic, qos=1)
    must_have(subscriber.must_get(1)[0], given)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-13")
@pytest.mark.parametrize("response_topic", [b"a\0b", *BAD_UTF8.values()])
@ahead
def test_response_topic_that_is_no_utf8_is_not_sent_on(wires, topic, response_topic):
    forwarded(wires, topic, b"\x08" + field(response_topic))


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-14")
@pytest.mark.parametrize("response_topic", [b"a/+", b"#"])
@ahead
def test_response_topic_with_wildcards_reaches_nobody(wires, topic, response_topic):
    """It must not stand in any PUBLISH, and the server has to send it unaltered: so it cannot send it at all."""
    got = forwarded(wires, topic, b"\x08" + field(response_topic))
    assert [p for p in got if "response_topic" in dict(p.properties)] == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-19", "mqtt-5.0:MQTT-1.5.4-1")
@pytest.mark.parametrize("content_type", BAD_UTF8.values())
@ahead
def test_content_type_that_is_no_utf8_is_not_sent_on(wires, topic, content_type):
    forwarded(wires, topic, b"\x03" + field(content_type))


@pytest.mark.normative("mqtt-5.0:MQTT-1.5.7-1")
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("text", BAD_UTF8.values())
@ahead
def test_string_pair_with_a_bad_half_is_not_sent_on(wires, topic, half, text):
    halves = (field(text), field(b"good"))
    forwarded(wires, topic, b"\x26" + halves[half] + halves[1 - half])


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.4-6")
@ahead
def test_subscription_identifier_of_a_publisher_is_not_passed_on(wires, topic):
    names = [name for p in forwarded(wires, topic, b"\x0b\x07") for name, _ in p.properties]
    assert "subscription_identifier" not in names


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.2-6")
def test_message_expiry_interval_is_forwarded_and_not_longer(wires, topic):
    got = received(wires, topic, (("message_expiry_interval", 100),))
    assert 0 < dict(got.properties)["message_expiry_interval"] <= 100


def must_have(message, given):
    """Accuse the broker of each property that it did not forward unchanged, and of no other."""
    lost = [(name, value) for name, value in given if (name, value) not in message.properties]
    broken = tuple(BY_PROPERTY[name] for name, _ in lost)
    check(not lost, expected=given, actual=message.properties, statement=broken)


def received(wires, topic, properties, qos=1):
    """Return the message as a subscriber gets it."""
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, b"body", qos=qos, properties=properties)
    return subscriber.must_get(1)[0]


def forwarded(wires, topic, octets):
    """Publish with a property that breaks its format, and return what a subscriber gets of it.

    How the server reacts to the publisher is left to it (section 4.13.1). But it must not send such a packet itself:
    that is accused here.
    """
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.send(packet(0x32, field(topic.encode()), b"\0\5", bytes([len(octets)]), octets, b"body"))
    publisher.reaction()
    return sent_on(subscriber, wires())
