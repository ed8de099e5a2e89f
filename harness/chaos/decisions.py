"""Decides which message a fault meets, and keeps the journal.

A decision depends on the seed, the fault and the message's place on its route ("the 17th delivery from queue orders"),
never on time or on how connections interleave: the same messages under the same seed meet the same faults.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mqproof.harness.chaos.scenario import Plan, Scenario

Sink = Callable[["Event"], None]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one message, or to one connection. ``fault`` is empty for what passed untouched.

    ``seconds``: since the beginning. ``number``: the message's place on its route, from 1. ``octets``: of its body.
    """

    seconds: float
    connection: int
    route: str
    number: int
    fault: str = ""
    octets: int = 0

    @property
    def line(self) -> str:
        """The event as people read it."""
        where = f"{self.route} #{self.number}" if self.number else self.route
        size = f", {self.octets} octets" if self.octets else ""
        return f"{self.seconds:9.3f} s  {self.fault or 'passed'}: {where} (connection {self.connection}{size})"

    def as_json(self) -> str:
        """The event as a line of the journal."""
        return json.dumps({**asdict(self), "seconds": round(self.seconds, 6)})


class Replay:
    """The decisions of an earlier run, taken from its journal, instead of dice."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._met: set[tuple[str, str, int]] = set()
        for line in lines:
            event = json.loads(line)
            if event["fault"]:
                self._met.add((event["fault"], event["route"], event["number"]))

    def __contains__(self, key: object) -> bool:
        return key in self._met


class Decisions:
    """The dice, the clock and the journal of one scenario. ``plans`` may grow and shrink while it plays."""

    def __init__(
        self,
        scenario: Scenario,
        sink: Sink | None = None,
        *,
        replay: Replay | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plans: list[Plan] = list(scenario.plans)
        self._seed = scenario.seed
        self._sink = sink
        self._replay = replay
        self._clock = clock
        self._began = clock()
        self._seen: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.passed = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began

    def count(self, route: str) -> int:
        """Return the place of the next message on this route, from 1."""
        self._seen[route] += 1
        return self._seen[route]

    def active(self, names: Iterable[str]) -> list[Plan]:
        """Return the plans of these faults that are at work now, in the scenario's order."""
        wanted = set(names)
        elapsed = self.elapsed
        return [plan for plan in self.plans if plan.fault in wanted and plan.is_active(elapsed)]

    def choose(self, plans: Iterable[Plan], route: str, number: int, facts: Mapping[str, str]) -> Plan | None:
        """Return the first of the plans that this message meets."""
        return next((plan for plan in plans if plan.matches(facts) and self.hits(plan, route, number)), None)

    def hits(self, plan: Plan, route: str, number: int) -> bool:
        """Throw the dice of one message for one plan."""
        if self._replay is not None:
            return (plan.fault, route, number) in self._replay
        return self.dice(plan.fault, route, number).random() < plan.probability

    def dice(self, *words: Any) -> random.Random:
        """Return a source of chance that depends on the seed and these words only."""
        return random.Random("/".join(map(str, (self._seed, *words))))

    def note(self, connection: int, route: str, number: int, fault: str = "", octets: int = 0) -> None:
        """Write to the journal."""
        if fault:
            self.met[fault] += 1
        else:
            self.passed += 1
        if self._sink is not None:
            self._sink(Event(self.elapsed, connection, route, number, fault, octets))
