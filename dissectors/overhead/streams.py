"""One direction of a connection as frames, each with the packets that carried it: the slow reading of a capture.

The walk books octets as fast as it can and keeps nothing. Who wants to follow single messages reads the capture a
second time, through the codecs; this module cuts a stream into frames. What it holds is bounded: of a frame beyond
``HEAD`` octets only the beginning and a digest of the payload are kept.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.amqp import finding as amqp_finding
from mqproof.dissectors.amqp.tables import FRAME_END, FRAME_HEADER_SIZE, FRAME_OVERHEAD, FrameType
from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt import finding as mqtt_finding
from mqproof.dissectors.mqtt.fields import read_varint
from mqproof.dissectors.mqtt.packets import Connect, Publish
from mqproof.dissectors.mqtt.tables import PacketType, Version
from mqproof.dissectors.packets import state as w

HEAD: Final = 1 << 18  # octets of one frame that are kept until it is whole
SURE: Final = 8  # frames read since the last hole, before something malformed counts as the sender's fault
VERSIONS: Final = (Version.V3_1_1, Version.V5_0, Version.V3_1)

Frame = amqp.Frame | mqtt.Packet


@dataclass(eq=False, slots=True)
class Carrier:
    """A packet with octets of a stream. ``time``: ns since 1970; ``headers``: captured octets that are none of it.

    ``packets``: how many there are in truth, where IP cut it into fragments; ``number`` is the last one's.
    """

    number: int
    time: int
    headers: int
    data: int
    packets: int = 1


@dataclass(slots=True)
class Seen:
    """A whole frame: what it says, its octets on the wire, and the packets that brought them with their shares."""

    frame: Frame
    size: int
    spans: list[tuple[Carrier, int]]
    payload: int = 0
    digest: bytes = b""

    @property
    def first(self) -> Carrier:
        """The packet with its first octet."""
        return self.spans[0][0]

    @property
    def last(self) -> Carrier:
        """The packet with its last octet: from there on it was known to the receiver."""
        return self.spans[-1][0]

    @property
    def header_share(self) -> float:
        """The packets' headers, each divided among what the packet carries by octets."""
        return sum(carrier.headers * octets / max(carrier.data, octets) for carrier, octets in self.spans)

    @property
    def packet_share(self) -> float:
        """The packets, each divided among what it carries by octets."""
        return sum(carrier.packets * octets / max(carrier.data, octets) for carrier, octets in self.spans)


@dataclass(slots=True)
class Broken:
    """Octets that no version of the protocol allows, and the packet in which they begin."""

    error: Malformed
    carrier: Carrier


@dataclass(slots=True)
class _Long:
    """A frame of which only the beginning is kept."""

    frame: Frame | None
    size: int
    left: int
    spans: list[tuple[Carrier, int]]
    payload: int
    digest: Any
    trailer: int  # octets after the payload


@dataclass(slots=True)
class Speech:
    """What both directions of a connection agree on: the protocol, and MQTT's version once it is known."""

    protocol: int = w.UNKNOWN
    version: Version | None = None


