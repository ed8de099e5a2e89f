"""``mqproof analyze``: every byte of a capture booked once, and what each message cost."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mqproof.dissectors.overhead.selection import Selection
    from mqproof.dissectors.overhead.summary import Summary
    from rich.console import Console

DIFFERS = 1
USAGE = 2
INTERNAL = 4
SLOW = 20 << 20  # octets; some seconds without the compiled kernels


Files = Annotated[list[str], typer.Argument(help="pcap or pcapng, also gzip or zstd; - is standard input.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the account as JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the account as CSV, one line for each number.")]
Top = Annotated[int, typer.Option(min=0, help="How many topics and routing keys to show.")]
AllMessages = Annotated[
    bool, typer.Option("--messages", help="Follow each message: acknowledgements, deliveries, cost, latency.")
]
AllFindings = Annotated[bool, typer.Option("--findings", help="Tell what is worth a look, with packet numbers.")]
Connections = Annotated[
    list[str] | None, typer.Option(help="Only these connections: HOST, HOST:PORT, :PORT, or two ends joined by -.")
]
Kinds = Annotated[list[str] | None, typer.Option(help="Only these kinds of frames: PUBLISH, basic.*.")]
Topics = Annotated[list[str] | None, typer.Option(help="Only messages of these topics (+ #) or routing keys (* #).")]
Since = Annotated[
    str | None, typer.Option(help="Only from then on: seconds after the first packet, or a date and time.")
]
Until = Annotated[str | None, typer.Option(help="Only up to then.")]
HtmlOut = Annotated[Path | None, typer.Option(help="Write one self-contained page with charts.")]
WorkloadOut = Annotated[
    Path | None, typer.Option(help="Write the traffic as a workload, names made anonymous (TOML).")
]
CheckWith = Annotated[
    str | None, typer.Option(help="tshark: count with it, too, and show both; 1 for what nothing explains.")
]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for beside the files and the selection."""

    top: int
    messages: bool
    findings: bool
    html: Path | None = None
    workload_out: Path | None = None

    def look(self, wanted: "Selection") -> bool:
        """Return whether the capture has to be read a second time, message by message."""
        return self.messages or self.findings or wanted.of_frames or bool(self.html or self.workload_out)


def analyze(
    files: Files,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    top: Top = 10,
    messages: AllMessages = False,
    findings: AllFindings = False,
    connection: Connections = None,
    kind: Kinds = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    html: HtmlOut = None,
    workload_out: WorkloadOut = None,
    check_with: CheckWith = None,
) -> None:
    """Tell what the messages in a capture cost on the wire: by protocol, kind, QoS, layer and purpose."""
    from mqproof.dissectors.overhead.account import Unbalanced
    from mqproof.dissectors.overhead.selection import BadSelection
    from mqproof.dissectors.packets.pcap import CaptureError
    from mqproof.harness.cli import analyzing
    from mqproof.harness.workload_capture import NoTraffic

    wishes = Wishes(top, messages or bool(topic), findings, html, workload_out)
    try:
        wanted = analyzing.selection(connection or [], kind or [], topic or [], since, until)
        if as_json and as_csv:
            raise BadSelection("--json and --csv exclude each other")
        if check_with is not None:
            raise typer.Exit(_check(check_with, files, wanted))
        account = _account(files, wanted, wishes)
    except (CaptureError, BadSelection, NoTraffic) as error:
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
        _print(account, wishes)
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


def _account(files: list[str], wanted: "Selection", wishes: Wishes) -> dict[str, Any]:
    """Return the account with all that was asked for; write what goes into files."""
    from mqproof.dissectors.overhead.account import as_json as account_of
    from mqproof.harness.cli import analyzing

    look = wishes.look(wanted)
    others = analyzing.other_watchers(wishes.html, wishes.workload_out)
    with analyzing.chosen(files, wanted, read_twice=look) as captures:
        account = account_of(_analyzed(captures.paths), top=wishes.top)
        analyzing.rename(account, captures)
        account["looked_closer"] = look  # else followed messages and findings are not there, which does not mean none
        if look:
            analyzing.add_views(account, captures, wanted, others)
    analyzing.write_others(account, others, wishes.html, wishes.workload_out)
    return account


def _print(account: dict[str, Any], wishes: Wishes) -> None:
    from mqproof.harness.reporting import messages_text
    from mqproof.harness.reporting.account_text import print_account

    console = _console()
    print_account(account, console)
    if account.get("selected"):
        messages_text.print_selection(account["selected"], console)
    if wishes.messages:
        messages_text.print_followed(account["followed"], console)
    if wishes.findings:
        messages_text.print_findings(account["findings"], console)


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80, highlight=False)


def _analyzed(files: list[str]) -> "Summary":
    from mqproof.dissectors.overhead.engine import analyze as walk
    from mqproof.dissectors.packets.pcap import CaptureError
    from mqproof.harness.reporting.reading import reading

    _say_if_slow(files)
    with reading(files, "byte by byte") as progress:
        first, *others = [walk(name, progress=progress) for name in files]
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
