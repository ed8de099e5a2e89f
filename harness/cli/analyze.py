"""``mqproof analyze``: every byte of a capture booked once, and what each message cost."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mqproof.dissectors.overhead.selection import Selection
    from mqproof.dissectors.overhead.summary import Summary
    from mqproof.harness.cli.analyzing import Chosen
    from rich.console import Console

DIFFERS = 1
USAGE = 2
INTERNAL = 4
SLOW = 20 << 20  # octets; some seconds without the compiled kernels


def analyze(
    files: Annotated[list[str], typer.Argument(help="pcap or pcapng, also gzip or zstd; - is standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the account as CSV, one line for each number.")] = False,
    top: Annotated[int, typer.Option(min=0, help="How many topics and routing keys to show.")] = 10,
    messages: Annotated[
        bool, typer.Option("--messages", help="Follow each message: acknowledgements, deliveries, cost, latency.")
    ] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="Tell what is worth a look, with packet numbers.")
    ] = False,
    connection: Annotated[
        list[str] | None, typer.Option(help="Only these connections: HOST, HOST:PORT, :PORT, or two ends joined by -.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds of frames: PUBLISH, basic.*.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only messages of these topics (+ #) or routing keys (* #).")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only from then on: seconds after the first packet, or a date and time.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only up to then.")] = None,
    check_with: Annotated[
        str | None, typer.Option(help="tshark: count with it, too, and show both; 1 for what nothing explains.")
    ] = None,
) -> None:
    """Tell what the messages in a capture cost on the wire: by protocol, kind, QoS, layer and purpose."""
    from mqproof.dissectors.overhead.account import Unbalanced
    from mqproof.dissectors.overhead.selection import BadSelection
    from mqproof.dissectors.packets.pcap import CaptureError
    from mqproof.harness.cli import analyzing

    try:
        wanted = analyzing.selection(connection or [], kind or [], topic or [], since, until)
        look = messages or findings or wanted.of_frames
        if as_json and as_csv:
            raise BadSelection("--json and --csv exclude each other")
        if check_with is not None:
            raise typer.Exit(_check(check_with, files, wanted))
        with analyzing.chosen(files, wanted, read_twice=look) as captures:
            account = _account(captures, wanted, top=top, look=look)
    except (CaptureError, BadSelection) as error:
        typer.echo(f"mqproof analyze: {error}", err=True)
        raise typer.Exit(USAGE) from None
    except Unbalanced as error:
        typer.echo(f"mqproof analyze: internal error: {error}", err=True)
        raise typer.Exit(INTERNAL) from None
    if as_json:
        typer.echo(json.dumps(account, indent=2))
    elif as_csv:
        from mqproof.harness.reporting.flat_csv import flat_csv

        typer.echo(flat_csv(account), nl=False)
    else:
        _print(account, messages=messages or bool(topic), findings=findings)
    for entry in account["files"]:
        if entry["stopped_at"] is not None:
            where = f"{entry['name']} stops at byte {entry['stopped_at']}"
            typer.echo(f"mqproof analyze: {where}: {entry['stopped_why']}; the account holds what is before", err=True)


def _check(oracle: str, files: list[str], wanted: "Selection") -> int:
    """Show both counts of each file; return the exit code."""
    from mqproof.dissectors.overhead.account import kinds
    from mqproof.dissectors.overhead.selection import BadSelection, Selection
    from mqproof.harness.checking import check
    from mqproof.harness.oracle import OracleMissing
    from mqproof.harness.reporting.checking_text import print_check

    if oracle != "tshark":
        raise BadSelection(f"there is no {oracle!r} to check with, only tshark")
    if wanted != Selection() or "-" in files:
        raise BadSelection("--check-with compares whole files: leave filters and standard input out")
    rows = []
    for name in files:
        try:
            found = check(name, kinds(_analyzed([name])))
        except OracleMissing as error:
            raise BadSelection(str(error)) from None
        print_check(name, found, _console())
        rows += found
    return 0 if all(row.agrees or row.why for row in rows) else DIFFERS


def _account(captures: "Chosen", wanted: "Selection", *, top: int, look: bool) -> dict[str, Any]:
    from mqproof.dissectors.overhead.account import as_json as account_of
    from mqproof.harness.cli import analyzing

    account = account_of(_analyzed(captures.paths), top=top)
    analyzing.rename(account, captures)
    account["looked_closer"] = look  # else followed messages and findings are not there, which does not mean none
    if look:
        analyzing.add_views(account, captures, wanted)
    return account


def _print(account: dict[str, Any], *, messages: bool, findings: bool) -> None:
    from mqproof.harness.reporting import messages_text
    from mqproof.harness.reporting.account_text import print_account

    console = _console()
    print_account(account, console)
    if account.get("selected"):
        messages_text.print_selection(account["selected"], console)
    if messages:
        messages_text.print_followed(account["followed"], console)
    if findings:
        messages_text.print_findings(account["findings"], console)


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80, highlight=False)


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
