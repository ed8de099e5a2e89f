"""One connection, sans-IO: octets in with :meth:`Connection.receive`, octets out with :meth:`Connection.output`.

From the protocol header to the close handshake (sections 2.2.4, 2.3.7, 4.2), with the rule that an error before
connection.open is answered by closing the socket and nothing else.
"""

import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from mqproof.dissectors.amqp.codec import (
    Body,
    ContentHeader,
    Frame,
    Heartbeat,
    Malformed,
    Method,
    ProtocolHeader,
    RawFrame,
    encode,
)
from mqproof.dissectors.amqp.tables import FRAME_OVERHEAD, METHODS, PROTOCOL_HEADER, FrameType
from mqproof.harness.reference.amqp import class_basic, class_exchange, class_queue, negotiation, publishing
from mqproof.harness.reference.amqp.broker import CLOSED_VHOST, Broker
from mqproof.harness.reference.amqp.channel import Channel, Handler
from mqproof.harness.reference.amqp.errors import Abort, Refusal
from mqproof.harness.reference.amqp.frames import FrameReader, answer_to
from mqproof.harness.reference.amqp.message import Message
from mqproof.harness.reference.amqp.topology import VirtualHost

HIGH_WATER: Final = 1024 * 1024  # octets of output that wait for the socket before deliveries pause
_log = logging.getLogger(__name__)


class Phase(Enum):
    """Where a connection stands: what it waits for, or how far its end has come."""

    HEADER = auto()
    START_OK = auto()
    TUNE_OK = auto()
    OPEN = auto()
    RUNNING = auto()
    CLOSING = auto()
    ENDED = auto()


