"""CONNECT, CONNACK, DISCONNECT, takeover and keep-alive: sections 3.1, 3.2, 3.12, 3.14."""

from dataclasses import replace

import pytest
from mqproof.dissectors.mqtt.codec import (
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Publish,
    RawPacket,
    Subscribe,
    Subscription,
    Will,
    encode,
    encode_string,
    prop,
)
from mqproof.dissectors.mqtt.tables import Version

V4, V5 = Version.V3_1_1, Version.V5_0


def connect_bytes(name=b"\x00\x04MQTT", level=4, flags=2, rest=b"\x00\x00", tail=None):
    properties = b"\x00" if level == 5 else b""
    body = name + bytes([level, flags]) + rest + properties + (encode_string("abc") if tail is None else tail)
    return encode(RawPacket(0x10, body), V4)


def test_first_answer_is_connack(world, version):
    talker = world.talker(version).send(Connect("abc", version=version))
    connack = talker.one()
    assert isinstance(connack, Connack)
    assert (connack.session_present, connack.reason_code) == (False, 0)


def test_connack_announces_limits(make_world):
    client = make_world(receive_maximum=7, maximum_packet_size=2000, topic_alias_maximum=3).client("abc")
    assert dict(client.connack.properties) == {
        "receive_maximum": 7,
        "maximum_packet_size": 2000,
        "topic_alias_maximum": 3,
    }


@pytest.mark.parametrize(
    ("limits", "announced"),
    [
        ({"maximum_qos": 1}, ("maximum_qos", 1)),
        ({"retain_available": False}, ("retain_available", 0)),
        ({"wildcards_available": False}, ("wildcard_subscription_available", 0)),
        ({"identifiers_available": False}, ("subscription_identifier_available", 0)),
        ({"shared_available": False}, ("shared_subscription_available", 0)),
        ({"server_keep_alive": 9}, ("server_keep_alive", 9)),
        ({"session_expiry_maximum": 60}, ("session_expiry_interval", 60)),
    ],
)
def test_connack_announces_what_is_not_available(make_world, limits, announced):
    client = make_world(**limits).client("abc", properties=(("session_expiry_interval", 100),))
    assert announced in client.connack.properties


@pytest.mark.parametrize("level", [0, 3, 6, 127, 0x84])
def test_unsupported_level_gets_return_code_1_and_close(world, level):
    talker = world.talker(V4).raw(connect_bytes(level=level))
    assert talker.one() == Connack(False, 1)
    assert talker.closed


def test_mqtt_3_1_is_refused(world):
    talker = world.talker(V4).send(Connect("abc", version=Version.V3_1))
    assert talker.one() == Connack(False, 1)
    assert talker.closed


