"""Makes packets: a TCP conversation octet for octet, for the recording tap, for tests and for benchmarks.

IP and TCP checksums are left 0, as with checksum offload.
"""

import ipaddress
import struct
from collections.abc import Callable
from typing import Final

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, BROKER = 0, 1
Frame = Callable[[bytes, int], bytes]  # an IP packet and its version -> the packet on a link


def raw(packet: bytes, version: int) -> bytes:
    """No link header at all: link type 101."""
    return packet


def ethernet(packet: bytes, version: int) -> bytes:
    """Ethernet: link type 1."""
    return bytes(12) + _ethertype(version) + packet


def vlan(packet: bytes, version: int) -> bytes:
    """Ethernet with two VLAN tags (QinQ)."""
    return bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x07" + _ethertype(version) + packet


def cooked(packet: bytes, version: int) -> bytes:
    """Linux cooked capture: link type 113."""
    return struct.pack(">HHH8s", 0, 1, 6, b"") + _ethertype(version) + packet


def cooked2(packet: bytes, version: int) -> bytes:
    """Linux cooked capture v2: link type 276."""
    return _ethertype(version) + bytes(18) + packet


def null(packet: bytes, version: int) -> bytes:
    """BSD loopback: link type 0, the address family in the byte order of the machine."""
    return struct.pack("<I", 2 if version == 4 else 30) + packet


def _ethertype(version: int) -> bytes:
    return b"\x08\x00" if version == 4 else b"\x86\xdd"


LINKS: Final[dict[str, tuple[int, Frame]]] = {
    "raw": (101, raw),
    "ethernet": (1, ethernet),
    "vlan": (1, vlan),
    "cooked": (113, cooked),
    "cooked2": (276, cooked2),
    "null": (0, null),
}


class Conversation:
    """One TCP connection; every method returns the packets that it takes, ready for a capture file.

    ``options``: TCP options of every segment but SYN (a multiple of 4 octets). ``first``: the sequence numbers of the
    two SYNs.
    """

    def __init__(
        self,
        client: tuple[str, int] = ("10.0.0.1", 40000),
        broker: tuple[str, int] = ("10.0.0.2", 1883),
        *,
        frame: Frame = ethernet,
        options: bytes = b"",
        first: tuple[int, int] = (1000, 5000),
    ) -> None:
        self._ends = [(ipaddress.ip_address(host), port) for host, port in (client, broker)]
        self._frame = frame
        self._options = options
        self.sequence = list(first)

    def open(self) -> list[bytes]:
        """Return the three packets of the handshake."""
        return [self.packet(CLIENT, SYN), self.packet(BROKER, SYN | ACK), self.packet(CLIENT, ACK)]

    def say(self, side: int, octets: bytes, *, size: int = 1460) -> list[bytes]:
        """Return one side's octets in segments of at most ``size``."""
        return [self.packet(side, PSH | ACK, octets[at : at + size]) for at in range(0, len(octets), size)]

    def acknowledge(self, side: int) -> list[bytes]:
        """Return a bare acknowledgement by ``side``."""
        return [self.packet(side, ACK)]

    def close(self) -> list[bytes]:
        """Return an orderly end, begun by the client."""
        return [self.packet(CLIENT, FIN | ACK), self.packet(BROKER, FIN | ACK), self.packet(CLIENT, ACK)]

    def reset(self, side: int = CLIENT) -> list[bytes]:
        """Return a reset by ``side``."""
        return [self.packet(side, RST)]

    def packet(self, side: int, flags: int, octets: bytes = b"") -> bytes:
        """Return one packet and advance the side's sequence number."""
        seen = self.sequence[1 - side] if flags & ACK else 0
        made = self._framed(side, flags, self.sequence[side], seen, octets)
        self.sequence[side] = (self.sequence[side] + len(octets) + (1 if flags & (SYN | FIN) else 0)) & 0xFFFFFFFF
        return made

    def _framed(self, side: int, flags: int, sequence: int, seen: int, octets: bytes) -> bytes:
        (source, source_port), (sink, sink_port) = self._ends[side], self._ends[1 - side]
        options = b"" if flags & SYN else self._options
        header = 20 + len(options)
        tcp = struct.pack(
            ">HHIIBBHHH", source_port, sink_port, sequence, seen, header // 4 << 4, flags, 0xFFFF, 0, 0
        ) + options + octets
        if source.version == 4:
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
        else:
            ip = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64)
        return self._frame(ip + source.packed + sink.packed + tcp, source.version)


def fragments(packet: bytes, identification: int, size: int) -> list[bytes]:
    """Return an Ethernet packet in IP fragments of at most ``size`` octets: RFC 791 section 2.3, RFC 8200 4.5."""
    link, ip = packet[:14], packet[14:]
    header, rest = (ip[:20], ip[20:]) if ip[0] >> 4 == 4 else (ip[:40], ip[40:])
    size &= ~7
    made = []
    for at in range(0, len(rest), size):
        piece, more = rest[at : at + size], at + size < len(rest)
        if ip[0] >> 4 == 4:
            field = struct.pack(">HHH", 20 + len(piece), identification, more << 13 | at >> 3)
            made.append(link + header[:2] + field + header[8:] + piece)
        else:
            extension = struct.pack(">BBHI", 6, 0, at | more, identification)
            length = struct.pack(">HB", 8 + len(piece), 44)
            made.append(link + header[:4] + length + header[7:] + extension + piece)
    return made
