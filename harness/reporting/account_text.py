"""The byte account on the terminal."""

from typing import Any, Final

from mqproof.harness.printable import printable
from mqproof.harness.reporting.tables import figure, titled_table
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH: Final = 80  # columns of the smallest terminal
GAP: Final = 3  # columns between two cells


def print_account(account: dict[str, Any], console: Console) -> None:
    """Print the whole account: kinds, messages, layers, purposes, keys, remarks."""
    _print_head(account, console)
    for protocol in ("amqp", "mqtt"):
        if account["kinds"][protocol]:
            console.print(_kinds_table(protocol, account["kinds"][protocol]))
    if any(account["messages"].values()):
        console.print(_messages_table(account["messages"]))
    console.print(_bytes_table("layer", account["bytes"]["by_layer"], account["bytes"]["captured"]))
    console.print(_bytes_table("purpose", account["bytes"]["by_purpose"], account["bytes"]["captured"]))
    if len(account["versions"]) > 1:
        console.print(_versions_table(account["versions"]))
    if account["connections"]["distinct"] > 1:
        console.print(_connections_table(account["connections"]))
    if account["tls"]["connections"]:
        _print_tls(account["tls"], console)
    for title, name in (("topic", "topics"), ("exchange / routing key", "routing_keys")):
        if account[name]["top"]:
            console.print(_keys_table(title, account[name]))
    _print_remarks(account, console)


def _print_head(account: dict[str, Any], console: Console) -> None:
    names = ", ".join(entry["name"] for entry in account["files"])
    packets = "" if account["packets"] is None else f"{account['packets']:,} packets, "
    captured = account["bytes"]["captured"]
    console.print(f"{names}: {packets}{captured:,} bytes, {account['duration_s']:.3f} s")
    if account["synthetic_headers"]:
        console.print(
            "The TCP/IP headers of this recording are made up (a proxy saw the streams only): link, IP and TCP "
            "figures are not given."
        )


def _kinds_table(protocol: str, kinds: dict[str, dict[str, int]]) -> Table:
    headers = ("count", "to broker", "to client", "bytes", "payload")
    table = titled_table(f"{protocol.upper()}: packets and frames", "kind", *headers)
    columns = ("count", "from_client", "from_broker", "bytes", "payload")
    rows = {name: [f"{row[column]:,}" if row[column] else "-" for column in columns] for name, row in kinds.items()}
    widths = [max(map(len, column)) for column in zip(headers, *rows.values(), strict=True)]
    room = WIDTH - sum(widths) - GAP * len(widths)
    for name, cells in rows.items():
        table.add_row(name if len(name) <= room else name.replace(".", ".\n  "), *cells)
    return table


def _messages_table(messages: dict[str, dict[str, dict[str, Any]]]) -> Table:
    table = titled_table(
        "Messages: what one delivered message cost, acknowledgements and TCP included",
        "", "published", "delivered", "packets", "bytes", "overhead", "payload",
    )  # fmt: skip
    for protocol, rows in messages.items():
        for name, row in rows.items():
            share = row["payload_share"]
            table.add_row(
                protocol if name == "all" else f"{protocol} {name}",
                f"{row['published']:,}",
                f"{row['delivered']:,}",
                figure(row["packets_per_delivered"]),
                figure(row["bytes_per_delivered"]),
                figure(row["overhead_per_delivered"]),
                "-" if share is None else f"{share:.1%}",
            )
    return table


def _bytes_table(axis: str, figures: dict[str, int | None], total: int) -> Table:
    table = titled_table(f"Bytes by {axis}", axis, "bytes", "share")
    for name, count in figures.items():
        if count is None:
            table.add_row(name.replace("_", " "), "not known", "")
        elif count:
            table.add_row(name.replace("_", " "), f"{count:,}", f"{count / total:.1%}")
    table.add_row("sum", f"{total:,}", "")
    return table


def _keys_table(title: str, keys: dict[str, Any]) -> Table:
    table = titled_table(f"By {title}", title, "published", "delivered", "payload", "bytes")
    for row in keys["top"]:
        name = row["topic"] if "topic" in row else f"{row['exchange'] or '(default)'} / {row['routing_key']}"
        cells = (row["published"], row["delivered"], row["payload"], row["bytes"])
        table.add_row(Text(printable(name)), *(f"{cell:,}" for cell in cells))
    rest = keys["other"]
    if rest["bytes"]:
        table.add_row("(other)", *(f"{rest[name]:,}" for name in ("published", "delivered", "payload", "bytes")))
    return table


