"""The gate: rules on a run, each with a value, a bound, and pass or fail. An unmeasured value never passes.

A run that is empty, incomplete or too old fails whatever the rules say; one that cannot be read is no run (BadRun).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mqproof.harness.compare import at, direction_of, overheads_of, verdicts_of
from mqproof.harness.gate_config import GateConfig
from mqproof.harness.run import Run
from mqproof.harness.statements.registry import load as registry
from mqproof.harness.verdicts import Verdict

SHOWN = 5  # names that a result lists
CLOCKS_DIFFER_H = 1.0  # hours that a run may seem to come from the future


@dataclass(frozen=True, slots=True)
class Result:
    """One rule: what was found, what was allowed, and what it was about."""

    rule: str
    passed: bool
    value: str
    bound: str
    detail: str = ""


def evaluate(run: Run, config: GateConfig, baseline: Run | None = None, moment: datetime | None = None) -> list[Result]:
    """Return the result of every rule. ``moment``: the present, for the age of the run."""
    results = [_complete(run), _not_empty(run)]
    results += _verdict_rules(run, config)
    if config.max_age_hours is not None:
        results.append(_age(run, config.max_age_hours, moment or datetime.now(UTC)))
    if baseline is not None:
        results.append(_baseline(run, baseline, config.max_worse_than_baseline))
    results += _overhead_rules(run, config)
    results += _load_rules(run, config)
    return results


def passes(results: list[Result]) -> bool:
    """Return whether every rule passed; no rules at all do not pass."""
    return bool(results) and all(result.passed for result in results)


def _complete(run: Run) -> Result:
    return Result("complete", run.complete, "yes" if run.complete else "no", "yes", "; ".join(run.errors[:SHOWN]))


def _not_empty(run: Run) -> Result:
    counts = {"verdicts": len(run.statements), "analyses": len(run.analyses), "loads": len(run.loads)}
    holds = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"
    return Result("not-empty", holds != "nothing", holds, "anything")


def _verdict_rules(run: Run, config: GateConfig) -> Iterator[Result]:
    if not run.statements and (run.analyses or run.loads) and config.min_statements is None:
        return
    rows = [row for row in run.statements if row["verdict"] == Verdict.DEVIATES]
    should = [row for row in rows if _is_should(row)]
    yield _at_most("max_deviations", [row for row in rows if row not in should], config.max_deviations)
    if config.max_should_deviations is not None:
        yield _at_most("max_should_deviations", should, config.max_should_deviations)
    if config.max_inconclusive is not None:
        found = [row for row in run.statements if row["verdict"] == Verdict.INCONCLUSIVE]
        yield _at_most("max_inconclusive", found, config.max_inconclusive)
    if config.min_statements is not None:
        judged = {Verdict.CONFORMS, Verdict.DEVIATES, Verdict.KNOWN_DEVIATION}
        tested = len({(row["spec"], row["id"]) for row in run.statements if row["verdict"] in judged})
        passed = tested >= config.min_statements
        yield Result("min_statements", passed, str(tested), f">= {config.min_statements}")


def _at_most(rule: str, rows: list[dict[str, Any]], bound: int) -> Result:
    names = [f"{row['spec']}:{row['id']} on {row['target']}" for row in rows]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return Result(rule, len(rows) <= bound, str(len(rows)), f"<= {bound}", ", ".join(names[:SHOWN]) + more)


def _is_should(row: dict[str, Any]) -> bool:
    statement = registry().get(f"{row['spec']}:{row['id']}")
    return statement is not None and statement.is_should


def _age(run: Run, hours: float, moment: datetime) -> Result:
    bound = f"<= {hours:g} h"
    try:
        age = (moment - datetime.fromisoformat(run.started)).total_seconds() / 3600
    except (ValueError, TypeError):
        return Result("max_age_hours", False, "unknown", bound, f"started at {run.started!r}")
    return Result("max_age_hours", -CLOCKS_DIFFER_H <= age <= hours, f"{age:.1f} h", bound)


def _baseline(run: Run, baseline: Run, bound: int) -> Result:
    """Compare with a baseline; a verdict that the baseline had and this run lost is worse, too."""
    now, worse = verdicts_of([run]), []
    for key, (before, _) in verdicts_of([baseline]).items():
        after = now.get(key, (Verdict.UNTESTED, ""))[0]
        direction = "same" if before == after else direction_of(before, after)
        lost = direction == "unclear" and before in (Verdict.CONFORMS, Verdict.KNOWN_DEVIATION)
        if direction == "worse" or lost:
            worse.append(f"{key} {before} -> {after}")
    more = f" and {len(worse) - SHOWN} more" if len(worse) > SHOWN else ""
    detail = ", ".join(worse[:SHOWN]) + more
    passed = len(worse) <= bound and bool(baseline.statements)
    return Result("max_worse_than_baseline", passed, str(len(worse)), f"<= {bound}", detail or _nothing_in(baseline))


def _nothing_in(baseline: Run) -> str:
    return "" if baseline.statements else "the baseline holds no verdicts"


def _overhead_rules(run: Run, config: GateConfig) -> Iterator[Result]:
    measured = overheads_of(run)
    for group, bound in config.max_overhead_bytes.items():
        yield _number(f"max_overhead_bytes {group}", measured.get(group), bound, at_most=True, unit=" B")


def _load_rules(run: Run, config: GateConfig) -> Iterator[Result]:
    memory = config.max_memory_per_connection_kb
    rules: list[tuple[str, str, float | None, float, str]] = [
        ("max_p99_ms", "metrics.latency_us.p99", config.max_p99_ms, 1000.0, " ms"),
        ("max_lost", "ledger.lost", config.max_lost, 1.0, ""),
        ("max_duplicated", "ledger.duplicated", config.max_duplicated, 1.0, ""),
        ("max_reordered", "ledger.reordered", config.max_reordered, 1.0, ""),
        ("max_corrupted", "ledger.corrupted", config.max_corrupted, 1.0, ""),
        ("max_memory_per_connection_kb", "metrics.memory_per_connection_kb", memory, 1.0, " kB"),
    ]
    for rule, path, bound, scale, unit in rules:
        if bound is not None:
            yield _number(rule, _worst(run, path, max, scale), bound, at_most=True, unit=unit)
    if config.min_delivery_rate is not None:
        value = _worst(run, "metrics.delivery_rate_msg_s", min, 1.0)
        yield _number("min_delivery_rate", value, config.min_delivery_rate, at_most=False, unit=" msg/s")


def _worst(run: Run, path: str, choose: Callable[[list[float]], float], scale: float) -> float | None:
    """Return the worst value among the run's loads; None when one of them, or all, did not measure it."""
    values = [at(load, path) for load in run.loads]
    known = [value for value in values if value is not None]
    return choose(known) / scale if known and len(known) == len(values) else None


def _number(rule: str, value: float | None, bound: float, *, at_most: bool, unit: str) -> Result:
    shown_bound = f"{'<=' if at_most else '>='} {bound:g}{unit}"
    if value is None or value != value:
        return Result(rule, False, "not measured", shown_bound)
    return Result(rule, value <= bound if at_most else value >= bound, f"{value:g}{unit}", shown_bound)
