"""The kill table: which tests turn red under which fault, as evidence that the tests can fail at all."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from mqproof.harness.saboteur.core import FAULTS, FaultSpec
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Verdict

Result = Literal["killed", "survived", "invalid"]
SEPARATOR = "~"  # between a target's name and the fault that stands before it


@dataclass(slots=True)
class Row:
    """What became of one fault.

    ``killed_by``: test functions that accused the broker of a statement that the fault breaks. ``overbroad``: sanity
    tests that did not stay green. ``control_failed``: tests that were red without the fault, too.
    """

    spec: FaultSpec
    killed_by: list[str] = field(default_factory=list)
    overbroad: list[str] = field(default_factory=list)
    control_failed: list[str] = field(default_factory=list)
    ran: int = 0
    why: str = ""  # why nothing notices it on this target, where that is known
    applicable: int = 0  # records of tests that could have noticed: no sanity tests, none that the target lacks

    @property
    def result(self) -> Result:
        """``invalid`` where the control already failed, so that a kill would prove nothing."""
        if self.control_failed:
            return "invalid"
        return "killed" if self.killed_by else "survived"

    def plain(self) -> dict[str, Any]:
        """Return the row as other tools read it."""
        return {
            "fault": self.spec.name,
            "statements": list(self.spec.statements),
            "result": self.result,
            "killed_by": self.killed_by,
            "overbroad": self.overbroad,
            "control_failed": self.control_failed,
            "says": self.spec.says,
            "why": self.why,
        }


@dataclass(slots=True)
class KillTable:
    """All faults' rows, and the tests that no fault kills; sanity tests are not meant to be killed.

    ``unmet``: faults that met no test here, because their tests need what the target lacks. ``unfit``: those tests.
    ``killers``: the tests that kill a fault. ``elsewhere``: those that kill nothing here, but defects of the embedded
    brokers.
    """

    rows: list[Row]
    immortal: list[str]
    unmet: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)
    killers: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether faults were killed (or explained), none was overbroad, and every test that met one killed one."""
        done = all(row.result == "killed" or (row.result == "survived" and row.why) for row in self.rows)
        return done and not self.immortal and not any(row.overbroad for row in self.rows)


def tabulate(
    names: Iterable[str],
    records: Iterable[dict[str, Any]],
    sanity: frozenset[str],
    explained: Mapping[str, str] = MappingProxyType({}),
) -> KillTable:
    """Return the table from the records of a pytest run.

    ``names``: the faults that ran. ``records``: one per test, with ``function``, ``target`` (``TARGET~FAULT``, or a
    bare name for the control), ``claims``, ``outcome`` and ``verdicts``. ``sanity``: the functions marked so.
    ``explained``: why a fault is not noticed on this target, by the fault's name.
    """
    rows = {name: Row(FAULTS[name], why=explained.get(name, "")) for name in names}
    records = list(records)
    controls = {(record["function"], record["outcome"]) for record in records if not fault_of(record["target"])}
    red = {function for function, outcome in controls if outcome not in GREEN}
    for record in records:
        row = rows.get(fault_of(record["target"]))
        if row is not None:
            _enter(row, record, red, sanity)
    killers = {function for row in rows.values() for function in row.killed_by}
    ran = {function for function, outcome in controls if outcome == Verdict.CONFORMS}
    unfit = {function for function, _ in controls} - {name for name, outcome in controls if outcome not in NOT_RUN}
    met = [row for row in rows.values() if row.applicable]
    unmet = [row.spec.name for row in rows.values() if not row.applicable]
    return KillTable(met, sorted(ran - killers - sanity), unmet, sorted(unfit - killers - sanity), sorted(killers))


def explanations(targets: Iterable[Target]) -> dict[str, str]:
    """Return why faults are not noticed on these targets, from ``survivors.toml``: driver, fault, reason."""
    text = files(__package__).joinpath("survivors.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {name: why for target in targets for name, why in tables.get(target.driver or "", {}).items()}


NOT_RUN = (Verdict.UNSUPPORTED, Verdict.UNTESTED)
GREEN = (Verdict.CONFORMS, Verdict.UNSUPPORTED, Verdict.KNOWN_DEVIATION, Verdict.UNTESTED)


def fault_of(target: str) -> str:
    """Return the fault that stands before a target of this name; empty for the control."""
    return target.partition(SEPARATOR)[2]


def _enter(row: Row, record: dict[str, Any], red: set[str], sanity: frozenset[str]) -> None:
    row.ran += 1
    function = record["function"]
    row.applicable += function not in sanity and record["outcome"] not in NOT_RUN
    broken = {key for key, (verdict, _) in record["verdicts"].items() if verdict == Verdict.DEVIATES}
    if broken & set(row.spec.statements):
        _add(row.control_failed if function in red else row.killed_by, function)
    elif function in sanity and record["outcome"] not in GREEN:
        _add(row.overbroad, function)


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
