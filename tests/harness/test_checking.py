"""Ours and tshark's counts: over all golden captures, and where tshark is known to be wrong."""

from pathlib import Path

import pytest
from mqproof.dissectors.amqp.codec import encode, method
from mqproof.dissectors.mqtt.codec import encode as encode_mqtt
from mqproof.dissectors.mqtt.packets import Connect, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.account import kinds
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, read_packets, write_packets
from mqproof.harness import oracle
from mqproof.harness.checking import Row, check

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.pcapng"))
CAPTURES = [path for path in CAPTURES if not path.stem.endswith("-tls")]  # nothing to compare without keys
REASONS = {"mqtt-straddled": "straddle", "mqtt-websocket": "WebSockets", "amqp-websocket": "WebSockets"}
pytestmark = pytest.mark.skipif(not oracle.available(), reason="tshark is not installed")


def rows_of(path: Path) -> list[Row]:
    summary = analyze(str(path))
    return check(str(path), kinds(summary))


@pytest.mark.alike  # test_oracle.py compares each of them
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_golden_captures_agree_or_are_explained(path: Path) -> None:
    rows = rows_of(path)
    assert rows
    differing = [row for row in rows if not row.agrees]
    reason = REASONS.get(path.stem)
    assert all(reason in row.why for row in differing) if reason else not differing


def test_the_straddled_capture_is_the_one_where_tshark_is_wrong() -> None:
    rows = {row.kind: row for row in rows_of(next(path for path in CAPTURES if path.stem == "mqtt-straddled"))}
    assert rows["PUBLISH"].ours == 40 > rows["PUBLISH"].theirs
    assert "1 remaining lengths straddle" in rows["PUBLISH"].why
    assert rows["CONNECT"].agrees


def test_a_first_frame_in_several_segments_is_an_explanation(tmp_path: Path) -> None:
    """tshark 4.0 tells the version of AMQP by that frame; with all of it in one segment it counts what we count."""
    start, declare = (encode(method(name, 0)) for name in ("connection.start", "queue.declare"))
    for size, agrees in ((1460, True), (12, False)):
        talk = Conversation(broker=("10.0.0.2", 5672))
        packets = [*talk.open(), *talk.say(CLIENT, b"AMQP\0\0\x09\x01"), *talk.say(BROKER, start, size=size)]
        packets += [packet for _ in range(5) for packet in talk.say(CLIENT, declare)]
        write_packets(tmp_path / "x", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
        rows = {row.kind: row for row in rows_of(tmp_path / "x")}
        assert rows["queue.declare"].ours == 5
        assert rows["queue.declare"].agrees == agrees
        assert ("first frame" in rows["queue.declare"].why) != agrees


@pytest.mark.parametrize(
    ("port", "opening", "wrong"),
    [
        (5672, b"AMQP\0\0\x09\x01", b"\0\0\0\0\0\0\0\xce"),  # frame type 0: section 4.2.3
        (5672, b"AMQP\0\0\x09\x01", b"\1\0\1\0\0\0\4\0\x3c\0\x7b\xce"),  # basic has no method 123
        (1883, encode_mqtt(Connect("me"), Version.V3_1_1), b"\x82\2\0\0"),  # SUBSCRIBE with packet id 0
    ],
)
def test_what_is_malformed_is_an_explanation_and_no_error(
    tmp_path: Path, port: int, opening: bytes, wrong: bytes
) -> None:
    talk = Conversation(broker=("10.0.0.2", port))
    packets = [*talk.open(), *talk.say(CLIENT, opening), *talk.say(BROKER, encode(method("connection.start", 0)))]
    packets = packets if port == 5672 else packets[:-1]
    packets += talk.say(CLIENT, wrong)
    write_packets(tmp_path / "x", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    rows = rows_of(tmp_path / "x")
    assert rows
    assert all(row.agrees or "malformed" in row.why for row in rows)


@pytest.mark.parametrize(("early", "agrees"), [((247, 289), False), ((200, 300), True)])
def test_an_early_segment_that_comes_again_with_other_boundaries_is_an_explanation(
    tmp_path: Path, early: tuple[int, int], agrees: bool
) -> None:
    said = encode_mqtt(Publish("t", bytes(290)), Version.V3_1_1) + encode_mqtt(Publish("u", bytes(20)), Version.V3_1_1)
    talk = Conversation(broker=("10.0.0.2", 1883))
    packets = [*talk.open(), *talk.say(CLIENT, encode_mqtt(Connect("me"), Version.V3_1_1))]
    begin = talk.sequence[CLIENT]
    for start, end in (early, (0, 100), (100, 200), (200, 300), (300, len(said))):
        talk.sequence[CLIENT] = begin + start
        packets += talk.say(CLIENT, said[start:end])
    write_packets(tmp_path / "x", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    rows = {row.kind: row for row in rows_of(tmp_path / "x")}
    assert rows["PUBLISH"].ours == 2
    assert rows["PUBLISH"].agrees == agrees
    assert ("other boundaries" in rows["PUBLISH"].why) != agrees


def test_a_connection_from_before_the_capture_is_an_explanation(tmp_path: Path) -> None:
    packets = list(read_packets(next(path for path in CAPTURES if path.stem == "amqp-messages")))[9:]
    write_packets(tmp_path / "late.pcapng", packets, packets[0].linktype)
    rows = rows_of(tmp_path / "late.pcapng")
    assert rows
    assert all(row.agrees or "began before the capture" in row.why for row in rows)


def test_a_wrong_count_of_ours_is_not_explained_away() -> None:
    path = next(path for path in CAPTURES if path.stem == "mqtt-5.0")
    ours = kinds(analyze(str(path)))
    ours["mqtt"]["PUBLISH"]["count"] += 1
    wrong = [row for row in check(str(path), ours) if not row.agrees]
    assert [(row.kind, row.why) for row in wrong] == [("PUBLISH", "")]
