"""The end of a run on the terminal: a table, the worst deviations first, and the reason for every other row."""

from collections import Counter
from collections.abc import Iterable
from textwrap import shorten
from typing import Any

from mqproof.harness.reporting.progress import COLOURS
from mqproof.harness.run import Run
from mqproof.harness.statements.registry import Statement, load
from mqproof.harness.verdicts import Verdict
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH = 80
COLUMNS = (
    Verdict.CONFORMS,
    Verdict.DEVIATES,
    Verdict.KNOWN_DEVIATION,
    Verdict.UNSUPPORTED,
    Verdict.INCONCLUSIVE,
)
HEADINGS = ("conforms", "deviates", "known", "unsup- ported", "incon- clusive")
LEVELS = ("MUST", "MUST NOT", "documented", "unstated", "SHOULD", "SHOULD NOT", "MAY", "MAY NOT")
IDS_SHOWN = 3
VALUE = 230  # characters of an expected or actual value: three lines


def print_summary(run: Run, console: Console) -> None:
    """Print the whole summary, at most 80 columns wide."""
    console.width = min(console.width, WIDTH)
    if run.statements:
        console.print(_table(run))
    deviations = sorted((row for row in run.statements if row["verdict"] == Verdict.DEVIATES), key=_severity)
    if deviations:
        console.print(Text("\nDeviations, worst first", style="bold"))
    for row in deviations:
        _print_deviation(row, console)
    _print_others(run.statements, console)
    _print_idle(run, console)


def level_of(row: dict[str, Any]) -> str:
    """Return the level of a row's statement."""
    statement = _statement(row)
    return statement.level if statement else "MUST"


def _table(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("target", overflow="fold", max_width=24)
    table.add_column("suite", no_wrap=True)
    for verdict, heading in zip(COLUMNS, HEADINGS, strict=True):
        table.add_column(heading, justify="right", header_style=COLOURS[verdict], max_width=8)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in run.statements:
        counts.setdefault((row["target"], row["spec"]), Counter())[row["verdict"]] += 1
    for (target, spec), found in sorted(counts.items()):
        cells = [Text(str(found[word]), COLOURS[word] if found[word] else "dim") for word in COLUMNS]
        table.add_row(target, spec, *cells)
    return table


def _print_deviation(row: dict[str, Any], console: Console) -> None:
    statement = _statement(row)
    head = Text.assemble((level_of(row), COLOURS[Verdict.DEVIATES]), f"  {row['spec']}:{row['id']}  on {row['target']}")
    console.print(head)
    if statement:
        console.print(Padding(Text(statement.summary), (0, 0, 0, 2)))
    for name in ("expected", "actual"):
        if row[name] is not None:
            console.print(Padding(Text(f"{name:9}{_short(row[name])}"), (0, 0, 0, 2)))


def _print_others(rows: Iterable[dict[str, Any]], console: Console) -> None:
    """Print one line for each group of rows that share verdict, target and reason."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        if row["verdict"] not in (Verdict.CONFORMS, Verdict.DEVIATES) or row.get("stale"):
            verdict = "stale profile" if row.get("stale") else row["verdict"]
            groups.setdefault((verdict, row["target"], row["spec"], row["reason"]), []).append(row["id"])
    if groups:
        console.print(Text("\nOther verdicts, and why", style="bold"))
    for (verdict, target, spec, reason), ids in sorted(groups.items()):
        more = f" and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
        style = COLOURS.get(Verdict(verdict), "") if verdict in set(Verdict) else "yellow"
        names = ", ".join(ids[:IDS_SHOWN]) + more
        console.print(Text.assemble((verdict, style), f"  on {target}, {spec}: {names}"))
        console.print(Padding(Text(_short(reason) or "no reason was given"), (0, 0, 0, 2)))


def _print_idle(run: Run, console: Console) -> None:
    """Print which targets no test was for: nothing was found out about them, good or bad."""
    if not run.statements:
        return
    idle = [target["name"] for target in run.targets if all(row["target"] != target["name"] for row in run.statements)]
    for name in idle:
        console.print(Text(f"\n{name} was not examined: none of the chosen tests is for it", style="yellow"))


def _short(text: str) -> str:
    return shorten(text, VALUE, placeholder=" …") if " " in text else text[:VALUE]


def _severity(row: dict[str, Any]) -> tuple[int, str, str]:
    level = level_of(row)
    return LEVELS.index(level) if level in LEVELS else 0, f"{row['spec']}:{row['id']}", row["target"]


def _statement(row: dict[str, Any]) -> Statement | None:
    return load().get(f"{row['spec']}:{row['id']}")
