"""Collects the records of all tests, from this process or from xdist's workers, and writes run.json."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.plugin.running import PLAN, PROPERTY
from mqproof.harness.plugin.selection import NO_TARGET
from mqproof.harness.plugin.state import state_of
from mqproof.harness.run import Run
from mqproof.harness.verdicts import WORST_FIRST, Verdict, merge

SAVE_EVERY = 5.0  # seconds between two savings while tests run


def run_folder(option: str | None) -> Path | None:
    """Return the run directory that ``--mqproof-run`` names, made if need be."""
    if option is None:
        return None
    folder = Path(option).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Recorder:
    """Merges records into verdicts. ``run`` is what run.json will say."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.state = state_of(config)
        self.run = Run()
        self.records: dict[str, dict[str, Any]] = {}
        self.done: set[str] = set()
        self.crashed: list[str] = []
        self._saved = 0.0

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Write a first run.json, which says that it is not complete."""
        self.run.add_targets(self.state.targets)
        self._save()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what is planned; xdist's controller has no items of its own."""
        if session.items:
            self.run.planned = _count(item.nodeid for item in session.items)
            self._save()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Count what the workers collected; they all collect the same."""
        if not self.run.planned:
            self.run.planned = _count(ids)
            self._save()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record out of a test's last report; a report without phase is xdist's word for a crash."""
        if report.when not in ("setup", "call", "teardown"):
            self.crashed.append(report.nodeid)
        if report.when == "teardown":
            self.done.add(report.nodeid)
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, dict):
                self.records[report.nodeid] = value
        if time.monotonic() - self._saved > SAVE_EVERY:
            self._save()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write run.json; a run in which nothing was judged does not end with 0."""
        self._add_crashed()
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        self.run.finish(ended and not self.crashed and _count(self.done) == self.run.planned > 0)
        self._save()
        if self.state.run_dir is not None:
            (self.state.run_dir / PLAN).unlink(missing_ok=True)
        judged = {Verdict.CONFORMS, Verdict.KNOWN_DEVIATION} & {record["outcome"] for record in self.records.values()}
        if session.exitstatus == pytest.ExitCode.OK and self.records and not judged:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def _save(self) -> None:
        self._saved = time.monotonic()
        self.run.tests = [_test(record) for record in self.records.values()]
        self.run.statements = merged(self.records.values())
        if self.state.run_dir is not None:
            self.run.save(self.state.run_dir)

    def _add_crashed(self) -> None:
        """Give the tests whose worker died a record, out of the plan that a worker had written."""
        plan_file = self.state.run_dir / PLAN if self.state.run_dir is not None else None
        if not self.crashed:
            return
        self.run.errors += [f"the worker crashed while running {nodeid}" for nodeid in self.crashed]
        plan = json.loads(plan_file.read_text()) if plan_file is not None and plan_file.exists() else {}
        for nodeid in self.crashed:
            if nodeid in plan:
                self.records[nodeid] = crashed_record(plan[nodeid])


def _count(nodeids: Iterable[str]) -> int:
    """Return how many of these tests have a target; what speaks another protocol is skipped, and never planned."""
    return sum(f"[{NO_TARGET}" not in nodeid for nodeid in nodeids)


def crashed_record(planned: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a test whose worker died under it: inconclusive."""
    reason = "harness error: the worker process crashed"
    verdicts = {key: [str(Verdict.INCONCLUSIVE), reason] for key in planned["statements"]}
    outcome = {"outcome": str(Verdict.INCONCLUSIVE), "verdicts": verdicts, "stale": [], "reason": reason}
    return {**planned, **outcome, "duration_s": 0.0, "expected": None, "actual": None}


def merged(records: Any) -> list[dict[str, Any]]:
    """Return one row per statement and target, with the worst verdict of its tests and the reason for it."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        for key in record["verdicts"]:
            groups.setdefault((record["target"], key), []).append(record)
    return [_row(key, target, group) for (target, key), group in sorted(groups.items())]


def _row(key: str, target: str, group: list[dict[str, Any]]) -> dict[str, Any]:
    group = sorted(group, key=lambda record: record["id"])
    verdict = merge(Verdict(record["verdicts"][key][0]) for record in group)
    first = next(record for record in group if record["verdicts"][key][0] == verdict)
    spec, _, identifier = key.partition(":")
    accuses = verdict in (Verdict.DEVIATES, Verdict.KNOWN_DEVIATION)
    row = {
        "spec": spec,
        "id": identifier,
        "target": target,
        "verdict": str(verdict),
        "tests": [record["id"] for record in group],
        "expected": first["expected"] if accuses else None,
        "actual": first["actual"] if accuses else None,
        "reason": first["verdicts"][key][1],
    }
    if verdict is Verdict.CONFORMS and any(key in record["stale"] for record in group):
        row["stale"] = True
        row["reason"] = "stale profile: a known deviation is listed, but it conforms"
    return row


def _test(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("verdicts", "stale")}


def worst_first(verdict: str) -> int:
    """Return a sort key that puts the worst verdict first."""
    return WORST_FIRST.index(Verdict(verdict))
