"""An AMQP 0-9-1 load: persistent messages with confirms into a durable queue, and a consumer that acknowledges."""

import time
from typing import Any

from mqproof.dissectors.amqp.codec import Method
from mqproof.harness.crash.history import History
from mqproof.harness.crash.load import PACE, Lost, Numbers, Worker, arrived, body_of
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_message import Event, Message, tell
from mqproof.harness.wires.amqp_verbs import Things
from mqproof.harness.wires.base import End, Ended

ANSWER = 2.0  # seconds after which a broker that says nothing is given up, as a client's heartbeat would
BATCH = 10
PREFETCH = 20
NOT_FOUND = 404
THINGS = Things(lambda kind: f"mqproof-crash-{kind}")


class _AmqpWorker(Worker):
    """What publisher and consumer share."""

    def __init__(self, target: Target, queue: str, history: History) -> None:
        super().__init__(history)
        self._target, self._queue = target, queue
        self._wire: AmqpWire | None = None

    @property
    def wire(self) -> AmqpWire:
        """The connection. Raises Lost where there is none."""
        if self._wire is None:
            raise Lost
        return self._wire

    def connect(self) -> None:
        """Connect and open a channel. Raises Blocked."""
        self._wire = AmqpWire(self._target, THINGS)
        self._wire.open()

    def leave(self) -> None:
        """Reset the connection."""
        if self._wire is not None:
            self._wire.cut()
            self._wire = None

    def next_event(self, seconds: float) -> Event | None:
        """Return the next event, None when none comes in time. Raises Lost."""
        self.wire.transcript.lines.clear()
        event = self.wire.next_event(time.monotonic() + seconds)
        if isinstance(event, Ended):
            if event.end is End.TIMEOUT:
                return None
            raise Lost(str(event))
        if event.name in ("channel.close", "connection.close"):
            raise Lost(tell(event))
        return event


class AmqpPublisher(_AmqpWorker):
    """Publishes in batches and waits for their confirms; what was not confirmed is not published again."""

    def __init__(self, target: Target, queue: str, history: History) -> None:
        super().__init__(target, queue, history)
        self._numbers = Numbers(history)
        self._open: dict[int, int] = {}  # delivery tag -> number
        self._tag = 0

    def connect(self) -> None:
        """Connect and ask for confirms."""
        super().connect()
        self.wire.call("confirm.select")
        self._open, self._tag = {}, 0

    def work(self) -> None:
        """Publish a batch and see it confirmed. Raises Lost."""
        for _ in range(BATCH):
            number = self._numbers.take()
            self._tag += 1
            self._open[self._tag] = number
            self.wire.send_content("", self._queue, body_of(number), properties={"delivery_mode": 2})
        while self._open:
            event = self.next_event(ANSWER)
            if event is None:
                raise Lost(f"no confirm within {ANSWER:.0f} s")
            if isinstance(event, Method) and event.name in ("basic.ack", "basic.nack"):
                self._answered(event)
        self.pause(PACE * BATCH)

    def _answered(self, event: Method) -> None:
        tag, multiple = event.arguments["delivery_tag"], event.arguments["multiple"]
        for each in [each for each in self._open if each == tag or (multiple and each <= tag)]:
            number = self._open.pop(each)
            if event.name == "basic.ack":
                self._numbers.confirm(number)
            else:
                self.history.sent[number].refused = True


class AmqpConsumer(_AmqpWorker):
    """Acknowledges every message, and notes it as settled when a round trip behind that has been answered."""

    def connect(self) -> None:
        """Connect and consume."""
        super().connect()
        self.wire.consume(self._queue, prefetch=PREFETCH)
        self._quiet = time.monotonic()

    def has_source(self) -> bool:
        """Whether the queue is there: a broker without it says 404. Raises Blocked."""
        wire = AmqpWire(self._target, THINGS).open()
        try:
            wire.send("queue.declare", queue=self._queue, passive=True)
            answer = wire.expect("queue.declare-ok", "channel.close")
        finally:
            wire.cut()
        return answer.name == "queue.declare-ok" or answer.arguments["reply_code"] != NOT_FOUND

    def work(self) -> None:
        """Take what comes for a moment, and settle it. Raises Lost."""
        taken: list[Message] = []
        event = self.next_event(0.1)
        while isinstance(event, Message) and len(taken) < PREFETCH:
            arrived(self.history, event.body, marked=event.redelivered, connection=self.connections)
            taken.append(event)
            event = self.next_event(0.001) if len(taken) < PREFETCH else None
        if not taken and time.monotonic() - self._quiet > ANSWER:
            taken = self._round_trip()
        while taken and not (self.stopping.is_set() or self.waiting.is_set()):
            taken = self._settle(taken)

    def _settle(self, taken: list[Message]) -> list[Message]:
        """Acknowledge messages and note it when that is answered; return what came meanwhile. Raises Lost."""
        self.wire.ack(taken[-1].delivery_tag, multiple=True)
        held = self._round_trip()
        now = time.monotonic()
        for message in taken:
            self.history.settled.setdefault(int(message.body), now)
        return held

    def _round_trip(self) -> list[Message]:
        """Ask something and wait for the answer; note and return the messages that come before it. Raises Lost."""
        self.wire.send("basic.qos", prefetch_count=PREFETCH)
        held: list[Message] = []
        until = time.monotonic() + ANSWER
        while (event := self.next_event(max(until - time.monotonic(), 0.01))) is not None:
            if event.name == "basic.qos-ok":
                self._quiet = time.monotonic()
                break
            if isinstance(event, Message):
                arrived(self.history, event.body, marked=event.redelivered, connection=self.connections)
                held.append(event)
        else:
            raise Lost(f"no answer within {ANSWER:.0f} s")
        return held


def declare(target: Target, queue: str, **arguments: Any) -> None:
    """Make a durable queue. Raises Blocked."""
    wire = AmqpWire(target, THINGS).open()
    wire.call("queue.declare", queue=queue, durable=True, arguments=arguments)
    wire.close_connection()


def remove(target: Target, queue: str) -> None:
    """Delete a queue. Raises Blocked."""
    wire = AmqpWire(target, THINGS).open()
    wire.call("queue.delete", queue=queue)
    wire.close_connection()
