"""SUBSCRIBE and UNSUBSCRIBE, overlapping and shared subscriptions: sections 3.8 to 3.11, 3.3.4 and 4.8.2."""

import pytest
from mqproof.dissectors.mqtt.codec import (
    Puback,
    Publish,
    Pubrec,
    RawPacket,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    encode_string,
    prop,
)
from mqproof.dissectors.mqtt.tables import Version

V4, V5 = Version.V3_1_1, Version.V5_0


def test_one_code_per_filter_in_order(world, version):
    entries = tuple(Subscription(f"t{qos}", qos) for qos in (2, 0, 1, 0))
    assert world.client(version=version).send(Subscribe(77, entries)).one() == Suback(77, (2, 0, 1, 0))


def test_unsubscribe_is_literal_and_always_answered(world, version):
    client = world.client(version=version)
    client.subscribe("a/+", "a/b", qos=0)
    answer = client.send(Unsubscribe(78, ("a/#", "a/+", "x"))).one()
    assert answer == Unsuback(78, (0x11, 0, 0x11) if version is V5 else ())
    client.send(Publish("a/c", b"no"), Publish("a/b", b"yes"))
    assert client.payloads() == [b"yes"]


@pytest.mark.parametrize("text", ["a#", "#/a", "a+", ""])
def test_invalid_filter_ends_the_connection(world, version, text):
    for packet in (Subscribe(1, (Subscription(text),)), Unsubscribe(1, (text,))):
        client = world.client(version=version)
        client.send(packet)
        assert client.closed
        assert [answer.reason_code for answer in client.read()] == ([0x82] if version is V5 else [])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x00\x01", 0x82),  # no filter
        (b"\x00\x00" + encode_string("a") + b"\x00", 0x82),  # identifier 0
        (b"\x00\x01" + encode_string("a") + b"\x03", 0x82),  # QoS 3
        (b"\x00\x01" + encode_string("a") + b"\xc0", 0x81),  # reserved bits
        (b"\x00\x01" + encode_string("a") + b"\x30", 0x82),  # retain handling 3
        (b"\x00\x01" + encode_string("a"), 0x81),  # options missing
        (b"\x00\x01\x00\x02\xff\xff\x00", 0x81),  # not UTF-8
    ],
)
def test_malformed_subscribe(world, version, body, code):
    client = world.client(version=version)
    whole = body[:2] + b"\x00" + body[2:] if version is V5 else body
    client.send(RawPacket(0x82, whole))
    assert client.closed
    assert [answer.reason_code for answer in client.read()] == ([code] if version is V5 else [])


def test_same_filter_again_replaces_the_subscription(world, version):
    client = world.client(version=version)
    client.subscribe("t", qos=2)
    client.subscribe("t", qos=0)
    client.send(Publish("t", b"x", 1, packet_id=1))
    _, message = client.read()
    assert message.qos == 0


def test_replacing_a_subscription_loses_nothing_that_waits(world):
    client = world.client(properties=(("receive_maximum", 1),))
    client.subscribe("t")
    publisher = world.client()
    publisher.publish("t", b"1", 1)
    publisher.publish("t", b"2", 1)
    client.read()
    client.subscribe("t")
    assert client.send(Puback(1)).one().payload == b"2"


@pytest.mark.parametrize(
    ("text", "topic", "selected"),
    [("a/#", "a", True), ("a/#", "a/", True), ("a/+", "a/", True), ("+/+", "/a", True), ("+", "/a", False)],
)
@pytest.mark.parametrize("retain", [False, True])
def test_edges_of_wildcards(world, version, text, topic, selected, retain):
    client = world.client(version=version)
    if retain:
        client.publish(topic, b"x", retain=True)
    got = client.subscribe(text, qos=0)
    if not retain:
        got = client.send(Publish(topic, b"x")).read()
    assert len(got) == selected


def test_overlapping_subscriptions_get_one_copy_at_the_highest_qos(world, version):
    client = world.client(version=version)
    client.subscribe(Subscription("t/+", 0), Subscription("t/#", 2), Subscription("t/a", 1))
    world.client(version=version).publish("t/a", b"x", 2)
    assert client.one().qos == 2


def test_overlapping_subscriptions_bring_all_identifiers(world):
    client = world.client()
    client.subscribe("t/+", qos=0, properties=(("subscription_identifier", 268_435_455),))
    client.subscribe("t/#", qos=0, properties=(("subscription_identifier", 1),))
    client.subscribe("#", qos=0)
    client.subscribe("u", qos=0, properties=(("subscription_identifier", 7),))
    client.send(Publish("t/a"))
    assert sorted(client.one().properties) == [("subscription_identifier", 1), ("subscription_identifier", 268_435_455)]