def live_table(so_far: dict[str, Any]) -> Table:
    """Return what a live capture has shown so far."""
    title = f"{so_far['packets']:,} packets, {so_far['captured']:,} bytes so far; Ctrl-C ends"
    table = titled_table(title, "kind", "count", "to broker", "to client", "bytes", "payload")
    for protocol, rows in so_far["kinds"].items():
        for name, row in rows.items():
            cells = (row["count"], row["from_client"], row["from_broker"], row["bytes"], row["payload"])
            table.add_row(f"{protocol} {name}", *(f"{cell:,}" if cell else "-" for cell in cells))
    for name, count in so_far["purposes"].items():
        if count:
            table.add_row(f"bytes: {name.replace('_', ' ')}", "", "", "", f"{count:,}", "")
    return table


def _versions_table(rows: list[dict[str, Any]]) -> Table:
    table = titled_table("By protocol and version", "", "connections", "packets", "bytes", "messages", "payload")
    for row in rows:
        name = f"{row['protocol']} {row['version'] or ''}".rstrip()
        cells = (row["connections"], row["packets"], row["bytes"], row["messages"], row["payload"])
        table.add_row(name, *("-" if cell is None else f"{cell:,}" for cell in cells))
    return table


def _connections_table(found: dict[str, Any]) -> Table:
    table = titled_table("The largest connections", "client and broker", "packets", "bytes", "messages", "payload")
    for row in found["top"]:
        ends = f"{row.get('client', row.get('one_end'))} {row.get('broker', row.get('other_end'))}"
        cells = (row["packets"], row["bytes"], row["messages"], row["payload"])
        table.add_row(Text(ends), *("-" if cell is None else f"{cell:,}" for cell in cells))
    rest = found["other"]
    if rest["connections"]:
        cells = (rest["packets"], rest["bytes"], rest["messages"], rest["payload"])
        table.add_row(f"(other: {rest['connections']:,})", *("-" if cell is None else f"{cell:,}" for cell in cells))
    return table


def _print_tls(tls: dict[str, Any], console: Console) -> None:
    """What TLS shows by itself, and apart from it what it suggests."""
    console.print(
        f"TLS: {tls['connections']:,} connections, {tls['records']:,} records of data, {tls['encrypted']:,} bytes "
        f"encrypted; record overhead {tls['record_overhead']:,}, handshakes {tls['handshake']:,} bytes"
    )
    if tls.get("decrypted_connections") is not None:
        console.print(f"{tls['decrypted_connections']:,} of them decrypted: kinds, messages and topics are counted")
        return
    names = {
        "keep_alive_exchanges": "MQTT keep-alives", "mqtt_acknowledgement": "MQTT acknowledgements",
        "amqp_heartbeat": "AMQP heartbeats", "amqp_acknowledgement": "AMQP acknowledgements",
    }  # fmt: skip
    guessed = [f"{tls['inferred'][key]:,} {name}" for key, name in names.items() if tls["inferred"][key]]
    if guessed:
        every = tls["inferred"]["keep_alive_interval_s"]
        rhythm = f"; keep-alives every {every:,} s" if every else ""
        console.print(f"Inferred from the sizes of records, not known: {', '.join(guessed)}{rhythm}")


def _print_remarks(account: dict[str, Any], console: Console) -> None:
    """Say what the account does not hold, or what was odd."""
    tcp, streams = account["tcp"], account["streams"]
    remarks = {
        "TCP segments retransmitted": tcp["retransmitted"],
        "TCP segments out of order": tcp["out_of_order"],
        "holes in TCP streams": tcp["gaps"],
        "bytes missing in the holes": tcp["lost_bytes"],
        "packets cut by the snap length": tcp["cut_packets"],
        "IP fragments": tcp["fragments"],
        "IP datagrams put together from fragments": tcp["datagrams_reassembled"],
        "IP datagrams of which fragments are missing or contradict each other": tcp["datagrams_given_up"],
        "IP datagrams of them given up for lack of room": tcp["datagrams_bound"],
        "malformed frames": streams["malformed"],
        "incomplete frames": streams["incomplete"],
        "streams that began before the capture": streams["mid_stream"],
        "connections given up for lack of room": tcp["connections_given_up"],
    }
    for text, count in remarks.items():
        if count:
            console.print(f"{text}: {count:,}")
    lack = account["topics"]["counts_may_lack"]
    if lack:
        console.print(f"There were more topics or keys than are kept: each count may lack up to {lack:,} messages.")
