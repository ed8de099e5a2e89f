"""Hostile octets: whatever a capture holds, the walk ends, raises nothing, and its books balance."""

import contextlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import Plain, analyze
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation
from mqproof.dissectors.packets.pcap import CaptureError, Packet, write_packets

BEGINNINGS = [b"", b"AMQP\0\0\x09\x01", b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2me", b"\x10\x0f\0\4MQTT\5\2\0\x3c\0\0\2me"]
FRAMES = [
    b"\1\0\1\0\0\0\x0e\0\x3c\0\x28\0\0\0\3a.b\0\0\0\0\xce",
    b"\3\0\1\0\0\0\2hi\xce",
    b"\x30\6\0\3a/bx",
    b"\x40\2\0\1",
]
CUT_FRAMES = [frame[:-1] for frame in FRAMES]
PIECES = st.one_of(st.binary(max_size=60), st.sampled_from(FRAMES), st.sampled_from(CUT_FRAMES))
relaxed = settings(
    max_examples=100, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@relaxed
@given(
    st.sampled_from(BEGINNINGS),
    st.lists(st.tuples(st.booleans(), PIECES, st.sampled_from(["keep", "lose", "twice", "late"])), max_size=30),
    st.integers(1, 70),
)
def test_any_octets_in_a_stream(
    tmp_path: Path, beginning: bytes, pieces: list[tuple[bool, bytes, str]], size: int
) -> None:
    talk = Conversation()
    packets = [*talk.open(), *talk.say(CLIENT, beginning, size=size)]
    late: list[bytes] = []
    for from_broker, octets, fate in pieces:
        segments = talk.say(BROKER if from_broker else CLIENT, octets, size=size)
        packets += segments * {"keep": 1, "lose": 0, "twice": 2, "late": 0}[fate]
        late += segments if fate == "late" else []
    path = tmp_path / "capture"
    everything = [*packets, *late]
    write_packets(path, [Packet(i, data, len(data), 1) for i, data in enumerate(everything)], 1)
    account = as_json(analyze(str(path), engine=Plain()))
    assert account["bytes"]["captured"] == sum(map(len, everything))
    assert account["packets"] == len(everything)


@relaxed
@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=8))
def test_any_octets_in_a_file(tmp_path: Path, tail: bytes, at: int, overwritten: bytes) -> None:
    path = tmp_path / "capture"
    talk = Conversation()
    write_packets(path, [Packet(i, data, len(data), 1) for i, data in enumerate(talk.open())], 1)
    octets = bytearray(path.read_bytes() + tail)
    octets[at : at + len(overwritten)] = overwritten
    path.write_bytes(octets)
    with contextlib.suppress(CaptureError):  # what is no capture may be refused, and nothing else may happen
        as_json(analyze(str(path), engine=Plain()))
