"""Watches the broker while load runs: processor and memory, queue depth, connections, its own counts of drops."""

import time
from collections.abc import Callable
from typing import Any

import gevent
import psutil
from mqproof.harness.ledger import UNEXPLAINED, Ledger
from mqproof.harness.targets.target import Target
from mqproof.loadtests.counters import SysTopics, from_url
from mqproof.loadtests.engine.amqp import AmqpWire
from mqproof.loadtests.engine.group import Pipes
from mqproof.loadtests.engine.plumbing import SMALL
from mqproof.loadtests.engine.wire import Broken, Scratch

NEXT_COUNT = 61.0  # seconds until a broker has published its counters anew ($SYS: every ten by default)
MOST_SAMPLES = 7200
LOOKS = 40  # at a process, between two looks for those below it
ENOUGH_CONNECTIONS, ENOUGH_QUEUED = 50, 1000  # below them a difference in memory says nothing of each

Sample = dict[str, Any]


class Watch:
    """Samples a broker at a steady pace. ``stats_url``: RabbitMQ's management or any Prometheus endpoint, or empty."""

    def __init__(self, target: Target, stats_url: str = "", step: float = 0.5) -> None:
        self.target, self._stats_url, self._step = target, stats_url, step
        self.process: Any = None
        self._broker: Family | None = None
        self._us = Family(psutil.Process())
        self._sys = SysTopics(target) if target.protocol == "mqtt" else None
        self.samples: list[Sample] = []
        self.errors: set[str] = set()
        self._pipes: Pipes | None = None
        self._wire: AmqpWire | None = None
        self._began = time.monotonic()
        self._every, self._looked = 1, 0  # every so many looks one is kept
        self._before: dict[str, float] = {}
        self._memory_before_open: float | None = None
        self._connections = 0
        self._greenlet: Any = None
        self._cpu_before: tuple[float, float, float] | None = None  # moment, the broker's seconds, ours
        self._spent: tuple[float, float] | None = None  # by the broker and by us until the stage began
        self._drops_before = 0.0
        self.now: Sample = {}
        self._find_process()
        self._is_known = self.process is not None

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sample."""
        if self._sys is not None:
            self._sys.start()
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Sample no more."""
        if self._greenlet is not None:
            self._greenlet.kill()
        if self._wire is not None:
            self._wire.close()
        if self._sys is not None:
            self._sys.stop()

    def before_open(self) -> None:
        """Note the broker's memory before a stage's connections."""
        self._memory_before_open = self._memory()
        self._drops_before = self._drops()

    def begin_stage(self, pipes: Pipes, connections: int) -> None:
        """Watch a stage that has opened so many connections and starts now."""
        self._pipes, self._connections = pipes, connections
        self._began, self.samples, self._every = time.monotonic(), [], 1
        self._spent = self._cpu_seconds()
        after = self._memory()
        self._before = {} if after is None else {"memory": after}

    def end_stage(self) -> None:
        """Look at the stage's queues no more."""
        self._pipes = None

    # -- what it found ---------------------------------------------------------------------------------------------

    def stage_rows(self) -> list[Sample]:
        """Return the samples of this stage, ``s`` in seconds after its start."""
        return [{**sample, "s": sample["s"] - self._began} for sample in self.samples]

    def summary(self) -> dict[str, Any]:
        """Return what this stage cost: cores, CPU seconds, memory in octets, of each connection and queued message."""
        rows = self.samples
        found: dict[str, Any] = {}
        for name, key, pick in (
            ("cpu_cores_mean", "broker_cpu", _mean), ("our_cpu_cores_mean", "our_cpu", _mean),
            ("memory_peak", "broker_memory", max), ("depth_peak", "depth", max),
            ("our_memory_peak", "our_memory", max),
            ("connections_peak", "connections", max),
        ):  # fmt: skip
            values = [row[key] for row in rows if row.get(key) is not None]
            if values:
                found[name] = round(pick(values), 3)
        spent = self._cpu_seconds()
        if spent is not None and self._spent is not None:
            found["cpu_seconds"], found["our_cpu_seconds"] = (
                round(after - before, 3) for after, before in zip(spent, self._spent, strict=True)
            )
        return found | self._memory_of_each(rows)

    def _cpu_seconds(self) -> tuple[float, float] | None:
        """Return the CPU seconds that the broker and we have used; None where it cannot be known."""
        try:
            return (self._broker.cpu_seconds(), self._us.cpu_seconds()) if self._broker is not None else None
        except psutil.Error:
            return None

    def _memory_of_each(self, rows: list[Sample]) -> dict[str, float]:
        found: dict[str, float] = {}
        before, opened = self._memory_before_open, self._before.get("memory")
        if before is not None and opened is not None and self._connections >= ENOUGH_CONNECTIONS:
            found["memory_per_connection"] = round((opened - before) / self._connections, 1)
        deepest = max(rows, key=lambda row: row.get("depth") or 0, default={})
        if (deepest.get("depth") or 0) >= ENOUGH_QUEUED and opened is not None and deepest.get("broker_memory"):
            found["memory_per_queued_message"] = round((deepest["broker_memory"] - opened) / deepest["depth"], 1)
        return found

    def about(self) -> dict[str, Any]:
        """Return how the broker was watched."""
        means = [f"process {self.process.pid}"] if self.process is not None else []
        means += ["$SYS"] if self._sys is not None and self._sys.values else []
        means += ["statistics endpoint"] if self._stats_url else []
        return {"watched_by": means, "errors": sorted(self.errors)}

    def dropped(self, ledger: Ledger) -> int:
        """Return how many messages the broker says that it dropped in this stage; asked only where some are missing."""
        missing = ledger.findings().lost_by_cause.get(UNEXPLAINED, 0)
        if not missing:
            return 0
        if self._sys is not None and self._sys.counts_drops:
            self._await_round(self._sys, missing)
        return int(self._drops_since())

    def _await_round(self, sys_topics: SysTopics, missing: int) -> None:
        """Wait until the broker's count is as of now, or explains all: one of mid-run would leave the rest to blame."""
        until, rounds = time.monotonic() + NEXT_COUNT, sys_topics.rounds
        while sys_topics.rounds == rounds and self._drops_since() < missing:
            if time.monotonic() > until:
                self.errors.add(f"the broker has not published its counters for {NEXT_COUNT:.0f} s")
                return
            gevent.sleep(0.1)

    # -- sampling --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self.now = self.sample()
            self._keep(self.now)
            gevent.sleep(self._step)

    def _keep(self, sample: Sample) -> None:
        """Keep a sample of this stage; of a run of days every second, fourth, eighth."""
        self._looked += 1
        if self._looked % self._every == 0:
            self.samples.append(sample)
        if len(self.samples) >= MOST_SAMPLES:
            self.samples, self._every = self.samples[1::2], 2 * self._every

    def sample(self) -> Sample:
        """Return one look at the broker, its moment ``s`` on the monotonic clock."""
        found: Sample = {"s": time.monotonic()}
        for look in (self._look_at_process, self._look_at_queues, self._look_at_counters):
            self._carefully(look, found)
        return found

    def _carefully(self, look: Callable[[Sample], None], found: Sample) -> None:
        """Let no failure to watch end the load; it is told at the end."""
        try:
            look(found)
        except (psutil.Error, Broken, OSError, ValueError, KeyError) as error:
            self.errors.add(f"{type(error).__name__}: {str(error)[:120]}")

    def _find_process(self) -> None:
        self.process = process_of(self.target)
        self._broker = Family(self.process) if self.process is not None else None
        self._cpu_before = self._spent = None

    def _look_at_process(self, found: Sample) -> None:
        if self._is_known and (self.process is None or not self.process.is_running()):
            self._find_process()  # it may have been started anew
        used = self._us.cpu_seconds()
        found["our_memory"] = psutil.Process().memory_info().rss
        if self._broker is not None:
            found["broker_memory"] = self._memory()
            now = time.monotonic(), self._broker.cpu_seconds(), used
            if self._cpu_before is not None:
                passed = max(1e-6, now[0] - self._cpu_before[0])
                found["broker_cpu"] = round((now[1] - self._cpu_before[1]) / passed, 3)
                found["our_cpu"] = round((now[2] - self._cpu_before[2]) / passed, 3)
            self._cpu_before = now

    def _look_at_queues(self, found: Sample) -> None:
        pipes = self._pipes
        if pipes is None or self.target.protocol != "amqp":
            return
        try:
            if self._wire is None:
                self._wire = AmqpWire(self.target, Scratch(), SMALL)
            found["depth"] = pipes.depth(self._wire)
        except Broken:
            if self._wire is not None:
                self._wire.socket.close()
            self._wire = None  # the queue has gone with its last consumer, or the broker has

    def _look_at_counters(self, found: Sample) -> None:
        if self._sys is not None:
            found |= self._sys.sample()
        if self._stats_url:
            found |= {key: value for key, value in from_url(self._stats_url).items() if key not in found}

    def _memory(self) -> float | None:
        """Return the broker's memory in octets, as far as it can be known."""
        if self._broker is not None:
            try:
                return self._broker.memory()
            except psutil.Error:
                return None
        value = self.now.get("broker_memory")
        return float(value) if value is not None else None

    def _drops_since(self) -> float:
        """Return how many were dropped in this stage; a broker that was started anew counts from nothing."""
        now = self._drops()
        return now - self._drops_before if now >= self._drops_before else now

    def _drops(self) -> float:
        if self._sys is not None and self._sys.counts_drops:
            return self._sys.dropped
        try:
            return float(from_url(self._stats_url).get("dropped", 0)) if self._stats_url else 0.0
        except (OSError, ValueError, KeyError):
            return 0.0


