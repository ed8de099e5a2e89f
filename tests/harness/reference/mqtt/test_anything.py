"""Whatever clients send, and in whatever order: the broker neither raises nor writes what cannot be read."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connect,
    Disconnect,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    RawPacket,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    encode,
)
from mqproof.dissectors.mqtt.tables import PROPERTIES, Version

V4, V5 = Version.V3_1_1, Version.V5_0
TEXT = st.sampled_from(["", "a", "a/b", "+", "a/#", "#", "$SYS/x", "$share/g/a/+", "$share/g", "a+", "é", "a\0"])
NUMBER = st.sampled_from([0, 1, 2, 3, 5, 65535])
FLAG = st.booleans()
QOS = st.integers(0, 2)
CODE = st.sampled_from([0, 1, 4, 0x10, 0x18, 0x19, 0x80, 0x92, 0xFF])
VALUES = {
    "byte": st.integers(0, 2),
    "two": NUMBER,
    "four": st.sampled_from([0, 1, 20, 100, 0xFFFFFFFF]),
    "varint": NUMBER,
    "string": TEXT | st.just("MQPROOF-ECHO"),
    "binary": st.sampled_from([b"", b"x", b"echo:x"]),
    "pair": st.tuples(TEXT, TEXT),
}


def properties(packet):
    """Mostly those that belong there."""
    legal = [spec for spec in PROPERTIES.values() if packet in spec.packets]
    one = st.sampled_from(legal).flatmap(lambda spec: st.tuples(st.just(spec.name), VALUES[spec.type]))
    return st.lists(one, max_size=3, unique_by=lambda entry: entry[0]).map(tuple)


ACKS = [st.builds(kind, NUMBER, CODE, properties("PUBACK")) for kind in (Puback, Pubrec, Pubrel, Pubcomp)]
PUBLISH = st.builds(
    lambda topic, payload, qos, retain, dup, number, more: Publish(
        topic, payload, qos, retain, dup and qos > 0, number if qos else None, more
    ),
    TEXT, st.binary(max_size=3), QOS, FLAG, FLAG, NUMBER, properties("PUBLISH"),
)  # fmt: skip
SUBSCRIPTION = st.builds(Subscription, TEXT, st.integers(0, 3), FLAG, FLAG, st.integers(0, 3))
WILL = st.none() | st.builds(Will, TEXT, st.just(b"w"), QOS, FLAG, properties("WILL"))
CONNECT = st.builds(
    Connect, st.sampled_from(["", "x", "y"]), FLAG, NUMBER, WILL, st.none() | TEXT, st.none() | st.just(b"p"),
    st.sampled_from([V4, V5]), properties("CONNECT"),
)  # fmt: skip
PACKET = st.one_of(
    PUBLISH,
    PUBLISH,
    st.builds(Subscribe, NUMBER, st.lists(SUBSCRIPTION, max_size=2).map(tuple), properties("SUBSCRIBE")),
    st.builds(Unsubscribe, NUMBER, st.lists(TEXT, max_size=2).map(tuple), properties("UNSUBSCRIBE")),
    *ACKS,
    st.just(Pingreq()),
    st.builds(Disconnect, CODE, properties("DISCONNECT")),
    st.builds(Auth, CODE, properties("AUTH")),
    st.builds(RawPacket, st.integers(0, 255), st.binary(max_size=8)),
    CONNECT,
)
STEP = st.one_of(
    st.tuples(st.just("connect"), st.integers(0, 2), CONNECT),
    st.tuples(st.just("send"), st.integers(0, 2), PACKET),
    st.tuples(st.just("send"), st.integers(0, 2), PACKET),
    st.tuples(st.just("cut"), st.integers(0, 2), st.none()),
    st.tuples(st.just("pass"), st.sampled_from([1, 30, 2000]), st.none()),
)


@given(steps=st.lists(STEP, max_size=40))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_conversation(make_world_once, steps):
    world = make_world_once(queue_messages=20, receive_maximum=3)
    clients = {}
    for action, number, what in steps:
        if action == "pass":
            world.advance(number)
        elif action == "connect":
            if number in clients and not clients[number].closed:
                clients[number].cut()
            clients[number] = world.talker(what.version)
            clients[number].raw(encode(what, what.version))
        elif number in clients and not clients[number].closed:
            if action == "cut":
                clients[number].cut()
            else:
                clients[number].raw(encode(what, clients[number].version))
    for client in clients.values():
        client.read()  # raises for what cannot be read and for what a server may not say
    assert sum(1 for client in clients.values() if not client.closed) == sum(
        1 for session in world.broker.sessions.everyone() if session.connection
    ) + sum(1 for client in clients.values() if not client.closed and client.connection.phase.name != "OPEN")


@given(data=st.binary(max_size=200), pieces=st.integers(1, 50))
@settings(max_examples=200, deadline=None)
def test_any_octets(make_world_once, data, pieces):
    world = make_world_once()
    for start in (b"", encode(Connect("a", version=V4), V4), encode(Connect("a", version=V5), V5)):
        talker, octets = world.talker(), start + data
        for index in range(0, len(octets), pieces):
            talker.raw(octets[index : index + pieces])
