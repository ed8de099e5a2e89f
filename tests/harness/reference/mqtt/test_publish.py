"""PUBLISH and its acknowledgements, retained messages, properties: sections 3.3 to 3.7, 4.3 and 4.9."""

import pytest
from mqproof.dissectors.mqtt.codec import (
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscription,
    prop,
)
from mqproof.dissectors.mqtt.tables import Version

V4, V5 = Version.V3_1_1, Version.V5_0


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_delivered_at_the_lower_qos(world, version, published, granted):
    subscriber, publisher = world.client(version=version), world.client(version=version)
    subscriber.subscribe("t", qos=granted)
    publisher.publish("t", qos=published)
    got = subscriber.one()
    qos = min(published, granted)
    assert got == Publish("t", b"x", qos, packet_id=1 if qos else None)


def test_qos_1_and_2_answers(world, version):
    client = world.client(version=version)
    world.client(version=version).subscribe("t")
    assert client.send(Publish("t", b"0")).nothing()
    assert client.send(Publish("t", b"1", 1, packet_id=65535)).one() == Puback(65535)
    assert client.send(Publish("t", b"2", 2, packet_id=65535)).one() == Pubrec(65535)
    assert client.send(Pubrel(65535)).one() == Pubcomp(65535)


def test_no_matching_subscribers_is_said_in_5_0(world):
    client = world.client()
    assert client.send(Publish("t", b"1", 1, packet_id=3)).one() == Puback(3, 0x10)
    assert client.send(Publish("t", b"1", 2, packet_id=3)).one() == Pubrec(3, 0x10)


def test_acknowledgement_comes_before_ones_own_copy(world, version):
    client = world.client(version=version)
    client.subscribe("t", qos=0)
    assert [type(packet) for packet in client.send(Publish("t", b"", 1, packet_id=1)).read()] == [Puback, Publish]


def test_qos_2_publish_repeated_before_pubrel_is_delivered_once(world, version):
    subscriber, publisher = world.client(version=version), world.client(version=version)
    subscriber.subscribe("t", qos=0)
    for _ in range(3):
        assert publisher.send(Publish("t", b"once", 2, dup=True, packet_id=7)).one() == Pubrec(7)
    assert publisher.send(Pubrel(7)).one() == Pubcomp(7)
    publisher.publish("t", b"again", 2, packet_id=7)
    assert subscriber.payloads() == [b"once", b"again"]


def test_qos_1_id_is_free_after_puback_whatever_dup_says(world, version):
    subscriber, publisher = world.client(version=version), world.client(version=version)
    subscriber.subscribe("t", qos=0)
    publisher.publish("t", b"1", 1, packet_id=7)
    publisher.publish("t", b"2", 1, packet_id=7, dup=True)
    assert subscriber.payloads() == [b"1", b"2"]


def test_repeated_pubrel_is_answered(world, version):
    client = world.client(version=version)
    client.send(Publish("t", b"", 2, packet_id=7)).read()
    assert client.send(Pubrel(7)).one() == Pubcomp(7)
    assert client.send(Pubrel(7)).one() == Pubcomp(7, 0x92 if version is V5 else 0)


def test_unknown_pubrec_is_answered(world, version):
    client = world.client(version=version)
    assert client.send(Pubrec(7)).one() == Pubrel(7, 0x92 if version is V5 else 0)
    assert client.send(Pubcomp(7), Puback(8)).nothing()
    assert not client.closed


def test_outgoing_dup_is_the_servers_own(world, version):
    subscriber, publisher = world.client(version=version), world.client(version=version)
    subscriber.subscribe("t", qos=1)
    publisher.publish("t", qos=1, dup=True)
    assert not subscriber.one().dup


def test_outgoing_qos_2_exchange(world, version):
    subscriber, publisher = world.client(version=version), world.client(version=version)
    subscriber.subscribe("t")
    publisher.publish("t", qos=2)
    assert subscriber.one().packet_id == 1
    assert subscriber.send(Pubrec(1)).one() == Pubrel(1)
    assert subscriber.send(Pubrec(1)).one() == Pubrel(1)
    assert subscriber.send(Pubcomp(1)).nothing()
    assert len(world.broker.sessions.get("c1").outbox) == 0


@pytest.mark.parametrize(("qos", "answers"), [(1, [Pubrec(1)]), (2, [Puback(1)]), (2, [Pubcomp(1)])])
def test_acknowledgement_of_the_wrong_kind_is_an_error(world, version, qos, answers):
    subscriber, publisher = world.client(version=version), world.client(version=version)
    subscriber.subscribe("t")
    publisher.publish("t", qos=qos)
    subscriber.read()
    subscriber.send(*answers)
    assert subscriber.closed


