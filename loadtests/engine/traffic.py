"""What the engine makes happen: publishers, routes and consumers of one stage, and how many of each.

``share``: consumers compete for one queue (MQTT: every route is one subscriber of its own part). ``split``: each
publisher's messages go to one route, by routing key or topic. ``fan``: every route gets a copy of everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

Pattern = Literal["share", "split", "fan"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """One stage. Rates in messages per second of all publishers together, 0: as fast as it goes; times in seconds.

    ``schedule``: (seconds, rate) one after the other, instead of ``rate``. ``window``: messages in flight at most when
    there is no rate, of all publishers together. ``work``: how long a consumer is busy with each message. ``crash``: a
    consumer is cut off without a word so often (0: never); ``reconnect``: a publisher.
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
    more: dict[str, Any] = field(default_factory=dict)

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def route(self, index: int) -> str:
        """Return the name of a route; the only one is called ""."""
        if self.route_names:
            return self.route_names[index]
        return "" if self.routes == 1 else f"route {index + 1}"

    def routes_of(self, publisher: int) -> list[int]:
        """Return on which routes a publisher's messages are expected."""
        return list(range(self.routes)) if self.pattern == "fan" else [publisher % self.routes]

    @property
    def phases(self) -> Sequence[tuple[float, float]]:
        """The schedule, of one phase where none was given."""
        return self.schedule or ((self.duration, self.rate),)

    @property
    def lasts(self) -> float:
        """Seconds of publishing."""
        return sum(seconds for seconds, _ in self.phases)


class Timetable:
    """When each message of one publisher is due. Moments in ns; open loop: it never waits for anything."""

    def __init__(self, phases: Sequence[tuple[float, float]], share: int, start: int) -> None:
        """``share``: one of so many publishers that divide the rate."""
        self._phases: list[tuple[int, int, int, float]] = []  # first moment, end, first number, ns between two
        number = 0
        for seconds, rate in phases:
            end = start + round(seconds * 1e9)
            step = share * 1e9 / rate if rate else 0.0
            self._phases.append((start, end, number, step))
            number += int((end - start) / step) if step else 0
            start = end
        self.count = number
        self.end = start

    def due(self, sent: int, moment: int) -> tuple[int, int, float]:
        """Return how many messages after ``sent`` are due at a moment, the first one's time and the ns between two.

        Only those of one phase: ask again for the rest.
        """
        for begin, end, first, step in self._phases:
            count = int((end - begin) / step) if step else 0
            if step and first <= sent < first + count:
                passed = min(first + count, first + int(max(0, min(moment, end) - begin) / step) + 1) - sent
                return max(0, passed if moment >= begin else 0), begin + round((sent - first) * step), step
        return 0, 0, 0.0

    def next_moment(self, sent: int) -> int | None:
        """Return when message ``sent`` is due; None when there is none."""
        for begin, end, first, step in self._phases:
            count = int((end - begin) / step) if step else 0
            if step and first <= sent < first + count:
                return begin + round((sent - first) * step)
        return None
