"""MQTT over WebSocket, the server's side, without sockets: section 6 of both specifications, RFC 6455.

Only what MQTT needs: no extensions, no compression. Choices the text leaves open: any path is accepted; a client that
does not offer the subprotocol ``mqtt`` is refused with 400; frames of other types than binary are answered by a close
frame with 1003 before the connection is closed.
"""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1

from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt.fields import read_varint
from mqproof.harness.reference.mqtt.sending import Transport

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
MAX_REQUEST = 16384  # octets of the opening handshake
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # RFC 6455 section 5.2
NORMAL, PROTOCOL_ERROR, UNSUPPORTED_DATA, TOO_BIG = 1000, 1002, 1003, 1009  # RFC 6455 section 7.4.1


class _Fault(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def frame(opcode: int, payload: bytes) -> bytes:
    """Return an unmasked, unfragmented frame: RFC 6455 section 5.2."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2) + payload
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8) + payload


def accept_key(key: bytes) -> bytes:
    """Return Sec-WebSocket-Accept for a Sec-WebSocket-Key: RFC 6455 section 4.2.2."""
    return b64encode(sha1(key + GUID, usedforsecurity=False).digest())


class WebSocket:
    """Stands between a connection and its transport: frames off on the way in, frames on on the way out.

    ``received`` takes the MQTT octets, in whatever pieces they came (MQTT-6.0.0-2). ``limit``: octets of one frame;
    ``broken``: whether the broker has a defect of this name.
    """

    def __init__(self, transport: Transport, limit: int, broken: Callable[[str], bool] = lambda name: False) -> None:
        self._transport = transport
        self._limit = min(limit, 65535) if broken("web-long-refused") else limit
        self._broken = broken
        self._buffer = bytearray()
        self._open = False
        self._closed = False
        self._fragmented = False

    def receive(self, data: bytes, received: Callable[[bytes], None]) -> None:
        """Take octets from the network."""
        if self._closed:
            return
        self._buffer += data
        try:
            if not self._open:
                self._handshake()
            while self._open and not self._closed and (piece := self._next()) is not None:
                if piece:
                    received(piece)
        except _Fault as fault:
            self._end(fault.code)

    def write(self, data: bytes) -> None:
        """Send MQTT octets as one binary frame (MQTT-6.0.0-1)."""
        if not self._closed:
            self._transport.write(frame(TEXT if self._broken("web-text-sent") else BINARY, data))

    def close(self) -> None:
        """Send a close frame, then close."""
        self._end(NORMAL)

    def _end(self, code: int) -> None:
        if self._closed:
            return
        self._closed = True
        if self._open:
            self._transport.write(frame(CLOSE, code.to_bytes(2)))
        self._transport.close()

    # -- the opening handshake, RFC 6455 section 4.2

    def _handshake(self) -> None:
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            if len(self._buffer) > MAX_REQUEST:
                self._refuse(b"431 Request Header Fields Too Large")
            return
        self._buffer = bytearray(rest)
        request, _, lines = head.partition(b"\r\n")
        headers: dict[bytes, bytes] = {}
        for line in lines.split(b"\r\n"):
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = headers[name] + b"," + value if name in headers else value
        if not request.startswith(b"GET ") or headers.get(b"upgrade", b"").lower() != b"websocket":
            self._refuse(b"400 Bad Request")
        elif headers.get(b"sec-websocket-version") != b"13":
            self._refuse(b"426 Upgrade Required", b"Sec-WebSocket-Version: 13\r\n")
        elif b"mqtt" not in _tokens(headers, b"sec-websocket-protocol") or b"sec-websocket-key" not in headers:
            self._refuse(b"400 Bad Request")
        else:
            self._agree(headers[b"sec-websocket-key"])

    def _agree(self, key: bytes) -> None:
        self._open = True
        lines = (
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept_key(key),
            *([] if self._broken("web-protocol-unnamed") else [b"Sec-WebSocket-Protocol: mqtt"]),  # MQTT-6.0.0-4
        )
        self._transport.write(b"\r\n".join(lines) + b"\r\n\r\n")

    def _refuse(self, status: bytes, more: bytes = b"") -> None:
        self._closed = True
        headers = b"Connection: close\r\nContent-Length: 0\r\n" + more
        self._transport.write(b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n")
        self._transport.close()

    # -- frames, RFC 6455 section 5

    def _next(self) -> bytes | None:
        """Return the MQTT octets of the next frame, b"" for a frame that has none, None when more is needed."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, size = buffer[0], buffer[1] & 0x7F
        if first & 0x70 or not buffer[1] & 0x80:  # reserved bits; every frame of a client is masked
            raise _Fault(PROTOCOL_ERROR)
        position = 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) < 2 + width:
                return None
            size, position = int.from_bytes(buffer[2 : 2 + width]), 2 + width
        if size > self._limit:
            raise _Fault(TOO_BIG)
        self._check(first, size)
        end = position + 4 + size
        if len(buffer) < end:
            return None
        payload = _unmask(bytes(buffer[position + 4 : end]), bytes(buffer[position : position + 4]))
        del buffer[:end]
        return self._take(first, payload)

    def _check(self, first: int, size: int) -> None:
        opcode, final = first & 15, first & 0x80
        if opcode >= CLOSE:
            if opcode > PONG or size > 125 or not final:
                raise _Fault(PROTOCOL_ERROR)
        elif opcode == TEXT and self._broken("web-text-taken"):
            return
        elif opcode not in (CONTINUATION, BINARY):
            raise _Fault(UNSUPPORTED_DATA if opcode == TEXT else PROTOCOL_ERROR)  # MQTT-6.0.0-1
        elif (opcode == CONTINUATION) is not self._fragmented:
            raise _Fault(PROTOCOL_ERROR)

    def _take(self, first: int, payload: bytes) -> bytes:
        opcode = first & 15
        if opcode < CLOSE:
            self._fragmented = not first & 0x80
            self._look(payload)
            return payload
        if opcode == CLOSE:
            self._end(NORMAL)
        elif opcode == PING:
            self._transport.write(frame(PONG, payload))
        return b""


    def _look(self, payload: bytes) -> None:
        """Refuse what only a broker with a defect refuses."""
        if self._fragmented and self._broken("web-fragments-refused"):
            raise _Fault(PROTOCOL_ERROR)
        if self._broken("web-packet-per-frame") and not _is_whole(payload):
            raise _Fault(PROTOCOL_ERROR)


def _is_whole(payload: bytes) -> bool:
    """Whether these octets are packets, the last of them complete."""
    at = 0
    while at < len(payload):
        try:
            found = read_varint(payload, at + 1, len(payload))
        except Malformed:
            return True
        if found is None:
            return False
        at = found[1] + found[0]
    return at == len(payload)


def _tokens(headers: dict[bytes, bytes], name: bytes) -> list[bytes]:
    return [token.strip() for token in headers.get(name, b"").split(b",")]


def _unmask(payload: bytes, key: bytes) -> bytes:
    """RFC 6455 section 5.3."""
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)
