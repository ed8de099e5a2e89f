"""Followed messages, findings and what was selected, on the terminal."""

from typing import Any

from mqproof.harness.printable import printable
from mqproof.harness.reporting.tables import figure, titled_table
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# What can be said of the ends of messages, in the order of the table; (section, name) of a group's JSON.
FATES = {
    "published": (None, "published"),
    "  acknowledged by the broker": ("publishes", "acknowledged"),
    "  refused by the broker": ("publishes", "refused"),
    "  returned: no queue wanted them": ("publishes", "returned"),
    "  no confirm asked for": ("publishes", "no_acknowledgement_wanted"),
    "  confirm not known (began before)": ("publishes", "not_known"),
    "  no confirm when the connection ended": ("publishes", "broken_off"),
    "  no confirm yet when the capture ended": ("publishes", "open_at_the_end"),
    "delivered": (None, "delivered"),
    "  acknowledged by the consumer": ("deliveries", "acknowledged"),
    "  refused by the consumer": ("deliveries", "refused"),
    "    of these put back into the queue": ("deliveries", "requeued"),
    "  no acknowledgement asked for": ("deliveries", "no_acknowledgement_wanted"),
    "  not acknowledged when the connection ended": ("deliveries", "broken_off"),
    "  not acknowledged yet when the capture ended": ("deliveries", "open_at_the_end"),
    "  delivered again, as the broker says": ("deliveries", "redelivered"),
    "direction or topic not known": (None, "direction_unknown"),
    "QoS 2 handshakes completed": ("handshakes", "completed"),
    "  packets of a handshake sent again": ("handshakes", "repeated"),
    "  handshakes broken off": ("handshakes", "broken_off"),
    "  taken up again on a later connection": ("handshakes", "resumed"),
    "  open when the capture ended": ("handshakes", "open_at_the_end"),
    "deliveries matched by topic and content": ("matching", "matched_by_content"),
    "  content was published more than once: in order": ("matching", "matched_by_order"),
    "  more copies than were published here": ("matching", "copies_beyond_published"),
    "  retained messages": ("matching", "retained"),
    "  no publish in this capture": ("matching", "unmatched"),
}
TIMES = {
    "publish_to_acknowledgement": "publish to acknowledgement",
    "publish_to_delivery": "publish to delivery",
    "publish_to_delivery_by_order": "publish to delivery, matched in order",
    "delivery_to_acknowledgement": "delivery to acknowledgement",
}


def print_followed(followed: dict[str, Any], console: Console) -> None:
    """Print what became of messages, what they cost, how long it took, and the costliest."""
    groups = followed["groups"]
    if not groups:
        console.print("There is no message to follow in what was selected.")
        return
    console.print(_fates(groups))
    console.print(_costs(groups))
    times = _times(groups)
    if times.row_count:
        console.print(times)
    console.print(_costliest(followed["costliest"]))
    if followed["not_followed_to_the_end"]:
        count = followed["not_followed_to_the_end"]
        console.print(f"{count:,} messages gave way to later ones: deliveries after that count as unmatched.")


def print_findings(findings: list[dict[str, Any]], console: Console, *, shown: int = 50) -> None:
    """Print each finding with the packets that show it."""
    title = f"Findings: {len(findings)}" if findings else "Findings: none"
    console.print(Text(title, style="bold"))
    for finding in findings[:shown]:
        times = f", {finding['count']} times" if finding["count"] > 1 else ""
        packets = ", ".join(map(str, finding["packets"]))
        head = Text.assemble((finding["kind"], "yellow"), f"{times}: {finding['file']}, packets {packets}")
        console.print(head, soft_wrap=False)
        console.print(Padding(Text(printable(finding["text"])), (0, 0, 0, 2)))
        console.print(Padding(Text(finding["means"], style="dim"), (0, 0, 0, 2)))
    if len(findings) > shown:
        console.print(f"and {len(findings) - shown} more: --json has them all")


def print_selection(selection: dict[str, Any], console: Console) -> None:
    """Print the frames that were asked for."""
    table = titled_table("Selected frames", "kind", "count", "bytes", "payload", "share of headers")
    for name, row in (*selection["by_kind"].items(), ("sum", selection["frames"])):
        cells = (f"{row[column]:,}" for column in ("count", "bytes", "payload"))
        table.add_row(name, *cells, f"{row['headers']:,.0f}")
    console.print(table)
    if selection["by_connection"]:
        table = titled_table("Selected frames by connection", "from and to", "count", "bytes", "payload")
        for row in selection["by_connection"]:
            table.add_row(row["connection"], *(f"{row[column]:,}" for column in ("count", "bytes", "payload")))
        console.print(table)


def _fates(groups: dict[str, Any]) -> Table:
    table = titled_table("What became of the messages", "", *groups)
    for says, (section, name) in FATES.items():
        values = [group[name] if section is None else group[section][name] for group in groups.values()]
        if any(values):
            table.add_row(says, *(f"{value:,}" if value else "-" for value in values))
    return table


def _costs(groups: dict[str, Any]) -> Table:
    title = "What one hop (a publish, or a delivery) cost: frames, headers, acknowledgements"
    table = titled_table(title, "", "hops", "payload", "packets", "bytes")
    for name, group in groups.items():
        hops = group["published"] + group["delivered"]
        payload = f"{group['payload'] / hops:,.1f}" if hops else "-"
        table.add_row(name, f"{hops:,}", payload, figure(group["packets_per_hop"]), figure(group["bytes_per_hop"]))
    return table


def _times(groups: dict[str, Any]) -> Table:
    table = titled_table("Times as seen on the wire, milliseconds", "", "count", "min", "p50", "p95", "max")
    for name, group in groups.items():
        for key, says in TIMES.items():
            row = group["latency"][key]
            if row:
                cells = (f"{row[f'{column}_ms']:,.3f}" for column in ("min", "p50", "p95", "max"))
                table.add_row(f"{name}: {says}", f"{row['count']:,}", *cells)
    return table


def _costliest(rows: list[dict[str, Any]]) -> Table:
    title = "The costliest messages, all their hops together"
    columns = ("packet", "payload", "delivered", "packets", "bytes", "ms")
    table = titled_table(title, "topic, or exchange / key", *columns)
    for row in rows:
        cells = (f"{row[column]:,}" for column in ("packet", "payload", "deliveries", "packets"))
        table.add_row(Text(printable(row["name"])), *cells, figure(row["bytes"]), figure(row["end_to_end_ms"]))
    return table
