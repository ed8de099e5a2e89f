"""What the engine makes happen: publishers, routes and consumers of one stage, and how many of each.

``share``: consumers compete for one queue (MQTT: every route is one subscriber of its own part). ``split``: each
publisher's messages go to one route, by routing key or topic. ``fan``: every route gets a copy of everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

Pattern = Literal["share", "split", "fan"]
Fleet = Literal["", "hold", "storm"]
Promise = Literal["at most once", "at least once", "exactly once"]
RAMP_STEPS = 10
DISCARDING = ("x-max-length", "x-max-length-bytes", "x-message-ttl", "x-expires", "x-delivery-limit")  # of queues


@dataclass(frozen=True, slots=True)
class Traffic:
    """One stage. Rates in messages per second of all publishers together, 0: as fast as it goes; times in seconds.

    ``schedule``: (seconds, rate) one after the other, instead of ``rate``; 0 among others is a pause. ``window``:
    messages in flight at most when there is no rate, of all publishers together. ``work``: how long a consumer is busy
    with each message. ``crash``: a consumer is cut off without a word so often (0: never); ``reconnect``: a publisher.
    """

    label: str
    publishers: int = 1
    routes: int = 1
    consumers: int = 1  # on each route
    pattern: Pattern = "share"
    duration: float = 5.0
    rate: float = 0.0
    schedule: tuple[tuple[float, float], ...] = ()
    payload: int = 256
    qos: int = 1
    confirm: bool = True
    persistent: bool = False
    queue_type: str = ""  # AMQP x-queue-type; empty: the broker's default
    durable: bool = False
    exchange: str = ""  # AMQP exchange type; empty: the default exchange
    bindings: int = 0  # more bindings that match nothing
    prefetch: int = 1000
    window: int = 20_000
    work: float = 0.0
    crash: float = 0.0
    reconnect: float = 0.0
    route_names: tuple[str, ...] = ()
    topic: str = ""  # MQTT: what stands before the publisher's number; the filter ends in #
    sizes: tuple[int, ...] = ()  # payloads of several sizes, in turn; instead of ``payload``
    template: bytes = b""  # what fills a payload behind its stamp, repeated; zeros where empty
    properties: dict[str, Any] = field(default_factory=dict)  # of AMQP messages
    queue_arguments: dict[str, Any] = field(default_factory=dict)  # AMQP
    ramp: float = 0.0  # seconds in which the rate grows to its own
    connect_rate: float = 0.0  # connections per second; 0: one after the other without a pause
    max_unconfirmed: int = 0  # of each publisher; 0: as many as the protocol has numbers for
    ack_every: int = 0  # messages acknowledged at once; 0: all that one read brought
    nack_every: int = 0  # every so many messages one is refused by the consumer; 0: none
    requeue: bool = True  # what is refused comes again
    poll: float = 0.0  # seconds between two basic.get; 0: deliveries are pushed
    keep_alive: int = 0  # seconds (AMQP: heartbeat); 0: none
    mqtt_version: str = ""  # 3.1.1 or 5.0; empty: 3.1.1, or 5.0 where only that can do it
    sessions: bool = False  # MQTT: sessions outlive their connections, also the consumers'
    patience: float = 0.0  # seconds without an answer, after which a connection is given up; 0: never
    beside: tuple["Traffic", ...] = ()  # more kinds of traffic at the same time
    fleet: Fleet = ""  # publishers are devices on cheap connections, see engine/fleet.py

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def largest(self) -> int:
        """Octets of the largest payload."""
        return max(self.sizes, default=self.payload)

    def route(self, index: int) -> str:
        """Return the name of a route; the only one is called ""."""
        if self.route_names:
            return self.route_names[index]
        return "" if self.routes == 1 else f"route {index + 1}"

    def routes_of(self, publisher: int) -> list[int]:
        """Return on which routes a publisher's messages are expected."""
        return list(range(self.routes)) if self.pattern == "fan" else [publisher % self.routes]

    def promise(self, protocol: str) -> Promise:
        """Return what a broker promises for every message, of several kinds of traffic the least.

        Exactly once ends where a consumer's session outlives its connection: the broker has to deliver again what our
        consumer, which knows no packet ids of a connection before, counts twice (MQTT 3.1.1 section 4.4).
        """
        kinds = (self, *self.beside)
        if protocol == "amqp":
            return "at least once" if all(each.confirm for each in kinds) else "at most once"
        lowest = min(each.qos for each in kinds)
        if lowest == 2 and not any(each.sessions for each in kinds):
            return "exactly once"
        return "at least once" if lowest else "at most once"

    @property
    def limits(self) -> list[str]:
        """Queue arguments and message properties that make an AMQP broker discard messages."""
        properties = [name for name in ("expiration",) if name in self.properties]
        return [name for name in DISCARDING if name in self.queue_arguments] + properties

    @property
    def phases(self) -> Sequence[tuple[float, float]]:
        """The schedule, of one phase where none was given; a ramp is a stair of ten steps before it."""
        phases = self.schedule or ((self.duration, self.rate),)
        seconds, rate = phases[0]
        if not self.ramp or not rate:
            return phases
        step = min(self.ramp, seconds) / RAMP_STEPS
        stair = [(step, rate * (index + 0.5) / RAMP_STEPS) for index in range(RAMP_STEPS)]
        return (*stair, (seconds - step * RAMP_STEPS, rate), *phases[1:])

    @property
    def is_paced(self) -> bool:
        """Whether a rate says when messages are due; a phase of rate 0 is then a pause."""
        return any(rate for _, rate in self.phases)

    @property
    def lasts(self) -> float:
        """Seconds of publishing."""
        return sum(seconds for seconds, _ in self.phases)