@pytest.mark.parametrize("packet", [Puback(1, 0x11), Pubrec(1, 0x92), Pubrel(1, 0x10), Pubcomp(1, 0x80)])
def test_undefined_reason_code_is_an_error(world, packet):
    client = world.client()
    client.send(packet)
    assert client.one().reason_code == 0x82


def test_pubrec_with_an_error_ends_the_exchange(world):
    subscriber, publisher = world.client("s", keep=True), world.client()
    subscriber.subscribe("t")
    publisher.publish("t", qos=2)
    subscriber.read()
    assert subscriber.send(Pubrec(1, 0x80)).nothing()
    subscriber.cut()
    assert world.client("s", keep=True).after_connack == []


@pytest.mark.parametrize("topic", ["a/+", "#", "a#b", "a/b+"])
def test_wildcard_in_a_topic_name(world, version, topic):
    client = world.client(version=version)
    client.send(Publish(topic))
    assert client.closed
    assert [packet.reason_code for packet in client.read()] == ([0x82] if version is V5 else [])


def test_the_servers_own_topics_cannot_be_published_to(world, version):
    other = world.client(version=version)
    other.subscribe("$SYS/#")
    client = world.client(version=version)
    answer = client.send(Publish("$SYS/x", b"", 1, packet_id=3)).one()
    assert answer.reason_code == (0x87 if version is V5 else 0)
    answer = client.send(Publish("$SYS/x", b"", 2, packet_id=3)).one()
    assert answer.reason_code == (0x87 if version is V5 else 0)
    assert client.send(Publish("$SYS/x")).nothing()
    assert other.nothing()
    if version is V5:  # the refused exchange is over: the identifier means a new message
        assert client.send(Publish("t", b"", 2, packet_id=3)).one() == Pubrec(3, 0x10)


def test_version_is_published(world, version):
    (message,) = world.client(version=version).subscribe("$SYS/broker/version", qos=1)
    assert (message.retain, message.payload) == (True, b"mqproof reference broker 0")
    assert world.client(version=version).subscribe("#") == []


def test_packet_id_of_a_qos_2_message_is_in_use(world):
    client = world.client()
    client.send(Publish("t", b"", 2, packet_id=7)).read()
    assert client.send(Publish("t", b"", 1, packet_id=7)).one().reason_code == 0x91


# -- retained messages


def test_retained_message_comes_with_the_subscription_only(world, version):
    client = world.client(version=version)
    client.publish("t", b"kept", 1, retain=True)
    (message,) = client.subscribe("t", qos=2)
    assert message == Publish("t", b"kept", 1, True, packet_id=1)
    client.publish("t", b"live", 0, retain=True)
    live = world.client(version=version)
    live.subscribe("t")
    client.send(Publish("t", b"live", retain=True))
    assert not live.one().retain


def test_retained_message_is_replaced_and_cleared(world, version):
    client, live = world.client(version=version), world.client(version=version)
    live.subscribe("t", qos=0)
    client.publish("t", b"1", 1, retain=True)
    client.publish("t", b"2", 0, retain=True)
    client.publish("t", b"3", 1)
    assert [message.payload for message in world.client(version=version).subscribe("#")] == [b"2"]
    client.publish("t", b"", 1, retain=True)
    assert world.client(version=version).subscribe("#") == []
    assert live.payloads() == [b"1", b"2", b"3", b""]


def test_retained_messages_outlive_their_publisher(world, version):
    client = world.client(version=version)
    client.publish("a/b", b"x", 2, retain=True)
    client.cut()
    assert len(world.client(version=version).subscribe("a/+", "#")) == 2


def test_retained_message_expires(world):
    world.client().publish("t", b"x", 1, retain=True, properties=(("message_expiry_interval", 10),))
    world.advance(4)
    (message,) = world.client().subscribe("t")
    assert prop(message.properties, "message_expiry_interval") == 6
    world.advance(6.1)
    assert world.client().subscribe("t") == []
    assert len(world.broker.retained) == 1


