"""A crew of workers in other processes or on other machines, over Locust's own master and worker messages.

The master asks, every worker answers: open, start, end, close. Workers tell where they stand ten times a second. The
master's clock is everybody's: each worker's distance from it is measured by an exchange, before and after. No password
travels: a worker has the target from its own command line.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from mqproof.harness.ledger import WORKER_DIED
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.engine.group import StageGroup, kinds_of
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.part import Part
from mqproof.loadtests.engine.stage import Report, Totals
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.engine.wire import Broken, Declined, Forbidden
from mqproof.loadtests.settings import BadSettings
from mqproof.loadtests.timeline import Timeline

ASK, ANSWER, TOTALS = "mqproof-ask", "mqproof-answer", "mqproof-totals"
EVERY = 0.1  # seconds between two reports of where a worker stands
EXCHANGES = 10  # of clocks; the quickest one counts
PATIENCE = 60.0  # seconds for a worker's answer, while it lives
GONE = ("missing", "stopped")
KINDS: dict[str, type[Exception]] = {kind.__name__: kind for kind in (Broken, Declined, Forbidden, BadSettings)}
BOOT = Path("/proc/sys/kernel/random/boot_id")


class CrewFailed(Exception):
    """Workers of ours do not do what they should; one line."""


def clock_id() -> str:
    """Return what is the same wherever the monotonic clock is: the machine's boot and the time namespace."""
    try:
        return BOOT.read_text().strip() + os.readlink("/proc/self/ns/time")
    except OSError:
        return ""


@dataclass(slots=True)
class Worker:
    """One worker as the master sees it. ``offset``: ns to add to its clock; ``uncertainty``: of that, in ns."""

    client: str
    index: int
    offset: int = 0
    uncertainty: int = 0
    drift: int = 0
    totals: Totals = field(default_factory=Totals)
    is_lost: bool = False

    @property
    def name(self) -> str:
        """How it is called in results."""
        return f"worker {self.index + 1} ({self.client.rpartition('_')[0]})"


