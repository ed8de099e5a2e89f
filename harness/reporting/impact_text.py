"""The impact of an upgrade for people: on the terminal, and as Markdown for a ticket or a pull request."""

from mqproof.harness.compare import Direction
from mqproof.harness.impact import Feature, Impact, Touched
from mqproof.harness.printable import counted
from mqproof.harness.reporting.markdown import cell
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

TITLES: tuple[tuple[Direction, str], ...] = (
    ("worse", "Worse for this application"),
    ("unclear", "Judged by one side only"),
    ("better", "Better"),
)
SHOWN = 3  # features that are named as the proof
LONGEST = 160  # characters of a reason


def print_impact(found: Impact, console: Console, *, with_features: bool) -> None:
    """Print the changes that concern the application, each with the packets that prove the use."""
    console.print(f"from  {found.a}\nto    {found.b}\n")
    for direction, heading in TITLES:
        entries = found.of(direction)
        if entries:
            console.print(Text(heading, style="bold red" if direction == "worse" else "bold"))
        for entry in entries:
            _print_touched(entry, console)
    for line in summary(found):
        console.print(line)
    if with_features:
        console.print()
        console.print(_features_table(found.features))


def summary(found: Impact) -> list[str]:
    """Return what the figures rest on, in sentences."""
    worse, better = len(found.of("worse")), len(found.of("better"))
    features = counted(len(found.features), "feature")
    lines = [
        f"{worse} verdicts got worse that {found.capture} depends on, {better} better.",
        f"It uses {features} in {found.packets:,} packets; {found.depends_on} statements depend on "
        f"them, {found.judged} of which both runs judged.",
        f"{found.untouched} more verdicts changed and do not concern it.",
    ]
    lines += [f"Not looked at: {count} {reason}." for reason, count in found.left_out.items()]
    return lines


def markdown(found: Impact) -> str:
    """Return the impact as Markdown."""
    lines = ["<!-- mqproof-impact -->", f"### Impact: {found.a} → {found.b}", "", *summary(found), ""]
    for direction, heading in TITLES:
        entries = found.of(direction)
        if entries:
            lines += [f"#### {heading}", "", "| statement | level | from | to | why | used in packets |"]
            lines += ["|---|---|---|---|---|---|", *map(_row, entries), ""]
    lines += ["#### Features used", "", "| feature | times | packets | such as |", "|---|---|---|---|"]
    for one in found.features:
        example = cell(one.details[0])
        lines.append(f"| {one.protocol}: {cell(one.name)} | {one.count} | {_packets(one)} | {example} |")
    return "\n".join(lines) + "\n"


def _print_touched(entry: Touched, console: Console) -> None:
    change = entry.change
    console.print(Text(f"{change.level}  {change.spec}:{change.id}  {change.before} -> {change.after}"))
    console.print(Padding(Text(change.summary), (0, 0, 0, 2)))
    for feature in entry.features[:SHOWN]:
        proof = f"used: {feature.name}, {_times(feature)}, {_packets(feature)}: {feature.details[0]}"
        console.print(Padding(Text(proof), (0, 0, 0, 2)))
    if len(entry.features) > SHOWN:
        console.print(Padding(Text(f"and {len(entry.features) - SHOWN} more uses"), (0, 0, 0, 2)))
    if change.reason:
        console.print(Padding(Text(f"why: {_reason(entry)}"), (0, 0, 0, 2)))
    console.print()


def _row(entry: Touched) -> str:
    change = entry.change
    proof = "<br>".join(f"{cell(one.name)}: {_packets(one)}" for one in entry.features[:SHOWN])
    what = f"`{change.spec}:{change.id}`<br>{cell(change.summary)}"
    return f"| {what} | {change.level} | {change.before} | {change.after} | {cell(_reason(entry))} | {proof} |"


def _features_table(features: list[Feature]) -> Table:
    table = Table("feature", box=None, pad_edge=False)
    table.add_column("times", justify="right")
    table.add_column("packets")
    table.add_column("such as", overflow="fold")
    for one in features:
        table.add_row(Text(one.name), f"{one.count:,}", _packets(one).partition(" ")[2], Text(one.details[0]))
    return table


def _reason(entry: Touched) -> str:
    line = entry.change.reason.partition("\n")[0]
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _packets(feature: Feature) -> str:
    more = ", …" if feature.count > len(feature.packets) else ""
    several = "s" if feature.count > 1 else ""
    return f"packet{several} {', '.join(map(str, feature.packets))}{more}"


def _times(feature: Feature) -> str:
    return "once" if feature.count == 1 else f"{feature.count:,} times"
