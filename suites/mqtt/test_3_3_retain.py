"""Section 3.3.1.3: retained messages."""

import pytest
from mqproof.harness.verdicts import check
from mqproof.harness.wires.mqtt_packets import PUBLISH
from mqproof.suites.mqtt.ahead import ahead

STORED = ("mqtt-3.1.1:MQTT-3.3.1-5", "mqtt-3.1.1:MQTT-3.3.1-6", "mqtt-5.0:MQTT-3.3.1-5", "mqtt-5.0:MQTT-3.3.1-9")
AT_QOS = ("mqtt-3.1.1:MQTT-3.8.4-6", "mqtt-5.0:MQTT-3.8.4-8")

pytestmark = pytest.mark.needs("retain")


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.3.1-5", "mqtt-3.1.1:MQTT-3.3.1-6", "mqtt-3.1.1:MQTT-3.3.1-8", "mqtt-5.0:MQTT-3.3.1-5",
    "mqtt-5.0:MQTT-3.3.1-9", "mqtt-5.0:MQTT-3.3.1-12", *AT_QOS,
)  # fmt: skip
@pytest.mark.parametrize("qos", [1, 2])
def test_retained_message_awaits_later_subscribers(wires, topic, qos):
    wires().deliver(topic, b"last known", qos=qos, retain=True)
    subscriber = wires()
    subscriber.subscribe(topic, qos=2)
    got = subscriber.must_get(1, statement=STORED)[0]
    sent = (b"last known", topic)
    check((got.payload, got.topic) == sent, expected=sent, actual=got, statement=STORED)
    check(got.qos == qos, expected=f"QoS {qos}", actual=got, statement=AT_QOS)
    check(got.retain, expected="RETAIN 1", actual=got, statement=("mqtt-3.1.1:MQTT-3.3.1-8", "mqtt-5.0:MQTT-3.3.1-12"))


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-5", "mqtt-5.0:MQTT-3.3.1-5")
@ahead
def test_newer_retained_message_replaces_the_older(wires, topic):
    publisher, subscriber = wires(), wires()
    for body in (b"old", b"newer", b"newest"):
        publisher.deliver(topic, body, qos=1, retain=True)
    subscriber.subscribe(topic, qos=1)
    assert [p.payload for p in subscriber.settle(publisher, at_least=1)] == [b"newest"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-6", "mqtt-5.0:MQTT-3.3.1-9")
@pytest.mark.parametrize("pattern", ["~/#", "~/+", "~/a"])
@ahead
def test_new_subscription_brings_the_retained_message_of_each_matching_topic(wires, topic, pattern):
    publisher, subscriber = wires(), wires()
    for level in "abc":
        publisher.deliver(f"{topic}/{level}", level.encode(), qos=1, retain=True)
    subscriber.subscribe(pattern.replace("~", topic), qos=1)
    wanted = [b"a"] if pattern.endswith("a") else [b"a", b"b", b"c"]
    assert sorted(p.payload for p in subscriber.settle(publisher, at_least=len(wanted))) == wanted


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-7")
@ahead
def test_retained_message_at_qos_0_discards_the_older(wires, topic):
    """To store it is only advised."""
    publisher, subscriber = wires(), wires()
    publisher.deliver(topic, b"old", qos=1, retain=True)
    publisher.deliver(topic, b"new", qos=0, retain=True)
    subscriber.subscribe(topic, qos=1)
    assert b"old" not in [p.payload for p in subscriber.settle(publisher)]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-9", "mqtt-5.0:MQTT-3.3.1-12")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_message_for_an_established_subscription_has_retain_0(wires, topic, qos):
    publisher, subscriber = wires(), wires()
    subscriber.subscribe(topic, qos=qos)
    publisher.deliver(topic, b"live", qos=qos, retain=True)
    assert [p.retain for p in subscriber.must_get(1)] == [False]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-10", "mqtt-5.0:MQTT-3.3.1-6")
@ahead
def test_empty_retained_message_is_delivered_and_clears(wires, topic):
    publisher, present, late = wires(), wires(), wires()
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    present.subscribe(topic, qos=1)
    publisher.deliver(topic, b"", qos=1, retain=True)
    live = [p.payload for p in present.must_get(2)]
    late.subscribe(topic, qos=1)
    assert (live, [p.payload for p in late.settle(publisher)]) == ([b"kept", b""], [])


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-10", "mqtt-5.0:MQTT-3.3.1-6")
@pytest.mark.parametrize("qos", [0, 2])
@ahead
def test_empty_retained_message_of_any_qos_clears(wires, topic, qos):
    publisher, late = wires(), wires()
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    publisher.deliver(topic, b"", qos=qos, retain=True)
    late.subscribe(topic, qos=1)
    assert [p.payload for p in late.settle(publisher)] == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-11", "mqtt-5.0:MQTT-3.3.1-7")
@ahead
def test_empty_message_is_never_stored(wires, topic):
    publisher, late = wires(), wires()
    publisher.deliver(topic, b"", qos=1, retain=True)
    late.subscribe(topic, qos=1)
    assert late.settle(publisher) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-12", "mqtt-5.0:MQTT-3.3.1-8")
@pytest.mark.parametrize("body", [b"passing by", b""])
@ahead
def test_message_without_retain_leaves_the_retained_one_alone(wires, topic, body):
    publisher, late = wires(), wires()
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    publisher.deliver(topic, body, qos=1)
    late.subscribe(topic, qos=1)
    assert [p.payload for p in late.settle(publisher, at_least=1)] == [b"kept"]


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.1-12", "mqtt-5.0:MQTT-3.3.1-8")
@ahead
def test_message_without_retain_is_not_stored(wires, topic):
    publisher, late = wires(), wires()
    publisher.deliver(topic, b"passing by", qos=1)
    late.subscribe(topic, qos=1)
    assert late.settle(publisher) == []


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.8.4-3", "mqtt-3.1.1:MQTT-3.3.1-6", "mqtt-5.0:MQTT-3.8.4-4", "mqtt-5.0:MQTT-3.3.1-9",
)  # fmt: skip
def test_same_subscription_again_brings_the_retained_message_again(wires, topic):
    """RETAIN is examined elsewhere (3.1.1: 3.3.1-8). In 3.1.1 the second subscription is no new one: it replaces."""
    again = ("mqtt-3.1.1:MQTT-3.8.4-3", "mqtt-5.0:MQTT-3.3.1-9", "mqtt-5.0:MQTT-3.8.4-4")
    subscriber = wires()
    wires().deliver(topic, b"kept", qos=1, retain=True)
    for owed in (("mqtt-3.1.1:MQTT-3.3.1-6", again[1]), again):
        subscriber.subscribe(topic, qos=1)
        got = [p.payload for p in subscriber.must_get(1, statement=owed)]
        check(got == [b"kept"], expected="the retained message", actual=got, statement=owed)


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.1-10")
@ahead
def test_retain_handling_1_brings_retained_messages_to_new_subscriptions_only(wires, topic):
    publisher, subscriber = wires(), wires()
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    subscriber.subscribe(topic, qos=1, retain_handling=1)
    first = [p.payload for p in subscriber.settle(publisher, at_least=1)]
    subscriber.subscribe(topic, qos=1, retain_handling=1)
    assert (first, subscriber.settle(publisher)) == ([b"kept"], [])


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.1-11")
@ahead
def test_retain_handling_2_brings_no_retained_messages(wires, topic):
    publisher, subscriber = wires(), wires()
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    subscriber.subscribe(topic, qos=1, retain_handling=2)
    assert subscriber.settle(publisher) == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.1-13")
