"""WebSockets for the slow reading: the same payload, however the octets are cut."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqproof.dissectors.mqtt.codec import encode
from mqproof.dissectors.mqtt.packets import Connack, Connect, Puback, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.streams import Carrier
from mqproof.dissectors.overhead.unwrapping import LARGEST_HEAD, Unwrapper
from mqproof.dissectors.packets.craft import BROKER, CLIENT

REQUEST = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
MASK = bytes.fromhex("37fa213d")  # RFC 6455 section 5.7


def frame(payload: bytes, opcode: int = 2, mask: bytes = b"") -> bytes:
    """RFC 6455 section 5.2."""
    size = len(payload)
    flag = 128 if mask else 0
    if size < 126:
        head = bytes([128 | opcode, flag | size])
    elif size < 65536:
        head = bytes([128 | opcode, flag | 126]) + size.to_bytes(2)
    else:
        head = bytes([128 | opcode, flag | 127]) + size.to_bytes(8)
    hidden = bytes(octet ^ mask[number % 4] for number, octet in enumerate(payload)) if mask else payload
    return head + mask + hidden


def test_the_example_of_the_rfc() -> None:
    """RFC 6455 section 5.7: a single-frame masked text message, here as binary."""
    octets = REQUEST + bytes.fromhex("828537fa213d7f9f4d5158")
    assert Unwrapper().feed(octets, Carrier(1, 0, 0, len(octets))) == b"Hello"


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 2, 8, 9, 10]), st.binary(max_size=200)), max_size=6),
    st.booleans(),
    st.integers(1, 300),
)
def test_any_cut_gives_the_same_payload_and_books_the_rest_as_headers(
    messages: list[tuple[int, bytes]], masked: bool, size: int
) -> None:
    octets = REQUEST + b"".join(frame(payload, opcode, MASK if masked else b"") for opcode, payload in messages)
    expected = b"".join(payload for opcode, payload in messages if opcode in (0, 2))
    wrapper, found, headers, data = Unwrapper(), b"", 0, 0
    for at in range(0, len(octets), size):
        piece = octets[at : at + size]
        carrier = Carrier(1, 0, 66, len(piece))
        found += wrapper.feed(piece, carrier)
        headers += carrier.headers - 66
        data += carrier.data
    assert found == expected
    assert (headers, data) == (len(octets) - len(expected), len(expected))


def test_large_frames() -> None:
    payload = bytes(range(256)) * 300
    octets = REQUEST + frame(payload, mask=MASK)
    assert Unwrapper().feed(octets, Carrier(1, 0, 0, len(octets))) == payload


@pytest.mark.parametrize("octets", [REQUEST.replace(b"WebSocket", b"h2c"), b"x" * (LARGEST_HEAD + 1)])
def test_what_is_no_upgrade_is_left_alone(octets: bytes) -> None:
    wrapper = Unwrapper()
    assert wrapper.feed(octets + frame(b"hello"), Carrier(1, 0, 0, 10**6)) == b""
    assert wrapper.upgraded is False


def test_messages_in_websockets_are_followed(scene: Any) -> None:
    talk = scene.talk()
    version = Version.V3_1_1
    talk.raw(CLIENT, REQUEST)
    talk.raw(BROKER, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    for side, packet in (
        (CLIENT, Connect("me")),
        (BROKER, Connack(False, 0)),
        (CLIENT, Publish("t", b"in a frame", 1, packet_id=1)),
        (BROKER, Puback(1)),
    ):
        octets = encode(packet, version)
        half = len(octets) // 2  # a packet may lie in several frames: MQTT 5.0 section 6
        mask = MASK if side == CLIENT else b""
        talk.raw(side, frame(octets[:half], mask=mask) + frame(octets[half:], mask=mask))
    row = scene.group("mqtt qos1")
    assert (row["published"], row["publishes"]["acknowledged"], row["payload"]) == (1, 1, 10)
    assert row["bytes"] == 2 * 54 + 2 * (2 + 4) + 2 * 2 + (2 + 3 + 2 + 10) + 4
    assert scene.findings() == []


@pytest.mark.parametrize("first", [CLIENT, BROKER])
def test_messages_in_a_websocket_from_before_the_capture_are_followed(scene: Any, first: int) -> None:
    """Who masks is the client: RFC 6455 section 5.1."""
    talk = scene.talk()
    scene.packets.clear()
    if first == BROKER:
        talk.raw(BROKER, frame(encode(Publish("t", b"to you"), Version.V3_1_1)))
    talk.raw(CLIENT, frame(encode(Publish("t", b"inside", 1, packet_id=1), Version.V3_1_1), mask=MASK))
    talk.raw(BROKER, frame(encode(Puback(1), Version.V3_1_1)))
    row = scene.group("mqtt qos1")
    assert (row["published"], row["publishes"]["acknowledged"], row["payload"]) == (1, 1, 6)
    assert row["bytes"] == 2 * 54 + (2 + 4) + 2 + (2 + 3 + 2 + 6) + 4
    if first == BROKER:
        assert scene.group("mqtt qos0")["delivered"] == 1


def test_a_frame_that_cannot_be_one_is_passed_and_the_next_segment_looked_at(scene: Any) -> None:
    talk = scene.talk()
    scene.packets.clear()
    hello = frame(encode(Publish("t", b"inside"), Version.V3_1_1), mask=MASK)
    talk.raw(CLIENT, hello)
    talk.raw(CLIENT, hello + b"\xf2\x80" + hello)  # reserved bits
    talk.raw(CLIENT, hello)
    assert scene.group("mqtt qos0")["published"] == 3


def test_a_page_that_is_asked_for_is_no_mqtt(scene: Any) -> None:
    talk = scene.talk()
    talk.raw(CLIENT, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    talk.raw(BROKER, b"HTTP/1.1 200 OK\r\n\r\n\x10\x0e\0\4MQTT\4\2\0\x3c\0\2me")
    views = scene.look()
    assert (views.messages["groups"], views.findings) == ({}, [])
