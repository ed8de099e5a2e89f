"""Sessions, re-delivery and wills: sections 3.1.2, 3.1.3.2, 4.1, 4.4 and 4.6."""

from itertools import pairwise

import pytest
from mqproof.dissectors.mqtt.codec import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, RawPacket, Will
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.reference.mqtt.delivery import Delivery, Message, Outbox

V4, V5 = Version.V3_1_1, Version.V5_0


def test_session_is_resumed_with_its_subscriptions(world, version):
    client = world.client("s", version, keep=True)
    assert not client.connack.session_present
    client.subscribe("t", qos=1)
    client.send(Disconnect())
    again = world.client("s", version, keep=True)
    assert again.connack.session_present
    world.client(version=version).publish("t", b"x", 1)
    assert again.payloads() == [b"x"]


def test_identifiers_are_told_apart_to_their_last_letter(world, version):
    world.client("sB", version, keep=True)
    assert not world.client("sC", version, keep=True).connack.session_present
    assert world.client("sB", version, keep=True).connack.session_present


def test_clean_start_discards_the_session(world, version):
    client = world.client("s", version, keep=True)
    client.subscribe("t", qos=1)
    client.cut()
    world.client(version=version).publish("t", b"x", 1)
    fresh = world.client("s", version, clean_start=True)
    assert not fresh.connack.session_present
    world.client(version=version).publish("t", b"x", 1)
    assert fresh.nothing()


def test_session_of_a_clean_connection_is_not_resumed(world, version):
    world.client("s", version).cut()
    assert not world.client("s", version, keep=True).connack.session_present


def test_messages_are_queued_for_an_absent_session_in_order(world, version):
    client = world.client("s", version, keep=True)
    client.subscribe("t")
    client.cut()
    publisher = world.client(version=version)
    for number, qos in enumerate((1, 2, 0, 1, 2)):
        publisher.publish("t", b"%d" % number, qos)
    back = world.client("s", version, keep=True)
    assert [packet.payload for packet in back.after_connack] == [b"0", b"1", b"3", b"4"]
    assert not any(packet.dup for packet in back.after_connack)


def test_unacknowledged_messages_come_again_with_dup_same_id_and_order(world, version):
    client = world.client("s", version, keep=True)
    client.subscribe("t")
    publisher = world.client(version=version)
    for number in range(6):
        publisher.publish("t", b"%d" % number, 1 + number % 2)
    first = client.read()
    client.send(Puback(first[2].packet_id), Pubrec(first[1].packet_id)).read()
    client.cut()
    publisher.publish("t", b"new", 1)
    pubrel, *again = world.client("s", version, keep=True).after_connack
    assert pubrel == Pubrel(first[1].packet_id)
    expected = [packet for index, packet in enumerate(first) if index not in (1, 2)]
    assert [(p.packet_id, p.payload, p.qos, p.dup) for p in again[:-1]] == [
        (p.packet_id, p.payload, p.qos, True) for p in expected
    ]
    assert (again[-1].payload, again[-1].dup) == (b"new", False)
    assert again[-1].packet_id not in {packet.packet_id for packet in expected}


def test_pubrel_comes_again_until_pubcomp(world, version):
    client = world.client("s", version, keep=True)
    client.subscribe("t")
    world.client(version=version).publish("t", b"x", 2)
    client.read()
    client.send(Pubrec(1)).read()
    for _ in range(2):
        client.cut()
        client = world.client("s", version, keep=True)
        assert client.after_connack == [Pubrel(1)]
    client.send(Pubcomp(1)).cut()
    assert world.client("s", version, keep=True).after_connack == []


def test_received_qos_2_identifiers_are_session_state(world, version):
    subscriber = world.client(version=version)
    subscriber.subscribe("t", qos=0)
    client = world.client("s", version, keep=True)
    client.send(Publish("t", b"once", 2, packet_id=7))
    client.cut()
    client = world.client("s", version, keep=True)
    assert client.send(Publish("t", b"once", 2, dup=True, packet_id=7)).one() == Pubrec(7)
    assert client.send(Pubrel(7)).one() == Pubcomp(7)
    assert subscriber.payloads() == [b"once"]


