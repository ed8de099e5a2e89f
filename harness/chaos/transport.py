"""Disturbs connections below the protocol: latency, jitter, bandwidth, slow close, reset, black hole, partition."""

import asyncio
import random
from collections import deque
from collections.abc import Callable

from mqproof.harness.chaos.decisions import Decisions
from mqproof.harness.chaos.faults import TRANSPORT
from mqproof.harness.chaos.scenario import Plan
from mqproof.harness.proxy.core import Link, Passage

DELAYS = {"latency": 0.1, "slow-close": 5.0, "reset": 0.0}  # seconds, unless the plan says otherwise
JITTERS = {"jitter": 0.05}
RATE = 10_000.0  # octets per second
TICK = 0.01  # seconds between looks at a partition
MOST_HELD = 1 << 20  # octets under way before the sender has to wait


class Lane:
    """One direction: octets under way, in order, each with the time when it is due."""

    def __init__(self, name: str, line: "Line", send: Callable[[bytes], None]) -> None:
        self.name = name
        self._line = line
        self._send = send
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._chunks = 0
        self._due = 0.0
        self._sent_until = 0.0  # when the last octet has left at the bandwidth

    def take(self, octets: bytes) -> None:
        """Let octets go now, later, or never."""
        self._chunks += 1
        plans = self._line.plans()
        if any(plan.fault == "black-hole" for plan in plans):
            return
        now = asyncio.get_running_loop().time()
        due = now + sum(map(self._delay, plans))
        for plan in plans:
            if plan.fault == "bandwidth":
                begin = max(now, self._sent_until)
                self._sent_until = begin + len(octets) / plan.options.get("rate", RATE)
                due = max(due, self._sent_until)
        self._due = max(self._due, due)
        if self._due <= now and not self._under_way and not self._line.is_parted:
            self._send(octets)
            return
        self._under_way.append((self._due, octets))
        self._held += len(octets)
        self._line.link.after(self._due - now, self._go_on)

    async def settle(self, *, ended: bool) -> None:
        """Wait while too much is under way, or, when the sender has ended, until all of it has gone."""
        while self._held > (0 if ended else MOST_HELD) or (ended and self._line.is_parted):
            await asyncio.sleep(TICK)
            self._go_on()
        if ended:
            slow = [plan for plan in self._line.plans() if plan.fault == "slow-close"]
            await asyncio.sleep(sum(plan.options.get("delay", DELAYS["slow-close"]) for plan in slow))

    def _go_on(self) -> None:
        if self._line.is_parted:
            if self._under_way:
                self._line.link.after(TICK, self._go_on)
            return
        now = asyncio.get_running_loop().time() + 1e-4
        while self._under_way and self._under_way[0][0] <= now:
            _, octets = self._under_way.popleft()
            self._held -= len(octets)
            self._send(octets)

    def _delay(self, plan: Plan) -> float:
        if plan.fault not in ("latency", "jitter"):
            return 0.0
        spread = plan.options.get("jitter", JITTERS.get(plan.fault, 0.0))
        by_chance = self._line.dice(plan, self.name, self._chunks).random() * spread
        return (plan.options.get("delay", DELAYS["latency"]) if plan.fault == "latency" else 0.0) + by_chance


class Line(Passage):
    """One connection below its protocol. A fault's dice are thrown once for each connection."""

    def __init__(self, link: Link, decisions: Decisions, number: int) -> None:
        super().__init__(link)
        self._decisions = decisions
        self.number = number
        self._noted: set[int] = set()
        self._lanes = {
            "client": Lane("client", self, link.to_broker),
            "broker": Lane("broker", self, link.to_client),
        }

    @property
    def is_parted(self) -> bool:
        """Whether a partition keeps everything back at this moment."""
        return any(plan.fault == "partition" for plan in self.plans())

    def plans(self) -> list[Plan]:
        """Return the faults that this connection meets now, and note each once."""
        route = f"connection {self.number}"
        facts = {"direction": "both"}
        met = []
        for plan in self._decisions.active(TRANSPORT):
            if plan.matches(facts) and self._decisions.hits(plan, route, 0):
                met.append(plan)
                if id(plan) not in self._noted:
                    self._noted.add(id(plan))
                    self._decisions.note(self.number, route, 0, plan.fault)
                    if plan.fault == "reset":
                        self.link.after(plan.options.get("delay", DELAYS["reset"]), self.link.reset)
        return met

    def dice(self, plan: Plan, *words: object) -> random.Random:
        """Return chance that depends on the seed and the connection."""
        return self._decisions.dice(plan.fault, self.number, *words)

    def from_client(self, octets: bytes) -> None:
        """Take octets that the client sent."""
        self._lanes["client"].take(octets)

    def from_broker(self, octets: bytes) -> None:
        """Take octets that the broker sent."""
        self._lanes["broker"].take(octets)

    async def settle(self, source: str, *, ended: bool = False) -> None:
        """Hold the sender back, or its end."""
        await self._lanes[source].settle(ended=ended)
