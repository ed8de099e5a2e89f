"""Section 3.1: CONNECT, its format, and what becomes of one that breaks it."""

import pytest
from mqproof.dissectors.mqtt.tables import CONNECT_RETURN_CODES, REASON_CODES, PacketType
from mqproof.harness.verdicts import Blocked, Untested, check
from mqproof.harness.wires.mqtt_packets import CONNACK, DISCONNECT
from mqproof.suites.mqtt.ahead import ahead
from mqproof.suites.mqtt.octets import connect, packet, publish, subscribe

ID, TOPIC = b"{client id}", b"{topic}"  # what stands for names that the test makes: see ours()
CLOSES = (
    "mqtt-3.1.1:MQTT-3.2.2-5", "mqtt-5.0:MQTT-3.2.2-7", "mqtt-5.0:MQTT-3.1.4-2", "mqtt-5.0:MQTT-4.13.2-1",
)  # fmt: skip
USER, PASSWORD, WILL, WILL_RETAIN = 0x80, 0x40, 0x04, 0x20


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.0-1", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-3.1.0-1", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
@pytest.mark.parametrize("first", ["PUBLISH", "SUBSCRIBE", "PINGREQ", "DISCONNECT", "CONNACK"])
def test_first_packet_other_than_connect_ends_the_connection(wires, topic, first):
    wire = wires.raw()
    wire.send({
        "PUBLISH": publish(wire, topic.encode()),
        "SUBSCRIBE": subscribe(wire, topic.encode()),
        "PINGREQ": b"\xc0\0",
        "DISCONNECT": b"\xe0\0",
        "CONNACK": packet(0x20, b"\0\0", b"\0" if wire.is_v5 else b""),
    }[first])  # fmt: skip
    wire.must_close(probe=False, lenient=True)


@pytest.mark.normative("mqtt-5.0:MQTT-3.14.0-1", "mqtt-5.0:MQTT-3.2.0-1")
@pytest.mark.parametrize("first", [b"\xc0\0", b"\x30\x05\0\1a\0x", b"\x82\x07\0\1\0\0\1a\0"])
def test_server_says_nothing_before_connack(wires, first):
    wire = wires.raw()
    wire.send(first)
    wire.reaction(probe=False)
    assert list(wire.inbox) == []


@pytest.mark.normative("mqtt-5.0:MQTT-3.14.0-1")
@pytest.mark.parametrize("behind", [b"\x00\x00", b"\x36\x05\0\1a\0x", b"\x30\x05\0\1#\0x", b"\x82\x05\0\1\0\0\0"])
def test_server_that_meets_an_error_right_behind_connect_says_connack_before_disconnect(wires, behind):
    """A client need not wait for CONNACK (section 3.1.4). The server may also close and say nothing."""
    wire = wires.raw()
    wire.send(wire.connect_packet(), behind)
    wire.reaction(probe=False)
    first = next(iter(wire.heard), None)
    check(not isinstance(first, DISCONNECT), expected="no DISCONNECT before CONNACK", actual=first)


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.0-2", "mqtt-3.1.1:MQTT-4.8.0-1", "mqtt-5.0:MQTT-3.1.0-2", "mqtt-5.0:MQTT-4.13.1-1",
)  # fmt: skip
def test_second_connect_ends_the_connection(wire):
    wire.send(wire.connect_packet(wire.client_id))
    wire.must_close()


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-1", "mqtt-5.0:MQTT-3.1.2-1")
@pytest.mark.parametrize("name", [b"MQTX", b"mqtt", b"", b"MQTT ", b"MQTTT", b"HTTP"])
def test_wrong_protocol_name_is_not_served(wires, name):
    wire = wires.raw()
    wire.send(connect(wire, wires.names.client_id().encode(), name=name))
    octets, ended = wire.rest()
    assert (ended.closed, is_acceptance(octets)) == (True, False)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-2")
@pytest.mark.parametrize("level", [6, 99, 127])
def test_unsupported_protocol_level_is_refused_with_code_1(wires, level):
    """A server that speaks 5.0, too, may take the unknown level for a successor of 5.0 and answer as 5.0 says.

    That is CONNACK 0x84 and a close, or a close alone (5.0 section 3.1.2.2: MAY).
    """
    wire = wires.raw()
    wire.send(connect(wire, wires.names.client_id().encode(), level=level))
    octets, ended = wire.rest()
    as_5_0_says = {b"", *([octets[:4]] if octets[3:4] == b"\x84" else [])}
    legal = {b"\x20\x02\x00\x01"} | (as_5_0_says if is_bilingual(wires) else set())
    assert (ended.closed, octets[:4] in legal) == (True, True), f"the answer is {octets.hex(' ')}"


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.2-2", "mqtt-5.0:MQTT-3.2.2-7", "mqtt-5.0:MQTT-3.2.2-6")
@pytest.mark.parametrize("level", [6, 99, 127])
def test_unsupported_protocol_version_ends_the_connection(wires, level):
    wire = wires.raw()
    wire.send(connect(wire, wires.names.client_id().encode(), level=level))
    octets, ended = wire.rest()
    refused = ("mqtt-5.0:MQTT-3.1.2-2", *(["mqtt-5.0:MQTT-3.2.2-7"] if len(octets) > 3 and octets[3] >= 0x80 else []))
    check(ended.closed, expected="the broker to close the connection", actual=ended, statement=refused)
    flags = octets[2:3]
    check(flags in (b"", b"\0"), expected="Session Present 0", actual=flags, statement="mqtt-5.0:MQTT-3.2.2-6")


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.1.2-3", "mqtt-3.1.1:MQTT-3.1.4-1", "mqtt-5.0:MQTT-3.1.2-3", "mqtt-5.0:MQTT-3.1.4-1",
)  # fmt: skip
def test_reserved_connect_flag_ends_the_connection(wires):
    wire = wires.raw()
    wire.send(connect(wire, wires.names.client_id().encode(), flags=3))
    wire.must_close(probe=False)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.4-1", "mqtt-5.0:MQTT-3.1.4-1")
