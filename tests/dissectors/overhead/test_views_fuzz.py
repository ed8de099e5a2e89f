"""The slow reading on what nobody should send: it ends, it raises nothing, its figures stay within the captured."""

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.frames import Connection, Watcher
from mqproof.dissectors.overhead.hops import NAME
from mqproof.dissectors.overhead.selection import Selection
from mqproof.dissectors.overhead.streams import HEAD, Carrier, Seen, Speech, Stream
from mqproof.dissectors.overhead.tally import Tally
from mqproof.dissectors.overhead.timeline import Timeline
from mqproof.dissectors.overhead.views import look
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, read_packets
from mqproof.harness.workload import as_toml, parse
from mqproof.harness.workload_capture import NoTraffic, Profile

CAPTURES = Path(__file__).parents[3] / "captures"
PATHS = [path for path in sorted(CAPTURES.glob("*.pcapng")) if "overhead" not in path.stem]
GOLDEN = {path.stem: list(read_packets(path)) for path in PATHS}


class Octets(Watcher):
    def __init__(self) -> None:
        self.frames = 0
        self.headers = 0.0

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        assert seen.size >= 2
        assert sum(octets for _, octets in seen.spans) <= seen.size
        self.frames += seen.size
        self.headers += seen.header_share


def looked(packets: list[Packet]) -> dict[str, Any]:
    octets, timeline, profile = Octets(), Timeline(), Profile()
    views = look([("x", packets)], (octets, timeline, profile, Tally(Selection(topics=("#",)))))
    captured = sum(len(packet.data) for packet in packets)
    assert octets.frames + octets.headers <= captured + 0.5
    assert sum(map(sum, timeline.series().values())) <= captured
    groups = views.messages["groups"].values()
    assert sum(group["bytes"] for group in groups) <= captured + len(groups)
    with contextlib.suppress(NoTraffic):
        parse(as_toml(profile.workload("x")), "x.toml")
    json.dumps([views.messages, views.findings])
    return views.messages


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=60)), max_size=8), st.booleans())
def test_any_octets_of_a_connection(pieces: list[tuple[int, bytes]], begun: bool) -> None:
    talk = Conversation()
    packets = talk.open() if begun else []
    for side, octets in pieces:
        packets += talk.say(side, octets) if octets else talk.acknowledge(side)
    looked([Packet(number, data, len(data), 1) for number, data in enumerate(packets)])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(GOLDEN)), st.data())
def test_golden_captures_damaged_reordered_and_cut(name: str, data: st.DataObject) -> None:
    packets = list(GOLDEN[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(packets) - 1))
        packet = packets[at]
        match data.draw(st.sampled_from(["flip", "drop", "swap", "repeat", "cut"])):
            case "flip" if packet.data:
                place = data.draw(st.integers(0, len(packet.data) - 1))
                octets = bytearray(packet.data)
                octets[place] = data.draw(st.integers(0, 255))
                packets[at] = Packet(packet.time, bytes(octets), packet.original, packet.linktype)
            case "drop" if len(packets) > 1:
                del packets[at]
            case "swap":
                packets[at], packets[0] = packets[0], packets[at]
            case "repeat":
                packets.insert(at, packet)
            case _:
                keep = data.draw(st.integers(0, len(packet.data)))
                packets[at] = Packet(packet.time, packet.data[:keep], packet.original, packet.linktype)
    looked(packets)


def test_a_packet_that_claims_256_megabytes_is_not_waited_for_with_memory() -> None:
    talk = Conversation()
    packets = [*talk.open(), *talk.say(CLIENT, b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2me")]
    packets += talk.say(CLIENT, b"\x30\xff\xff\xff\x7f\0\1t" + bytes(3 * HEAD))
    packets += talk.say(BROKER, b"\x20\x02\0\0")
    assert looked([Packet(number, data, len(data), 1) for number, data in enumerate(packets)])["groups"] == {}


def test_a_hole_in_what_the_other_sides_version_makes_illegal() -> None:
    """A PUBREL may repeat in MQTT 3.1; in the middle of one, the other side says that this is 5.0."""
    speech = Speech(w.PLAIN_MQTT)
    stream = Stream(speech, started=True)
    stream.begin()
    assert stream.feed(b"\x6a", Carrier(1, 0, 0, 1)) == []
    speech.version = Version.V5_0
    stream.lose(5)
    assert not stream.in_step


def test_long_topics_are_told_apart_and_not_kept_whole(scene: Any) -> None:
    talk = scene.talk().connect()
    for last in "ab":
        talk.mqtt(CLIENT, Publish("t" * 60_000 + last, b"x"))
        talk.mqtt(BROKER, Publish("t" * 60_000 + last, b"x"))
    views = scene.look()
    assert views.messages["groups"]["mqtt qos0"]["matching"]["matched_by_content"] == 2
    assert max(len(row["name"]) for row in views.messages["costliest"]) <= NAME + 1


def test_thousands_of_connections_give_way_to_each_other() -> None:
    packets = []
    connect = mqtt.encode(mqtt.Connect("me"), Version.V3_1_1)
    for number in range(9000):
        talk = Conversation((f"10.{number >> 8}.{number & 255}.1", 40000))
        packets += [*talk.open()[:1], *talk.say(CLIENT, connect)]
    views = look([("x", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)])])
    assert views.connections_dropped >= 9000 - 4096 - 1