def test_resending_keeps_to_the_new_receive_maximum(world):
    client = world.client("s", keep=True)
    client.subscribe("t")
    publisher = world.client()
    for number in range(4):
        publisher.publish("t", b"%d" % number, 1)
    client.cut()
    back = world.client("s", keep=True, properties=(("receive_maximum", 2),))
    assert [packet.payload for packet in back.after_connack] == [b"0", b"1"]
    back.send(Puback(1))
    assert (back.one().payload, back.send(Puback(2)).one().payload) == (b"2", b"3")
    publisher.publish("t", b"4", 1)
    assert back.nothing()


def test_packet_ids_skip_those_in_use():
    outbox = Outbox()

    def send():
        outbox.offer(Delivery(Message("t"), 1))
        return outbox.take(0.0).packet_id

    slow, released = send(), send()
    outbox.release(released)
    seen = set()
    for _ in range(65540):
        packet_id = send()
        seen.add(packet_id)
        outbox.finish(packet_id)
    assert seen == set(range(1, 65536)) - {slow, released}
    assert len(outbox) == 2


def test_sender_waits_when_all_packet_ids_are_in_use():
    outbox = Outbox()
    for _ in range(65535 + 1):
        outbox.offer(Delivery(Message("t"), 2))
    used = [outbox.take(0.0).packet_id for _ in range(65535)]
    outbox.release(used[0])
    outbox.quota = 5
    assert outbox.take(0.0) is None
    outbox.finish(used[0])
    assert outbox.take(0.0).packet_id == used[0]


def test_session_expires(world):
    client = world.client("s", keep=True)
    client.subscribe("t")
    client.cut()
    world.advance(999)
    assert "s" in world.broker.sessions
    world.advance(2)
    assert "s" not in world.broker.sessions
    assert not world.client("s", keep=True).connack.session_present


def test_expiry_starts_at_the_end_of_the_connection(world):
    client = world.client("s", clean_start=False, properties=(("session_expiry_interval", 10),))
    world.advance(100)
    client.cut()
    world.advance(9)
    back = world.client("s", clean_start=False, properties=(("session_expiry_interval", 10),))
    assert back.connack.session_present
    world.advance(100)
    assert "s" in world.broker.sessions


def test_maximum_expiry_means_for_ever(world):
    world.client("s", properties=(("session_expiry_interval", 0xFFFFFFFF),)).cut()
    world.advance(0xFFFFFFFF + 10)
    assert "s" in world.broker.sessions


def test_disconnect_changes_the_expiry(world):
    world.client("s", keep=True).send(Disconnect(0, (("session_expiry_interval", 5),)))
    world.client("t", keep=True).send(Disconnect(0, (("session_expiry_interval", 0),)))
    assert "t" not in world.broker.sessions
    world.advance(5.1)
    assert "s" not in world.broker.sessions


def test_granted_expiry_is_what_counts(make_world):
    world = make_world(session_expiry_maximum=10)
    world.client("s", keep=True).cut()
    world.advance(10.1)
    assert "s" not in world.broker.sessions


def test_3_1_1_session_never_expires(world):
    world.client("s", V4, keep=True).cut()
    world.advance(1e8)
    assert world.client("s", V4, keep=True).connack.session_present