@pytest.mark.parametrize(("flags", "fields"), [
    pytest.param(
        WILL | 0x18, [ID, TOPIC, b"gone"], id="will QoS 3",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-14", "mqtt-5.0:MQTT-3.1.2-12"),
    ),
    pytest.param(
        0x08, [ID], id="will QoS 1 without will",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-13", "mqtt-3.1.1:MQTT-3.1.2-11", "mqtt-5.0:MQTT-3.1.2-11"),
    ),
    pytest.param(
        0x10, [ID], id="will QoS 2 without will",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-13", "mqtt-3.1.1:MQTT-3.1.2-11", "mqtt-5.0:MQTT-3.1.2-11"),
    ),
    pytest.param(
        WILL_RETAIN, [ID], id="will retain without will",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-15", "mqtt-3.1.1:MQTT-3.1.2-11", "mqtt-5.0:MQTT-3.1.2-13"),
    ),
    pytest.param(
        WILL, [ID], id="will without its fields",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-9", "mqtt-5.0:MQTT-3.1.2-9"),
    ),
    pytest.param(
        0, [ID, TOPIC, b"gone"], id="fields of a will without will",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-11"),
    ),
    pytest.param(
        USER, [ID], id="user name missing",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-19", "mqtt-5.0:MQTT-3.1.2-17"),
    ),
    pytest.param(
        0, [ID, b"user"], id="user name without flag",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-18", "mqtt-5.0:MQTT-3.1.2-16"),
    ),
    pytest.param(
        USER | PASSWORD, [ID, b"user"], id="password missing",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-21", "mqtt-5.0:MQTT-3.1.2-19"),
    ),
    pytest.param(
        USER, [ID, b"user", b"secret"], id="password without flag",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-20", "mqtt-5.0:MQTT-3.1.2-18"),
    ),
    pytest.param(
        0, [], id="no client id",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-3", "mqtt-5.0:MQTT-3.1.3-3"),
    ),
    pytest.param(
        USER | PASSWORD, [ID, b"\xff\xfe", b"user"], id="password before user name",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-11", "mqtt-5.0:MQTT-3.1.3-12"),
    ),
    pytest.param(
        0, [ID + b"\xed\xa0\x80"], id="client id not UTF-8",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-4", "mqtt-5.0:MQTT-3.1.3-4"),
    ),
    pytest.param(
        WILL, [ID, TOPIC + b"\xc3\x28", b"gone"], id="will topic not UTF-8",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-10", "mqtt-5.0:MQTT-3.1.3-11"),
    ),
    pytest.param(
        USER, [ID, b"\xc3\x28"], id="user name not UTF-8",
        marks=pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.3-11", "mqtt-5.0:MQTT-3.1.3-12"),
    ),
])  # fmt: skip
def test_connect_of_wrong_format_ends_the_connection(wires, flags, fields):
    """5.0 allows a CONNACK with a reason code first."""
    wire = wires.raw()
    wire.send(connect(wire, *ours(wires.names, fields), flags=flags | 2))
    wire.must_close(probe=False)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.4-1", "mqtt-3.1.1:MQTT-3.2.2-6")
@pytest.mark.parametrize(("flags", "fields"), [(3, [ID]), (0x1E, [ID, TOPIC, b"gone"]), (0x82, [ID]), (0x02, [])])
def test_malformed_connect_gets_no_connack(wires, flags, fields):
    """Section 3.1.4 asks to close without CONNACK; no return code stands for a malformed packet.

    That it is not accepted either is examined above.
    """
    wire = wires.raw()
    wire.send(connect(wire, *ours(wires.names, fields), flags=flags))
    wire.reaction(probe=False)
    assert [answer for answer in wire.arrived(CONNACK) if answer.reason_code] == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.2-22", "mqtt-3.1.1:MQTT-3.1.4-1")
def test_password_without_user_name_ends_the_connection(wires):
    wire = wires.raw()
    wire.send(connect(wire, wires.names.client_id().encode(), b"secret", flags=PASSWORD | 2))
    wire.must_close(probe=False)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.4-5", "mqtt-5.0:MQTT-3.1.4-6")
