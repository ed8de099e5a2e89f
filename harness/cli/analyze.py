"""``mqproof analyze``: every byte of a capture booked once, and what each message cost."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from mqproof.harness.reporting.account_text import print_account
    from rich.console import Console

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
        print_account(account, Console(width=None if sys.stdout.isatty() else 80, highlight=False))
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
