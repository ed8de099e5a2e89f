"""What changed between two runs, or two groups of repeated runs: verdicts, overhead, latency, throughput.

A number counts as changed only where the repeats of the one side all lie beyond those of the other; with fewer than
three on a side that cannot be said, and is not said.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mqproof.harness.run import FILE, BadRun, Run, load
from mqproof.harness.statements.registry import load as registry
from mqproof.harness.verdicts import Verdict, merge

ENOUGH = 3  # repeats on each side before a difference is called one
RANKS = {Verdict.DEVIATES: 0, Verdict.KNOWN_DEVIATION: 1, Verdict.UNSUPPORTED: 2, Verdict.CONFORMS: 3}
Direction = Literal["worse", "better", "unclear"]
# path below a load -> whether more is better
LOAD_METRICS = {
    "metrics.publish_rate_msg_s": True,
    "metrics.delivery_rate_msg_s": True,
    "metrics.latency_us.p50": False,
    "metrics.latency_us.p90": False,
    "metrics.latency_us.p99": False,
    "metrics.latency_us.p999": False,
    "metrics.latency_us.max": False,
    "ledger.lost": False,
    "ledger.duplicated": False,
}
NO_SETTINGS = ("scenario", "product", "capabilities", "prefix")  # in a load's settings, and what is compared or chance
OVERHEAD = "overhead_per_delivered"


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """One statement whose verdict differs; ``unclear`` where one side knows nothing of it."""

    spec: str
    id: str
    level: str
    summary: str
    before: str
    after: str
    direction: Direction
    reason: str


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One number of both sides: all values, sorted. ``verdict``: worse, better, same, or not enough runs."""

    name: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    verdict: Literal["worse", "better", "same", "not enough runs"]