@pytest.mark.parametrize(
    "octets",
    [
        connect_bytes(name=b"\x00\x04mqtt"),
        connect_bytes(name=b"\x00\x05MQTTT"),
        connect_bytes(flags=3),  # reserved flag
        connect_bytes(flags=0x1E),  # will QoS 3
        connect_bytes(flags=0x0A),  # will QoS without will
        connect_bytes(flags=0x22),  # will retain without will
        connect_bytes(flags=0x42, tail=encode_string("abc") + encode_string("pw")),  # password without user name
        connect_bytes(flags=0x06),  # will missing
        connect_bytes(flags=0x82),  # user name missing
        connect_bytes(tail=encode_string("abc") + b"x"),
        connect_bytes(tail=b"\x00\x02\xc0\x80"),
        connect_bytes(tail=b"\x00\x01\x00"),
        connect_bytes(tail=b""),
        b"\x11\x00",
        b"\x00\x00",
        b"\xf0\x00",
        b"\x10\xff\xff\xff\xff\x01",
        encode(Pingreq(), V4),
        encode(Publish("a"), V4),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_malformed_connect_gets_no_connack_in_3_1_1(world, octets):
    talker = world.talker(V4).raw(octets)
    assert talker.nothing()
    assert talker.closed


@pytest.mark.parametrize(
    ("connect", "code"),
    [
        (connect_bytes(level=5, flags=3), 0x81),
        (connect_bytes(level=5, flags=0x1E), 0x81),
        (connect_bytes(level=5, tail=b"\x00\x02\xc0\x80"), 0x81),
        (Connect("a", version=V5, properties=(("receive_maximum", 0),)), 0x82),
        (Connect("a", version=V5, properties=(("maximum_packet_size", 0),)), 0x82),
        (Connect("a", version=V5, properties=(("topic_alias_maximum", 1), ("topic_alias_maximum", 1))), 0x82),
        (Connect("a", version=V5, properties=(("authentication_data", b"x"),)), 0x82),
        (Connect("a", version=V5, properties=(("authentication_method", "NONE"),)), 0x8C),
        (Connect("a", version=V5, will=Will("a/#")), 0x82),
        (Connect("a", version=V5, will=Will("")), 0x82),
        (Connect("a", version=V5, will=Will("a", properties=(("response_topic", "a/+"),))), 0x82),
        (Connect("a", version=V5, will=Will("a", qos=2)), 0x9B),
        (Connect("a", version=V5, will=Will("a", retain=True)), 0x9A),
    ],
)
def test_refused_5_0_connect_says_why(make_world, connect, code):
    octets = connect if isinstance(connect, bytes) else encode(connect, V5)
    talker = make_world(maximum_qos=1, retain_available=False).talker(V5).raw(octets)
    connack = talker.one()
    assert (connack.session_present, connack.reason_code) == (False, code)
    assert prop(connack.properties, "reason_string")
    assert talker.closed


def test_nothing_behind_a_refused_connect_is_handled(make_world, version):
    world = make_world(users={"ann": b"pw"})
    talker = world.talker(version)
    talker.send(Connect("a", version=version), Publish("t", b"x", retain=True))
    assert talker.one().reason_code == (5 if version is V4 else 0x87)
    assert talker.closed
    assert len(world.broker.retained) == 1, "only the broker's version is retained"


@pytest.mark.parametrize(
    ("user", "password", "codes"),
    [("ann", b"pw", (0, 0)), ("ann", b"no", (4, 0x86)), ("bob", b"pw", (4, 0x86)), (None, None, (5, 0x87))],
)
def test_login(make_world, version, user, password, codes):
    talker = make_world(users={"ann": b"pw"}).talker(version)
    talker.send(Connect("a", user_name=user, password=password, version=version))
    assert talker.one().reason_code == codes[version is V5]
    assert talker.closed is bool(codes[0])


def test_empty_client_id(world, version):
    talker = world.talker(version).send(Connect("", version=version))
    other = world.talker(version).send(Connect("", version=version))
    assert talker.one().reason_code == 0
    assert not talker.closed
    assert not other.closed


def test_assigned_client_id_is_told_and_names_the_session(world):
    properties = (("session_expiry_interval", 100),)
    first = world.client("", properties=properties)
    assigned = prop(first.connack.properties, "assigned_client_identifier")
    second = world.client("", properties=properties)
    assert assigned not in ("", prop(second.connack.properties, "assigned_client_identifier"))
    first.cut()
    again = world.client(assigned, clean_start=False)
    assert again.connack.session_present
    assert prop(again.connack.properties, "assigned_client_identifier") is None


def test_empty_client_id_needs_a_clean_session_in_3_1_1(world):
    talker = world.talker(V4).send(Connect("", clean_start=False))
    assert talker.one() == Connack(False, 2)
    assert talker.closed


def test_second_connect_is_a_violation(world, version):
    client = world.client(version=version)
    client.send(Connect("other", version=version))
    assert client.closed
    assert [type(packet) for packet in client.read()] == ([Disconnect] if version is V5 else [])


def test_takeover_closes_the_older_connection(world, version):
    older = world.client("same", version)
    newer = world.client("same", version)
    assert older.closed
    assert not newer.closed
    codes = [packet.reason_code for packet in older.read()]
    assert codes == ([0x8E] if version is V5 else [])
    assert newer.send(Pingreq()).one() == Pingresp()


def test_ping(world, version):
    client = world.client(version=version)
    assert client.send(Pingreq(), Pingreq()).read() == [Pingresp(), Pingresp()]


def test_silent_client_is_dropped_after_one_and_a_half_keep_alives(world, version):
    client = world.client(version=version, keep_alive=10)
    world.advance(14.9)
    client.send(Pingreq())
    world.advance(14.9)
    assert not client.closed
    client.read()
    world.advance(0.2)
    assert client.closed
    assert [packet.reason_code for packet in client.read()] == ([0x8D] if version is V5 else [])


def test_half_a_packet_does_not_keep_alive(world, version):
    client = world.client(version=version, keep_alive=10)
    world.advance(10)
    client.raw(b"\xc0")
    world.advance(5.1)
    assert client.closed


def test_keep_alive_zero_never_drops(world, version):
    client = world.client(version=version, keep_alive=0)
    world.advance(1e6)
    assert not client.closed


def test_server_keep_alive_replaces_the_clients(make_world):
    world = make_world(server_keep_alive=4)
    client = world.client(keep_alive=1000)
    world.advance(6.1)
    assert client.closed


def test_connection_without_connect_is_closed(world):
    talker = world.talker()
    world.advance(10.1)
    assert talker.closed
    assert talker.nothing()


@pytest.mark.parametrize("code", [0x01, 0x8E, 0x8B, 0x8D, 0x00FF])
def test_disconnect_with_a_code_of_the_server_or_none_is_an_error(world, code):
    client = world.client()
    client.send(Disconnect(code))
    assert client.one().reason_code == 0x82
    assert client.closed


def test_disconnect_closes_silently(world, version):
    client = world.client(version=version)
    client.send(Disconnect(), Pingreq())
    assert client.nothing()
    assert client.closed


def test_session_expiry_cannot_be_raised_from_zero(world):
    client = world.client()
    client.send(Disconnect(0, (("session_expiry_interval", 5),)))
    assert client.one().reason_code == 0x82


def test_response_information_comes_only_when_asked_for(world):
    assert prop(world.client().connack.properties, "response_information") is None
    asked = world.client(properties=(("request_response_information", 1),))
    assert prop(asked.connack.properties, "response_information")


def test_unexpected_packets_end_the_connection(world, version):
    for octets in (b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00", b"\xb0\x02\x00\x01", b"\xd0\x00"):
        client = world.client(version=version)
        client.raw(octets)
        assert client.closed


@pytest.mark.parametrize("first", [0x80, 0x83, 0x8A, 0xA0, 0xA3, 0x60, 0x63, 0xC1, 0xE1, 0x41, 0x51, 0x71, 0x36, 0x3E])
def test_reserved_flags_end_the_connection(world, version, first):
    client = world.client(version=version)
    client.raw(bytes([first]) + b"\x07\x00\x01\x00\x00\x01a\x00")
    assert client.closed
    assert [packet.reason_code for packet in client.read()] == ([0x81] if version is V5 else [])


def test_too_large_packet_ends_the_connection_before_it_is_read(make_world):
    client = make_world(maximum_packet_size=1000).client()
    client.raw(b"\x30\xe6\x07")  # remaining length 998: 1001 octets in all
    assert client.one().reason_code == 0x95
    assert client.closed
    fits = make_world(maximum_packet_size=1000).client()
    fits.raw(encode(Publish("a", b"x" * 993), V5))
    assert not fits.closed


def test_redirection(make_world, version):
    talker = make_world(server_reference="other:1883").talker(version)
    connack = talker.send(Connect("a", version=version)).one()
    assert talker.closed
    assert connack.reason_code == (0x9C if version is V5 else 3)
    assert prop(connack.properties, "server_reference") == ("other:1883" if version is V5 else None)


def test_session_limit(make_world, version):
    world = make_world(sessions=1)
    world.client("a", version)
    talker = world.talker(version).send(Connect("b", version=version))
    assert talker.one().reason_code == (3 if version is V4 else 0x97)
    assert world.client("a", version)


def test_packets_may_come_in_any_pieces(world, version):
    connect = encode(Connect("abc", version=version), version)
    subscribe = encode(Subscribe(5, (Subscription("t", 1),)), version)
    publish = encode(Publish("t", b"payload", 1, packet_id=3), version)
    whole = world.talker(version).raw(connect + subscribe + publish).read()
    bytewise = world.talker(version)
    for octet in connect + subscribe + publish:
        bytewise.raw(bytes([octet]))
    assert bytewise.read() == whole
    assert len(whole) == 4


def test_max_packet_size_of_the_client_is_kept_for_connack(world):
    talker = world.talker().send(Connect("", version=V5, properties=(("maximum_packet_size", 2),)))
    assert talker.nothing()
    assert talker.closed
    tiny = world.talker().send(
        replace(Connect("a", version=V5, will=Will("")), properties=(("maximum_packet_size", 5),))
    )
    assert tiny.one() == Connack(False, 0x82)
