"""Enhanced authentication: MQTT 5.0 section 4.12."""

import pytest
from mqproof.dissectors.mqtt.codec import Auth, Connack, Connect, Disconnect, Pingreq, Publish, prop
from mqproof.dissectors.mqtt.tables import Version

V5 = Version.V5_0
METHOD = ("authentication_method", "MQPROOF-ECHO")


def begin(world, data=b"hello", **more):
    talker = world.talker()
    properties = (METHOD, *([("authentication_data", data)] if data is not None else []))
    return talker.send(Connect("a", version=V5, properties=properties, **more))


def answer(data, method=METHOD, code=0x18):
    return Auth(code, (method, ("authentication_data", data)))


def test_challenge_and_answer(world):
    talker = begin(world)
    assert talker.one() == answer(b"echo:hello")
    connack = talker.send(answer(b"echo:hello")).one()
    assert isinstance(connack, Connack)
    assert (connack.reason_code, prop(connack.properties, "authentication_method")) == (0, "MQPROOF-ECHO")
    talker.send(Publish("t", b"", 1, packet_id=1))
    assert talker.one().packet_id == 1


def test_without_initial_data(world):
    talker = begin(world, None)
    assert talker.one() == answer(b"echo:")


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (answer(b"wrong"), 0x87),
        (answer(b"echo:hello", ("authentication_method", "OTHER")), 0x82),
        (Auth(0x18, (("authentication_data", b"echo:hello"),)), 0x82),
        (answer(b"echo:hello", code=0x19), 0x82),
        (answer(b"echo:hello", code=0x00), 0x82),
        (Publish("t"), 0x82),
        (Pingreq(), 0x82),
        (Connect("b", version=V5), 0x82),
    ],
)
def test_what_fails_gets_connack_and_close(world, packet, code):
    talker = begin(world)
    talker.read()
    connack = talker.send(packet).one()
    assert isinstance(connack, Connack)
    assert (connack.session_present, connack.reason_code) == (False, code)
    assert talker.closed
    assert "a" not in world.broker.sessions


def test_client_may_leave_during_authentication(world):
    talker = begin(world)
    talker.read()
    assert talker.send(Disconnect()).nothing()
    assert talker.closed


def test_octets_that_no_connack_has_a_code_for(world):
    talker = begin(world)
    talker.read()
    connack = talker.send(Publish("t", properties=(("topic_alias", 0),))).one()
    assert connack.reason_code == 0x82


def test_authentication_has_a_deadline(world):
    talker = begin(world)
    talker.read()
    world.advance(11)
    assert isinstance(talker.one(), Connack)
    assert talker.closed


def accepted(world):
    talker = begin(world)
    talker.send(answer(b"echo:hello")).read()
    return talker


def test_reauthentication(world):
    talker = accepted(world)
    assert talker.send(answer(b"again", code=0x19)).one() == answer(b"echo:again")
    assert talker.send(Publish("t", b"", 1, packet_id=1)).one().packet_id == 1  # goes on meanwhile, section 4.12.1
    assert talker.send(answer(b"echo:again")).one() == Auth(0, (METHOD,))
    assert not talker.closed


@pytest.mark.parametrize(
    ("packets", "code"),
    [
        ([answer(b"x", code=0x19), answer(b"wrong")], 0x87),
        ([answer(b"x", code=0x19), answer(b"x", code=0x19)], 0x82),
        ([answer(b"x")], 0x82),
        ([answer(b"x", ("authentication_method", "OTHER"), 0x19)], 0x82),
        ([Auth(0x19)], 0x82),
    ],
)
def test_failed_reauthentication_ends_the_connection(world, packets, code):
    talker = accepted(world)
    talker.send(*packets)
    last = talker.read()[-1]
    assert isinstance(last, Disconnect)
    assert last.reason_code == code
    assert talker.closed


def test_auth_without_a_method_in_connect(world):
    client = world.client()
    assert client.send(answer(b"x", code=0x19)).one().reason_code == 0x82
    assert client.closed


def test_no_auth_in_3_1_1(world):
    client = world.client(version=Version.V3_1_1)
    client.raw(b"\xf0\x00")
    assert client.closed