@dataclass(slots=True)
class Comparison:
    """Everything that changed between A and B."""

    a: str
    b: str
    verdicts: list[VerdictChange] = field(default_factory=list)
    unchanged: int = 0
    one_sided: list[str] = field(default_factory=list)  # specifications and loads that only one side has
    metrics: list[MetricChange] = field(default_factory=list)

    def of(self, direction: Direction) -> list[VerdictChange]:
        """Return the verdicts that went in one direction."""
        return [change for change in self.verdicts if change.direction == direction]

    def plain(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return asdict(self)


def load_group(path: Path) -> list[Run]:
    """Return the run in ``path``, or all runs in the folders directly below it. Raises BadRun."""
    if path.is_file() or (path / FILE).exists():
        return [load(path)]
    runs = [load(folder) for folder in sorted(path.glob("*")) if (folder / FILE).exists()] if path.is_dir() else []
    if not runs:
        raise BadRun(f"{path} is no run and holds none: make one with mqproof test --out DIR")
    return runs


def compare(a: Sequence[Run], b: Sequence[Run]) -> Comparison:
    """Return what changed from the runs of A to the runs of B."""
    result = Comparison(title(a), title(b))
    before, after = verdicts_of(a), verdicts_of(b)
    specs = [{key.partition(":")[0] for key in side} for side in (before, after)]
    result.one_sided = sorted(specs[0] ^ specs[1])
    for key in sorted(before.keys() | after.keys()):
        if key.partition(":")[0] in result.one_sided:
            continue
        old, new = (side.get(key, (Verdict.UNTESTED, "")) for side in (before, after))
        if old[0] == new[0]:
            result.unchanged += 1
        else:
            result.verdicts.append(_change(key, old[0], new[0], new[1] or old[1]))
    varied = _varied((*a, *b))
    result.one_sided += sorted(_loads_of(a, varied) ^ _loads_of(b, varied))
    result.metrics = _metric_changes(metrics_of(a, varied), metrics_of(b, varied))
    return result


def verdicts_of(runs: Sequence[Run]) -> dict[str, tuple[Verdict, str]]:
    """Return verdict and reason of each statement (by qualified id), merged over all runs and targets."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for row in run.statements:
            rows.setdefault(f"{row['spec']}:{row['id']}", []).append(row)
    result = {}
    for key, group in rows.items():
        verdict = merge(Verdict(row["verdict"]) for row in group)
        result[key] = verdict, next(str(row["reason"] or "") for row in group if row["verdict"] == verdict)
    return result


def title(runs: Sequence[Run]) -> str:
    """Return the products and versions that the runs are about."""
    names = {f"{t['product']} {t['version']}".strip() or str(t["name"]) for run in runs for t in run.targets}
    repeats = f" ({len(runs)} runs)" if len(runs) > 1 else ""
    return (", ".join(sorted(names)) or "no target") + repeats


def direction_of(before: Verdict, after: Verdict) -> Direction:
    """Return whether a changed verdict is worse or better, as far as both sides know it."""
    if before not in RANKS or after not in RANKS:
        return "unclear"
    return "worse" if RANKS[after] < RANKS[before] else "better"


def _change(key: str, before: Verdict, after: Verdict, reason: str) -> VerdictChange:
    statement = registry().get(key)
    spec, _, identifier = key.partition(":")
    level, summary = (statement.level, statement.summary) if statement else ("", "")
    return VerdictChange(spec, identifier, level, summary, before, after, direction_of(before, after), reason)


def _metric_changes(before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> list[MetricChange]:
    changes = []
    for name in sorted(before.keys() & after.keys()):
        more_is_better = LOAD_METRICS.get(name.rpartition(" ")[2], False)
        old, new = tuple(sorted(before[name])), tuple(sorted(after[name]))
        changes.append(MetricChange(name, old, new, _judged(old, new, more_is_better)))
    return changes


def _judged(
    before: tuple[float, ...], after: tuple[float, ...], more_is_better: bool
) -> Literal["worse", "better", "same", "not enough runs"]:
    if min(len(before), len(after)) < ENOUGH:
        return "not enough runs"
    if after[0] > before[-1]:
        return "better" if more_is_better else "worse"
    if after[-1] < before[0]:
        return "worse" if more_is_better else "better"
    return "same"


def metrics_of(runs: Iterable[Run], varied: Mapping[str, Sequence[str]]) -> dict[str, list[float]]:
    """Return every number worth comparing, by name, one value for each time it was measured.

    ``varied``: by kind of load, the settings that belong to its name, because they are not the same everywhere.
    """
    values: dict[str, list[float]] = {}
    for run in runs:
        for load_ in run.loads:
            for path in LOAD_METRICS:
                value = at(load_, path)
                if value is not None:
                    values.setdefault(f"{_load_name(run, load_, varied)} {path}", []).append(value)
        for name, value in overheads_of(run).items():
            values.setdefault(f"{name} {OVERHEAD}", []).append(value)
    return values


def _kind(run: Run, load_: Mapping[str, Any]) -> str:
    """Return a load's scenario and protocol: what two targets of one run measured is no repeat."""
    protocol = next((t["protocol"] for t in run.targets if t["name"] == load_.get("target")), "")
    return f"{load_.get('scenario', 'load')} {protocol}".strip()


def _varied(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Return, by kind of load, the settings that differ between its loads."""
    seen: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        for load_ in run.loads:
            of_kind = seen.setdefault(_kind(run, load_), {})
            for name, value in load_.get("settings", {}).items():
                if name not in NO_SETTINGS:
                    of_kind.setdefault(name, set()).add(repr(value))
    return {kind: [name for name, values in found.items() if len(values) > 1] for kind, found in seen.items()}


def _loads_of(runs: Iterable[Run], varied: Mapping[str, Sequence[str]]) -> set[str]:
    return {_load_name(run, load_, varied) for run in runs for load_ in run.loads}


def _load_name(run: Run, load_: Mapping[str, Any], varied: Mapping[str, Sequence[str]]) -> str:
    kind, settings = _kind(run, load_), load_.get("settings", {})
    told = ", ".join(f"{name} {settings[name]}" for name in varied.get(kind, ()) if name in settings)
    return f"{kind} ({told})" if told else kind


def overheads_of(run: Run) -> dict[str, float]:
    """Return the overhead in bytes per delivered message, by ``protocol.QoS``, of the run's captures."""
    found: dict[str, float] = {}
    for analysis in run.analyses:
        for protocol, groups in analysis.get("account", {}).get("messages", {}).items():
            for group, row in groups.items():
                value = row.get(OVERHEAD)
                if isinstance(value, int | float):
                    found[f"{protocol}.{group}"] = float(value)
    return found


def at(data: Any, path: str) -> float | None:
    """Return the number at a dotted path, or None where there is none."""
    for name in path.split("."):
        if not isinstance(data, dict) or name not in data:
            return None
        data = data[name]
    return float(data) if isinstance(data, int | float) and not isinstance(data, bool) else None