@pytest.mark.parametrize(("handling", "first", "second"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling(world, handling, first, second):
    world.client().publish("t", b"x", 1, retain=True)
    client = world.client()
    entry = Subscription("t", 1, retain_handling=handling)
    assert len(client.subscribe(entry)) == first
    assert len(client.subscribe(entry)) == second


def test_subscribing_again_brings_retained_messages_in_3_1_1(world):
    world.client().publish("t", b"x", 1, retain=True)
    client = world.client(version=V4)
    assert len(client.subscribe("t")) == len(client.subscribe("t")) == 1


@pytest.mark.parametrize("flag", [True, False])
def test_retain_as_published(world, flag):
    client = world.client()
    client.subscribe(Subscription("t", 0, retain_as_published=flag))
    client.send(Publish("t", b"1", retain=True), Publish("t", b"2"))
    assert [message.retain for message in client.read()] == [flag, False]


def test_retained_quota(make_world):
    world = make_world(retained_octets=1000)
    client = world.client()
    assert client.send(Publish("t", b"x" * 1001, 1, True, packet_id=1)).one().reason_code == 0x97
    old = world.client(version=V4)
    old.send(Publish("t", b"x" * 1001, 1, True, packet_id=1))
    assert old.closed
    assert world.client().subscribe("t") == []


# -- properties


PASSED = (
    ("payload_format_indicator", 1),
    ("response_topic", "r/t"),
    ("user_property", ("b", "2")),
    ("correlation_data", b"\0\1"),
    ("user_property", ("a", "1")),
    ("content_type", "text/plain"),
    ("user_property", ("b", "2")),
)


def test_properties_are_passed_on_in_order(world):
    client = world.client()
    client.subscribe("t", qos=1)
    client.send(Publish("t", b"x", 1, packet_id=1, properties=PASSED))
    assert client.read()[1].properties == PASSED


def test_properties_are_kept_with_retained_messages_and_dropped_for_3_1_1(world):
    world.client().publish("t", b"x", 1, retain=True, properties=PASSED)
    assert world.client().subscribe("t")[0].properties == PASSED
    assert world.client(version=V4).subscribe("t")[0].properties == ()


def test_message_expiry_for_a_session_that_was_away(world):
    subscriber, publisher = world.client("s", keep=True), world.client()
    subscriber.subscribe("t", qos=1)
    subscriber.cut()
    for seconds in (2, 10):
        publisher.publish("t", b"%d" % seconds, 1, properties=(("message_expiry_interval", seconds),))
    world.advance(3)
    (message,) = world.client("s", keep=True).after_connack
    assert message.payload == b"10"
    assert prop(message.properties, "message_expiry_interval") == 7


def test_expiry_zero_reaches_who_is_there(world):
    client = world.client()
    client.subscribe("t")
    client.send(Publish("t", properties=(("message_expiry_interval", 0),)))
    assert prop(client.one().properties, "message_expiry_interval") == 0


@pytest.mark.parametrize("qos", [1, 2])
def test_started_message_does_not_expire(world, qos):
    subscriber, publisher = world.client("s", keep=True), world.client()
    subscriber.subscribe("t", qos=qos)
    publisher.publish("t", b"x", qos, properties=(("message_expiry_interval", 1),))
    subscriber.cut()
    world.advance(5)
    assert [packet.payload for packet in world.client("s", keep=True).after_connack] == [b"x"]


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (Publish("t", properties=(("subscription_identifier", 1),)), 0x82),
        (Publish("t", properties=(("response_topic", "a/#"),)), 0x82),
        (Publish("t", properties=(("response_topic", ""),)), 0x82),
        (Publish("t", properties=(("payload_format_indicator", 2),)), 0x82),
        (Publish("t", properties=(("topic_alias", 0),)), 0x94),
        (Publish("t", properties=(("topic_alias", 17),)), 0x94),
        (Publish("", properties=(("topic_alias", 5),)), 0x82),
        (Publish(""), 0x82),
        (Publish("t", qos=1, packet_id=0), 0x82),
    ],
)
def test_publish_that_breaks_a_rule(world, packet, code):
    client = world.client()
    client.send(packet)
    assert client.one().reason_code == code
    assert client.closed


@pytest.mark.parametrize(
    ("limits", "packet", "code"),
    [
        ({"maximum_qos": 1}, Publish("t", b"", 2, packet_id=1), 0x9B),
        ({"maximum_qos": 0}, Publish("t", b"", 1, packet_id=1), 0x9B),
        ({"retain_available": False}, Publish("t", retain=True), 0x9A),
        ({"topic_alias_maximum": 0}, Publish("t", properties=(("topic_alias", 1),)), 0x94),
    ],
)
def test_publish_beyond_what_is_available(make_world, limits, packet, code):
    client = make_world(**limits).client()
    client.send(packet)
    assert client.one().reason_code == code


# -- topic aliases


def test_client_aliases(world):
    client = world.client("a")
    client.subscribe("#")
    client.send(Publish("t", b"1", properties=(("topic_alias", 16),)))
    client.send(Publish("", b"2", properties=(("topic_alias", 16),)))
    client.send(Publish("u", b"3", properties=(("topic_alias", 16),)))
    client.send(Publish("", b"4", properties=(("topic_alias", 16),)))
    assert [(packet.topic, packet.properties) for packet in client.read()] == [("t", ())] * 2 + [("u", ())] * 2
    client.cut()
    client = world.client("a")
    client.send(Publish("", b"4", properties=(("topic_alias", 16),)))
    assert client.one().reason_code == 0x82


