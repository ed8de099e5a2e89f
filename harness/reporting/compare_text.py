"""A comparison for people: on the terminal, as Markdown for a pull request, as a page."""


from mqproof.harness.compare import OVERHEAD, Comparison, Direction, MetricChange
from mqproof.harness.printable import html_text
from mqproof.harness.reporting.markdown import cell
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

TITLES: tuple[tuple[Direction, str], ...] = (("worse", "Worse"), ("better", "Better"), ("unclear", "Not comparable"))
WORDS = {
    "metrics.publish_rate_msg_s": "published, msg/s",
    "metrics.delivery_rate_msg_s": "delivered, msg/s",
    "metrics.latency_us.p50": "latency p50, µs",
    "metrics.latency_us.p90": "latency p90, µs",
    "metrics.latency_us.p99": "latency p99, µs",
    "metrics.latency_us.p999": "latency p99.9, µs",
    "metrics.latency_us.max": "latency max, µs",
    "ledger.lost": "lost",
    "ledger.duplicated": "duplicated",
    OVERHEAD: "overhead per message, octets",
}
STYLE = """
:root { color-scheme: light dark; --line: #8885; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; } code { overflow-wrap: anywhere; }
td:first-child { min-width: 9rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.scroll { overflow-x: auto; }
.worse { color: #c62828; } .better { color: #2e7d32; }
@media (prefers-color-scheme: dark) { .worse { color: #ff8a80; } .better { color: #a5d6a7; } }
"""


def print_comparison(found: Comparison, console: Console) -> None:
    """Print the comparison."""
    console.print(f"A  {found.a}\nB  {found.b}\n")
    for direction, heading in TITLES:
        changes = found.of(direction)
        if changes:
            console.print(Text(heading, style="bold"))
            for change in changes:
                console.print(Text(f"{change.level}  {change.spec}:{change.id}  {change.before} -> {change.after}"))
                console.print(Padding(Text(change.reason[:300] or change.summary), (0, 0, 0, 2)))
            console.print()
    console.print(f"{len(found.verdicts)} verdicts changed, {found.unchanged} did not")
    if found.one_sided:
        console.print(f"on one side only: {', '.join(found.one_sided)}")
    if found.metrics:
        table = Table("measured", "A", "B", "", box=None, pad_edge=False)
        for metric in found.metrics:
            table.add_row(measured(metric), spread(metric.before), spread(metric.after), metric.verdict)
        console.print()
        console.print(table)


def markdown(found: Comparison) -> str:
    """Return the comparison as Markdown for a comment."""
    lines = ["<!-- mqproof-compare -->", f"### {found.a} → {found.b}", ""]
    worse, better = len(found.of("worse")), len(found.of("better"))
    lines += [f"**{worse} verdicts worse, {better} better**, {found.unchanged} unchanged.", ""]
    lines += [f"On one side only: {', '.join(found.one_sided)}.", ""] if found.one_sided else []
    for direction, heading in TITLES:
        changes = found.of(direction)
        if changes:
            lines += [f"#### {heading}", "", "| statement | level | before | after | why |", "|---|---|---|---|---|"]
            lines += [
                f"| `{c.spec}:{c.id}` | {c.level} | {c.before} | {c.after} | {cell(c.reason[:200])} |" for c in changes
            ]
            lines.append("")
    if found.metrics:
        lines += ["| measured | before | after | |", "|---|---|---|---|"]
        for m in found.metrics:
            lines.append(f"| {cell(measured(m))} | {spread(m.before)} | {spread(m.after)} | {m.verdict} |")
    return "\n".join(lines).rstrip() + "\n"


def page(found: Comparison) -> str:
    """Return the comparison as one self-contained page."""
    title = f"{html_text(found.a)} → {html_text(found.b)}"
    parts = [f"<h1>{title}</h1>"]
    parts.append(f"<p>{len(found.verdicts)} verdicts changed, {found.unchanged} did not.</p>")
    if found.one_sided:
        parts.append(f"<p>On one side only: {html_text(', '.join(found.one_sided))}.</p>")
    for direction, heading in TITLES:
        rows = "".join(
            f"<tr><td><code>{html_text(c.spec)}:{html_text(c.id)}</code><br>{html_text(c.summary)}</td><td>{html_text(c.level)}</td>"
            f"<td>{c.before}</td><td class={direction}>{c.after}</td><td>{html_text(c.reason)}</td></tr>"
            for c in found.of(direction)
        )
        if rows:
            head = "<tr><th>statement<th>level<th>before<th>after<th>why</tr>"
            parts.append(f"<h2>{heading}</h2>{_scrolling(head + rows)}")
    if found.metrics:
        head = "<tr><th>measured<th>before<th>after<th></tr>"
        parts.append(f"<h2>Measured</h2>{_scrolling(head + ''.join(map(_metric_row, found.metrics)))}")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{title}</title><style>{STYLE}</style>'
    )
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _scrolling(rows: str) -> str:
    """Return a table that scrolls by itself where the window is narrower."""
    return f'<div class="scroll"><table>{rows}</table></div>'


def measured(metric: MetricChange) -> str:
    """Return what was measured, in words that a narrow column can break."""
    name, _, path = metric.name.rpartition(" ")
    return f"{name} {WORDS.get(path, path)}"


def spread(values: tuple[float, ...]) -> str:
    """Return the values in words: one number, or the median and the range."""
    if len(values) == 1:
        return f"{values[0]:g}"
    return f"{values[len(values) // 2]:g} ({values[0]:g} to {values[-1]:g}, {len(values)} runs)"


def _metric_row(metric: MetricChange) -> str:
    cells = f"<td>{html_text(measured(metric))}<td>{spread(metric.before)}<td>{spread(metric.after)}"
    return f"<tr>{cells}<td class={html_text(metric.verdict.split()[0])}>{html_text(metric.verdict)}</tr>"