@dataclass(slots=True)
class Stream:
    """Octets in, frames out. ``started``: the stream's first octet was in the capture."""

    speech: Speech
    started: bool = False
    in_step: bool = False
    sure: int = 0  # frames in a row; only what breaks a run of them, or a stream's beginning, is the sender's fault
    held: bytearray = field(default_factory=bytearray)
    too_large: int = 0
    _spans: deque[tuple[Carrier, int]] = field(default_factory=deque)
    _skip: int = 0
    _long: _Long | None = None

    def begin(self) -> None:
        """The protocol is known: read frames from here on, or look for one where the beginning is missing."""
        self.in_step = self.started
        self.sure = SURE if self.started else 0

    def feed(self, octets: bytes | bytearray | memoryview, carrier: Carrier) -> list[Seen | Broken]:
        """Take the next octets of the stream, return what they make whole."""
        self.held += octets
        self._spans.append((carrier, len(octets)))
        return self.read()

    def read(self) -> list[Seen | Broken]:
        """Return what has become whole since the last time."""
        found: list[Seen | Broken] = []
        while self.speech.protocol in (w.PLAIN_AMQP, w.PLAIN_MQTT) and self._step(found):
            pass
        return found

    def lose(self, count: int) -> None:
        """Octets are missing: go on after the frame they belong to where its size is known, else look for the next."""
        if self._long is not None:
            count, self._skip, self._long = 0, self._skip + max(0, self._long.left - count), None
        elif self._skip >= count:
            self._skip -= count
            return
        elif (size := self._known_size()) >= len(self.held) + count:
            self._skip = size - len(self.held) - count
        else:
            self.in_step = False
        self.sure = 0
        self._cut(len(self.held))

    def _known_size(self) -> int:
        """Return the size of the frame that is held in part, 0 where nothing tells it.

        What was legal may not be any more: the other side may have said which version is spoken.
        """
        try:
            return (self._size() if self.in_step and self.held else None) or 0
        except Malformed:
            return 0

    def forget(self) -> None:
        """Drop what is held, for lack of room."""
        self._cut(len(self.held))
        self._long, self._skip, self.in_step, self.sure = None, 0, False, 0

    def taken(self) -> list[tuple[bytearray, Carrier]]:
        """Return what is held, packet by packet, and hold it no more."""
        pieces = []
        for carrier, count in self._spans:
            pieces.append((self.held[:count], carrier))
            del self.held[:count]
        self._spans.clear()
        return pieces

    def _step(self, found: list[Seen | Broken]) -> bool:
        """Do the next thing; return whether there may be more to do."""
        if not self.held:
            return False
        if self._skip:
            taken = min(self._skip, len(self.held))
            self._skip -= taken
            self._cut(taken)
            return True
        if self._long is not None:
            return self._continue_long(found)
        if not self.in_step:
            return self._look()
        try:
            return self._next(found)
        except Malformed as error:
            self._stumble(error, found)
            return True

    def _look(self) -> bool:
        """Look for a plausible frame."""
        end = len(self.held)
        if self.speech.protocol == w.PLAIN_AMQP:
            at = amqp_finding.resync(self.held, 0, end)
        else:
            at = mqtt_finding.resync(self.held, 0, end, int(self.speech.version or 0))
        self._cut(at)
        self.in_step = at < end
        return self.in_step

    def _next(self, found: list[Seen | Broken]) -> bool:
        size = self._size()
        if size is None:
            return False
        if size > HEAD and len(self.held) >= min(size, HEAD):
            self._begin_long(size)
            return True
        if len(self.held) < size:
            return False
        frame = self._decode(self.held, size)
        self.sure += 1
        payload = frame.payload if isinstance(frame, Publish | amqp.Body) else b""
        found.append(Seen(frame, size, self._cut(size), len(payload), _digest(payload)))
        return True

    def _size(self) -> int | None:
        """Return the size of the frame that begins here, None while that is not known. Raises Malformed."""
        if self.speech.protocol == w.PLAIN_AMQP:
            if self.held[:4] == b"AMQP"[: len(self.held)]:
                return 8
            if self.held[0] not in set(FrameType):
                raise Malformed(0, "amqp-0-9-1:4.2.3/unknown-type", f"frame type {self.held[0]}")
            known = len(self.held) >= FRAME_HEADER_SIZE
            return int.from_bytes(self.held[3:7]) + FRAME_OVERHEAD if known else None
        version = self.speech.version
        if not mqtt_finding.legal_first(self.held[0], int(version or 0)):
            mqtt.decode(self.held[:1], version=version or Version.V5_0)  # raises what is wrong
        length = read_varint(self.held, 1, len(self.held))
        return None if length is None else length[0] + length[1]

    def _decode(self, data: bytes | bytearray, size: int) -> Frame:
        """Return the frame. An MQTT version that is not known is the first that the packet is legal in."""
        whole = bytes(data[:size])
        if self.speech.protocol == w.PLAIN_AMQP:
            frame = amqp.decode(whole)
            assert frame is not None
            return frame[0]
        if whole[0] >> 4 == PacketType.CONNECT:
            whole = _without_bridge_bit(whole)
        failed: Malformed | None = None
        for version in VERSIONS if self.speech.version is None else (self.speech.version,):
            try:
                packet = mqtt.decode(whole, version=version)
            except Malformed as error:
                failed = failed or error
                continue
            assert packet is not None
            if isinstance(packet[0], Connect):
                self.speech.version = packet[0].version
            elif version is not VERSIONS[0]:
                self.speech.version = version
            return packet[0]
        assert failed is not None
        raise failed

    def _stumble(self, error: Malformed, found: list[Seen | Broken]) -> None:
        """Note what is malformed where that is the sender's fault, and go on behind it."""
        known = self.speech.version is not None or self.held[0] >> 4 == PacketType.CONNECT
        if self.sure >= SURE and (known or self.speech.protocol == w.PLAIN_AMQP):
            found.append(Broken(error, self._spans[0][0]))
        size = self._plausible_size() if error.offset else 0
        self._cut(size or 1)
        self.in_step = bool(size)

    def _plausible_size(self) -> int:
        """Return the size of a whole frame whose contents are malformed, 0 where there is no trusting it."""
        try:
            size = self._size() or 0
        except Malformed:
            return 0
        if size > len(self.held):
            return 0
        sound = self.speech.protocol == w.PLAIN_MQTT or self.held[size - 1] == FRAME_END
        return size if sound else 0

    def _begin_long(self, size: int) -> None:
        """Take the beginning of a large frame; of AMQP only bodies, of MQTT only PUBLISH are that large in earnest."""
        frame: Frame | None = None
        payload, trailer, head = 0, 0, HEAD
        if self.speech.protocol == w.PLAIN_AMQP:
            if self.held[0] == FrameType.BODY:
                frame = amqp.Body(int.from_bytes(self.held[1:3]), b"")
                payload, trailer, head = size - FRAME_OVERHEAD, 1, FRAME_HEADER_SIZE
        elif self.held[0] >> 4 == PacketType.PUBLISH:
            frame = self._head_of_publish()
            if isinstance(frame, Publish):
                head = HEAD - len(frame.payload)
                payload = size - head
        self.too_large += frame is None
        self._long = _Long(frame, size, size - head, self._cut(head), payload, hashlib.blake2b(digest_size=12), trailer)

    def _head_of_publish(self) -> Frame | None:
        """Return a large PUBLISH with the beginning of its payload: decoded as if it ended with what is there."""
        start = (read_varint(self.held, 1, 5) or (0, 5))[1]
        shortened = bytes(self.held[:1]) + mqtt.encode_varint(HEAD - start) + bytes(self.held[start:HEAD])
        try:
            return self._decode(shortened, len(shortened))
        except Malformed:
            return None  # topic and properties take more than HEAD

    def _continue_long(self, found: list[Seen | Broken]) -> bool:
        long = self._long
        assert long is not None
        taken = min(long.left, len(self.held))
        content = max(0, min(taken, long.left - long.trailer))
        long.digest.update(self.held[:content])
        long.left -= taken
        last_octet = self.held[taken - 1]
        long.spans += self._cut(taken)
        if long.left == 0:
            self._long = None
            if long.trailer and last_octet != FRAME_END:
                self.in_step, self.sure = False, 0
            elif long.frame is not None:
                self.sure += 1
                found.append(Seen(long.frame, long.size, long.spans, long.payload, long.digest.digest()))
        return True

    def _cut(self, count: int) -> list[tuple[Carrier, int]]:
        """Take octets off the front; return the packets that brought them."""
        del self.held[:count]
        taken: list[tuple[Carrier, int]] = []
        while count and self._spans:
            carrier, octets = self._spans.popleft()
            part = min(octets, count)
            if taken and taken[-1][0] is carrier:
                taken[-1] = (carrier, taken[-1][1] + part)
            else:
                taken.append((carrier, part))
            if part < octets:
                self._spans.appendleft((carrier, octets - part))
            count -= part
        return taken


def _without_bridge_bit(connect: bytes) -> bytes:
    """Return a CONNECT without the high bit of its version, by which bridges say what they are."""
    at = (read_varint(connect, 1, len(connect)) or (0, 2))[1]
    level = at + 2 + int.from_bytes(connect[at : at + 2])
    if level < len(connect) and connect[level] & 128:
        return connect[:level] + bytes([connect[level] & 127]) + connect[level + 1 :]
    return connect


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=12).digest() if payload else b""