class Connection:
    """A client's connection. ``wake`` is called when there is output, or when the connection has ended."""

    def __init__(self, broker: Broker, wake: Callable[[], None], host: str = "127.0.0.1") -> None:
        self.broker = broker
        self.phase = Phase.HEADER
        self.user: str | None = None
        self.vhost: VirtualHost | None = None
        self.channels: dict[int, Channel] = {}
        self.confirms_due: dict[Channel, None] = {}
        self.frame_max = broker.settings.frame_max
        self.channel_max = broker.settings.channel_max
        self.heartbeat = 0
        self.client_properties: dict[str, Any] = {}
        self.socket_full = False
        self.starved = False
        self._host = host
        self._wake = wake
        self._reader = FrameReader(self.frame_max)
        self._head = b""
        self._out: list[bytes] = []
        self._pending = 0
        self._method: Method | None = None
        self._last_in = self._last_out = broker.clock.time()
        self._deadline = broker.clock.call_later(broker.settings.handshake_timeout, self._too_late)
        broker.connections[self] = None

    # Octets

    def receive(self, data: bytes) -> None:
        """Take octets from the socket and act on all frames that they complete."""
        self._last_in = self.broker.clock.time()
        if self.phase is Phase.HEADER:
            data = self._take_protocol_header(data)
        self._reader.feed(data)
        while self.phase not in (Phase.ENDED, Phase.HEADER) and self._step():
            pass
        if self.confirms_due:
            due, self.confirms_due = self.confirms_due, {}
            for channel in due:
                channel.flush_confirms()

    def output(self) -> bytes:
        """Return the octets that wait for the socket, and forget them."""
        data = b"".join(self._out)
        self._out.clear()
        self._pending = 0
        return data

    @property
    def writable(self) -> bool:
        """Whether deliveries may be sent; not while much output waits for a slow client."""
        if self.socket_full or self._pending > HIGH_WATER:
            self.starved = True
            return False
        return True

    def resume(self) -> None:
        """Go on with deliveries after the socket took the output."""
        if self.starved and not self.socket_full:
            self.starved = False
            for channel in list(self.channels.values()):
                channel.resume()

    def lost(self) -> None:
        """Note that the socket is gone: queue again what was unacknowledged, delete what was exclusive."""
        self._tear_down()
        self._end()

    # Frames out

    def send(self, channel: int, name: str, arguments: dict[str, Any]) -> None:
        """Send a method."""
        self._write(encode(Method(channel, name, arguments)))

    def send_content(self, channel: int, name: str, arguments: dict[str, Any], message: Message) -> None:
        """Send a method with a message, its body cut to the agreed frame size (4.2.3/never-oversized)."""
        self._write(encode(Method(channel, name, arguments)))
        self._write(encode(RawFrame(FrameType.HEADER, channel, message.header)))
        body = message.body
        room = (self.frame_max or len(body) + FRAME_OVERHEAD) - FRAME_OVERHEAD
        for start in range(0, len(body), room):
            self._write(encode(Body(channel, body[start : start + room])))

    def _write(self, data: bytes) -> None:
        if self.phase is Phase.ENDED:
            return
        if not self._out:
            self._wake()
        self._out.append(data)
        self._pending += len(data)

    # Frames in

    def _step(self) -> bool:
        """Handle one frame; False when more octets are needed."""
        self._method = None
        number = 0
        try:
            frame = self._reader.next()
            if frame is None:
                return False
            number = getattr(frame, "channel", 0)
            self._handle(frame)
        except Malformed as error:
            self._refuse_malformed(error)
        except Refusal as refusal:
            self._refuse(number, refusal)
        except Abort as error:
            self._cut(str(error))
        except Exception:
            _log.exception("a defect of the reference broker")
            self._refuse(0, Refusal(541, "the reference broker has failed"))
        return True

    def _handle(self, frame: Frame) -> None:
        if self.phase is Phase.CLOSING:
            self._handle_closing(frame)
        elif isinstance(frame, Method):
            self._handle_method(frame)
        elif isinstance(frame, Heartbeat):
            if frame.channel or frame.payload:
                raise Refusal(501, "a heartbeat on a channel or with a payload")  # 4.2.7/heartbeat-channel-zero
        elif isinstance(frame, ContentHeader):
            self._method = self._content_channel(frame.channel).method_in_content
            self.channels[frame.channel].receive_header(frame, self._reader.payload, publishing.publish)
        elif isinstance(frame, Body):
            self._method = self._content_channel(frame.channel).method_in_content
            self.channels[frame.channel].receive_body(frame, publishing.publish)
        else:
            raise Abort("a protocol header in the middle of a connection")

    def _handle_method(self, frame: Method) -> None:
        self._method = frame
        is_connection = METHODS[frame.name].class_name == "connection"
        if is_connection != (frame.channel == 0):
            raise Refusal(503, f"{frame.name} on channel {frame.channel}")  # 4.2.3/channel-zero
        if is_connection:
            self._handle_connection(frame)
            return
        if self.phase is not Phase.RUNNING:
            raise Abort(f"{frame.name} before connection.open")
        channel = self.channels.get(frame.channel)
        if frame.name == "channel.open":
            self._open_channel(frame.channel)
        elif channel is None:
            raise Refusal(504, f"channel {frame.channel} is not open")
        elif frame.name == "channel.close":
            self._close_channel(channel)
        elif channel.closing:
            if frame.name == "channel.close-ok":
                del self.channels[frame.channel]
        else:
            channel.receive_method(frame, HANDLERS)

    def _content_channel(self, number: int) -> Channel:
        if number not in self.channels or self.phase is not Phase.RUNNING:
            raise Refusal(504, f"content on channel {number}, which is not open")  # 4.2.6.1/channel-not-zero
        return self.channels[number]

    # Class connection

    def _take_protocol_header(self, data: bytes) -> bytes:
        """Check the first eight octets, and return those after them (4.2.2/version-mismatch)."""
        self._head += data
        if len(self._head) < len(PROTOCOL_HEADER) and PROTOCOL_HEADER.startswith(self._head):
            return b""
        if not self._head.startswith(PROTOCOL_HEADER):
            self._write(encode(ProtocolHeader()))
            self._cut("not the protocol header of AMQP 0-9-1")
            return b""
        rest, self._head = self._head[len(PROTOCOL_HEADER) :], b""
        self.phase = Phase.START_OK
        start = {
            "version_major": 0,
            "version_minor": 9,
            "server_properties": negotiation.server_properties(self._host),
            "mechanisms": " ".join(negotiation.MECHANISMS),
            "locales": "en_US",
        }
        self.send(0, "connection.start", start)
        return rest

    def _handle_connection(self, frame: Method) -> None:
        handler = _CONNECTION_HANDLERS.get((self.phase, frame.name))
        if handler is None and frame.name == "connection.close":
            handler = Connection._on_close
        if handler is None:
            raise Refusal(503, f"{frame.name} out of order")
        handler(self, frame.arguments)

    def _on_start_ok(self, arguments: dict[str, Any]) -> None:
        self.client_properties = arguments["client_properties"]
        pair = negotiation.credentials(arguments["mechanism"], arguments["response"])
        if pair is None or not self.broker.login(*pair):
            if not self.client_can("authentication_failure_close"):
                raise Abort("login refused")  # statement auth-failure-close/02
            text = f"login was refused using authentication mechanism {arguments['mechanism']}"
            self._close(Refusal(403, text), None)
            return
        self.user = pair[0]
        self.phase = Phase.TUNE_OK
        settings = self.broker.settings
        limits = {
            "channel_max": settings.channel_max,
            "frame_max": settings.frame_max,
            "heartbeat": settings.heartbeat,
        }
        self.send(0, "connection.tune", limits)

    def _on_tune_ok(self, arguments: dict[str, Any]) -> None:
        self.frame_max = negotiation.agreed_frame_max(self.broker.settings.frame_max, arguments["frame_max"])
        self.channel_max = negotiation.agreed(
            self.broker.settings.channel_max, arguments["channel_max"], "channel-max"
        )
        self.heartbeat = arguments["heartbeat"]
        self._reader.frame_max = self.frame_max
        self.phase = Phase.OPEN
        if self.heartbeat:
            self.broker.clock.call_later(self.heartbeat / 2, self._beat)

    def _on_open(self, arguments: dict[str, Any]) -> None:
        """Open a virtual host. An unknown one is 402 (invalid path), a forbidden one 530, both with a handshake."""
        name = arguments["virtual_host"]
        self.vhost = self.broker.vhost(name)
        if self.vhost is None:
            forbidden = name == CLOSED_VHOST
            refused = f"access to vhost '{name}' refused for user '{self.user}'"
            self._close(Refusal(530, refused) if forbidden else Refusal(402, f"no vhost '{name}'"), self._method)
            return
        self.phase = Phase.RUNNING
        self._deadline.cancel()
        self.send(0, "connection.open-ok", {})

    def _on_update_secret(self, arguments: dict[str, Any]) -> None:
        """connection.update-secret: right is the user's own password (statements update-secret/01 and 02)."""
        secret = bytes(arguments["new_secret"]).decode("utf-8", "surrogateescape")
        if self.user is None or not self.broker.login(self.user, secret):
            raise Refusal(530, "new secret was refused")
        self.send(0, "connection.update-secret-ok", {})

    def _on_close(self, arguments: dict[str, Any]) -> None:
        self._tear_down()
        self.send(0, "connection.close-ok", {})
        self._end()

    def client_can(self, capability: str) -> bool:
        """Tell whether the client said in start-ok that it understands an extension."""
        offered = self.client_properties.get("capabilities")
        return isinstance(offered, dict) and offered.get(capability) is True

    # Channels

    def _open_channel(self, number: int) -> None:
        if number in self.channels:
            if self.channels[number].closing:
                return  # everything but close and close-ok is discarded until then (2.3.7)
            raise Refusal(504, f"channel {number} is open already")  # rule channel.open/state
        if self.channel_max and number > self.channel_max:
            # Field channel-max of connection.tune: channel numbers 1 to channel-max; 2.3.3/over-limit-disconnect.
            raise Refusal(530, f"channel {number} exceeds the agreed maximum of {self.channel_max}")
        assert self.vhost is not None
        self.channels[number] = Channel(number, self, self.vhost)
        self.send(number, "channel.open-ok", {})

    def _close_channel(self, channel: Channel) -> None:
        """Answer channel.close. When both sides close, ours is still to be answered (rule channel.close/stability)."""
        if channel.closing:
            self.send(channel.number, "channel.close-ok", {})
            return
        channel.flush_confirms()
        self._tear_down_channels([channel])
        self.send(channel.number, "channel.close-ok", {})
        self.channels.pop(channel.number, None)

    def has_consumer(self, tag: str) -> bool:
        """Tell whether any channel of the connection has a consumer of that tag."""
        return any(tag in channel.consumers for channel in self.channels.values())

    # Exceptions and the end

    def _refuse_malformed(self, error: Malformed) -> None:
        try:
            refusal = answer_to(error)
        except Abort as fatal:
            self._cut(str(fatal))
            return
        self._reader.skip()
        if self.phase is not Phase.CLOSING:
            self._refuse(0, refusal)

    def _refuse(self, number: int, refusal: Refusal) -> None:
        """Raise a channel or a connection exception; before connection.open only the socket is closed (2.2.4)."""
        if self.phase is not Phase.RUNNING:
            self._cut(str(refusal))
            return
        channel = self.channels.get(number)
        if refusal.hard or channel is None:
            self._close(refusal, self._method)
            return
        channel.flush_confirms()
        channel.send("channel.close", **_reply(refusal, self._method))
        self._tear_down_channels([channel])

    def _close(self, refusal: Refusal, method: Method | None) -> None:
        """Send connection.close and wait for close-ok, for a while (2.3.7)."""
        self._tear_down()
        self.send(0, "connection.close", _reply(refusal, method))
        self.phase = Phase.CLOSING
        self._deadline.cancel()
        self._deadline = self.broker.clock.call_later(self.broker.settings.close_timeout, self._too_late)

    def _handle_closing(self, frame: Frame) -> None:
        """Discard everything but close-ok, and a close that crossed ours, which is answered (2.3.7)."""
        name = frame.name if isinstance(frame, Method) else ""
        if name == "connection.close":
            self.send(0, "connection.close-ok", {})
        elif name == "connection.close-ok":
            self._end()

    def _tear_down(self) -> None:
        self._tear_down_channels(list(self.channels.values()))
        self.channels.clear()
        if self.vhost is not None:
            self.vhost.connection_lost(self)

    def _tear_down_channels(self, channels: list[Channel]) -> None:
        """End deliveries on all of them first, so that none of them gets what another gives back."""
        queues = {queue: channel.host for channel in channels if not channel.closing for queue in channel.stop()}
        for channel in channels:
            channel.give_back()
        for queue, host in queues.items():
            if not queue.deleted:
                queue.drain()
                host.queue_unused(queue)

    def _cut(self, reason: str) -> None:
        _log.debug("connection cut: %s", reason)
        self._tear_down()
        self._end()

    def _end(self) -> None:
        if self.phase is not Phase.ENDED:
            self.phase = Phase.ENDED
            self._deadline.cancel()
            self.broker.connections.pop(self, None)
            self._wake()

    def _too_late(self) -> None:
        self._cut("no progress within the time allowed")

    def _beat(self) -> None:
        """Each half interval: send a heartbeat, and give up after two silent intervals (4.2.7/any-traffic-counts)."""
        if self.phase is Phase.ENDED:
            return
        silent = self.broker.clock.time() - self._last_in
        if silent >= 2 * self.heartbeat and not self.broker.defective("heartbeats-unwatched"):
            self._cut(f"silent for {silent:.1f} s")
            return
        if not self.broker.defective("heartbeats-unsent"):
            self._write(encode(Heartbeat()))
        self.broker.clock.call_later(self.heartbeat / 2, self._beat)


