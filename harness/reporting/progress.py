"""Live progress of the suites: a bar on a terminal, a line now and then where output is piped."""

import time
from collections import Counter
from typing import Any

import pytest
from mqproof.harness.plugin.running import PROPERTY
from mqproof.harness.verdicts import WORST_FIRST, Verdict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

COLOURS = {
    Verdict.CONFORMS: "green",
    Verdict.DEVIATES: "bold red",
    Verdict.KNOWN_DEVIATION: "yellow",
    Verdict.UNSUPPORTED: "cyan",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.UNTESTED: "dim",
}
LINE_EVERY = 5.0  # seconds between two lines where output is piped


class LiveProgress:
    """A pytest plugin for the controlling process. Also keeps what went wrong outside of tests."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.planned = 0
        self.outcomes: Counter[str] = Counter()
        self.errors: list[str] = []
        self.interrupted = False
        self._bar: Progress | None = None
        self._task: Any = None
        self._last_line = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn how many tests there are; xdist's controller collects nothing itself."""
        if session.items:
            self._plan(len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn from the first worker how many tests there are."""
        self._plan(len(ids))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected."""
        if report.failed:
            lines = report.longreprtext.strip().splitlines()
            error = lines[-1].removeprefix("E   ").strip() if lines else report.nodeid
            if error not in self.errors:  # every worker says the same
                self.errors.append(error)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test when its last phase is over."""
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, dict):
                self.outcomes[value["outcome"]] += 1
        self._show()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember Ctrl-C; pytest calls this for its own Exit, too."""
        self.interrupted |= isinstance(excinfo.value, KeyboardInterrupt)

    def pytest_internalerror(self, excrepr: object) -> None:
        """Keep the last line of an internal error."""
        self.errors.append(str(excrepr).strip().splitlines()[-1])

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @property
    def counts(self) -> Text:
        """The outcomes until now, worst first."""
        parts = [(f"{self.outcomes[word]} {word}", COLOURS[word]) for word in WORST_FIRST if self.outcomes[word]]
        return Text("  ").join(Text(text, style) for text, style in parts)

    def _plan(self, count: int) -> None:
        if self.planned:
            return
        self.planned = count
        if self.console.is_terminal:
            columns = (BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[counts]}"))
            # The streams are pytest's while the suites run: the bar must not keep them and give them back later.
            self._bar = Progress(
                *columns, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._task = self._bar.add_task("", total=count, counts="")
            self._bar.start()

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=1, counts=self.counts.markup)
        elif time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            text = f"{self.outcomes.total()}/{self.planned} tests: {self.counts.plain}"
            self.console.print(text, soft_wrap=True)
