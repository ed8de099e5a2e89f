"""From the private raw capture to files that may be kept: one per target, credentials masked, checksums redone.

Two passes: the first puts the clients' streams in order and finds where credentials stand; the second writes. A
password that decoding did not reach (in a packet broken on purpose) is masked by its octets, so that it is nowhere in
the file. Of a datagram in fragments that is never whole nobody knows what it holds: such fragments are left out.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.links import IPPROTO_TCP, IPV4
from mqproof.dissectors.packets.opening import Fragment, Opener
from mqproof.dissectors.packets.pcap import CaptureError, Notes, Packet, Writer, read_packets
from mqproof.dissectors.packets.tcp import SYN, distance
from mqproof.harness.recording.credentials import Finder, Range

MASK = b"*"
SHORTEST_SECRET = 4  # shorter ones occur everywhere by chance
MAX_EARLY = 256  # segments kept while one before them is missing
MAX_FRAGMENTED = 64 << 20  # octets of datagrams in fragments that are kept; the rest is left out


@dataclass(frozen=True)
class Stream:
    """One target's connections in the raw capture: the broker's addresses (as octets) and port."""

    protocol: str
    port: int
    addresses: frozenset[bytes]
    encrypted: bool = False


@dataclass
class Segment:
    """A TCP segment: where its payload stands in ``data`` (the packet, or a whole datagram), and in the stream."""

    data: bytes
    start: int
    end: int
    tcp: int
    network: int
    from_client: bool
    stream: Stream
    connection: "Connection"
    offset: int = 0


@dataclass
class Connection:
    """What is known of a client's direction: its first sequence number, what came early, where credentials stand."""

    finder: Finder
    next: int  # sequence number
    position: int = 0  # the stream's offset that belongs to ``next``
    ranges: list[Range] = field(default_factory=list)
    early: dict[int, bytes] = field(default_factory=dict)
    fed: int = 0  # octets given to the finder

    def offset(self, seq: int) -> int:
        """Return the stream's offset of a sequence number near the last one."""
        at = self.position + distance(seq, self.next)
        if at > self.position:
            self.position, self.next = at, seq
        return at

    def take(self, at: int, octets: bytes) -> None:
        """Take a segment; give the finder what is in order. Too much behind a hole: the hole will not be filled."""
        self.early[at] = max(octets, self.early.get(at, b""), key=len)
        if len(self.early) > MAX_EARLY:
            self._pass_hole()
        self._drain()

    def finish(self) -> None:
        """No more will come: look behind the holes, too."""
        while self.early:
            self._pass_hole()
            self._drain()
        self.ranges += self.finder.finish()

    def _drain(self) -> None:
        while self.early and (first := min(self.early)) <= self.fed:
            octets = self.early.pop(first)[self.fed - first :]
            self.fed += len(octets)
            self.ranges += self.finder.feed(octets)

    def _pass_hole(self) -> None:
        missing = max(0, min(self.early) - self.fed)
        self.fed += missing
        self.ranges += self.finder.lose(missing) if missing else []


class Follower:
    """Goes through the packets of a raw capture and says which segment of which connection each is."""

    def __init__(self, streams: Sequence[Stream], known: list[Connection] | None = None) -> None:
        self._streams = streams
        self._known = iter(known) if known is not None else None
        self._open: dict[bytes, Connection] = {}
        self.connections: list[Connection] = []
        self.opener = Opener()

    def segment(self, packet: Packet) -> Segment | None:
        """Return the packet's segment, or that of a datagram with its last fragment; None for what is no target's."""
        whole, s = self.opener.open(packet), self.opener.s
        if whole is None:
            return None
        data, tcp = bytes(whole), s[w.L4]
        size = 4 if s[w.ETHERTYPE] == IPV4 else 16
        addresses = s[w.L3] + (12 if size == 4 else 8)
        source = data[addresses : addresses + size] + data[tcp : tcp + 2]
        sink = data[addresses + size : addresses + 2 * size] + data[tcp + 2 : tcp + 4]
        for stream in self._streams:
            port = stream.port.to_bytes(2, "big")
            for broker, from_client in ((sink, True), (source, False)):
                if broker[size:] == port and broker[:size] in stream.addresses:
                    start = tcp + (data[tcp + 12] >> 4) * 4
                    key = source + sink if from_client else sink + source
                    end = min(len(data), s[w.L4_END])
                    found = Segment(data, start, end, tcp, s[w.L3], from_client, stream, self._connection(key, stream))
                    return self._located(found, data, key)
        return None

    def _located(self, segment: Segment, data: bytes, key: bytes) -> Segment:
        seq = int.from_bytes(data[segment.tcp + 4 : segment.tcp + 8], "big")
        if not segment.from_client:
            return segment
        if data[segment.tcp + 13] & SYN:
            first = (seq + 1) & 0xFFFFFFFF
            if segment.connection.position or segment.connection.fed or segment.connection.next not in (-1, first):
                self._open.pop(key)
                segment.connection = self._connection(key, segment.stream)
            segment.connection.next = first
            seq = first
        elif segment.connection.next == -1:
            segment.connection.next = seq
        segment.offset = segment.connection.offset(seq)
        return segment

    def _connection(self, key: bytes, stream: Stream) -> Connection:
        if key not in self._open:
            fresh = Connection(Finder(stream.protocol), -1)
            if self._known is not None:  # the same connections in the same order as in the first pass
                fresh.ranges = next(self._known).ranges
            self._open[key] = fresh
            self.connections.append(fresh)
        return self._open[key]


