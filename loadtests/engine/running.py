"""Runs the stages of a scenario one after the other, by whoever is there to do it, and makes one result of them."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event
from mqproof.harness.awake import Awake
from mqproof.harness.targets.target import Target
from mqproof.loadtests.book import Book
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.engine.crew import Crew
from mqproof.loadtests.engine.group import Pipes, connections_of, publishers_of
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.plumbing import connect
from mqproof.loadtests.engine.silence import why_nothing_came
from mqproof.loadtests.engine.stage import Totals
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.engine.wire import Broken, Declined, Forbidden
from mqproof.loadtests.journal import Journal
from mqproof.loadtests.settings import BadSettings
from mqproof.loadtests.watching import Watch

QUIET = 3.0  # seconds without an arrival, after which what is missing is lost
FILES = ("histograms", "books")  # that the run directory has as files of their own
CLOCKS_US = 1000  # what clocks may differ by in any case
STORM = 60.0  # seconds that the last reconnect of a fleet may take beyond the time
LATE = 5.0  # seconds beyond the time for publishers that are behind: they give up themselves, if they can
DRAIN = 20.0  # seconds for what is under way when publishing ends, at most; longer where consumers work

Figures = Callable[[list[dict[str, Any]], Book], list[dict[str, Any]]]


class Engine:
    """The books of all stages, and the one that runs now."""

    def __init__(
        self, target: Target, stages: Sequence[Traffic], names: Names, crew: Crew, watch: Watch, figures: Figures,
        journal: Journal,
    ) -> None:  # fmt: skip
        self.target, self.stages, self.names, self.crew = target, list(stages), names, crew
        self.watch, self._figures, self._journal = watch, figures, journal
        self.results: list[dict[str, Any]] = []
        self.total = Book()
        self.traffic: Traffic | None = None
        self.totals = Totals()
        self.broken = ""  # why the broker could not be loaded, or no longer
        self._started = self._stage_started = time.monotonic()

    def run(self, interrupted: Event) -> None:
        """Run stage after stage, until ``interrupted``, or the broker is ``broken``.

        Raises Broken, and BadSettings, where not even the first one could be run.
        """
        kernels.warm()
        self.watch.start()
        try:
            for number, traffic in enumerate(self.stages):
                if interrupted.is_set() or self.broken:
                    break
                self._run_stage(number, traffic, interrupted)
        except Broken as error:
            if not self.results:
                raise
            self.broken = f"{self._now}: {error}"
        finally:
            self.watch.stop()

    def _run_stage(self, number: int, traffic: Traffic, interrupted: Event) -> None:
        names = self.names.of_stage(number)
        first = self.total.reserve(publishers_of(traffic))
        pipes = Pipes(self.target, traffic, first, names)
        self.traffic = traffic
        self._journal.note(pipes.things())
        try:
            self._make(pipes)
            self.watch.before_open()
            self.crew.open(number, traffic, first, names)
            self.watch.begin_stage(pipes, connections_of(traffic))
            self.crew.start()
            self._stage_started = time.monotonic()
            self._wait(traffic, interrupted)
            self.crew.end()
            is_under_way = self._drain(traffic, pipes)
            book, timeline = self.crew.close(is_under_way)
            self._look_again(book, is_under_way)
            self._take(traffic, book, timeline)
        finally:
            self.watch.end_stage()
            self._remove(pipes)

    def _make(self, pipes: Pipes) -> None:
        try:
            pipes.make()
        except Forbidden:
            raise
        except Declined as error:
            raise BadSettings(f"{self.target.redacted_url} declines what is asked for: {error}") from None

    def _remove(self, pipes: Pipes) -> None:
        """Remove everything; what cannot be removed now stays in the journal, for the next start."""
        try:
            pipes.remove()
            self._journal.forget()
        except Forbidden:  # what we may not delete we could not make
            self._journal.forget()
        except Broken as error:
            self.total.failed(error)

    def _look_again(self, book: Book, is_under_way: bool) -> None:
        """Find out whether the broker is still there, and whether it let anything through."""
        if (book.errors or is_under_way) and not (self._broker_answers() or self._broker_answers()):
            self.broken = f"{self._now}: the broker is gone, or does not answer any more"
        self.broken = self.broken or why_nothing_came(book, self.target.protocol)

    def _take(self, traffic: Traffic, book: Book, timeline: Any) -> None:
        watched = self.watch.stage_rows()
        book.ledger.dropped_by_broker += self.watch.dropped(book.ledger)
        rows = _joined(timeline.rows(), watched)
        self.results.append({"stage": traffic.label, "promise": traffic.promise(self.target.protocol), **book.result(),
                             "timeline": rows, "figures": book.figures, "broker": self.watch.summary()})  # fmt: skip
        self.total.merge(book)

    def _wait(self, traffic: Traffic, interrupted: Event) -> None:
        end, late = time.monotonic() + traffic.lasts, Awake()
        while late.seconds() < (STORM if traffic.fleet else LATE) and not interrupted.wait(0.05):
            if time.monotonic() < end:
                late.begin()
            self.totals = self.crew.totals()
            if self.totals.is_done:
                break

    def _drain(self, traffic: Traffic, pipes: Pipes) -> bool:
        """Wait for confirms and copies that are owed, as long as any come; return whether some were still coming."""
        totals = self.crew.totals()
        longest = DRAIN + traffic.work * max(0, totals.owed) / max(1, traffic.consumers * traffic.routes)
        last, all_of_it, silence = -1, Awake(), Awake()
        while totals.owed > 0 or totals.outstanding:
            progress = totals.arrivals + totals.settled
            if progress != last:
                last = progress
                silence.begin()
            if all_of_it.seconds() > longest:
                return True
            if silence.seconds() > QUIET + traffic.work:
                return totals.owed > 0 and (not self._broker_answers() or _depth(pipes) > 0)
            gevent.sleep(0.01)
            self.totals = totals = self.crew.totals()
        return False

    def _broker_answers(self) -> bool:
        """Return whether the broker lets a new connection in: one that stands still has lost nothing yet."""
        try:
            with gevent.Timeout(QUIET):
                client_id = self.names.client_id("q", len(self.results))
                opened = connect(self.target, client_id)
        except (Broken, gevent.Timeout):
            return False
        opened.close()
        return True

    @property
    def _now(self) -> str:
        """The stage, and how far the run is."""
        label = self.traffic.label if self.traffic is not None else ""
        return f"{label}, after {time.monotonic() - self._started:.0f} s"

    @property
    def expected_rate(self) -> float:
        """Messages per second that are meant to be published now; 0: all it takes."""
        passed = time.monotonic() - self._stage_started
        for seconds, rate in self.traffic.phases if self.traffic is not None else ():
            if passed < seconds:
                return rate
            passed -= seconds
        return 0.0

    def progress(self) -> str:
        """Return one line about what happens now."""
        if self.traffic is None:
            return "starting"
        totals = self.totals
        told = f"{self.traffic.label}: {totals.published:,} published, {totals.received:,} arrived"
        return told + (f", {totals.blocked} publishers blocked by the broker" if totals.blocked > 0 else "")

    def result(self, interrupted: bool) -> dict[str, Any]:
        """Return everything as JSON shows it; rates of several stages are those of the fastest."""
        result = self.total.result()
        for name in ("publish_rate_msg_s", "delivery_rate_msg_s"):
            rates = [each["metrics"][name] for each in self.results if each["metrics"][name] is not None]
            result["metrics"][name] = max(rates, default=None)
        workers = self.crew.about()
        result["metrics"]["latency_is_valid"] = _clocks_agree(workers, result["metrics"]["latency_us"]["p50"])
        figures = self._figures(self.results, self.total) if self.results else []
        shown = [{key: value for key, value in each.items() if key not in FILES} for each in self.results]
        return {
            **result, "figures": figures, "stages": shown, "interrupted": interrupted, "workers": workers,
            "broken": self.broken,
            "broker": self.watch.about(), "duration_s": round(time.monotonic() - self._started, 3),
        }  # fmt: skip


def _clocks_agree(workers: dict[str, Any], median: int | None) -> bool:
    """Return whether latencies are finer than what the clocks may differ by: 1 ms, or a tenth of the median."""
    return int(workers.get("clock_uncertainty_us", 0)) <= max(CLOCKS_US, (median or 0) // 10)


def _depth(pipes: Pipes) -> int:
    try:
        return pipes.depth()
    except Broken:
        return 0


def _joined(rows: list[dict[str, Any]], watched: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the timeline with the broker's figures that were taken in each of its moments."""
    for row in rows:
        for sample in watched:
            if row["s"] <= sample["s"] < row["s"] + row["seconds"]:
                row |= {key: value for key, value in sample.items() if key != "s"}
    return rows
