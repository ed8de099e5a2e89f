"""Where in a client's stream the credentials stand: offsets, found by decoding.

MQTT: the password of CONNECT, and the authentication data of CONNECT and AUTH (5.0). AMQP: the response of
connection.start-ok (of PLAIN and AMQPLAIN only the password), of connection.secure-ok, and connection.update-secret.
Broken packets are searched as far as they go: a recording of a conformance suite holds many.
"""

import struct
from collections.abc import Iterator

from mqproof.dissectors.amqp import finding as amqp_finding
from mqproof.dissectors.amqp.tables import FRAME_OVERHEAD, METHODS, FrameType
from mqproof.dissectors.mqtt import finding as mqtt_finding
from mqproof.dissectors.mqtt.tables import PROPERTIES_BY_ID, PacketType

Range = tuple[int, int]  # from, to: octets of the stream
MAX_LOST = 1 << 14  # octets that are looked through for a frame, after a hole
MAX_FRAME = 1 << 20  # credentials are smaller; a frame beyond it is passed over unread
_START_OK = METHODS["connection.start-ok"]
_SECURE_OK = METHODS["connection.secure-ok"]
_UPDATE_SECRET = METHODS["connection.update-secret"]
_WILL, _PASSWORD, _USER = 0x04, 0x40, 0x80  # CONNECT's flags: MQTT 5.0 section 3.1.2.3


class Finder:
    """Takes a client's stream in order and tells where credentials stand."""

    def __init__(self, protocol: str) -> None:
        self._amqp = protocol == "amqp"
        self._pending = b""
        self._at = 0  # the stream's offset of the first pending octet
        self._skip = 0
        self._is_lost = False

    def feed(self, octets: bytes) -> list[Range]:
        """Return the ranges found in what is complete by now, as offsets in the stream."""
        taken = min(self._skip, len(octets))
        self._skip -= taken
        self._at += taken
        self._pending += octets[taken:]
        self._look()
        found: list[Range] = []
        while self._pending and not self._is_lost:
            size = self._size()
            if size == 0 or (len(self._pending) < size <= MAX_FRAME):
                break
            if size <= MAX_FRAME:
                found += self._ranges(size)
            self._skip = max(0, size - len(self._pending))
            self._cut(size)
        return found

    def lose(self, missing: int) -> list[Range]:
        """Octets are missing: go on behind their frame where its size is known, else look for the next."""
        if self._skip >= missing:
            self._skip -= missing
            self._at += missing
            return []
        size = self._size() if self._pending and not self._is_lost else 0
        behind = len(self._pending) + missing
        found = self._ranges(max(size, len(self._pending)))
        self._is_lost = size < behind
        self._skip = max(0, size - behind)
        self._cut(len(self._pending))
        self._at += missing
        return found

    def finish(self) -> list[Range]:
        """Return what the unfinished rest of the stream shows."""
        return self._ranges(len(self._pending))

    def _look(self) -> None:
        """After a hole: look for a plausible frame."""
        if not self._is_lost:
            return
        held = bytearray(self._pending)
        find = amqp_finding.resync(held, 0, len(held)) if self._amqp else mqtt_finding.resync(held, 0, len(held), 0)
        self._is_lost = find >= len(held)
        self._cut(find if not self._is_lost else max(0, len(held) - MAX_LOST))

    def _cut(self, count: int) -> None:
        taken = min(count, len(self._pending))
        self._pending = self._pending[taken:]
        self._at += taken

    def _ranges(self, size: int) -> list[Range]:
        """Return where the pending frame, of so many octets in the end, holds credentials."""
        frame = self._pending[:size]
        within = amqp_ranges(frame) if self._amqp else mqtt_ranges(frame)
        return [(self._at + start, self._at + min(end, size)) for start, end in within if start < size]

    def _size(self) -> int:
        return self._amqp_size() if self._amqp else self._mqtt_size()

    def _amqp_size(self) -> int:
        head = self._pending
        if head[:1] == b"A":
            return 8
        return FRAME_OVERHEAD + struct.unpack(">I", head[3:7])[0] if len(head) >= 7 else 0

    def _mqtt_size(self) -> int:
        length = 0
        for i, octet in enumerate(self._pending[1:5]):
            length |= (octet & 127) << 7 * i
            if octet < 128:
                return 2 + i + length
        return len(self._pending) if len(self._pending) >= 5 else 0


