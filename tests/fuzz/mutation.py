"""Golden captures, torn in ways that captures are torn: what the fuzzer of the compiled walk reads. One seed, one file.

A part of a capture is taken, or parts of two in one; packets are lost, repeated, swapped, cut, split and joined with
others' contents; sequence numbers, sizes in frames and lengths in headers are overwritten. So most of it stays
plausible, and comes to the deep places that octets by chance never reach.
"""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.links import find_network, find_transport
from mqproof.dissectors.packets.pcap import read_packets

CAPTURES: Final = Path(__file__).parents[2] / "captures"
LARGEST: Final = 2000  # octets of one packet that are kept: a larger one is cut into several
PACKETS: Final = 60  # of one capture at most
MUTATIONS: Final = 12
NUMBERS: Final = (0, 1, 2, 3, 4, 5, 7, 8, 0x10, 0x30, 0x3C, 0x7F, 0x80, 0xCE, 0xFE, 0xFF)
WIDE: Final = (0, 1, 7, 12, 127, 128, 255, 1 << 14, 1 << 16, (1 << 24) - 1, 1 << 28, (1 << 31) - 1, 1 << 31, 0xFFFFFFFF)


@dataclass(slots=True)
class Piece:
    """A packet; ``network``, ``tcp`` and ``data``: where its IP header, its TCP header and what it carries begin."""

    octets: bytearray
    network: int
    tcp: int
    data: int
    original: int

    def copy(self) -> "Piece":
        """Return a packet of its own."""
        return Piece(bytearray(self.octets), self.network, self.tcp, self.data, self.original)

    def number(self, at: int, size: int, value: int) -> None:
        """Overwrite a number in network byte order, where the packet is long enough."""
        if 0 <= at <= len(self.octets) - size:
            self.octets[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size)

    @property
    def sequence(self) -> int:
        """TCP's sequence number."""
        return int.from_bytes(self.octets[self.tcp + 4 : self.tcp + 8])

    def carry(self, data: bytes | bytearray) -> None:
        """Carry other octets; the lengths in the headers are made right."""
        self.octets[self.data :] = data
        self.original = len(self.octets)
        self.fit()

    def fit(self) -> None:
        """Make IP's length right, where the packet has been left that much."""
        size = len(self.octets) - self.network
        if size < 1:
            return
        if self.octets[self.network] >> 4 == 4:
            self.number(self.network + 2, 2, size)
        else:
            self.number(self.network + 4, 2, size - 40)


def _pieces(octets: bytes, linktype: int) -> list[Piece]:
    """Return a golden packet with its offsets, in several pieces where it is large."""
    s = [0] * w.REGISTERS
    buf = bytearray(octets)
    s[w.R_ORIGINAL] = len(buf)
    if not find_network(buf, 0, len(buf), linktype, s) or not find_transport(buf, len(buf), s):
        return []
    data = s[w.L4] + (buf[s[w.L4] + 12] >> 4) * 4
    whole = Piece(buf, s[w.L3], s[w.L4], data, len(buf))
    found = []
    for at in range(0, max(1, len(buf) - data), LARGEST):
        part = whole.copy()
        part.carry(buf[data + at : data + at + LARGEST])
        part.number(part.tcp + 4, 4, whole.sequence + at)
        found.append(part)
    return found


@cache
def golden() -> list[tuple[int, list[Piece]]]:
    """Return the golden captures: link type and packets."""
    captures = []
    for path in sorted(CAPTURES.glob("*.pcapng")):
        packets = list(read_packets(path))
        linktype = packets[0].linktype
        captures.append((linktype, [part for packet in packets for part in _pieces(packet.data, linktype)][:400]))
    return captures


Mutation = Callable[[random.Random, list[Piece], int], None]