def _reply(refusal: Refusal, method: Method | None) -> dict[str, Any]:
    spec = None if method is None else METHODS[method.name]
    ids = {"class_id": spec.class_id, "method_id": spec.method_id} if spec else {}
    return {"reply_code": refusal.code, "reply_text": refusal.text, **ids}


def _flow(channel: Channel, arguments: dict[str, Any]) -> None:
    """channel.flow: deliveries stop while ``active`` is false (rules channel.flow/…)."""
    channel.flow = arguments["active"]
    channel.send("channel.flow-ok", active=channel.flow)
    channel.resume()


_CONNECTION_HANDLERS: Final[dict[tuple[Phase, str], Callable[[Connection, dict[str, Any]], None]]] = {
    (Phase.START_OK, "connection.start-ok"): Connection._on_start_ok,
    (Phase.TUNE_OK, "connection.tune-ok"): Connection._on_tune_ok,
    (Phase.OPEN, "connection.open"): Connection._on_open,
    (Phase.RUNNING, "connection.update-secret"): Connection._on_update_secret,
}
HANDLERS: Final[dict[str, Handler]] = {
    "channel.flow": _flow,
    "channel.flow-ok": class_basic.ignore,
    **class_exchange.HANDLERS,
    **class_queue.HANDLERS,
    **class_basic.HANDLERS,
    **publishing.HANDLERS,
}