@ahead
def test_what_follows_a_refused_connect_is_not_processed(wires, topic):
    subscriber, refused = wires(), wires.raw()
    subscriber.subscribe(topic, qos=1)
    opening = connect(refused, wires.names.client_id().encode(), level=99)
    refused.send(opening, publish(refused, topic.encode(), b"sneaked in"))
    if is_acceptance(refused.rest()[0]):
        raise Blocked("the broker accepts this CONNECT: that is examined elsewhere")
    assert subscriber.settle(wires()) == []


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.4-2", "mqtt-5.0:MQTT-3.1.4-3")
def test_new_connection_with_the_same_client_id_closes_the_older_one(wires, client_id):
    older = wires(client_id)
    wires(client_id)
    older.must_close({0x8E}, probe=False)


@pytest.mark.normative("mqtt-3.1.1:MQTT-3.1.4-2", "mqtt-5.0:MQTT-3.1.4-3")
def test_taken_over_connection_is_closed_for_the_newer_and_not_the_reverse(wires, client_id):
    wires(client_id)
    newer = wires(client_id)
    newer.must_stay()


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.4-3", "mqtt-5.0:MQTT-3.14.2-1", "mqtt-5.0:MQTT-3.14.2-2")
def test_disconnect_of_a_taken_over_connection_says_so(wires, client_id):
    """To send DISCONNECT is not demanded; where it comes, its code must be a defined one."""
    older = wires(client_id)
    wires(client_id)
    older.reaction(probe=False)
    said = [p.reason_code in REASON_CODES[PacketType.DISCONNECT] for p in older.arrived(DISCONNECT)]
    assert said in ([], [True])


@pytest.mark.normative(
    "mqtt-3.1.1:MQTT-3.2.2-5", "mqtt-3.1.1:MQTT-3.2.2-4", "mqtt-5.0:MQTT-3.2.2-6", "mqtt-5.0:MQTT-3.2.2-7",
    "mqtt-5.0:MQTT-3.2.2-8", "mqtt-5.0:MQTT-3.1.4-2", "mqtt-5.0:MQTT-4.13.2-1",
)  # fmt: skip
def test_refusal_says_no_session_and_closes(wires, client_id):
    """3.1.1: a level that the server cannot know. 5.0: a method of authentication, or again a level."""
    wires(client_id, keep=True).disconnect()
    wire = wires.raw()
    if wire.is_v5:
        wire.send(wire.connect_packet(client_id, keep=True, properties={"authentication_method": "mqproof unknown"}))
        codes = REASON_CODES[PacketType.CONNACK] - {0}
    else:
        wire.send(connect(wire, client_id.encode(), flags=0, level=99))
        codes = frozenset(CONNECT_RETURN_CODES) - {0} | ({0x84} if is_bilingual(wires) else set())
    ended, code = wire.reaction(probe=False)
    if wire.is_v5 and code == 0:  # it takes any method: a version that it cannot know is left
        wire = wires.raw()
        wire.send(connect(wire, client_id.encode(), flags=0, level=99))
        ended, code = wire.reaction(probe=False)
    if code == 0 or (code is None and not ended.closed):
        raise Blocked("the broker does not refuse this: that is examined elsewhere")
    check(ended.closed, expected="the broker to close the connection", actual=ended, statement=CLOSES)
    check(code in {None, *codes}, expected="a defined code", actual=code, statement="mqtt-5.0:MQTT-3.2.2-8")
    flags = [p.session_present for p in wire.arrived(CONNACK)]
    no_session = ("mqtt-3.1.1:MQTT-3.2.2-4", "mqtt-5.0:MQTT-3.2.2-6")
    check(flags in ([], [False]), expected="Session Present 0", actual=flags, statement=no_session)


@pytest.mark.normative("mqtt-5.0:MQTT-3.1.4-2")
def test_wrong_password_is_not_let_in(wires):
    """Which logins are checked is configuration: it is examined where the profile says so, and a user name is given."""
    if "login" not in wires.target.capabilities or not wires.target.user:
        raise Untested("which logins are checked is configuration, and no profile says so, or no user name is given")
    wire = wires.raw()
    wire.send(wire.connect_packet(password=b"mqproof: not the password"))
    ended, code = wire.reaction()
    check(code != 0, expected="no CONNACK 0x00", actual="CONNACK 0x00", statement="mqtt-5.0:MQTT-3.1.4-2")
    check(ended.closed, expected="the broker to close the connection", actual=ended, statement="mqtt-5.0:MQTT-3.1.4-2")


def ours(names, fields):
    """Return the fields with names that nobody else uses: who shares a client id is taken over by the other."""
    client_id, topic = names.client_id().encode(), names("topic").encode()
    return [field.replace(ID, client_id).replace(TOPIC, topic) for field in fields]


def is_acceptance(octets):
    return octets[:1] == b"\x20" and octets[3:4] == b"\0"


def is_bilingual(wires):
    return "mqtt-5.0" in wires.target.capabilities