def lose(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """The packet is not in the capture."""
    if len(pieces) > 1:
        del pieces[at]


def swap(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """Two packets change places, near ones mostly."""
    other = min(len(pieces) - 1, at + chance.choice((1, 1, 2, 3, 20)))
    pieces[at], pieces[other] = pieces[other], pieces[at]


def repeat(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """The packet comes again, somewhat later."""
    pieces.insert(min(len(pieces), at + chance.randrange(1, 12)), pieces[at].copy())


def cut(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """The snap length cuts the packet."""
    octets = pieces[at].octets
    del octets[chance.randrange(len(octets) + 1) :]


def overwrite(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """Some octets of what it carries, or of its headers, are others."""
    piece = pieces[at]
    low = piece.data if chance.random() < 0.8 else 0
    for _ in range(chance.choice((1, 1, 2, 4))):
        if low < len(piece.octets):
            near = min(len(piece.octets), low + 40) if chance.random() < 0.6 else len(piece.octets)
            value = chance.choice(NUMBERS) if chance.random() < 0.7 else chance.randrange(256)
            piece.octets[chance.randrange(low, near)] = value


def resize(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """The size of its first frame is another: AMQP's, MQTT's, a WebSocket frame's, a TLS record's."""
    piece = pieces[at]
    value = chance.choice(WIDE) if chance.random() < 0.5 else len(piece.octets) - piece.data + chance.randrange(-12, 12)
    place, size = chance.choice(((3, 4), (1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (3, 2), (7 + 4, 8)))
    piece.number(piece.data + place, size, value)


def renumber(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """The sequence number, or what is acknowledged, is another."""
    piece = pieces[at]
    step = chance.choice((1, -1, 4, -7, 100, -100, 1460, 1 << 20, 1 << 31, -(1 << 31) + 5, chance.randrange(1 << 32)))
    place = piece.tcp + chance.choice((4, 4, 8))
    piece.number(place, 4, int.from_bytes(piece.octets[place : place + 4]) + step)


def headers(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """Flags, header lengths, total lengths, protocol or fragment fields are others."""
    piece = pieces[at]
    place, size = chance.choice(
        (
            (piece.tcp + 13, 1), (piece.tcp + 12, 1), (piece.tcp, 2), (piece.tcp + 2, 2), (piece.network - 2, 2),
            (piece.network, 1), (piece.network + 2, 2), (piece.network + 4, 2), (piece.network + 6, 2),
            (piece.network + 9, 1),
        )
    )  # fmt: skip
    value = chance.choice(NUMBERS) if chance.random() < 0.7 else chance.randrange(1 << 16)
    piece.number(place, size, value)


def split(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """What it carries comes in two or more packets, which may overlap."""
    piece = pieces[at]
    data, first = bytes(piece.octets[piece.data :]), piece.sequence
    if len(data) < 2:
        return
    size = chance.randrange(1, len(data)) if chance.random() < 0.7 else max(1, len(data) // 20)
    parts = []
    for low in range(0, len(data), size):
        part, more = piece.copy(), chance.choice((0, 0, 0, 3))
        part.carry(data[low : low + size + more])
        part.number(part.tcp + 4, 4, first + low)
        parts.append(part)
    pieces[at : at + 1] = parts[:PACKETS]


def fragment(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """IPv4 cuts the packet into fragments (RFC 791 section 3.2), one of which may be lost, repeated or late."""
    piece = pieces[at]
    if piece.tcp - piece.network != 20 or piece.octets[piece.network : piece.network + 1] != b"\x45":
        return
    body = bytes(piece.octets[piece.network + 20 :])
    if not body:
        return
    size = 8 * chance.choice((1, 2, 3, 5, 8, max(1, len(body) // 16)))
    parts = []
    for low in range(0, min(len(body), 20 * size), size):
        part = piece.copy()
        part.octets[piece.network + 20 :] = body[low : low + size]
        part.original = len(part.octets)
        part.fit()
        part.number(piece.network + 6, 2, low // 8 | (0x2000 if low + size < len(body) else 0))
        parts.append(part)
    if chance.random() < 0.5:
        chance.choice((lose, swap, repeat, cut, overwrite))(chance, parts, chance.randrange(len(parts)))
    pieces[at : at + 1] = parts


def exchange(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """It carries what a packet of any golden capture carries."""
    _, others = chance.choice(golden())
    other = chance.choice(others)
    data = other.octets[other.data :]
    piece = pieces[at]
    if chance.random() < 0.5:
        data = piece.octets[piece.data :] + data
    piece.carry(data[: 2 * LARGEST])


def misfit(chance: random.Random, pieces: list[Piece], at: int) -> None:
    """More octets than IP says, or IP says more; the original length is wrong."""
    piece = pieces[at]
    piece.octets += bytes(chance.randrange(1, 30))
    piece.original = len(piece.octets) + chance.choice((0, 0, 100, -10, 1 << 20))


KINDS: Final[tuple[Mutation, ...]] = (
    lose, swap, repeat, cut, overwrite, overwrite, overwrite, resize, resize, renumber, headers, split, fragment,
    exchange, misfit,
)  # fmt: skip


def mutated(seed: int) -> bytes:
    """Return the pcap file of a seed."""
    chance = random.Random(seed)
    linktype, packets = chance.choice(golden())
    first = 0 if chance.random() < 0.5 else chance.randrange(len(packets))
    pieces = [piece.copy() for piece in packets[first : first + chance.randrange(1, PACKETS)]]
    for _ in range(chance.randrange(MUTATIONS)):
        chance.choice(KINDS)(chance, pieces, chance.randrange(len(pieces)))
    return as_pcap(linktype, pieces)


def as_pcap(linktype: int, pieces: list[Piece]) -> bytes:
    """Return a pcap file of these packets, a millisecond between two."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)]
    for number, piece in enumerate(pieces):
        size = len(piece.octets)
        records.append(struct.pack("<IIII", number // 1000, number % 1000 * 1000, size, max(0, piece.original)))
        records.append(piece.octets)
    return b"".join(records)
