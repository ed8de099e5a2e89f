"""MQTT over WebSocket, the client's side, without sockets: section 6 of both specifications, RFC 6455.

No extensions are offered, so that every frame is what RFC 6455 section 5 shows.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from mqproof.harness.printable import printable

GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # RFC 6455 section 5.2
SUBPROTOCOL: Final = "mqtt"  # MQTT-6.0.0-3
LONGEST_STATUS: Final = 80  # characters of its first line that an error shows
LONGEST_ANSWER: Final = 65536  # octets of the server's answer to the opening handshake


class WebRefused(Exception):
    """The server does not open the WebSocket; the message says what it answered."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of the server. ``payload`` of a close frame begins with its code."""

    opcode: int
    payload: bytes
    final: bool = True


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Return a frame as a client sends it, masked: RFC 6455 sections 5.2 and 5.3."""
    size, key = len(payload), secrets.token_bytes(4)
    if size < 126:
        head = bytes([0x80 | size])
    elif size < 65536:
        head = b"\xfe" + size.to_bytes(2)
    else:
        head = b"\xff" + size.to_bytes(8)
    mask = (key * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)
    return bytes([final << 7 | opcode]) + head + key + masked


class WebStream:
    """The opening handshake, then frames out of octets. ``protocols``: what the client offers, in its order."""

    def __init__(self, host: str, path: str, protocols: Iterable[str] = (SUBPROTOCOL,)) -> None:
        self._host = host
        self._path = path
        self._protocols = tuple(protocols)
        self._key = b64encode(secrets.token_bytes(16)).decode()
        self._buffer = bytearray()
        self.is_open = False
        self.selected: str | None = None  # the subprotocol that the server answered

    @property
    def request(self) -> bytes:
        """The octets that open the handshake: RFC 6455 section 4.1."""
        lines = [
            f"GET {self._path} HTTP/1.1", f"Host: {self._host}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key}", "Sec-WebSocket-Version: 13",
        ]  # fmt: skip
        if self._protocols:
            lines.append(f"Sec-WebSocket-Protocol: {', '.join(self._protocols)}")
        return "\r\n".join([*lines, "", ""]).encode()

    def feed(self, octets: bytes) -> None:
        """Take octets from the network. Raises WebRefused while the handshake lasts."""
        self._buffer += octets
        if not self.is_open:
            self._shake_hands()

    def next(self) -> Frame | None:
        """Return the next frame, None when more octets are needed; a frame with reserved bits has opcode 15."""
        buffer = self._buffer
        if not self.is_open or len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(buffer[2 : 2 + width]), 2 + width
        if len(buffer) < max(start, start + size):
            return None
        payload = bytes(buffer[start : start + size])
        first, is_masked = buffer[0], buffer[1] & 0x80
        del buffer[: start + size]
        is_plain = not first & 0x70 and not is_masked  # no extension was agreed on; no frame of a server is masked
        return Frame(first & 15 if is_plain else 15, payload, bool(first & 0x80))

    def rest(self) -> bytes:
        """Return the octets that no frame has been made of."""
        octets = bytes(self._buffer)
        self._buffer.clear()
        return octets

    def _shake_hands(self) -> None:
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            if not b"HTTP/".startswith(head[:5]) or len(head) > LONGEST_ANSWER:
                raise WebRefused(f"it answers {head[:16]!r}, which is no HTTP")
            return
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status.split(" ", 2)[1:2] != ["101"]:
            raise WebRefused(f"it answers {printable(status[:LONGEST_STATUS])}")
        if headers.get("sec-websocket-accept") != accept_key(self._key):
            raise WebRefused("it answers with a wrong Sec-WebSocket-Accept")
        self.selected = headers.get("sec-websocket-protocol")
        self._buffer = bytearray(rest)
        self.is_open = True


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept that belongs to a Sec-WebSocket-Key: RFC 6455 section 4.2.2."""
    return b64encode(sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()
