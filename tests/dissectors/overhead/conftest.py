"""Captures made to order, and their accounts."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connack, Connect
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.overhead.frames import Watcher
from mqproof.dissectors.overhead.views import Views, look
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, write_packets

Account = dict[str, Any]


@pytest.fixture
def account(tmp_path: Path) -> Callable[..., Account]:
    """Return the account of packets, as the walk makes it; the books are checked on the way."""

    def made(packets: Iterable[bytes], linktype: int = 1, cut: int = 1 << 20) -> Account:
        path = tmp_path / "capture.pcapng"
        kept = [Packet(i * 1000, data[:cut], len(data), linktype) for i, data in enumerate(packets)]
        write_packets(path, kept, linktype)
        return as_json(analyze(str(path)))

    return made


MS = 1_000_000
SECOND = 1000 * MS


class Talk:
    """One connection; every packet comes a millisecond after the one before, or when ``at`` says."""

    def __init__(self, packets: list[Packet], port: int, version: Version) -> None:
        self._next = 0
        self.packets = packets
        self.version = version
        self.tcp = Conversation(("10.0.0.1", port), first=(port, 2 * port))
        self._add(self.tcp.open())

    def wait(self, nanoseconds: int) -> None:
        """Let the next packet come so much later than the last one."""
        self._next = self.packets[-1].time + nanoseconds

    def mqtt(self, side: int, *packets: Any) -> None:
        """One segment with all the packets."""
        self.raw(side, b"".join(mqtt.encode(packet, self.version) for packet in packets))

    def amqp(self, side: int, *frames: amqp.Frame) -> None:
        self.raw(side, b"".join(map(amqp.encode, frames)))

    def raw(self, side: int, octets: bytes) -> None:
        self._add(self.tcp.say(side, octets))

    def bare_ack(self, side: int) -> None:
        self._add(self.tcp.acknowledge(side))

    def close(self) -> None:
        self._add(self.tcp.close())

    def connect(self, client_id: str = "me", *, present: bool = False, keep_alive: int = 0) -> "Talk":
        connect = Connect(client_id, clean_start=not present, keep_alive=keep_alive, version=self.version)
        self.mqtt(CLIENT, connect)
        self.mqtt(BROKER, Connack(present, 0))
        return self

    def open_channel(self, *, confirm: bool = True) -> "Talk":
        self.raw(CLIENT, b"AMQP\0\0\x09\1")
        self.amqp(BROKER, amqp.method("connection.start", 0))
        self.amqp(CLIENT, amqp.method("channel.open"))
        if confirm:
            self.amqp(CLIENT, amqp.method("confirm.select"))
        return self

    def _add(self, made: Iterable[bytes]) -> None:
        for data in made:
            time = self.packets[-1].time + MS if self.packets else SECOND
            time = max(time, self._next)
            self.packets.append(Packet(time, data, len(data), 1))


class Scene:
    """A capture that is being made, and what the slow reading says of it."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def talk(self, port: int = 40000, version: Version = Version.V3_1_1) -> Talk:
        return Talk(self.packets, port, version)

    def look(self, *watchers: Watcher) -> Views:
        return look([("x.pcapng", self.packets)], watchers)

    def group(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.look().messages["groups"][name]
        return found

    def findings(self) -> list[str]:
        return [finding["kind"] for finding in self.look().findings]


@pytest.fixture
def scene() -> Scene:
    return Scene()
