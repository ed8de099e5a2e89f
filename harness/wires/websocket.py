"""A connection whose octets travel in WebSocket frames: section 6 of both specifications, RFC 6455."""

import time
from collections.abc import Iterable

from mqproof.harness.patience import patience
from mqproof.harness.targets.target import Target
from mqproof.harness.targets.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    SUBPROTOCOL,
    WebRefused,
    WebStream,
    frame,
)
from mqproof.harness.wires.base import REPLY_DEADLINE, Connection, End, Ended


class WebConnection(Connection):
    """A WebSocket. ``send`` puts octets into one binary frame; ``selected`` is the subprotocol that was answered."""

    def __init__(
        self, target: Target, *, protocols: Iterable[str] = (SUBPROTOCOL,), deadline: float = REPLY_DEADLINE
    ) -> None:
        """Connect and shake hands. Raises OSError, also where the server refuses the WebSocket."""
        super().__init__(target, deadline=deadline)
        self._stream = WebStream(f"{target.host}:{target.port}", target.path or "/", protocols)
        self._goodbye = False
        try:
            self._shake_hands(time.monotonic() + patience.seconds(deadline))
        except BaseException:
            self.close()
            raise

    @property
    def selected(self) -> str | None:
        """The subprotocol that the server selected, None for none."""
        return self._stream.selected

    def send(self, octets: bytes) -> Ended | None:
        """Send ``octets`` as one binary message. Returns how it ended when the broker had gone."""
        return self.send_frame(BINARY, octets)

    def send_frame(self, opcode: int, octets: bytes, *, final: bool = True) -> Ended | None:
        """Send one frame. Returns how it ended when the broker had gone."""
        return super().send(frame(opcode, octets, final=final))

    def receive(self, until: float) -> bytes | Ended:
        """Return the next MQTT octets; a ping is answered, and a frame that MQTT does not use ends the connection."""
        while True:
            while (got := self._stream.next()) is not None:
                if got.opcode in (BINARY, CONTINUATION):
                    if got.payload:
                        return got.payload
                elif got.opcode == PING:
                    self.send_frame(PONG, got.payload)
                elif got.opcode == CLOSE:
                    self._answer_close(got.payload)
                elif got.opcode != PONG:
                    return Ended(End.MALFORMED, f"a WebSocket frame of type {got.opcode}, where binary is prescribed")
            octets = super().receive(until)
            if isinstance(octets, Ended):
                return octets
            self._stream.feed(octets)

    def half_close(self) -> None:
        """Say that nothing more will be sent, by a close frame, and go on receiving."""
        self.send_frame(CLOSE, (1000).to_bytes(2))
        self._goodbye = True

    def _answer_close(self, payload: bytes) -> None:
        """Answer a close frame once (RFC 6455 section 5.5.1); the server then ends the connection."""
        if not self._goodbye:
            self._goodbye = True
            self.send_frame(CLOSE, payload[:2])

    def _shake_hands(self, until: float) -> None:
        super().send(self._stream.request)
        while not self._stream.is_open:
            octets = super().receive(until)
            if isinstance(octets, Ended):
                raise ConnectionError(f"no WebSocket: {octets}")
            try:
                self._stream.feed(octets)
            except WebRefused as refused:
                raise ConnectionError(f"no WebSocket: {refused}") from None


def connection(target: Target) -> Connection:
    """Return a connection as the target's URL says. Raises OSError."""
    return Connection(target) if target.path is None else WebConnection(target)
