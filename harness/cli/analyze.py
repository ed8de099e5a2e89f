"""``mqproof analyze``: every byte of a capture booked once, and what each message cost."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mqproof.dissectors.overhead.summary import Summary

USAGE = 2
INTERNAL = 4
SLOW = 20 << 20  # octets; some seconds without the compiled kernels


def analyze(
    files: Annotated[list[str], typer.Argument(help="pcap or pcapng, also gzip or zstd; - is standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
    top: Annotated[int, typer.Option(min=0, help="How many topics and routing keys to show.")] = 10,
) -> None:
    """Tell what the messages in a capture cost on the wire: by protocol, kind, QoS, layer and purpose."""
    from mqproof.dissectors.overhead.account import Unbalanced
    from mqproof.dissectors.overhead.account import as_json as account_of
    from mqproof.dissectors.packets.pcap import CaptureError

    try:
        summary = _analyzed(files)
        account = account_of(summary, top=top)
    except CaptureError as error:
        typer.echo(f"mqproof analyze: {error}", err=True)
        raise typer.Exit(USAGE) from None
    except Unbalanced as error:
        typer.echo(f"mqproof analyze: internal error: {error}", err=True)
        raise typer.Exit(INTERNAL) from None
    if as_json:
        typer.echo(json.dumps(account, indent=2))
    else:
        _print(account)
    for entry in account["files"]:
        if entry["stopped_at"] is not None:
            where = f"{entry['name']} stops at byte {entry['stopped_at']}"
            typer.echo(f"mqproof analyze: {where}: {entry['stopped_why']}; the account holds what is before", err=True)


def _analyzed(files: list[str]) -> "Summary":
    from mqproof.dissectors.overhead.engine import analyze as walk
    from mqproof.dissectors.packets.pcap import CaptureError

    _say_if_slow(files)
    first, *others = [walk(name) for name in files]
    for summary in (first, *others):
        if summary.notes[0].stopped_at == 0:
            raise CaptureError(f"{summary.files[0]} is no whole capture, not even its header")
    for other in others:
        if other.synthetic != first.synthetic:
            raise CaptureError(
                "recordings with made-up TCP/IP headers cannot be added to captures of real packets: "
                "analyze them one by one"
            )
        first.merge(other)
    return first


def _say_if_slow(files: list[str]) -> None:
    from mqproof.dissectors.overhead import compiled

    if not compiled.available() and any(Path(name).is_file() and Path(name).stat().st_size > SLOW for name in files):
        typer.echo("mqproof analyze: without numba this takes a while: pip install 'mqproof[fast]'", err=True)


def _print(account: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 80, highlight=False)
    _print_head(account, console)
    for protocol in ("amqp", "mqtt"):
        if account["kinds"][protocol]:
            console.print(_kinds_table(protocol, account["kinds"][protocol]))
    if any(account["messages"].values()):
        console.print(_messages_table(account["messages"]))
    console.print(_bytes_table("layer", account["bytes"]["by_layer"], account["bytes"]["captured"]))
    console.print(_bytes_table("purpose", account["bytes"]["by_purpose"], account["bytes"]["captured"]))
    for title, name in (("topic", "topics"), ("exchange / routing key", "routing_keys")):
        if account[name]["top"]:
            console.print(_keys_table(title, account[name]))
    _print_remarks(account, console)


def _print_head(account: dict[str, Any], console: Any) -> None:
    names = ", ".join(entry["name"] for entry in account["files"])
    packets = "" if account["packets"] is None else f"{account['packets']:,} packets, "
    captured = account["bytes"]["captured"]
    console.print(f"{names}: {packets}{captured:,} bytes, {account['duration_s']:.3f} s", markup=False)
    if account["synthetic_headers"]:
        console.print(
            "The TCP/IP headers of this recording are made up (a proxy saw the streams only): link, IP and TCP "
            "figures are not given."
        )


def _table(title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _kinds_table(protocol: str, kinds: dict[str, dict[str, int]]) -> Any:
    title = f"{protocol.upper()}: packets and frames"
    table = _table(title, "kind", "count", "to broker", "to client", "bytes", "payload")
    for name, row in kinds.items():
        cells = (row["count"], row["from_client"], row["from_broker"], row["bytes"], row["payload"])
        table.add_row(name, *(f"{cell:,}" if cell else "-" for cell in cells))
    return table


def _messages_table(messages: dict[str, dict[str, dict[str, Any]]]) -> Any:
    table = _table(
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
                _figure(row["packets_per_delivered"]),
                _figure(row["bytes_per_delivered"]),
                _figure(row["overhead_per_delivered"]),
                "-" if share is None else f"{share:.1%}",
            )
    return table


def _bytes_table(axis: str, figures: dict[str, int | None], total: int) -> Any:
    table = _table(f"Bytes by {axis}", axis, "bytes", "share")
    for name, count in figures.items():
        if count is None:
            table.add_row(name.replace("_", " "), "not known", "")
        elif count:
            table.add_row(name.replace("_", " "), f"{count:,}", f"{count / total:.1%}")
    table.add_row("sum", f"{total:,}", "")
    return table


def _keys_table(title: str, keys: dict[str, Any]) -> Any:
    from rich.text import Text

    table = _table(f"By {title}", title, "published", "delivered", "payload", "bytes")
    for row in keys["top"]:
        name = row["topic"] if "topic" in row else f"{row['exchange'] or '(default)'} / {row['routing_key']}"
        cells = (row["published"], row["delivered"], row["payload"], row["bytes"])
        table.add_row(Text(_printable(name)), *(f"{cell:,}" for cell in cells))
    rest = keys["other"]
    if rest["bytes"]:
        table.add_row("(other)", *(f"{rest[name]:,}" for name in ("published", "delivered", "payload", "bytes")))
    return table


def _print_remarks(account: dict[str, Any], console: Any) -> None:
    """Say what the account does not hold, or what was odd."""
    tcp, streams = account["tcp"], account["streams"]
    remarks = {
        "TCP segments retransmitted": tcp["retransmitted"],
        "TCP segments out of order": tcp["out_of_order"],
        "holes in TCP streams": tcp["gaps"],
        "bytes missing in the holes": tcp["lost_bytes"],
        "packets cut by the snap length": tcp["cut_packets"],
        "malformed frames": streams["malformed"],
        "incomplete frames": streams["incomplete"],
        "streams that began before the capture": streams["mid_stream"],
        "TLS connections (not decrypted)": streams["tls_connections"],
        "connections given up for lack of room": tcp["connections_given_up"],
    }
    for text, count in remarks.items():
        if count:
            console.print(f"{text}: {count:,}")
    lack = account["topics"]["counts_may_lack"]
    if lack:
        console.print(f"There were more topics or keys than are kept: each count may lack up to {lack:,} messages.")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")


def _printable(text: str) -> str:
    """A capture is untrusted: show control characters as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
