"""Ours and tshark's counts on the terminal."""

from collections.abc import Sequence

from mqproof.harness.checking import Row
from mqproof.harness.reporting.tables import titled_table
from rich.console import Console
from rich.text import Text


def print_check(name: str, rows: Sequence[Row], console: Console) -> None:
    """Print both counts of each kind, and what explains the differences."""
    table = titled_table(name, "kind", "here", "tshark", "")
    for row in rows:
        word = "" if row.agrees else "explained" if row.why else "NOT EXPLAINED"
        table.add_row(f"{row.protocol} {row.kind}", f"{row.ours:,}", f"{row.theirs:,}", word)
    console.print(table)
    if not rows:
        console.print("Neither finds AMQP or MQTT.")
    differing = [row for row in rows if not row.agrees]
    if not differing:
        console.print("Both agree.")
    for why in dict.fromkeys(row.why for row in differing):
        console.print(Text(why or "Nothing in the capture explains the rows marked NOT EXPLAINED: please report this."))