def amqp_ranges(frame: bytes) -> list[Range]:
    """Return where a whole (or broken-off) AMQP frame holds credentials."""
    if len(frame) < 11 or frame[0] != FrameType.METHOD:
        return []
    ids = struct.unpack(">HH", frame[7:11])
    at = 11
    try:
        if ids == (_START_OK.class_id, _START_OK.method_id):
            at += 4 + _long(frame, at)
            mechanism = frame[at + 1 : at + 1 + frame[at]]
            at += 1 + frame[at]
            size = _long(frame, at)
            return _response(mechanism, frame, at + 4, at + 4 + size)
        if ids in ((_SECURE_OK.class_id, _SECURE_OK.method_id), (_UPDATE_SECRET.class_id, _UPDATE_SECRET.method_id)):
            return [(at + 4, at + 4 + _long(frame, at))]
    except (IndexError, struct.error):
        pass
    return []


def _response(mechanism: bytes, frame: bytes, start: int, end: int) -> list[Range]:
    """A SASL response: RFC 4616 for PLAIN; AMQPLAIN is a field table with LOGIN and PASSWORD."""
    response = frame[start:end]
    if mechanism == b"PLAIN" and response.count(b"\0") >= 2:
        user_end = response.index(b"\0", response.index(b"\0") + 1)
        return [(start + user_end + 1, end)]
    if mechanism == b"AMQPLAIN":
        key = response.find(b"\x08PASSWORDS")
        if key >= 0:
            return [(start + key + 14, start + key + 14 + _long(response, key + 10))]
    return [(start, end)]


def mqtt_ranges(packet: bytes) -> list[Range]:
    """Return where a whole (or broken-off) MQTT packet holds credentials."""
    if not packet or packet[0] >> 4 not in (PacketType.CONNECT, PacketType.AUTH):
        return []
    at = next((i + 1 for i in range(1, min(5, len(packet))) if packet[i] < 128), len(packet))
    found: list[Range] = []
    try:
        if packet[0] >> 4 == PacketType.AUTH:
            list(_properties(packet, at + 1, found))
        else:
            _connect(packet, at, found)
    except (IndexError, struct.error):
        pass
    return found


def _connect(packet: bytes, at: int, found: list[Range]) -> None:
    """MQTT 5.0 section 3.1."""
    at += 2 + _short(packet, at)
    version, flags = packet[at] & 127, packet[at + 1]
    at += 4
    if version == 5:
        at = max(_properties(packet, at, found), default=at)
    at += 2 + _short(packet, at)  # client id
    if flags & _WILL:
        if version == 5:
            at = max(_properties(packet, at, found), default=at)
        at += 2 + _short(packet, at)
        at += 2 + _short(packet, at)
    if flags & _USER:
        at += 2 + _short(packet, at)
    if flags & _PASSWORD:
        found.append((at + 2, at + 2 + _short(packet, at)))


def _properties(packet: bytes, at: int, found: list[Range]) -> Iterator[int]:
    """Yield where each property ends, and the whole; notes authentication data. MQTT 5.0 section 2.2.2."""
    length, at = _varint(packet, at)
    end = at + length
    yield end
    while at < end:
        spec = PROPERTIES_BY_ID.get(packet[at])
        if spec is None:
            return
        at += 1
        if spec.type == "varint":
            _, at = _varint(packet, at)
        elif spec.type in ("string", "binary", "pair"):
            if spec.name == "authentication_data":
                found.append((at + 2, at + 2 + _short(packet, at)))
            for _ in range(2 if spec.type == "pair" else 1):
                at += 2 + _short(packet, at)
        else:
            at += {"byte": 1, "two": 2, "four": 4}[spec.type]


def _varint(octets: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(4):
        value |= (octets[at + i] & 127) << 7 * i
        if octets[at + i] < 128:
            return value, at + i + 1
    raise IndexError("a variable byte integer of more than four octets")


def _short(octets: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", octets, at)[0])


def _long(octets: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", octets, at)[0])