@dataclass
class Datagrams:
    """Segments that came in fragments, by what those share; none in the list where they are no target's."""

    whole: dict[bytes, list[Segment]] = field(default_factory=dict)
    size: int = 0

    def keep(self, fragment: Fragment, segment: Segment | None) -> None:
        """Keep a datagram with its last fragment."""
        self.size += len(segment.data) if segment else 0
        if self.size <= MAX_FRAGMENTED:
            self.whole.setdefault(fragment.key, []).extend([segment] if segment else [])

    def masked(self, packet: Packet, fragment: Fragment, needles: Sequence[bytes]) -> tuple[bytes, Segment] | None:
        """Return a fragment with credentials replaced and its segment; None where no whole datagram holds it.

        Where several do (identifications come again), the one with most to hide.
        """
        found = []
        for segment in self.whole.get(fragment.key, []):
            header = 20 if segment.data[segment.network] >> 4 == 4 else 40  # one without options: the opener made it
            place = slice(header + fragment.offset, header + fragment.offset + fragment.end - fragment.start)
            if segment.data[place] == packet.data[fragment.start : fragment.end]:
                octets = masked(segment, needles)[place]
                data = packet.data[: fragment.start] + octets + packet.data[fragment.end :]
                found.append((data, segment))
        return max(found, key=lambda one: one[0].count(MASK), default=None)


def write_masked(raw: Path, files: Sequence[tuple[Stream, Path]], secrets: Sequence[str]) -> int:
    """Write each stream's packets into its file, credentials masked; ``secrets`` are masked wherever they stand.

    Returns how many fragments were left out. Raises CaptureError when the raw capture is damaged in the middle.
    """
    streams = [stream for stream, _ in files]
    connections, datagrams = find_credentials(raw, streams)
    needles = [secret.encode() for secret in secrets if len(secret) >= SHORTEST_SECRET]
    follower = Follower(streams, connections)
    notes, left_out = Notes(), 0
    with contextlib.ExitStack() as stack:
        writers: dict[Stream, Writer] = {}
        for packet in read_packets(raw, notes):
            if not writers:  # the first packet tells the link type
                comment = next(iter(notes.comments), "")
                for stream, path in files:
                    writers[stream] = stack.enter_context(Writer(path, packet.linktype, comment=comment))
            segment = follower.segment(packet)
            fragment = follower.opener.fragment
            if fragment is not None:
                found = datagrams.masked(packet, fragment, needles)
                left_out += found is None and datagrams.whole.get(fragment.key) != []
            else:
                found = (masked(segment, needles), segment) if segment is not None else None
            if found is not None:
                writers[found[1].stream].write(packet.time, found[0], packet.original)
    if notes.stopped_at is not None:
        raise CaptureError(f"the raw capture is damaged at byte {notes.stopped_at}: {notes.stopped_why}")
    return left_out


def find_credentials(raw: Path, streams: Sequence[Stream]) -> tuple[list[Connection], Datagrams]:
    """Return the connections in the order of their first packets, with the ranges of their credentials; datagrams."""
    follower, datagrams = Follower(streams), Datagrams()
    for packet in read_packets(raw):
        segment = follower.segment(packet)
        if follower.opener.fragment is not None and follower.opener.is_whole:
            datagrams.keep(follower.opener.fragment, segment)
        if segment is None or not segment.from_client or segment.stream.encrypted:
            continue
        octets = segment.data[segment.start : segment.end]
        if octets:
            segment.connection.take(segment.offset, octets)
    for connection in follower.connections:
        connection.finish()
    return follower.connections, datagrams


def masked(segment: Segment, needles: Sequence[bytes]) -> bytes:
    """Return the packet with credentials replaced, octet for octet, and the TCP checksum redone where it changed."""
    payload = bytearray(segment.data[segment.start : segment.end])
    before = bytes(payload)
    if segment.from_client:
        for start, end in segment.connection.ranges:
            low, high = max(start - segment.offset, 0), min(end - segment.offset, len(payload))
            if low < high:
                payload[low:high] = MASK * (high - low)
    for needle in needles:
        payload = payload.replace(needle, MASK * len(needle))
    if payload == before:
        return segment.data
    changed = bytearray(segment.data)
    changed[segment.start : segment.end] = payload
    _checksum(changed, segment)
    return bytes(changed)


def _checksum(data: bytearray, segment: Segment) -> None:
    """RFC 9293 section 3.1, with the pseudo header of IPv4 or IPv6."""
    data[segment.tcp + 16 : segment.tcp + 18] = b"\0\0"
    length = segment.end - segment.tcp
    at = segment.network
    addresses = data[at + 12 : at + 20] if data[at] >> 4 == 4 else data[at + 8 : at + 40]
    pseudo = bytes(addresses) + length.to_bytes(4, "big") + IPPROTO_TCP.to_bytes(4, "big")
    total = sum(_words(pseudo + bytes(data[segment.tcp : segment.end])))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[segment.tcp + 16 : segment.tcp + 18] = (~total & 0xFFFF).to_bytes(2, "big")


def _words(octets: bytes) -> Iterator[int]:
    padded = octets + b"\0" * (len(octets) & 1)
    return (padded[i] << 8 | padded[i + 1] for i in range(0, len(padded), 2))
