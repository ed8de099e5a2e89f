"""PUBLISH and its acknowledgements, topic aliases, flow control: sections 3.3 to 3.7, 4.3 and 4.9."""

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