def test_identifier_is_replaced_and_removed(world):
    client = world.client()
    client.publish("t", b"kept", 1, retain=True)
    (kept,) = client.subscribe("t", qos=0, properties=(("subscription_identifier", 5),))
    assert kept.properties == (("subscription_identifier", 5),)
    client.subscribe("t", qos=0)
    client.send(Publish("t"))
    assert client.one().properties == ()


def test_no_local(world):
    client, other = world.client(), world.client()
    client.publish("t", b"own", 1, retain=True)
    other.publish("u", b"other", 1, retain=True)
    assert [packet.payload for packet in client.subscribe(Subscription("#", no_local=True))] == [b"other"]
    client.send(Publish("t", b"own"))
    assert client.nothing()
    other.send(Publish("t", b"other"))
    assert client.one().payload == b"other"


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Subscribe(1, (Subscription("$share/g/t", no_local=True),)), 0x82),
        (Subscribe(1, (Subscription("$share/g"),)), 0x82),
        (Subscribe(1, (Subscription("$share//t"),)), 0x82),
        (Subscribe(1, (Subscription("$share/+/t"),)), 0x82),
        (Subscribe(1, (Subscription("t"),), (("subscription_identifier", 0),)), 0x82),
        (Subscribe(1, (Subscription("t"),), (("subscription_identifier", 1), ("subscription_identifier", 2))), 0x82),
        (Unsubscribe(1, ("$share/g",)), 0x82),
    ],
)
def test_subscribe_that_breaks_a_rule(world, packet, code):
    client = world.client()
    client.send(packet)
    assert client.one().reason_code == code
    assert client.closed


@pytest.mark.parametrize(
    ("limits", "packet", "code"),
    [
        ({"wildcards_available": False}, Subscribe(1, (Subscription("a/+"),)), 0xA2),
        ({"shared_available": False}, Subscribe(1, (Subscription("$share/g/a"),)), 0x9E),
        (
            {"identifiers_available": False},
            Subscribe(1, (Subscription("a"),), (("subscription_identifier", 1),)),
            0xA1,
        ),
    ],
)
def test_subscribe_beyond_what_is_available(make_world, limits, packet, code):
    client = make_world(**limits).client()
    client.send(packet)
    assert client.one().reason_code == code
    assert client.closed


def test_3_1_1_is_refused_wildcards_by_suback(make_world):
    client = make_world(wildcards_available=False).client(version=V4)
    assert client.send(Subscribe(1, (Subscription("a/#"), Subscription("a")))).one() == Suback(1, (0x80, 0))


def test_granted_qos_stays_within_maximum_qos(make_world):
    client = make_world(maximum_qos=1).client()
    assert client.send(Subscribe(1, (Subscription("a", 2), Subscription("b", 0)))).one() == Suback(1, (1, 0))


def test_filters_of_one_session_are_bounded(make_world, version):
    client = make_world(subscription_octets=10).client(version=version)
    answer = client.send(Subscribe(1, (Subscription("12345678"), Subscription("123"), Subscription("12")))).one()
    assert answer.reason_codes == (0, 0x97 if version is V5 else 0x80, 0)
    client.send(Unsubscribe(2, ("12345678",))).read()
    client.subscribe("123")


def test_packet_id_of_a_qos_2_message_is_in_use(world):
    client = world.client()
    client.send(Publish("t", b"", 2, packet_id=7)).read()
    assert client.send(Subscribe(7, (Subscription("a"), Subscription("b")))).one().reason_codes == (0x91, 0x91)
    assert client.send(Unsubscribe(7, ("a", "b"))).one().reason_codes == (0x91, 0x91)


def test_deliveries_that_started_are_finished_after_unsubscribe(world, version):
    client = world.client("s", version, keep=True)
    client.subscribe("t")
    world.client(version=version).publish("t", b"x", 2)
    client.read()
    client.send(Unsubscribe(1, ("t",)))
    client.cut()
    assert [packet.payload for packet in world.client("s", version, keep=True).after_connack] == [b"x"]


def test_share_prefix_means_nothing_in_3_1_1(world):
    client = world.client(version=V4)
    client.subscribe("$share/g/t", qos=0)
    client.send(Publish("t"), Publish("$share/g/t", b"literal"))
    assert client.payloads() == [b"literal"]


def test_topics_are_compared_code_point_by_code_point(world, version):
    client = world.client(version=version)
    client.subscribe("\ufeffé", qos=0)
    for topic in ("é", "\ufeffe\u0301", "\ufeffé", "\ufeffÉ"):
        client.send(Publish(topic, topic.encode()))
    assert client.payloads() == ["\ufeffé".encode()]


# -- shared subscriptions


def members(world, count=3, **more):
    found = [world.client(f"m{number}", **more) for number in range(count)]
    for client in found:
        assert client.subscribe("$share/g/t/#", qos=2) == []
    return found


