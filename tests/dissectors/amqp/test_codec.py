"""The AMQP codec against the specification's tables, an independent reader, and arbitrary octets."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pamqp.commands
import pamqp.frame
import pamqp.header
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqproof.dissectors.amqp import tables
from mqproof.dissectors.amqp.codec import (
    Body,
    ContentHeader,
    Decoder,
    Field,
    Frame,
    Heartbeat,
    Malformed,
    Method,
    ProtocolHeader,
    RawFrame,
    Unencodable,
    content,
    decode,
    encode,
    method,
    plain,
)

SHORT = st.text(st.characters(codec="utf-8"), max_size=60)
INT32 = st.integers(-(2**31), 2**31 - 1)
LEAVES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.none()
    | st.floats(allow_nan=False)
    | st.builds(lambda number, scale: Decimal(number).scaleb(-scale), INT32, st.integers(0, 10))
    | st.integers(0, 2**35).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
    | st.builds(Field, st.just("b"), st.integers(-128, 127))
    | st.builds(Field, st.just("B"), st.integers(0, 255))
    | st.builds(Field, st.just("s"), st.integers(-(2**15), 2**15 - 1))
    | st.builds(Field, st.just("u"), st.integers(0, 2**16 - 1))
    | st.builds(Field, st.just("i"), st.integers(0, 2**32 - 1))
    | st.builds(Field, st.just("l"), INT32)
    | st.builds(Field, st.just("x"), st.binary(max_size=20))
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3))
TABLES = st.dictionaries(SHORT, VALUES, max_size=4)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "octet": st.integers(0, 255),
    "short": st.integers(0, 2**16 - 1),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(0, 2**64 - 1),
    "bit": st.booleans(),
    "shortstr": SHORT,
    "longstr": st.binary(max_size=50),
    "table": TABLES,
    "timestamp": st.integers(0, 2**35).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
}
CHANNELS = st.integers(0, 2**16 - 1)


def _spelling(name: str) -> str:
    """``Queue.DeclareOk`` as the specification writes it: ``queue.declare-ok``."""
    class_name, _, method_name = name.partition(".")
    return f"{class_name.lower()}.{re.sub(r'(?<!^)(?=[A-Z])', '-', method_name).lower()}"


@st.composite
def methods(draw: st.DrawFn) -> Method:
    spec = draw(st.sampled_from(sorted(tables.METHODS.values(), key=lambda spec: spec.name)))
    return Method(draw(CHANNELS), spec.name, {entry.key: draw(BY_TYPE[entry.type]) for entry in spec.fields})


@st.composite
def headers(draw: st.DrawFn) -> ContentHeader:
    chosen = draw(st.sets(st.sampled_from(tables.PROPERTIES)))
    properties = {spec.key: draw(BY_TYPE[spec.type]) for spec in tables.PROPERTIES if spec in chosen}
    return ContentHeader(draw(CHANNELS), 60, draw(BY_TYPE["longlong"]), properties, draw(BY_TYPE["short"]))


FRAMES: st.SearchStrategy[Frame] = (
    methods()
    | headers()
    | st.builds(Body, CHANNELS, st.binary(max_size=100))
    | st.builds(Heartbeat)
    | st.builds(ProtocolHeader, *[st.integers(0, 255)] * 4)
)


@given(FRAMES, st.binary(max_size=20))
def test_decoding_returns_what_was_encoded_and_leaves_what_follows(frame: Frame, trailing: bytes) -> None:
    octets = encode(frame)
    assert decode(octets + trailing) == (frame, len(octets))


@given(st.lists(FRAMES, max_size=4))
def test_frames_fed_octet_by_octet_come_out_the_same(frames: list[Frame]) -> None:
    decoder, found = Decoder(), []
    for octet in b"".join(map(encode, frames)):
        decoder.feed(bytes([octet]))
        if (frame := decoder.next()) is not None:
            found.append(frame)
    assert found == frames
    assert decoder.buffered == 0


@given(st.binary(max_size=200) | FRAMES.map(encode).map(lambda octets: octets[:-1] + b"\xce"))
def test_any_octets_are_frames_or_malformed_and_nothing_else(octets: bytes) -> None:
    decoder = Decoder()
    decoder.feed(octets)
    taken, error = drain(decoder, octets)
    if error is None:
        assert decoder.buffered == len(octets) - taken
    else:
        assert error.rule.startswith("amqp-0-9-1:")
        with pytest.raises(Malformed):
            decoder.next()


def drain(decoder: Decoder, octets: bytes) -> tuple[int, Malformed | None]:
    """Take frames until none is left; how many octets they had, and the error that ended it."""
    taken = 0
    try:
        while decoder.next() is not None:
            assert octets[taken:].startswith(decoder.last_frame_octets)
            taken += len(decoder.last_frame_octets)
    except Malformed as error:
        return taken, error
    return taken, None


@given(FRAMES.map(encode), st.data())
def test_one_changed_octet_never_crashes_the_decoder(octets: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(octets) - 1))
    changed = octets[:position] + bytes([data.draw(st.integers(0, 255))]) + octets[position + 1 :]
    decoder = Decoder()
    decoder.feed(changed)
    _, error = drain(decoder, changed)
    assert error is None or 0 <= error.offset <= len(changed)


def test_tables_hold_every_method_and_property_of_the_specification() -> None:
    assert len(tables.METHODS) == 64
    assert len(tables.BY_ID) == 64
    assert len(tables.PROPERTIES) == 14


PAMQP_NAMES = {_spelling(command.name) for command in pamqp.commands.INDEX_MAPPING.values()}


@pytest.mark.parametrize("name", sorted(set(tables.METHODS) & PAMQP_NAMES))
def test_pamqp_reads_each_method_as_we_wrote_it(name: str) -> None:
    frame = method(name)
    size, channel, read = pamqp.frame.unmarshal(encode(frame))
    assert (size, channel) == (len(encode(frame)), 1)
    assert _spelling(read.name) == name


def test_pamqp_knows_nearly_all_methods() -> None:
    assert len(PAMQP_NAMES & set(tables.METHODS)) >= 60


def test_pamqp_reads_our_properties() -> None:
    properties = {
        "content_type": "text/plain",
        "headers": {"a": 1, "b": True, "c": "x", "d": {"e": [1, 2]}, "f": None, "g": 2**40},
        "delivery_mode": 2,
        "priority": 9,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "1000",
        "message_id": "m",
        "timestamp": datetime(2026, 1, 2, tzinfo=UTC),
        "type": "t",
        "user_id": "u",
        "app_id": "a",
    }
    _, _, read = pamqp.frame.unmarshal(encode(ContentHeader(3, 60, 7, properties)))
    assert isinstance(read, pamqp.header.ContentHeader)
    assert read.body_size == 7
    shown = {key: value for key, value in dict(read.properties).items() if value not in (None, "")}
    shown["type"] = shown.pop("message_type")
    assert shown == properties


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x29\x00", "4.2.3/frame-end"),
        (b"\x05\x00\x01\x00\x00\x00\x00\xce", "4.2.3/unknown-type"),
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x63\xce", "4.8.1/connection-exception"),
        (b"\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x29\x00\xce", "4.8.1/connection-exception"),
    ],
    ids=["frame end", "type", "unknown method", "surplus octet"],
)
def test_malformed_names_the_broken_statement(octets: bytes, rule: str) -> None:
    with pytest.raises(Malformed) as raised:
        decode(octets)
    assert raised.value.rule == f"amqp-0-9-1:{rule}"


def test_frame_above_the_agreed_size_is_malformed_before_it_is_whole() -> None:
    with pytest.raises(Malformed) as raised:
        decode(b"\x03\x00\x01\x10\x00\x00\x00", frame_max=4096)
    assert raised.value.rule == "amqp-0-9-1:4.2.3/oversized"


def test_deeply_nested_tables_are_refused_without_exhausting_the_stack() -> None:
    table = b"\x00\x00\x00\x00"
    for _ in range(10_000):
        inner = b"\x01aF" + table
        table = len(inner).to_bytes(4) + inner
    header = (60).to_bytes(2) + bytes(10) + b"\x20\x00" + table
    with pytest.raises(Malformed, match="nested"):
        decode(encode(RawFrame(2, 1, header)))


def test_illegal_frames_can_be_written_on_purpose() -> None:
    assert encode(RawFrame(9, 0, b"xy", end=0, size=99)) == b"\x09\x00\x00\x00\x00\x00\x63xy\x00"


@pytest.mark.parametrize(
    "frame",
    [
        Method(1, "queue.declare", {"queue": "x" * 256}),
        Method(1, "queue.declare", {"colour": 1}),
        Method(70_000, "channel.open", {}),
        Method(1, "basic.qos", {"prefetch_count": -1}),
        Method(1, "no.such", {}),
        ContentHeader(1, 60, 0, {"headers": {"a": object()}}),
        ContentHeader(1, 60, 0, {"headers": {"a": Field("s", 2**20)}}),
    ],
)
def test_what_does_not_fit_is_unencodable(frame: Frame) -> None:
    with pytest.raises(Unencodable):
        encode(frame)


def test_content_is_split_at_the_agreed_frame_size() -> None:
    frames = content("basic.publish", body=b"x" * 10, frame_max=12, routing_key="k")
    assert [len(encode(frame)) for frame in frames[2:]] == [12, 12, 10]
    assert frames[1] == ContentHeader(1, 60, 10)


def test_plain_strips_type_letters_at_every_depth() -> None:
    assert plain({"a": [Field("b", 1), {"c": Field("u", 2)}]}) == {"a": [1, {"c": 2}]}
