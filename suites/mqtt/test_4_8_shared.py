"""MQTT 5.0 section 4.8.2: shared subscriptions."""

import pytest
from mqproof.harness.wires.mqtt import MESSAGE
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBLISH, PUBREC
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import subscribe

pytestmark = pytest.mark.needs("shared_subscription")


@pytest.mark.normative("mqtt-5.0:MQTT-4.8.2-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
@ahead
def test_each_message_reaches_one_member(wires, topic, qos):
    members, publisher = [wires() for _ in range(3)], wires()
    for member in members:
        member.subscribe(shared(topic), qos=qos)
    bodies = [f"{number}".encode() for number in range(12)]
    for body in bodies:
        publisher.deliver(topic, body, qos=qos)
    got = [p.payload for member in members for p in member.settle(publisher)]
    assert sorted(got) == sorted(bodies)


@pytest.mark.normative("mqtt-5.0:MQTT-4.8.2-3")
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_shared_message_respects_the_granted_qos(wires, topic, granted):
    member, publisher = wires(), wires()
    member.subscribe(shared(topic), qos=granted)
    publisher.deliver(topic, qos=2)
    assert [p.qos for p in member.must_get(1)] == [granted]


@pytest.mark.normative("mqtt-5.0:MQTT-4.8.2-3", "mqtt-5.0:MQTT-4.5.0-1")
def test_groups_and_ordinary_subscriptions_each_get_the_message(wires, topic):
    first, second, plain, publisher = (wires() for _ in range(4))
    first.subscribe(shared(topic, "one"), qos=1)
    second.subscribe(shared(topic, "two"), qos=1)
    plain.subscribe(topic, qos=1)
    publisher.deliver(topic, b"all", qos=1)
    assert [[p.payload for p in each.must_get(1)] for each in (first, second, plain)] == [[b"all"]] * 3


@pytest.mark.normative("mqtt-5.0:MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_reach_the_members_that_are_left_when_one_has_vanished(wires, topic, client_id, qos):
    """Its session ends with its connection, and its subscription with its session; coming and going makes sure."""
    vanishing, staying, publisher = wires(client_id), wires(), wires()
    for member in (vanishing, staying):
        member.subscribe(shared(topic), qos=qos)
    publisher.deliver(topic, b"before", qos=qos)
    vanishing.cut()
    wires(client_id).disconnect()
    bodies = [f"{number}".encode() for number in range(6)]
    for body in bodies:
        publisher.deliver(topic, body, qos=qos)
    got = staying.messages(lambda so_far: {*bodies} <= {p.payload for p in so_far}, MESSAGE)[0]
    assert sorted({p.payload for p in got} - {b"before"}) == bodies


@pytest.mark.normative("mqtt-5.0:MQTT-3.3.1-11")
@pytest.mark.needs("retain")
@ahead
def test_shared_subscription_with_retain_handling_2_brings_no_retained_messages(wires, topic):
    """Section 4.8.2 says so of every shared subscription, without a number: another Retain Handling is a finding."""
    publisher, member, other = wires(), wires(), wires()
    publisher.deliver(topic, b"kept", qos=1, retain=True)
    member.subscribe(shared(topic, "one"), qos=1, retain_handling=2)
    other.subscribe(shared(topic, "two"), qos=1, retain_handling=0)
    if other.settle(publisher):
        other.note("finding: a shared subscription brought a retained message")
    assert member.settle(publisher) == []


@pytest.mark.normative("mqtt-5.0:MQTT-4.8.2-4")
@ahead
def test_interrupted_qos_2_exchange_is_completed_to_the_same_client(wires, topic, client_id):
    member, other, publisher = wires(client_id, keep=True), wires(), wires()
    member.subscribe(shared(topic), qos=2)
    publisher.deliver(topic, b"begun", qos=2)
    number = member.expect(PUBLISH, payload=b"begun").packet_id
    other.subscribe(shared(topic), qos=2)
    member.cut()
    again = wires(client_id, keep=True)
    second = again.must_receive(PUBLISH, payload=b"begun")
    again.answer(second)
    assert (second.packet_id, other.settle(publisher)) == (number, [])


@pytest.mark.normative("mqtt-5.0:MQTT-4.8.2-5")
@ahead
def test_begun_qos_2_message_of_an_ended_session_goes_to_nobody_else(wires, topic, client_id):
    member, other, publisher = wires(client_id, keep=True), wires(), wires()
    member.subscribe(shared(topic), qos=2)
    publisher.deliver(topic, b"begun", qos=2)
    member.expect(PUBLISH, payload=b"begun")
    other.subscribe(shared(topic), qos=2)
    member.cut()
    wires(client_id, clean_start=True).disconnect()
    assert other.settle(publisher) == []


@pytest.mark.normative("mqtt-5.0:MQTT-4.8.2-6")
@pytest.mark.parametrize(("qos", "answer"), [(1, PUBACK), (2, PUBREC)])
@ahead
def test_refused_message_is_discarded_and_not_redirected(wires, topic, qos, answer):
    member, other, publisher = wires(), wires(), wires()
    member.subscribe(shared(topic), qos=qos)
    publisher.deliver(topic, b"refused", qos=qos)
    number = member.expect(PUBLISH, payload=b"refused").packet_id
    other.subscribe(shared(topic), qos=qos)
    member.send(answer, packet_id=number, reason_code=0x80)
    member.ping()
    assert (other.settle(publisher), member.settle(publisher)) == ([], [])


@pytest.mark.normative("mqtt-5.0:MQTT-4.8.2-1", "mqtt-5.0:MQTT-4.8.2-2")
@pytest.mark.parametrize("pattern", [
    "$share//~", "$share/a+/~", "$share/#/~", "$share/+/~", "$share/group", "$share/g/",
])  # fmt: skip
@ahead
def test_shared_filter_of_wrong_form_is_refused_properly(wire, topic, pattern):
    """The text binds the client: a server refuses it, ends the connection with a reason, or overlooks it."""
    wire.send(subscribe(wire, pattern.replace("~", topic).encode(), 1))
    wire.must_close(lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-3.10.4-1")
@ahead
def test_member_that_unsubscribes_gets_nothing_more(wires, topic):
    leaving, staying, publisher = wires(), wires(), wires()
    for member in (leaving, staying):
        member.subscribe(shared(topic), qos=1)
    leaving.unsubscribe(shared(topic))
    for number in range(4):
        publisher.deliver(topic, f"{number}".encode(), qos=1)
    assert (leaving.settle(publisher), len(staying.must_get(4))) == ([], 4)


def shared(topic, group="group"):
    return f"$share/{group}/{topic}"