def test_shared_messages_go_to_one_member_each(world):
    group = members(world)
    publisher = world.client()
    for number in range(9):
        publisher.publish("t/a", b"%d" % number, number % 3)
    got = [client.payloads() for client in group]
    assert sorted(payload for one in got for payload in one) == [b"%d" % number for number in range(9)]
    assert [len(one) for one in got] == [3, 3, 3]


def test_groups_and_plain_subscriptions_get_copies_of_their_own(world):
    group = members(world, 2)
    other, plain = world.client(), world.client()
    other.subscribe("$share/h/t/#")
    plain.subscribe("t/#")
    group[0].subscribe("t/a")
    world.client().publish("t/a", b"x", 1)
    assert [len(client.payloads()) for client in (*group, other, plain)] in ([2, 0, 1, 1], [1, 1, 1, 1])


def test_shared_subscriptions_bring_no_retained_messages(world):
    world.client().publish("t/a", b"x", 1, retain=True)
    members(world)


def test_shared_delivery_at_each_members_qos(world):
    low, high = world.client(), world.client()
    low.subscribe("$share/g/t", qos=0)
    high.subscribe("$share/g/t", qos=1)
    publisher = world.client()
    for _ in range(2):
        publisher.publish("t", b"x", 2)
    assert (low.one().qos, high.one().qos) == (0, 1)


def test_shared_identifier(world):
    client = world.client()
    client.subscribe("$share/g/t", properties=(("subscription_identifier", 3),))
    world.client().publish("t")
    assert prop(client.one().properties, "subscription_identifier") == 3


def test_absent_members_are_passed_over(world):
    group = members(world, keep=True)
    group[0].cut()
    group[1].cut()
    publisher = world.client()
    for number in range(4):
        publisher.publish("t/a", b"%d" % number, 1)
    assert group[2].payloads() == [b"0", b"1", b"2", b"3"]
    group[2].cut()
    publisher.publish("t/a", b"kept", 1)
    back = [world.client(f"m{number}", keep=True).after_connack for number in range(3)]
    assert [packet.payload for packets in back for packet in packets] == [b"kept"]


def test_member_with_a_full_window_is_passed_over(world):
    group = members(world, 2, properties=(("receive_maximum", 1),))
    publisher = world.client()
    for number in range(2):
        publisher.publish("t/a", b"%d" % number, 1)
    group[0].read()
    group[1].send(Puback(group[1].one().packet_id))
    publisher.publish("t/a", b"2", 1)
    publisher.publish("t/a", b"3", 1)
    assert group[1].payloads() == [b"2"]
    assert sum(len(world.broker.sessions.get(f"m{number}").outbox) for number in range(2)) == 2


def test_started_qos_2_stays_with_its_member(world):
    group = members(world, 2, keep=True)
    world.client().publish("t/a", b"x", 2)
    chosen = next(number for number in range(2) if group[number].read())
    other = group[1 - chosen]
    group[chosen].cut()
    assert other.nothing()
    back = world.client(f"m{chosen}", keep=True)
    assert [(packet.payload, packet.dup) for packet in back.after_connack] == [(b"x", True)]
    back.cut()
    world.advance(1001)  # the session ends
    assert other.nothing()


def test_qos_1_goes_to_another_member_when_the_session_ends(world):
    group = members(world, 2, keep=True)
    world.client().publish("t/a", b"x", 1)
    chosen = next(number for number in range(2) if group[number].read())
    group[chosen].cut()
    assert group[1 - chosen].nothing()
    world.client(f"m{chosen}").cut()
    assert group[1 - chosen].payloads() == [b"x"]


@pytest.mark.parametrize(("qos", "refuse"), [(1, Puback(1, 0x80)), (2, Pubrec(1, 0x97))])
def test_refused_shared_message_is_discarded(world, qos, refuse):
    group = members(world, 2)
    world.client().publish("t/a", b"x", qos)
    chosen = next(number for number in range(2) if group[number].read())
    group[chosen].send(refuse)
    assert group[1 - chosen].nothing()
    group[chosen].cut()
    assert group[1 - chosen].nothing()


def test_member_whose_session_has_ended_gets_no_share(world):
    gone, stays = members(world, 2)
    gone.cut()
    publisher = world.client()
    for number in range(4):
        publisher.publish("t/a", b"%d" % number, 1)
    assert sorted(stays.payloads()) == [b"0", b"1", b"2", b"3"]


def test_last_member_leaves(world):
    (client,) = members(world, 1)
    assert client.send(Unsubscribe(1, ("$share/g/t/#", "$share/g/t/#"))).one().reason_codes == (0, 0x11)
    assert world.client().send(Publish("t/a", b"", 1, packet_id=1)).one() == Puback(1, 0x10)