def test_session_is_shared_by_the_versions(world):
    old = world.client("s", V4, keep=True)
    old.subscribe("t", qos=1)
    old.cut()
    world.client().publish("t", b"x", 1, properties=(("content_type", "x"),))
    new = world.client("s", V5, keep=True)
    assert new.connack.session_present
    assert [packet.payload for packet in new.after_connack] + new.payloads() == [b"x"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_order_within_a_topic(world, version, qos):
    subscriber = world.client(version=version)
    subscriber.subscribe("t")
    publisher = world.client(version=version)
    for number in range(50):
        publisher.publish("t", b"%d" % number, qos)
    got = subscriber.payloads()
    assert len(got) == 50
    assert all(int(one) < int(two) for one, two in pairwise(got))


# -- wills


def listener(world, version):
    client = world.client(version=version)
    client.subscribe("will", qos=2)
    return client


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_will_after_a_cut(world, version, qos, retain):
    watch = listener(world, version)
    world.client(version=version, will=Will("will", b"gone", qos, retain)).cut()
    assert watch.one() == Publish("will", b"gone", qos, packet_id=1 if qos else None)
    kept = world.client(version=version).subscribe("will")
    assert [packet.payload for packet in kept] == ([b"gone"] if retain else [])


def test_no_will_after_disconnect(world, version):
    watch = listener(world, version)
    world.client(version=version, will=Will("will", b"gone")).send(Disconnect())
    world.advance(10)
    assert watch.nothing()


@pytest.mark.parametrize("code", [0x04, 0x80, 0x99])
def test_will_after_disconnect_with_another_code(world, code):
    watch = listener(world, V5)
    world.client(will=Will("will", b"gone")).send(Disconnect(code))
    assert watch.payloads() == [b"gone"]


def test_will_after_protocol_error_keep_alive_and_takeover(world, version):
    watch = listener(world, version)
    world.client(version=version, will=Will("will", b"error")).send(RawPacket(0, b""))
    world.client(version=version, will=Will("will", b"silent"), keep_alive=1)
    world.advance(1.6)
    world.client("x", version, will=Will("will", b"taken"))
    world.client("x", version)
    assert watch.payloads() == [b"error", b"silent", b"taken"]


def test_refused_connection_has_no_will(make_world, version):
    world = make_world(users={"ann": b"pw"})
    watch = world.client(version=version, user_name="ann", password=b"pw")
    watch.subscribe("will")
    from mqproof.dissectors.mqtt.codec import Connect

    world.talker(version).send(Connect("x", will=Will("will", b"no"), version=version)).cut()
    assert watch.nothing()


def delayed(delay):
    return Will("will", b"gone", properties=(("will_delay_interval", delay), ("user_property", ("a", "b"))))


def test_will_delay(world):
    watch = listener(world, V5)
    world.client("s", keep=True, will=delayed(5)).cut()
    world.advance(4.9)
    assert watch.nothing()
    world.advance(0.2)
    assert watch.one() == Publish("will", b"gone", properties=(("user_property", ("a", "b")),))
    world.advance(2000)
    assert watch.nothing()


def test_resuming_in_time_withdraws_the_will(world):
    watch = listener(world, V5)
    world.client("s", keep=True, will=delayed(5)).cut()
    world.advance(4)
    world.client("s", keep=True)
    world.advance(100)
    assert watch.nothing()


def test_will_is_published_when_the_session_ends_first(world):
    watch = listener(world, V5)
    world.client("s", will=delayed(50)).cut()  # expiry 0
    assert watch.payloads() == [b"gone"]
    world.client("s", will=delayed(50), properties=(("session_expiry_interval", 3),)).cut()
    world.advance(2.9)
    assert watch.nothing()
    world.advance(0.2)
    assert watch.payloads() == [b"gone"]
    world.client("s", keep=True, will=delayed(50)).cut()
    world.client("s")  # clean start ends the session
    assert watch.payloads() == [b"gone"]


def test_will_expiry_counts_from_its_publication(world):
    watch = world.client("w", keep=True)
    watch.subscribe("will", qos=1)
    watch.cut()
    will = Will("will", b"x", 1, properties=(("will_delay_interval", 50), ("message_expiry_interval", 10)))
    world.client("s", keep=True, will=will).cut()
    world.advance(55)
    (message,) = world.client("w", keep=True).after_connack
    assert message.properties == (("message_expiry_interval", 5),)


def test_new_connect_replaces_the_will(world, version):
    watch = listener(world, version)
    world.client("s", version, keep=True, will=Will("will", b"1")).send(Disconnect())
    world.client("s", version, keep=True).cut()
    assert watch.nothing()