def test_server_aliases_stay_within_the_clients_maximum(world):
    client = world.client("a", properties=(("topic_alias_maximum", 2),))
    client.subscribe("#")
    for topic in ("x", "y", "z", "x", "y", "z"):
        client.send(Publish(topic))
    got = [(packet.topic, prop(packet.properties, "topic_alias")) for packet in client.read()]
    assert got == [("x", 1), ("y", 2), ("z", None), ("", 1), ("", 2), ("z", None)]


# -- flow control


def test_clients_receive_maximum_is_kept(world):
    subscriber, publisher = world.client(properties=(("receive_maximum", 2),)), world.client()
    subscriber.subscribe("t")
    for number, qos in enumerate((1, 2, 1, 2)):
        publisher.publish("t", b"%d" % number, qos)
    publisher.publish("t", b"qos 0", 0)
    assert [packet.payload for packet in subscriber.read()] == [b"0", b"1", b"qos 0"]
    assert subscriber.send(Pingreq()).one() == Pingresp()
    assert subscriber.send(Pubrec(2)).one() == Pubrel(2)  # PUBREC does not open the window, PUBCOMP does
    assert subscriber.send(Pubcomp(2)).one().payload == b"2"
    assert subscriber.send(Puback(1)).one().payload == b"3"


def test_pubrec_with_an_error_opens_the_window(world):
    subscriber, publisher = world.client(properties=(("receive_maximum", 1),)), world.client()
    subscriber.subscribe("t")
    publisher.publish("t", b"1", 2)
    publisher.publish("t", b"2", 2)
    assert subscriber.one().payload == b"1"
    assert subscriber.send(Pubrec(1, 0x97)).one().payload == b"2"


def test_our_receive_maximum_is_enforced(make_world):
    client = make_world(receive_maximum=2).client()
    for packet_id in (1, 2, 1):
        client.send(Publish("t", b"", 2, packet_id=packet_id))
    client.send(Publish("t", b"", 1, packet_id=9))
    assert not client.closed
    client.send(Pubrel(1)).read()
    client.send(Publish("t", b"", 2, packet_id=3))
    assert not client.closed
    client.read()
    client.send(Publish("t", b"", 2, packet_id=4))
    assert client.one().reason_code == 0x93
    assert client.closed


def test_message_too_large_for_a_client_counts_as_delivered(world):
    subscriber = world.client("s", properties=(("maximum_packet_size", 100), ("receive_maximum", 1)))
    subscriber.subscribe("t")
    publisher = world.client()
    for payload in (b"x" * 100, b"y" * 93, b"z"):
        publisher.publish("t", payload, 1)
    assert subscriber.payloads() == [b"z"]
    publisher.publish("t", b"y" * 92, 1)  # 100 octets with topic, identifier and properties
    assert subscriber.payloads() == [b"y" * 92]
    assert len(world.broker.sessions.get("s").outbox) == 0


def test_reason_strings_are_left_out_when_not_wanted_or_too_large(world):
    packet = Publish("$SYS/x", b"", 1, packet_id=3)
    assert prop(world.client().send(packet).one().properties, "reason_string")
    quiet = world.client(properties=(("request_problem_information", 0),))
    assert quiet.send(packet).one() == Puback(3, 0x87)
    tiny = world.client(properties=(("maximum_packet_size", 20),))
    assert tiny.send(packet).one() == Puback(3, 0x87)
    told = quiet.send(Connect("x", version=V5)).one()
    assert isinstance(told, Disconnect)
    assert prop(told.properties, "reason_string")


# -- bounds


def test_queue_of_an_absent_session_is_bounded(make_world, version):
    world = make_world(queue_messages=3)
    subscriber = world.client("s", version, keep=True)
    subscriber.subscribe("t", qos=1)
    subscriber.cut()
    publisher = world.client(version=version)
    for _ in range(4):
        publisher.publish("t", qos=1)
    assert not world.client("s", version, keep=True).connack.session_present


def test_reader_that_does_not_acknowledge_is_cut_off(make_world, version):
    world = make_world(queue_octets=600)
    subscriber = world.client("s", version, keep=True)
    subscriber.subscribe("t", qos=1)
    publisher = world.client(version=version)
    for _ in range(3):
        publisher.publish("t", b"x" * 300, 1)
    assert subscriber.closed
    if version is V5:
        assert subscriber.read()[-1].reason_code == 0x97


def test_qos_0_is_dropped_for_a_socket_that_is_full(make_world, version):
    world = make_world(queue_messages=2)
    subscriber = world.client(version=version)
    subscriber.subscribe("t", qos=0)
    subscriber.connection.writable = False
    publisher = world.client(version=version)
    for number in range(4):
        publisher.publish("t", b"%d" % number)
    assert subscriber.nothing()
    subscriber.connection.resume_writing()
    assert subscriber.payloads() == [b"0", b"1"]
