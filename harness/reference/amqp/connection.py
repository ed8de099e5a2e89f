"""One connection, sans-IO: octets in with :meth:`Connection.receive`, octets out with :meth:`Connection.output`.

From the protocol header to the close handshake (sections 2.2.4, 2.3.7, 4.2), with the rule that an error before
connection.open is answered by closing the socket and nothing else.
"""

import logging
from collections.abc import Callable
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
from mqproof.harness.reference.amqp import (
    access,
    class_connection,
    publishing,
)
from mqproof.harness.reference.amqp.broker import Broker
from mqproof.harness.reference.amqp.channel import Channel
from mqproof.harness.reference.amqp.errors import Abort, Refusal, shorten
from mqproof.harness.reference.amqp.frames import FrameReader, answer_to
from mqproof.harness.reference.amqp.handlers import HANDLERS
from mqproof.harness.reference.amqp.message import Message
from mqproof.harness.reference.amqp.phases import Phase
from mqproof.harness.reference.amqp.topology import VirtualHost

HIGH_WATER: Final = 1024 * 1024  # octets of output that wait for the socket before deliveries pause
_log = logging.getLogger(__name__)


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
        self.blocked = False
        self.host = host
        self._wake = wake
        self._reader = FrameReader(self.frame_max)
        self._head = b""
        self._out: list[bytes] = []
        self._pending = 0
        self.method: Method | None = None
        self.last_in = broker.clock.time()
        self._deadline = broker.clock.call_later(broker.settings.handshake_timeout, self._too_late)
        broker.connections[self] = None

    # Octets

    def receive(self, data: bytes) -> None:
        """Take octets from the socket and act on all frames that they complete."""
        self.last_in = self.broker.clock.time()
        if self.phase is Phase.HEADER:
            data = self._take_protocol_header(data)
        if self.phase in (Phase.HEADER, Phase.ENDED):
            return
        self._reader.feed(data)
        while self._step():
            pass
        self._flush_confirms()

    def _flush_confirms(self) -> None:
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

    def block(self, reason: str) -> None:
        """Take no more frames from this publisher while the broker is out of memory (connection-blocked/01).

        What it is sent goes on (connection-blocked/02).
        """
        if not self.blocked:
            self.blocked = True
            if self.client_can("connection.blocked"):
                self.send(0, "connection.blocked", {"reason": shorten(reason)})

    def unblock(self) -> None:
        """Take frames again, first those that wait."""
        if self.blocked:
            self.blocked = False
            self.last_in = self.broker.clock.time()
            if self.client_can("connection.blocked"):
                self.send(0, "connection.unblocked", {})
            self.receive(b"")
            self._wake()  # the socket may be read again

    def lost(self) -> None:
        """Note that the socket is gone: queue again what was unacknowledged, delete what was exclusive."""
        self.tear_down()
        self.end()

    # Frames out

    def send(self, channel: int, name: str, arguments: dict[str, Any]) -> None:
        """Send a method."""
        self.write(encode(Method(channel, name, arguments)))

    def fits(self, payload: bytes) -> bool:
        """Tell whether a payload fits one frame of the agreed size."""
        return not self.frame_max or len(payload) + FRAME_OVERHEAD <= self.frame_max

    def send_content(self, channel: int, name: str, arguments: dict[str, Any], message: Message) -> None:
        """Send a method with a message, its body cut to the agreed frame size (4.2.3/never-oversized)."""
        self.write(encode(Method(channel, name, arguments)))
        self.write(encode(RawFrame(FrameType.HEADER, channel, message.header)))
        body = message.body
        room = (self.frame_max or len(body) + FRAME_OVERHEAD) - FRAME_OVERHEAD
        for start in range(0, len(body), room):
            self.write(encode(Body(channel, body[start : start + room])))

    def write(self, data: bytes) -> None:
        """Send octets that are a whole frame."""
        if self.phase is Phase.ENDED:
            return
        if not self._out:
            self._wake()
        self._out.append(data)
        self._pending += len(data)

    # Frames in

    def _step(self) -> bool:
        """Handle one frame; False when more octets are needed, or none may be taken any more or for now."""
        if self.phase is Phase.ENDED or self.blocked:
            return False
        self.method = None
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
            self.refuse(number, refusal)
        except Abort as error:
            self.cut(str(error))
        except Exception:
            _log.exception("a defect of the reference broker")
            self.refuse(0, Refusal(541, "the reference broker has failed"))
        return True

    def _handle(self, frame: Frame) -> None:
        if self.phase is Phase.REFUSED:
            return
        if self.phase is Phase.CLOSING:
            self._handle_closing(frame)
        elif isinstance(frame, Method):
            self._handle_method(frame)
        elif isinstance(frame, Heartbeat):
            if frame.channel or frame.payload:
                raise Refusal(501, "a heartbeat on a channel or with a payload")  # 4.2.7/heartbeat-channel-zero
        elif isinstance(frame, ContentHeader | Body):
            self._handle_content(frame)
        else:
            raise Abort("a protocol header in the middle of a connection")

    def _handle_method(self, frame: Method) -> None:
        self.method = frame
        is_connection = METHODS[frame.name].class_name == "connection"
        if is_connection and frame.channel:
            raise Refusal(503, f"{frame.name} on channel {frame.channel}")  # 4.2.3/channel-zero
        if is_connection:
            self._handle_connection(frame)
            return
        if self.phase is not Phase.RUNNING:
            raise Abort(f"{frame.name} before connection.open")
        channel = self.channels.get(frame.channel)
        if frame.name == "channel.open" and frame.channel:
            self._open_channel(frame.channel)
        elif channel is None:
            raise Refusal(504, f"channel {frame.channel} is not open")
        elif frame.name == "channel.close":
            self._close_channel(channel, frame)
        elif channel.closing:
            if frame.name == "channel.close-ok":
                del self.channels[frame.channel]
        else:
            channel.receive_method(frame, HANDLERS)

    def _handle_content(self, frame: ContentHeader | Body) -> None:
        channel = self.channels.get(frame.channel)
        if channel is None or self.phase is not Phase.RUNNING:
            raise Refusal(504, f"content on channel {frame.channel}, which is not open")  # 4.2.6.1/channel-not-zero
        if channel.closing:
            return  # rule channel.close/stability
        self.method = channel.method_in_content
        if isinstance(frame, ContentHeader):
            channel.receive_header(frame, self._reader.payload, publishing.publish)
        else:
            channel.receive_body(frame, publishing.publish)

    # Class connection

    def _take_protocol_header(self, data: bytes) -> bytes:
        """Check the first eight octets, and return those after them (4.2.2/version-mismatch)."""
        self._head += data
        if len(self._head) < len(PROTOCOL_HEADER) and PROTOCOL_HEADER.startswith(self._head):
            return b""
        if not self._head.startswith(PROTOCOL_HEADER):
            self.write(encode(ProtocolHeader()))
            self.cut("not the protocol header of AMQP 0-9-1")
            return b""
        rest, self._head = self._head[len(PROTOCOL_HEADER) :], b""
        self.phase = Phase.START_OK
        class_connection.start(self)
        return rest

    def _handle_connection(self, frame: Method) -> None:
        handler = class_connection.HANDLERS.get((self.phase, frame.name))
        if handler is None and frame.name == "connection.close":
            handler = class_connection.close
        if handler is None:
            raise Refusal(503, f"{frame.name} out of order")
        handler(self, frame.arguments)

    def limit_frames(self, frame_max: int) -> None:
        """Keep to the agreed frame size in octets, both ways."""
        self.frame_max = self._reader.frame_max = frame_max

    def opened(self, vhost: VirtualHost) -> None:
        """Begin work in a virtual host."""
        self.vhost = vhost
        self.phase = Phase.RUNNING
        self._deadline.cancel()

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

    def _close_channel(self, channel: Channel, frame: Method) -> None:
        """Answer channel.close. When both sides close, ours is still to be answered (rule channel.close/stability)."""
        if channel.closing:
            self.send(channel.number, "channel.close-ok", {})
            return
        channel.expect_no_content(frame)
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
            refusal = answer_to(error, self._reader.next_type)
        except Abort as fatal:
            self.cut(str(fatal))
            return
        number, payload = self._reader.skip()
        ticket = access.answer(number, payload) if refusal.code == 540 and number in self.channels else None
        if self.phase is Phase.CLOSING:
            return
        if ticket is None:
            self.refuse(0, refusal)
        elif not self.channels[number].closing:
            self.write(ticket)

    def refuse(self, number: int, refusal: Refusal) -> None:
        """Raise a channel or a connection exception; before connection.open only the socket is closed (2.2.4)."""
        if self.phase is not Phase.RUNNING:
            self.cut(str(refusal))
            return
        channel = self.channels.get(number)
        if refusal.hard or channel is None:
            self.close(refusal, self.method)
            return
        channel.flush_confirms()
        channel.send("channel.close", **_reply(refusal, self.method))
        self._tear_down_channels([channel])

    def close(self, refusal: Refusal, method: Method | None) -> None:
        """Send connection.close and wait for close-ok, for a while (2.3.7)."""
        self._flush_confirms()
        self.tear_down()
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
            self.end()

    def tear_down(self) -> None:
        """Close all channels without a word and delete what was exclusive to the connection (section 4.5)."""
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

    def cut(self, reason: str) -> None:
        """Close the socket without a word."""
        _log.debug("connection cut: %s", reason)
        self.tear_down()
        self.end()

    def cut_later(self, delay: float) -> None:
        """Say nothing more, and close the socket after ``delay`` seconds."""
        self.phase = Phase.REFUSED
        self._deadline.cancel()
        self._deadline = self.broker.clock.call_later(delay, self._too_late)

    def end(self) -> None:
        """Have the socket closed once the output is written."""
        if self.phase is not Phase.ENDED:
            self.phase = Phase.ENDED
            self._deadline.cancel()
            self.broker.connections.pop(self, None)
            self._wake()

    def _too_late(self) -> None:
        self.cut("no progress within the time allowed")


def _reply(refusal: Refusal, method: Method | None) -> dict[str, Any]:
    spec = None if method is None else METHODS[method.name]
    ids = {"class_id": spec.class_id, "method_id": spec.method_id} if spec else {}
    return {"reply_code": refusal.code, "reply_text": refusal.text, **ids}