@pytest.mark.parametrize("retain", [False, True])
def test_retain_as_published_keeps_the_flag(wires, topic, retain):
    publisher, subscriber = wires(), wires()
    subscriber.subscribe(topic, qos=1, retain_as_published=True)
    publisher.deliver(topic, b"live", qos=1, retain=retain)
    assert [p.retain for p in subscriber.must_get(1)] == [retain]


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.1-12")
def test_message_sent_for_a_new_subscription_keeps_retain_1(wires, topic):
    wires().deliver(topic, b"kept", qos=1, retain=True)
    subscriber = wires()
    subscriber.subscribe(topic, qos=1, retain_as_published=False)
    assert subscriber.must_receive(PUBLISH, payload=b"kept").retain is True


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.3.2-3", "mqtt-5.0:MQTT-3.3.2-3")
@pytest.mark.needs("retain")
@ahead
def test_client_that_has_not_subscribed_gets_no_message(wires, topic):
    """Somebody else has subscribed, and a message is retained: neither concerns a client that only connects."""
    publisher, subscriber = wires(), wires()
    subscriber.subscribe(f"{topic}/#", qos=1)
    publisher.deliver(f"{topic}/a", b"retained", qos=1, retain=True)
    bystander = wires()
    publisher.deliver(f"{topic}/a", b"live", qos=1)
    assert bystander.settle(publisher) == []
