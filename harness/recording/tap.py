"""A recording proxy, for where packets may not be captured: real streams, made-up TCP/IP headers.

The file's comment says so; link, IP and TCP figures of such a recording are never reported.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mqproof.dissectors.packets.craft import ACK, BROKER, CLIENT, FIN, Conversation, raw
from mqproof.dissectors.packets.pcap import MADE_UP_COMMENT, Writer
from mqproof.harness.proxy.core import Link, Passage, ProxyLoop
from mqproof.harness.targets.target import Target

LINKTYPE_RAW = 101
SEGMENT = 60_000
QUIET_ROUNDS = 20
CLIENT_ADDRESS = "127.0.0.1"


def broker_address(number: int) -> str:
    """Return the made-up address of the target with this number."""
    return f"127.1.{number >> 8 & 255}.{number & 255}"


@contextlib.contextmanager
def tapping(targets: Sequence[Target], file: Path) -> Iterator[list[Target]]:
    """Put a recording proxy before each target; yields the targets to use instead."""
    with Writer(file, LINKTYPE_RAW, comment=MADE_UP_COMMENT) as writer, ProxyLoop() as loop:
        taps = []
        for number, target in enumerate(targets):
            proxy = loop.proxy(target, _tap(writer, broker_address(number), target.port))
            taps.append(proxy.target)
        yield taps
        asyncio.run_coroutine_threadsafe(_drained(writer), loop.loop).result()


async def _drained(writer: Writer) -> None:
    """Return when what clients and brokers have sent by now has been written, and nothing more is under way."""
    quiet = 0
    while quiet < QUIET_ROUNDS:
        before = writer.packets
        await asyncio.sleep(0)  # each round polls all sockets
        quiet = quiet + 1 if writer.packets == before else 0


def _tap(writer: Writer, host: str, port: int) -> type[Passage]:
    class Tap(Passage):
        """Writes every octet before it passes it on. All on the proxy's one loop, so packets do not interleave."""

        def __init__(self, link: Link) -> None:
            super().__init__(link)
            client = (CLIENT_ADDRESS, int(link.addresses[0][1]))
            self._conversation = Conversation(client, (host, port), frame=raw)
            self._ended = [False, False]
            self._write(self._conversation.open())

        def from_client(self, octets: bytes) -> None:
            self._write(self._conversation.say(CLIENT, octets, size=SEGMENT))
            super().from_client(octets)

        def from_broker(self, octets: bytes) -> None:
            self._write(self._conversation.say(BROKER, octets, size=SEGMENT))
            super().from_broker(octets)

        def client_ended(self) -> None:
            self._end(CLIENT)

        def broker_ended(self) -> None:
            self._end(BROKER)

        def closed(self) -> None:
            if not all(self._ended):
                self._write(self._conversation.reset())

        def _end(self, side: int) -> None:
            self._ended[side] = True
            self._write([self._conversation.packet(side, FIN | ACK)])

        def _write(self, packets: list[bytes]) -> None:
            for packet in packets:
                writer.write(time.time_ns(), packet)

    return Tap
