"""The fast reading and the slow one see the same frames, also where the capture begins late or lacks packets."""

import random
from collections import Counter
from pathlib import Path

import pytest
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import Plain, analyze
from mqproof.dissectors.overhead.frames import Connection, Follower, Watcher, kind_of
from mqproof.dissectors.overhead.streams import Seen
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.pcap import Packet, read_packets, write_packets
from mqproof.harness.oracle import server_ports

CAPTURES = Path(__file__).parents[3] / "captures"
WEBSOCKETS = ["mqtt-websocket", "amqp-websocket"]
PLAIN = ["mqtt-3.1.1", "mqtt-5.0", "amqp-messages", "mqtt-rabbitmq"]


class Kinds(Watcher):
    """Counts frames, by protocol and kind."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        self.found[connection.protocol, kind_of(connection, seen)] += 1


Told = dict[int, int]


def fast(path: Path, packets: list[Packet], told: Told | None = None) -> tuple[Counter[tuple[str, str]], int]:
    """Return the walk's frames, and how many it knows by their size only."""
    write_packets(path, packets, packets[0].linktype)
    account = as_json(analyze(str(path), engine=Plain(), decode_as=told))
    kinds = {
        (protocol, kind): row["count"] for protocol, rows in account["kinds"].items() for kind, row in rows.items()
    }
    return Counter(kinds), account["streams"]["damaged"]


def slow(packets: list[Packet], told: Told | None = None) -> Counter[tuple[str, str]]:
    kinds = Kinds()
    Follower((kinds,), decode_as=told).file(packets)
    return kinds.found


@pytest.mark.parametrize("name", [*WEBSOCKETS, *PLAIN])
def test_a_capture_that_begins_late(name: str, tmp_path: Path) -> None:
    packets = list(read_packets(CAPTURES / f"{name}.pcapng"))
    for at in range(0, min(len(packets) - 5, 60), 3):
        assert slow(packets[at:]) == fast(tmp_path / "late", packets[at:])[0], f"from packet {at + 1} on"


@pytest.mark.parametrize("name", [*WEBSOCKETS, *PLAIN])
def test_a_capture_that_lacks_packets(name: str, tmp_path: Path) -> None:
    packets = list(read_packets(CAPTURES / f"{name}.pcapng"))
    for seed in range(15):
        chance = random.Random(seed)
        left = [packet for packet in packets if chance.random() > 0.05]
        assert slow(left) == fast(tmp_path / "less", left)[0], f"seed {seed}"


@pytest.mark.parametrize("name", [*WEBSOCKETS, *PLAIN])
def test_a_capture_whose_packets_are_cut(name: str, tmp_path: Path) -> None:
    """The walk counts frames whose octets are missing, the slow reading cannot decode them."""
    packets = list(read_packets(CAPTURES / f"{name}.pcapng"))
    for seed in range(10):
        chance = random.Random(seed)
        cut = [packet.data[: chance.randrange(60, 1000)] for packet in packets]
        left = [Packet(p.time, data, p.original, p.linktype) for p, data in zip(packets, cut, strict=True)]
        seen, (counted, damaged) = slow(left), fast(tmp_path / "cut", left)
        assert seen <= counted, f"seed {seed}"
        assert counted.total() - seen.total() <= damaged, f"seed {seed}"


@pytest.mark.parametrize("name", [*WEBSOCKETS, *PLAIN])
def test_ports_that_are_told_hold_for_both(name: str, tmp_path: Path) -> None:
    packets = list(read_packets(CAPTURES / f"{name}.pcapng"))
    (port,) = server_ports(CAPTURES / f"{name}.pcapng")
    assert not slow(packets, {port: w.PLAIN_OTHER})
    assert not fast(tmp_path / "told", packets, {port: w.PLAIN_OTHER})[0]
    if name in PLAIN:
        right = {port: w.PLAIN_AMQP if name.startswith("amqp") else w.PLAIN_MQTT}
        assert slow(packets, right) == fast(tmp_path / "told", packets, right)[0] == slow(packets)
