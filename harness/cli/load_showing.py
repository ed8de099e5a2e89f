"""The result of a load as the terminal shows it."""

import math
from typing import Any

from rich.console import Console
from rich.table import Table

LEDGER = ("lost", "duplicated", "reordered", "corrupted", "unexpected")


def show(entry: dict[str, Any], console: Console, trace: str = "") -> None:
    """Print one target's result; ``trace``: the folder where every message's fate stands, if it was asked for."""
    console.print(f"{entry['target']}: {entry['scenario']}", style="bold", soft_wrap=True)
    latencies = Table("latency in ms", box=None)
    for name in ("p50", "p90", "p99", "p99.9", "max"):
        latencies.add_column(name, justify="right")
    for name, found in entry["latencies_us"].items():
        latencies.add_row(name, *(_milliseconds(found[key]) for key in ("p50", "p90", "p99", "p999", "max")))
    console.print(latencies)
    _show_stages(entry, console)
    metrics, ledger = entry["metrics"], entry["ledger"]
    rate = metrics["delivery_rate_msg_s"]
    console.print(
        f"  {metrics['published']:,} published, {metrics['confirmed']:,} confirmed, {metrics['delivered']:,} delivered"
        f" at {f'{rate:,.0f}' if rate is not None else 'no'} messages/s"
    )
    console.print("  " + ", ".join(f"{name} {ledger[name]:,}" for name in LEDGER), style=_alarm(ledger))
    for name, count in entry["counts"].items():
        console.print(f"  {name}: {count:,}")
    for error, count in entry["errors"].items():
        console.print(f"  {count} times: {error}", style="red", soft_wrap=True)
    _show_losses(entry["ledger"], console, trace)
    _show_more(entry, console)
    for row in entry["thresholds"]:
        verdict = "holds" if row["passes"] else "is missed"
        console.print(f"  {row['rule']}: {row['value']}, bound {row['bound']:g}: {verdict}")
    console.print()


def _show_stages(entry: dict[str, Any], console: Console) -> None:
    """Print a line for each stage of a scenario that has several."""
    if len(entry.get("stages", ())) < 2:
        return
    table = Table("stage", box=None)
    for heading in ("delivered", "messages/s", "p50 ms", "p99 ms", "lost"):
        table.add_column(heading, justify="right")
    for stage in entry["stages"]:
        metrics = stage["metrics"]
        rate, latency = metrics["delivery_rate_msg_s"], metrics["latency_us"]
        table.add_row(
            stage["stage"], f"{metrics['delivered']:,}", f"{rate:,.0f}" if rate is not None else "-",
            _milliseconds(latency["p50"]), _milliseconds(latency["p99"]), f"{stage['ledger']['lost']:,}",
        )  # fmt: skip
    console.print(table)


def _alarm(ledger: dict[str, Any]) -> str:
    return "bold red" if any(ledger[name] for name in LEDGER) else "green"


def _shown(value: float) -> str:
    """Return a figure with thousands set apart, and no more digits than anybody reads."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _milliseconds(microseconds: int | None) -> str:
    if microseconds is None:
        return "-"
    value = microseconds / 1000
    return f"{value:.{max(0, 2 - int(math.log10(max(value, 1))))}f}"


def _show_losses(ledger: dict[str, Any], console: Console, trace: str) -> None:
    """Print why messages are missing, and which."""
    for cause, count in ledger["lost_by_cause"].items():
        console.print(f"  lost, {cause}: {count:,}", style="bold red" if cause == "unexplained" else "yellow")
    for name in ("confirmed_lost", "unconfirmed_delivered"):
        if ledger[name]:
            console.print(f"  {name.replace('_', ' but ')}: {ledger[name]:,}")
    if ledger["examples"]:
        console.print(f"  first of the unexplained: {'; '.join(ledger['examples'])}", soft_wrap=True)
        where = f"in {trace}/fates.csv" if trace else "written with --trace"
        console.print(f"  every message's fate: {where}", soft_wrap=True)


def _show_more(entry: dict[str, Any], console: Console) -> None:
    """Print what the scenario shows, who could not work, and what to know of the clocks."""
    for figure in entry.get("figures", ()):
        console.print(f"  {figure['name']}: {_shown(figure['value'])} {figure['unit']}".rstrip())
    for who, found in entry.get("unavailability", {}).items():
        console.print(f"  {who} could not work {found['times']} times, {found['seconds']:g} s in all, "
                      f"{found['longest_s']:g} s at most", style="yellow")  # fmt: skip
    for error in entry.get("broker", {}).get("errors", ()):
        console.print(f"  watching the broker: {error}", style="yellow", soft_wrap=True)
    workers = entry.get("workers") or {}
    for worker in workers.get("lost", ()):
        console.print(f"  {worker} died: its messages are not counted as lost by the broker", style="yellow")
    if workers and not entry["metrics"].get("latency_is_valid", True):
        console.print(f"  latencies are not valid: clocks may differ by {workers['clock_uncertainty_us']:,} us",
                      style="yellow")  # fmt: skip
