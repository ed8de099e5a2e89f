"""A report that a broker's maintainers can use: the clause, the smallest conversation, and a script without mqproof."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mqproof.harness.bug_replay import Step, replay, script_of, shrink, steps_of
from mqproof.harness.evidence import as_text, conversation_of
from mqproof.harness.run import BadRun, Run
from mqproof.harness.statements.links import link_of
from mqproof.harness.statements.registry import Statement, find, load
from mqproof.harness.targets.target import parse_url
from mqproof.harness.verdicts import Verdict

ACCUSED = (Verdict.DEVIATES, Verdict.KNOWN_DEVIATION)
LOGS = "logs"  # of brokers that were started here, one file for each target
LOG_LINES = 30


class NothingToReport(ValueError):
    """A statement from which no broker in the run deviates; one line says what there is."""


@dataclass(frozen=True, slots=True)
class Case:
    """One deviation: the statement, its row in run.json, the target, and the smallest conversation that shows it."""

    statement: Statement
    row: dict[str, Any]
    target: dict[str, Any]
    test: str
    wires: list[dict[str, Any]]
    steps: list[Step] | None = None  # the clients' side of it
    spoken: int = 0  # steps before it was shrunk
    log: str = ""  # the end of the broker's log, where it was started here

    @property
    def is_shrunk(self) -> bool:
        """Whether steps were left out."""
        return self.steps is not None and len(self.steps) < self.spoken


def smallest_case(run: Run, folder: Path, identifier: str, target: str | None = None) -> Case:
    """Return the deviation from a statement (``spec:id``, or an id that one specification has) to report.

    Raises NothingToReport, UnknownStatement, and BadRun.
    """
    keys = [key for key in load() if identifier in (key, load()[key].id)] or [find(identifier).key]
    rows = [row for row in run.statements if f"{row['spec']}:{row['id']}" in keys and target in (None, row["target"])]
    accused = [row for row in rows if row["verdict"] in ACCUSED]
    if not accused:
        found = ", ".join(f"{row['verdict']} on {row['target']}" for row in rows) or "not in this run"
        raise NothingToReport(f"no deviation from {identifier} to report: {found}")
    row = accused[0]
    test, wires = _smallest_conversation(run, folder, row)
    described = next((one for one in run.targets if one["name"] == row["target"]), None)
    if described is None:
        raise BadRun(f"{folder} is damaged: it does not describe the target {row['target']!r}")
    steps = steps_of(wires, str(described["url"]))
    log = _log_of(folder, described["name"])
    return Case(load()[f"{row['spec']}:{row['id']}"], row, described, test, wires, steps, len(steps or ()), log)


def shrunk(case: Case, broker: tuple[str, int], reference: tuple[str, int]) -> Case:
    """Return the case with the fewest steps after which ``broker`` answers as it does and ``reference`` otherwise.

    Raises NothingToReport where both answer the whole conversation alike.
    """
    steps, protocol = case.steps or [], str(case.target["protocol"])
    fault = replay(steps, *broker, protocol) if steps else []
    if not steps or fault == replay(steps, *reference, protocol):
        raise NothingToReport("the conversation, said again, does not tell the broker from the reference: not shrunk")

    def shows(candidate: Sequence[Step]) -> bool:
        return replay(candidate, *broker, protocol) == fault and replay(candidate, *reference, protocol) != fault

    return replace(case, steps=shrink(steps, shows))


def _log_of(folder: Path, target: str) -> str:
    path = folder / LOGS / f"{target}.log"
    is_there = path.parent == folder / LOGS and path.is_file() and not path.is_symlink()  # the run may be anybody's
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if is_there else []
    return "\n".join(lines[-LOG_LINES:])


def as_markdown(case: Case) -> str:
    """Return the report, ready to be sent."""
    statement, row, target = case.statement, case.row, case.target
    product = f"{target['product']} {target['version']}".strip() or target["name"]
    parts = [
        f"# {product}: {statement.summary}",
        f"**Clause:** [{statement.key}]({link_of(statement)}) ({statement.level}, {statement.section}), in our words: "
        f"{statement.summary}",
        f"**Expected:** {row['expected'] or 'what the clause says'}",
        f"**Actual:** {row['actual'] or row['reason']}",
        f"**Broker:** {product}",
    ]
    if case.wires:
        parts += ["## The conversation", _fenced(as_text(case.wires), "text")]
        script = standalone_script(case)
        if script:
            fewer = f", shrunk from {case.spoken} steps to {len(case.steps or ())}" if case.is_shrunk else ""
            parts += ["## To see it", f"Plain Python, nothing to install{fewer}:", _fenced(script, "python")]
        else:
            parts.append("A script is left out: the conversation is cut, holds a secret, or goes over WebSocket.")
    if case.log:
        parts += ["## The broker's log", _fenced(case.log, "text")]
    parts.append(f"Found by the test `{case.test}` of mqproof.")
    return "\n\n".join(parts) + "\n"


def standalone_script(case: Case) -> str | None:
    """Return a script that says the same octets again; None where they are cut, masked or in frames, or not kept.

    Raises BadTarget where the run names no URL of a broker.
    """
    if case.steps is None:
        return None
    return script_of(case.steps, parse_url(str(case.target["url"])).port)


def _smallest_conversation(run: Run, folder: Path, row: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    found: list[tuple[int, str, list[dict[str, Any]]]] = []
    for test in run.tests:
        is_one = test["id"] in row["tests"] and test["outcome"] == row["verdict"]
        wires = conversation_of(folder, test) if is_one else None
        if wires is not None:
            found.append((_length(wires), test["id"], wires))
    if not found:
        return next(iter(row["tests"]), "unknown"), []
    _, test_id, wires = min(found, key=lambda one: one[:2])
    return test_id, wires


def _length(wires: Sequence[dict[str, Any]]) -> int:
    return sum(len(wire["lines"]) for wire in wires)


def _fenced(text: str, language: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)  # nothing within ends it
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