def process_of(target: Target) -> Any:
    """Return the process that listens where the target is, if it is on this machine and may be looked at."""
    if not target.is_local:
        return None
    try:
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr[1] if connection.laddr else 0
            if connection.status == psutil.CONN_LISTEN and here == target.port and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None


class Family:
    """A process and those below it, which are looked up now and then: that takes all of /proc, every time."""

    def __init__(self, process: Any) -> None:
        self._process, self._all, self._asked = process, [process], 0

    def _members(self) -> list[Any]:
        if self._asked % LOOKS == 0:
            self._all = [self._process, *self._process.children(recursive=True)]
        self._asked += 1
        return self._all

    def cpu_seconds(self) -> float:
        """Return what they have used. Raises psutil.Error when the first of them is gone."""
        return float(sum(_of(each, lambda each: sum(each.cpu_times()[:2]), self._process) for each in self._members()))

    def memory(self) -> float:
        """Return what they hold, in octets. Raises psutil.Error when the first of them is gone."""
        return float(sum(_of(each, lambda each: each.memory_info().rss, self._process) for each in self._members()))


def _of(process: Any, look: Callable[[Any], float], first: Any) -> float:
    """Return what a look finds; nothing of a member that has ended since."""
    try:
        return look(process)
    except psutil.NoSuchProcess:
        if process is first:
            raise
        return 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