class DistributedCrew:
    """The master's side. ``settings``: what workers need to know of the run, without URL and password."""

    def __init__(self, runner: Any, settings: dict[str, Any]) -> None:
        self._runner, self._settings = runner, settings
        clients = sorted((client.id for client in runner.clients.all), key=runner.get_worker_index)
        self.workers = [Worker(client, index) for index, client in enumerate(clients)]
        self.lost: list[str] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked = 0
        self._traffic: Traffic | None = None
        self._first = 0
        runner.register_message(ANSWER, self._answered)
        runner.register_message(TOTALS, self._told)
        self._set_clocks()

    # -- messages --------------------------------------------------------------------------------------------------

    def _answered(self, environment: Any, msg: Any) -> None:
        self._answers.setdefault(msg.data["id"], {})[msg.node_id] = {**msg.data, "at": time.monotonic_ns()}

    def _told(self, environment: Any, msg: Any) -> None:
        for worker in self.workers:
            if worker.client == msg.node_id and msg.data["stage"] == self._first:
                worker.totals = Totals(**msg.data["totals"])

    def _alive(self) -> list[Worker]:
        """Return the workers that live, noting those that have died since."""
        for worker in self.workers:
            node = self._runner.clients.get(worker.client)
            if not worker.is_lost and (node is None or node.state in GONE):
                worker.is_lost = True
                self.lost.append(worker.name)
        return [worker for worker in self.workers if not worker.is_lost]

    def _ask(self, what: str, each: Callable[[Worker], dict[str, Any]] = lambda worker: {}) -> dict[int, Any]:
        """Ask all who live; return their answers by index. Raises what one of them met, or CrewFailed."""
        self._asked += 1
        number = self._asked
        asked = self._alive()
        for worker in asked:
            self._runner.send_message(ASK, {"id": number, "do": what, **each(worker)}, worker.client)
        until = time.monotonic() + PATIENCE
        while True:
            answers = self._answers.get(number, {})
            if all(worker.client in answers for worker in asked if worker in self._alive()):
                break
            if time.monotonic() > until:
                raise CrewFailed(f"a worker did not answer within {PATIENCE:.0f} s ({what})")
            gevent.sleep(0.005)
        self._answers.pop(number, None)
        found = {worker.index: answers[worker.client] for worker in asked if worker.client in answers}
        for index, answer in found.items():
            if answer.get("error"):
                raise KINDS.get(answer["kind"], CrewFailed)(f"{self.workers[index].name}: {answer['error']}")
        if not found:
            raise CrewFailed("no worker is left")
        return found

    # -- clocks ----------------------------------------------------------------------------------------------------

    def _set_clocks(self) -> None:
        for worker in self.workers:
            worker.offset, worker.uncertainty = self._distance(worker)

    def _distance(self, worker: Worker) -> tuple[int, int]:
        """Return what to add to a worker's clock and how far that may be wrong, both in ns."""
        best: tuple[int, int] | None = None
        for _ in range(EXCHANGES):
            self._asked += 1
            number, began = self._asked, time.monotonic_ns()
            self._runner.send_message(ASK, {"id": number, "do": "clock"}, worker.client)
            until = time.monotonic() + 5.0
            while worker.client not in self._answers.get(number, {}) and time.monotonic() < until:
                gevent.sleep(0)
            answer = self._answers.pop(number, {}).get(worker.client)
            if answer is None:
                continue
            if answer["clock"] and answer["clock"] == clock_id():
                return 0, 0
            travel = answer["at"] - began
            if best is None or travel // 2 < best[1]:
                best = began + travel // 2 - answer["ns"], travel // 2
        if best is None:
            raise CrewFailed(f"{worker.name} does not answer")
        return best

    # -- a stage ---------------------------------------------------------------------------------------------------

    def open(self, number: int, traffic: Traffic, first: int, names: Names) -> None:
        """Let all workers subscribe and connect."""
        self._traffic, self._first = traffic, first
        told = {"settings": self._settings, "number": number, "first": first, "token": names.token,
                "prefix": names.prefix, "count": len(self.workers)}  # fmt: skip
        for worker in self.workers:
            worker.totals = Totals(is_done=False)
        self._ask("open", lambda worker: {**told, "index": worker.index, "offset": worker.offset})

    def start(self) -> None:
        """Let all workers start."""
        self._ask("start")

    def totals(self) -> Totals:
        """Return where all stand together, and tell each worker where the others do."""
        alive = self._alive()
        total = Totals()
        for worker in alive:
            total.add(worker.totals)
        traffic = self._traffic
        if traffic is not None and not traffic.is_paced and len(alive) > 1:
            copies = traffic.routes if traffic.pattern == "fan" else 1
            for worker in alive:
                mine = worker.totals
                elsewhere = total.published - mine.published - (total.received - mine.received) // copies
                self._runner.send_message(ASK, {"id": 0, "do": "elsewhere", "flight": elsewhere}, worker.client)
            gevent.sleep(EVERY / 2)
        return total

    def end(self) -> None:
        """Let nobody publish any more, and know exactly where all stand then."""
        for index, answer in self._ask("end").items():
            self.workers[index].totals = Totals(**answer["totals"])

    def close(self, is_under_way: bool) -> tuple[Book, Timeline]:
        """Let all disconnect; merge their books. What a worker that died knew is nobody's loss."""
        traffic = self._traffic
        assert traffic is not None, "open comes first"
        book, timeline = Book(), Timeline.of(traffic.lasts)
        for number, answer in enumerate(self._ask("close", lambda worker: {"is_under_way": is_under_way}).values()):
            theirs = Book.from_plain(answer["book"])
            if not number:
                book.started, book.stopped = theirs.started, theirs.stopped
            book.join(theirs)
            timeline.merge(Timeline.from_plain(answer["timeline"]))
        self._excuse_the_dead(book, traffic)
        return book, timeline

    def _excuse_the_dead(self, book: Book, traffic: Traffic) -> None:
        for worker in self.workers:
            if worker.is_lost:
                part = Part(worker.index, len(self.workers))
                for kind, first, _ in kinds_of(traffic, self._first, Names("")):
                    for number in part.of(kind.publishers):
                        book.ledger.adopt(first + number, *map(kind.route, kind.routes_of(number)))
        for route in self._dead_routes(traffic):
            book.ledger.excuse_route(WORKER_DIED, route)
        book.count("workers of ours that died", sum(worker.is_lost for worker in self.workers))

    def _dead_routes(self, traffic: Traffic) -> Iterable[str]:
        for worker in self.workers:
            if worker.is_lost:
                part = Part(worker.index, len(self.workers))
                for kind in (traffic, *traffic.beside):
                    yield from map(kind.route, part.of(kind.routes))

    def about(self) -> dict[str, Any]:
        """Return the workers, and how far their clocks are from ours: in microseconds."""
        for worker in self._alive():
            worker.drift = self._distance(worker)[0] - worker.offset
        return {
            "count": len(self.workers),
            "lost": list(self.lost),
            "clock_uncertainty_us": max((_wrong_by(worker) for worker in self.workers), default=0),
            "clocks": {
                worker.name: {"offset_us": worker.offset // 1000, "uncertainty_us": _wrong_by(worker)}
                for worker in self.workers
            },
        }


def _wrong_by(worker: Worker) -> int:
    return (worker.uncertainty + abs(worker.drift)) // 1000


class WorkerSide:
    """The worker's side: does what the master asks. ``stages``: what the settings mean here, with our own target."""

    def __init__(
        self, runner: Any, stages: Callable[[dict[str, Any]], tuple[Any, list[Traffic]]], report: Report
    ) -> None:
        self._runner, self._stages, self._report = runner, stages, report
        self._stage: StageGroup | None = None
        self.asked = Event()
        runner.register_message(ASK, self._listen)

    def _listen(self, environment: Any, msg: Any) -> None:
        self.asked.set()
        if msg.data["do"] == "clock":
            self._answer(msg.data["id"], ns=time.monotonic_ns(), clock=clock_id())
        elif msg.data["do"] == "elsewhere":
            if self._stage is not None:
                self._stage.elsewhere = msg.data["flight"]
        else:
            gevent.spawn(self._obey, msg.data)

    def _obey(self, asked: dict[str, Any]) -> None:
        try:
            self._answer(asked["id"], **(getattr(self, f"_{asked['do']}")(asked) or {}))
        except Exception as error:  # whatever it is, the master has to know it
            kind = next((each.__name__ for each in type(error).__mro__ if each.__name__ in KINDS), "")
            self._answer(asked["id"], error=str(error) if kind else f"{type(error).__name__}: {error}", kind=kind)

    def _answer(self, number: int, **data: Any) -> None:
        self._runner.send_message(ANSWER, {"id": number, **data})

    def _open(self, asked: dict[str, Any]) -> None:
        kernels.warm()
        target, stages = self._stages(asked["settings"])
        names = Names(asked["prefix"], asked["token"], asked["number"])
        part = Part(asked["index"], asked["count"])
        traffic = stages[asked["number"]]
        self._stage = StageGroup(target, traffic, names, asked["first"], part, asked["offset"], report=self._report)
        self._stage.open()

    def _start(self, asked: dict[str, Any]) -> None:
        stage = self._now
        stage.start()
        gevent.spawn(self._tell, stage)

    def _tell(self, stage: StageGroup) -> None:
        while not stage.stopping.is_set():
            self._runner.send_message(TOTALS, {"stage": stage.first, "totals": asdict(stage.totals())})
            gevent.sleep(EVERY)

    def _end(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._now.end()
        return {"totals": asdict(self._now.totals())}

    def _close(self, asked: dict[str, Any]) -> dict[str, Any]:
        stage, self._stage = self._now, None
        stage.close(asked["is_under_way"])
        book, timeline = stage.written()
        for name in ("started", "stopped", "first_delivery", "last_delivery"):  # on the master's clock
            if (value := getattr(book, name)) is not None:
                setattr(book, name, value + stage.offset / 1e9)
        return {"book": book.plain(), "timeline": timeline.plain()}

    @property
    def _now(self) -> StageGroup:
        if self._stage is None:
            raise Broken("no stage is open")
        return self._stage
