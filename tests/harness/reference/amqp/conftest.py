"""A broker without sockets, a clock that is turned by hand, and a peer that talks to it in frames."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from mqproof.dissectors.amqp.codec import (
    Body,
    ContentHeader,
    Decoder,
    Frame,
    Method,
    content,
    encode,
    method,
)
from mqproof.dissectors.amqp.tables import PROTOCOL_HEADER
from mqproof.harness.reference.amqp.broker import Broker, Settings
from mqproof.harness.reference.amqp.connection import Connection
from mqproof.harness.reference.amqp.phases import Phase


class ManualTimer:
    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.callback, self.args, self.cancelled = callback, args, False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Stands still until :meth:`advance`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._due: list[tuple[float, int, ManualTimer]] = []
        self._numbers = count()

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> ManualTimer:
        timer = ManualTimer(callback, args)
        heapq.heappush(self._due, (self._now + delay, next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            self._now, _, timer = heapq.heappop(self._due)
            if not timer.cancelled:
                timer.callback(*timer.args)
        self._now = end


class Peer:
    """A client in frames. ``send`` then ``expect``: every frame that the broker sends must be expected."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.connection = Connection(broker, lambda: None)
        self.decoder = Decoder()
        self._frames: list[Frame] = []

    @property
    def ended(self) -> bool:
        return self.connection.phase is Phase.ENDED

    def raw(self, data: bytes) -> None:
        self.connection.receive(data)

    def send(self, name: str, channel: int = 1, **arguments: Any) -> None:
        self.raw(encode(method(name, channel, **arguments)))

    def frames(self) -> list[Frame]:
        """Take all frames that came."""
        data = self.connection.output()
        while data:
            self.decoder.feed(data)
            self.connection.resume()
            data = self.connection.output()
        while (frame := self.decoder.next()) is not None:
            self._frames.append(frame)
        taken, self._frames = self._frames, []
        return taken

    def next(self) -> Frame:
        frames = self.frames()
        assert frames, "the broker sent nothing"
        self._frames = frames[1:]
        return frames[0]

    def expect(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Take the next frame, which must be this method with these arguments; return all its arguments."""
        frame = self.next()
        assert isinstance(frame, Method), frame
        shown = {key: frame.arguments.get(key) for key in arguments}
        assert (frame.name, shown) == (name, arguments), frame
        return frame.arguments

    def expect_content(self, name: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any], bytes]:
        """Take a method with content; return its arguments, properties and body."""
        found = self.expect(name, **arguments)
        header = self.next()
        assert isinstance(header, ContentHeader), header
        body = b""
        while len(body) < header.body_size:
            frame = self.next()
            assert isinstance(frame, Body), frame
            body += frame.payload
        return found, header.properties, body

    def expect_nothing(self) -> None:
        assert self.frames() == []

    def expect_closed(self, code: int, *, hard: bool = False, channel: int = 1) -> None:
        """Take a channel exception (or a connection exception with ``hard``) and answer it."""
        scope, number = ("connection", 0) if hard else ("channel", channel)
        self.expect(f"{scope}.close", reply_code=code)
        self.send(f"{scope}.close-ok", number)
        self.expect_nothing()
        assert self.ended == hard

    def call(self, name: str, channel: int = 1, **arguments: Any) -> dict[str, Any]:
        """Send a method and take its plain answer."""
        self.send(name, channel, **arguments)
        return self.expect(f"{name}-ok")

    def login(self, *, vhost: str = "/", frame_max: int = 131072, heartbeat: int = 0, **properties: Any) -> None:
        self.raw(PROTOCOL_HEADER)
        self.expect("connection.start")
        client = {"product": "test", "capabilities": properties}
        self.send(
            "connection.start-ok",
            0,
            mechanism="PLAIN",
            response=b"\0guest\0guest",
            locale="en_US",
            client_properties=client,
        )
        self.expect("connection.tune")
        self.send("connection.tune-ok", 0, channel_max=2047, frame_max=frame_max, heartbeat=heartbeat)
        self.call("connection.open", 0, virtual_host=vhost)

    def queue(self, name: str = "q", **arguments: Any) -> str:
        return str(self.call("queue.declare", queue=name, **arguments)["queue"])

    def publish(
        self,
        body: bytes = b"",
        key: str = "q",
        *,
        channel: int = 1,
        properties: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        for frame in content("basic.publish", channel, body=body, properties=properties, routing_key=key, **arguments):
            self.raw(encode(frame))

    def consume(self, queue: str = "q", *, channel: int = 1, tag: str = "c", **arguments: Any) -> None:
        self.call("basic.consume", channel, queue=queue, consumer_tag=tag, **arguments)

    def deliveries(self) -> list[tuple[int, bytes, bool]]:
        """Take the deliveries that came: tag, body, redelivered."""
        found = []
        while frames := self.frames():
            self._frames = frames
            arguments, _, body = self.expect_content("basic.deliver")
            found.append((arguments["delivery_tag"], body, arguments["redelivered"]))
        return found

    def bodies(self) -> list[bytes]:
        return [body for _, body, _ in self.deliveries()]

    def get(self, queue: str = "q", *, no_ack: bool = True) -> bytes | None:
        """Fetch one message; None when there is none."""
        self.send("basic.get", queue=queue, no_ack=no_ack)
        frame = self.next()
        assert isinstance(frame, Method), frame
        if frame.name == "basic.get-empty":
            return None
        self._frames.insert(0, frame)
        return self.expect_content("basic.get-ok")[2]

    def drain(self, queue: str = "q") -> list[bytes]:
        """Fetch all messages."""
        return list(iter(lambda: self.get(queue), None))

    def count(self, queue: str = "q") -> int:
        return int(self.call("queue.declare", queue=queue, passive=True)["message_count"])


Connect = Callable[..., Peer]


@pytest.fixture(scope="session")
def new_clock() -> type[ManualClock]:
    return ManualClock


@pytest.fixture(scope="session")
def new_peer() -> type[Peer]:
    return Peer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(clock: ManualClock, request: pytest.FixtureRequest) -> Broker:
    """A broker; parametrize indirectly with Settings, or with a set of defects."""
    given = getattr(request, "param", None)
    settings = given if isinstance(given, Settings) else None
    defects = given if isinstance(given, set | frozenset) else ()
    return Broker(clock, settings, defects)


@pytest.fixture
def connect(broker: Broker) -> Connect:
    """Connect a peer with an open channel 1; capabilities and what ``login`` takes as keywords."""

    def connected(**options: Any) -> Peer:
        peer = Peer(broker)
        peer.login(**options)
        peer.call("channel.open")
        return peer

    return connected


@pytest.fixture
def peer(connect: Connect) -> Peer:
    return connect()
