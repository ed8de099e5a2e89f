"""What is inside WebSockets for the slow reading: the upgrade and the framing come off, RFC 6455."""

from dataclasses import dataclass, field
from typing import Final

from mqproof.dissectors.overhead import websocket
from mqproof.dissectors.overhead.streams import Carrier

LARGEST_HEAD: Final = 1 << 14  # octets of an upgrade's request or answer
END_OF_HEAD: Final = b"\r\n\r\n"  # RFC 9112 section 2.1
BINARY: Final = (0, 2)  # opcodes: continuation and binary; MQTT uses no other for its packets (6.0.0-1)
OPCODES: Final = (*BINARY, 1, 8, 9, 10)


@dataclass(slots=True)
class Unwrapper:
    """One direction. ``upgraded`` is None until the head is whole, then whether it is about a WebSocket.

    ``says_mqtt``: the head names the subprotocol; ``first``: the size of the first frame with data; ``masks``: whether
    this side hides its payload, as clients do and only they (section 5.1); ``is_lost``: where the next frame begins is
    not known, and it is looked for at the beginnings of segments, as in the walk.
    """

    upgraded: bool | None = None
    says_mqtt: bool = False
    first: int = 0
    masks: bool | None = None
    is_lost: bool = False
    _head: bytearray = field(default_factory=bytearray)  # of the upgrade, then of each frame
    _left: int = 0
    _opcode: int = 0
    _mask: bytes = b""
    _place: int = 0

    def feed(self, octets: bytes | bytearray, carrier: Carrier) -> bytes:
        """Return the payload in the next octets; what is not payload counts as the packet's headers from here on."""
        payload = bytearray()
        rest = bytes(octets)
        if self.is_lost and rest:
            self.is_lost = not websocket.plausible(bytearray(rest), 0, len(rest))
        while rest and self.upgraded is not False and not self.is_lost:
            if self.upgraded is None:
                rest = self._upgrade(rest)
            elif self._left:
                taken, rest = rest[: self._left], rest[self._left :]
                self._left -= len(taken)
                payload += self._unmasked(taken) if self._opcode in BINARY else b""
            else:
                rest = self._frame(rest)
        carrier.headers += len(octets) - len(payload)
        carrier.data -= len(octets) - len(payload)
        return bytes(payload)

    def lose(self, count: int) -> int:
        """Octets are missing. Return how many of them were payload where one frame holds them all, else -1."""
        if self._left >= count:
            self._left -= count
            self._place = (self._place + count) % 4
            return count if self._opcode in BINARY else 0
        self.upgraded = True  # by now; the answer to the request may be what is missing
        self._lose_sync()
        return -1

    def _lose_sync(self) -> None:
        self.is_lost, self._left = True, 0
        self._head.clear()

    def _upgrade(self, octets: bytes) -> bytes:
        """Take octets of the head; return what follows it."""
        before = len(self._head)
        self._head += octets
        end = self._head.find(END_OF_HEAD)
        if end < 0:
            if len(self._head) > LARGEST_HEAD:
                self.upgraded = False
            return b""
        head = self._head[:end].lower()
        self.upgraded = b"websocket" in head  # header Upgrade, RFC 6455 section 4.1
        self.says_mqtt = b"mqtt" in head
        self._head.clear()
        return octets[end + len(END_OF_HEAD) - before :]

    def _frame(self, octets: bytes) -> bytes:
        """Take octets of a frame's header (RFC 6455 section 5.2); return what follows it."""
        for number, octet in enumerate(octets):
            self._head.append(octet)
            if self._head[0] & 0x70 or self._head[0] & 15 not in OPCODES:
                self._lose_sync()
                return b""
            if len(self._head) >= 2 and len(self._head) == self._header_size():
                self._begin()
                return octets[number + 1 :]
        return b""

    def _header_size(self) -> int:
        extended = {126: 2, 127: 8}.get(self._head[1] & 127, 0)
        return 2 + extended + (4 if self._head[1] & 128 else 0)

    def _begin(self) -> None:
        """A frame's header is whole."""
        masked = bool(self._head[1] & 128)
        body = bytes(self._head[2 : -4 if masked else None])
        self._opcode = self._head[0] & 15
        self._left = int.from_bytes(body) if body else self._head[1] & 127
        if self._left > websocket.MAX_FRAME:
            self._lose_sync()
            return
        self.masks = masked if self.masks is None else self.masks
        self.first = self.first or (self._left if self._opcode in BINARY else 0)
        self._mask = bytes(self._head[-4:]) if masked else b""
        self._place = 0
        self._head.clear()

    def _unmasked(self, octets: bytes) -> bytes:
        """RFC 6455 section 5.3."""
        if not self._mask:
            return octets
        mask = (self._mask * (len(octets) // 4 + 2))[self._place : self._place + len(octets)]
        self._place = (self._place + len(octets)) % 4
        return (int.from_bytes(octets) ^ int.from_bytes(mask)).to_bytes(len(octets))
