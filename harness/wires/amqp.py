"""A raw AMQP 0-9-1 connection: exact octets out, decoded frames in. It validates nothing and hides nothing.

Verbs that begin with ``must_`` accuse the broker (Deviation); all others raise Blocked when the broker does not do
its part, because they are preconditions of what a test examines. Every step has a deadline.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from mqproof.dissectors.amqp.codec import Frame, Method, ProtocolHeader, content
from mqproof.dissectors.amqp.tables import METHODS, REPLY_CODES
from mqproof.harness.verdicts import Blocked, Deviation
from mqproof.harness.wires.amqp_link import CLOSES, STEP, Link, Refused, is_event, is_reply, within
from mqproof.harness.wires.amqp_message import Event, Message, describe, tell, tell_codes
from mqproof.harness.wires.amqp_verbs import Verbs
from mqproof.harness.wires.base import End, Ended

PUBLISHER = 2047  # the channel that publish() confirms on, or the highest agreed; tests use low numbers
LOOK = 0.02  # seconds between two looks at what has to go
LATE = 3  # intervals of our own silence after which an end of the connection accuses nobody
CAPABILITIES = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class Late(Blocked):
    """The connection ended after a silence of ours that was longer than meant."""


class AmqpWire(Link, Verbs):
    """One connection. ``greet`` to ``open_vhost`` are the handshake's steps; ``open`` takes them all."""

    @property
    def publisher(self) -> int:
        """The number of the channel that publish() uses."""
        return min(self.tuned["channel_max"] or PUBLISHER, PUBLISHER)

    @property
    def looker(self) -> int:
        """The number of the channel of exists(), which a missing queue closes."""
        return self.publisher - 1

    def send_content(
        self,
        exchange: str,
        key: str = "",
        body: bytes | None = None,
        *,
        channel: int = 1,
        properties: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> bytes:
        """Send a ``basic.publish`` with its content and wait for nothing; return the body."""
        body = self.things.body() if body is None else body
        frames = content(
            "basic.publish", channel, exchange=exchange, routing_key=key, body=body, properties=properties,
            frame_max=self.tuned["frame_max"] or 131072, **arguments,
        )  # fmt: skip
        self.send(*frames)
        return body

    # -- conversations -------------------------------------------------------------------------------------------

    def call(self, name: str, *, channel: int = 1, **arguments: Any) -> Event:
        """Send a synchronous method and return its reply. Raises Blocked."""
        self.send(name, channel=channel, **arguments)
        return self.expect(*METHODS[name].replies, channel=channel)

    def receive(self, name: str = "basic.deliver", *, channel: int | None = None) -> Message:
        """Return the next message. Raises Blocked."""
        message = self.expect(name, channel=channel)
        assert isinstance(message, Message)
        return message

    def take(self, number: int, *, channel: int | None = None) -> list[Message]:
        """Return the next messages that are delivered. Raises Blocked when fewer come."""
        return [self.receive(channel=channel) for _ in range(number)]

    def must_take(self, number: int, *, channel: int | None = None) -> list[Message]:
        """Accuse the broker unless it delivers so many messages; return them."""
        events = [self.must_receive("basic.deliver", channel=channel) for _ in range(number)]
        return [event for event in events if isinstance(event, Message)]

    def fence(self, channel: int = 1) -> None:
        """Two round trips on a channel: what the broker did before has arrived when they have ended (section 4.6)."""
        for _ in range(2):
            self.call("exchange.declare", channel=channel, exchange="amq.direct", type="direct", passive=True)

    def arrived(self, *names: str, channel: int | None = None) -> list[Event]:
        """Take out of the inbox what has arrived under these names (any, if none is given)."""
        found = [event for event in self._inbox if is_event(event, names or (event.name,), channel, {})]
        self._inbox = deque(event for event in self._inbox if event not in found)
        return found

    def must_have(self, number: int, *, channel: int = 1) -> list[Message]:
        """Accuse the broker unless it delivers so many messages; return them and what came beyond, up to a fence.

        A fence alone does not prove that nothing comes: a queue may be slower than its channel (section 4.7).
        """
        return self.must_take(number, channel=channel) + self.deliveries(channel)

    def deliveries(self, channel: int = 1) -> list[Message]:
        """Return what has been delivered on a channel up to a fence on it; more may be on its way."""
        self.fence(channel)
        return [event for event in self.arrived("basic.deliver", channel=channel) if isinstance(event, Message)]

    def consume(self, queue: str, *, channel: int = 1, prefetch: int = 0, **options: Any) -> str:
        """Start a consumer, with a prefetch count of its own if one is given; return its tag."""
        if prefetch:
            self.call("basic.qos", channel=channel, prefetch_count=prefetch)
        answer = self.call("basic.consume", channel=channel, queue=queue, **options)
        return str(answer.arguments["consumer_tag"])

    def ack(self, tag: int, *, multiple: bool = False, channel: int = 1) -> None:
        """Acknowledge; the broker answers nothing."""
        self.send("basic.ack", channel=channel, delivery_tag=tag, multiple=multiple)

    def publish(
        self, exchange: str, key: str = "", body: bytes | None = None, *, mandatory: bool = False, **properties: Any
    ) -> bytes:
        """Publish and return the body once the broker has routed it. Raises Blocked, also when it is nacked."""
        how = self._publishing = self._publishing or self._open_publisher()
        body = self.send_content(
            exchange, key, body, channel=self.publisher, mandatory=mandatory, properties=properties
        )
        if how == "confirm":
            if self.expect("basic.ack", "basic.nack", channel=self.publisher).name == "basic.nack":
                raise Blocked("the broker refused a message that it had to take (basic.nack)")
        elif how == "tx":
            self.call("tx.commit", channel=self.publisher)
        else:
            self.fence(self.publisher)
        return body

    def _open_publisher(self) -> str:
        self.open_channel(self.publisher)
        offered = self.server_properties.get("capabilities") or {}
        if offered.get("publisher_confirms"):
            self.call("confirm.select", channel=self.publisher)
            return "confirm"
        self.send("tx.select", channel=self.publisher)
        answer = self.expect("tx.select-ok", *CLOSES)
        if answer.name == "tx.select-ok":
            return "tx"
        if answer.name == "connection.close":
            raise Blocked(f"the broker offers neither confirms nor transactions: {tell(answer)}")
        self.send("channel.close-ok", channel=self.publisher)
        self.open_channel(self.publisher)
        return "round trip"

    # -- handshake (sections 2.2.4 and 4.2.2) --------------------------------------------------------------------

    @property
    def login(self) -> bytes:
        """The response of mechanism PLAIN with the target's credentials."""
        return f"\0{self.target.user or 'guest'}\0{self.target.password or ''}".encode()

    def greet(self) -> Method:
        """Send the protocol header, return ``connection.start``."""
        self.send(ProtocolHeader())
        start = self.expect("connection.start", channel=0)
        assert isinstance(start, Method)
        self.server_properties = dict(start.arguments["server_properties"])
        return start

    def log_in(
        self, mechanism: str = "PLAIN", response: bytes | None = None, capabilities: dict[str, Any] | None = None
    ) -> None:
        """Send ``connection.start-ok`` with the target's credentials."""
        properties = {
            "product": "mqproof",
            "capabilities": CAPABILITIES if capabilities is None else capabilities,
        }
        self.send(
            "connection.start-ok", channel=0, client_properties=properties, mechanism=mechanism,
            response=self.login if response is None else response, locale="en_US",
        )  # fmt: skip

    def tune(self, **limits: int) -> None:
        """Await ``connection.tune`` and agree to what it says, heartbeat off, ``limits`` instead where given."""
        offer = self.expect("connection.tune", channel=0).arguments
        self.tuned = {**offer, "heartbeat": 0, **limits}
        self.send("connection.tune-ok", channel=0, **self.tuned)

    def open_vhost(self, vhost: str | None = None) -> None:
        """Open the target's virtual host."""
        self.call("connection.open", channel=0, virtual_host=self.target.vhost if vhost is None else vhost)

    def open_channel(self, channel: int = 1) -> None:
        """Open a channel."""
        self.call("channel.open", channel=channel)

    def open(self, *, capabilities: dict[str, Any] | None = None, **limits: int) -> Self:
        """Take all steps of the handshake and open channel 1. Raises Blocked."""
        self.greet()
        self.log_in(capabilities=capabilities)
        self.tune(**limits)
        self.open_vhost()
        self.open_channel()
        return self

    # -- endings -------------------------------------------------------------------------------------------------

    def close_channel(self, channel: int = 1) -> None:
        """Close a channel as section 2.3.7 asks. Raises Blocked."""
        self.call("channel.close", channel=channel, reply_code=200, reply_text="done")

    def close_connection(self) -> None:
        """Close the connection as section 2.3.7 asks, then the socket. Raises Blocked."""
        self.call("connection.close", channel=0, reply_code=200, reply_text="done")
        self.close()

    def must_accept(self, channel: int = 1) -> None:
        """Accuse the broker unless the channel still works."""
        self.send("exchange.declare", channel=channel, exchange="amq.direct", type="direct", passive=True)
        self.must_receive("exchange.declare-ok", channel=channel)

    def exists(self, queue: str) -> bool:
        """Return whether a passive declare finds the queue, or finds it locked (405).

        Raises Blocked where the answer says neither, nor that it is missing (404).
        """
        self.open_channel(self.looker)
        self.send("queue.declare", channel=self.looker, queue=queue, passive=True)
        answer = self.expect("queue.declare-ok", "channel.close", channel=self.looker)
        if answer.name == "queue.declare-ok":
            self.close_channel(self.looker)
            return True
        self.send("channel.close-ok", channel=self.looker)
        if answer.arguments["reply_code"] not in (404, 405):
            raise Blocked(f"queue {queue!r} is neither found nor missing: {tell(answer)}")
        return bool(answer.arguments["reply_code"] == 405)

    def must_lose(self, queue: str, seconds: float = STEP, *, every: float = LOOK) -> None:
        """Accuse the broker unless the queue is gone before the deadline; it is looked at ``every`` so often."""
        self.must_settle(lambda: not self.exists(queue), f"queue {queue!r} gone", seconds, every=every)

    def must_settle(
        self, done: Callable[[], bool], expected: str, seconds: float = STEP, *, every: float = 0.0
    ) -> None:
        """Accuse the broker unless ``done`` becomes true before the deadline; each look is a round trip."""
        if not self.settles(done, seconds, every=every):
            raise Deviation(expected, "it does not come to that")

    def settles(self, done: Callable[[], bool], seconds: float = STEP, *, every: float = 0.0) -> bool:
        """Return whether ``done`` becomes true before the deadline; ``every``: seconds between two looks."""
        until = within(seconds)
        while not done():
            if time.monotonic() > until:
                return False
            if every:
                self.wait(every)
        return True

    def must_refuse(self, *codes: int, channel: int = 1, either_level: bool = False, fenced: bool = True) -> Event:
        """Accuse the broker unless it closes the channel, or for hard codes the connection, with one of ``codes``.

        Its close is answered. A fence follows what was sent, so that silent acceptance needs no deadline; ``fenced``
        is False where a reply would come anyway, or where the fence would disturb.
        """
        if fenced:
            self.send("exchange.declare", channel=channel, exchange="amq.direct", type="direct", passive=True)
        event = self._reaction(channel, tell_codes(codes, either_level=either_level))
        code = int(event.arguments["reply_code"])
        hard = event.name == "connection.close"
        self.send(f"{event.name}-ok", channel=0 if hard else channel)
        if code not in codes or (REPLY_CODES[code].hard is not hard and not either_level):
            raise Deviation(tell_codes(codes, either_level=either_level), f"a wrong reaction: {tell(event)}")
        return event

    def _reaction(self, channel: int, expected: str) -> Event:
        def wanted(event: Event) -> bool:
            return event.name in CLOSES or (event.channel == channel and is_reply(event))

        try:
            event = self._await(wanted)
        except Refused as refused:
            raise Deviation(expected, str(refused)) from None
        if event.name not in CLOSES:
            raise Deviation(expected, f"it was accepted: {tell(event)}")
        return event

    def wait(self, seconds: float) -> None:
        """Let so many seconds of real time pass; what comes meanwhile waits in the inbox."""
        end = time.monotonic() + seconds
        while not isinstance(event := self.next_event(end), Ended):
            self._inbox.append(event)

    def listen(self, seconds: float, *, every: float = 0.0, saying: Frame | None = None) -> list[Frame]:
        """Listen for so many seconds of real time, sending a frame ``every`` so often; return what came.

        Raises Blocked when the connection ends, Late when that may be for want of our words.
        """
        last = time.monotonic()
        end = last + seconds
        next_word = last + (every or seconds)
        heard: list[Frame] = []
        while (now := time.monotonic()) < end:
            frame = self.next_frame(min(next_word, end))
            if not isinstance(frame, Ended):
                heard.append(frame)
            elif frame.end is not End.TIMEOUT:
                gap = time.monotonic() - last
                kind = Late if saying is not None and gap > LATE * every else Blocked
                raise kind(f"{frame} after {now - end + seconds:.1f} s, {gap:.1f} s after our last word")
            if saying is not None and time.monotonic() >= next_word:
                self.send(saying)
                last = time.monotonic()
                next_word = max(next_word + every, last)
        return heard

    def must_stay(self, seconds: float, *, every: float, saying: Frame) -> None:
        """Accuse the broker if the connection ends within so many seconds, a frame being sent ``every`` so often.

        Raises Late when this machine was too busy to send it.
        """
        try:
            self.listen(seconds, every=every, saying=saying)
        except Late:
            raise
        except Blocked as blocked:
            raise Deviation(f"the connection open for {seconds} s", str(blocked)) from None

    def must_end(self, seconds: float = STEP, *, silently: bool = False, fenced: bool = False) -> None:
        """Accuse the broker unless it closes the socket; ``silently``: unless it does so without a further frame.

        ``fenced``: a legal method follows what was sent, so that a broker that goes on is found out by its reply.
        """
        if fenced:
            self.send("exchange.declare", exchange="amq.direct", type="direct", passive=True)
        until = within(seconds)
        while not isinstance(said := self.next_frame(until), Ended):
            if silently:
                raise Deviation("the socket closed without a further frame", describe(said))
        if not said.closed:
            raise Deviation("the socket closed by the broker", str(said))

    def must_disconnect(self, *, fenced: bool = True) -> None:
        """Accuse the broker unless it ends the connection: by closing the socket or by ``connection.close``."""
        if fenced:
            self.send("exchange.declare", exchange="amq.direct", type="direct", passive=True)
        until = within(STEP)
        while not isinstance(event := self.next_event(until), Ended):
            if event.name == "connection.close":
                self.send("connection.close-ok", channel=0)
                return
            if is_reply(event):
                raise Deviation("the connection ended by the broker", f"it goes on: {tell(event)}")
        if not event.closed:
            raise Deviation("the connection ended by the broker", str(event))

    def close(self) -> None:
        """Close the socket and nothing else, as a client does that ends without a word."""
        self.connection.close()

    def cut(self) -> None:
        """Reset the connection, as the kernel of a crashed client does."""
        self.connection.cut()
