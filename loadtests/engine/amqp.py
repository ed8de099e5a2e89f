"""The engine's AMQP 0-9-1: declare, publish in batches with confirms, consume with acknowledgements in multiples."""

from typing import Any

from mqproof.dissectors.amqp.codec import Decoder, Method, ProtocolHeader, content, encode, method
from mqproof.dissectors.amqp.tables import FRAME_OVERHEAD
from mqproof.harness.targets.target import Target
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.engine.batch import Batch
from mqproof.loadtests.engine.wire import Broken, Declined, Forbidden, Scratch, Wire

LARGEST = 131072 - FRAME_OVERHEAD  # octets of a payload: one body frame
CLOSE_OK = encode(method("connection.close-ok", 0))
CLOSES = ("connection.close", "channel.close")
CLOSING = (b"\0\x0a\0\x32", b"\0\x14\0\x28")  # their class and method ids, behind a frame's seven octets
RIGHTS = (320, 403, 506, 530)  # reply codes of rights and limits (section 1.1), not of what was asked for


class AmqpWire(Wire):
    """An open connection with channel 1 open."""

    def __init__(self, target: Target, scratch: Scratch, buffer: int = 1 << 20, heartbeat: int = 0) -> None:
        super().__init__(target, scratch, Decoder(), kernels.walk_amqp, buffer)
        self.frame_max = 0
        self._queue = ""
        self._open(heartbeat)

    def _open(self, heartbeat: int) -> None:
        target = self.target
        self.send(encode(ProtocolHeader()))
        self.expect("connection.start")
        login = f"\0{target.user or 'guest'}\0{target.password or ''}".encode()
        properties = {"product": "mqproof load", "capabilities": {"connection.blocked": True}}
        self.tell(
            "connection.start-ok", 0, mechanism="PLAIN", response=login, locale="en_US", client_properties=properties
        )
        tune = self.expect("connection.tune")
        self.frame_max = min(tune.arguments["frame_max"] or 131072, 131072)
        channel_max = tune.arguments["channel_max"]
        self.tell("connection.tune-ok", 0, channel_max=channel_max, frame_max=self.frame_max, heartbeat=heartbeat)
        self.tell("connection.open", 0, virtual_host=target.vhost)
        self.expect("connection.open-ok")
        self.call("channel.open")

    def tell(self, name: str, channel: int = 1, **arguments: Any) -> None:
        """Send a method."""
        self.send(encode(method(name, channel, **arguments)))

    def call(self, name: str, **arguments: Any) -> Method:
        """Send a method and return its answer; not once the buffer is walked."""
        self.tell(name, **arguments)
        return self.expect(f"{name}-ok")

    def expect(self, name: str) -> Method:
        """Return the next method, which has to be this."""
        while not isinstance(frame := self.answer(), Method):
            pass
        if frame.name != name:
            raise _kind(frame, name)(f"{name} was expected; {_told(frame)}")
        return frame

    def check(self, events: Any) -> None:
        """Raise Broken where the broker has closed the channel or the connection."""
        closed = events[events[:, 0] == kernels.CLOSED]
        if len(closed):
            raise refusal(self.octets[int(closed[0][1]) :])

    def confirm(self) -> None:
        """Ask for publisher confirms."""
        self.call("confirm.select")

    def consume(self, queue: str, prefetch: int) -> None:
        """Start to consume; deliveries come by ``receive``."""
        self.call("basic.qos", prefetch_count=prefetch)
        self.call("basic.consume", queue=queue, consumer_tag="c")
        self.start_walking()

    def start_polling(self, queue: str) -> None:
        """Get ready for ``poll``."""
        self._queue = queue
        self.start_walking()

    def poll(self) -> None:
        """Ask for one message; it comes by ``receive``."""
        self.tell("basic.get", queue=self._queue)

    def acknowledge(self, events: Any) -> None:
        """Acknowledge all that was delivered up to the last of ``events``, by one multiple."""
        owed = events[events[:, 0] == kernels.OWED_ACK]
        if len(owed):
            self.tell("basic.ack", delivery_tag=int(owed[-1, 1]), multiple=True)

    def refuse(self, tag: int, *, requeue: bool) -> None:
        """Refuse one delivery."""
        self.tell("basic.nack", delivery_tag=tag, requeue=requeue)

    def close(self) -> None:
        """Say good-bye, wait for it to be heard as far as it is, and close the socket."""
        try:
            self.socket.settimeout(2)
            self.socket.sendall(encode(method("connection.close", 0, reply_code=200)))
            last = b""
            while not last.endswith(CLOSE_OK) and (octets := self.socket.recv(65536)):
                last = (last + octets)[-len(CLOSE_OK) :]
        except OSError:
            pass
        super().close()


def refusal(octets: bytes) -> Broken:
    """Return what the frame at the beginning means, by which the broker closes the channel or the connection."""
    decoder = Decoder()
    decoder.feed(octets)
    frame = decoder.next()
    return _kind(frame)(_told(frame))


def _kind(frame: Any, expected: str = "") -> type[Broken]:
    """Return what a frame that was not expected means; what is refused before the channel is open concerns rights."""
    if not isinstance(frame, Method) or frame.name not in CLOSES:
        return Broken
    is_about_rights = expected.startswith("connection.") or frame.arguments["reply_code"] in RIGHTS
    return Forbidden if is_about_rights else Declined


def _told(frame: Any) -> str:
    if isinstance(frame, Method) and frame.name in CLOSES:
        return f"the broker says {frame.arguments['reply_code']} {frame.arguments['reply_text']}"
    return f"{getattr(frame, 'name', 'something else')} came"


class AmqpBatch(Batch):
    """Rows of octets, each one message: method, header and body, of which only the payload's head changes."""

    def __init__(
        self, rows: int, payload: bytes, exchange: str, routing_key: str, properties: dict[str, Any]
    ) -> None:
        frames = content(
            "basic.publish", 1, body=payload, properties=properties, exchange=exchange, routing_key=routing_key
        )
        octets = b"".join(map(encode, frames))
        super().__init__(rows, octets, len(octets) - 1 - len(payload), len(payload))
