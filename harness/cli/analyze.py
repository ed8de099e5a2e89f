"""``mqproof analyze``: every byte of a capture booked once, and what each message cost."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from mqproof.harness.cli.failing import fail

if TYPE_CHECKING:
    from mqproof.dissectors.overhead.selection import Selection
    from mqproof.dissectors.overhead.summary import Summary
    from rich.console import Console

DIFFERS = 1
USAGE = 2
INTERNAL = 4
SLOW = 20 << 20  # octets; some seconds without the compiled kernels
HELP = """Tell what the messages in a capture cost on the wire: by protocol, kind, QoS, layer and purpose.

\b
Exit codes:
  0    every byte is booked
  1    --check-with found a difference that nothing explains
  2    wrong usage, or a file that cannot be read
  4    internal error: the books do not balance
"""


Files = Annotated[list[str] | None, typer.Argument(help="pcap or pcapng, also gzip or zstd; - is standard input.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the account as JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the account as CSV, one line for each number.")]
Top = Annotated[int, typer.Option(min=0, help="How many topics and routing keys to show.")]
AllMessages = Annotated[
    bool, typer.Option("--messages", help="Follow each message: acknowledgements, deliveries, cost, latency.")
]
AllFindings = Annotated[bool, typer.Option("--findings", help="Tell what is worth a look, with packet numbers.")]
Connections = Annotated[
    list[str] | None, typer.Option(help="Only connections of HOST, HOST:PORT, :PORT or A-B, its two ends (repeatable).")
]
Kinds = Annotated[list[str] | None, typer.Option(help="Only these kinds of frames: PUBLISH, basic.* (repeatable).")]
Topics = Annotated[
    list[str] | None, typer.Option(help="Only messages of this topic (+ #) or routing key (* #) (repeatable).")
]
Since = Annotated[
    str | None, typer.Option(help="Only from then on: seconds after the first packet, or a date and time.")
]
Until = Annotated[str | None, typer.Option(help="Only up to then.")]
HtmlOut = Annotated[Path | None, typer.Option(help="Write one self-contained page with charts.")]
WorkloadOut = Annotated[
    Path | None, typer.Option(help="Write the traffic as a workload, names made anonymous (TOML).")
]
DecodeAs = Annotated[
    list[str] | None, typer.Option(help="PORT=PROTOCOL (amqp, mqtt, tls, other), not by content (repeatable).")
]
Jobs = Annotated[int, typer.Option(min=0, help="How many files at a time; 0: as many as there are cores.")]
Keylog = Annotated[Path | None, typer.Option(help="TLS key log: tshark decrypts, kinds and messages are counted.")]
LiveCapture = Annotated[bool, typer.Option("--live", help="Capture from an interface (-i) until Ctrl-C.")]
Interface = Annotated[str | None, typer.Option("-i", "--interface", help="The interface of --live, such as lo.")]
Duration = Annotated[float | None, typer.Option(min=1, help="End --live after so many seconds.")]
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
    decode_as: tuple[str, ...] = ()
    jobs: int = 0
    keylog: Path | None = None
    live: bool = False
    interface: str = ""
    duration: float | None = None

    def look(self, wanted: "Selection") -> bool:
        """Return whether the capture has to be read a second time, message by message."""
        return self.messages or self.findings or wanted.of_frames or bool(self.html or self.workload_out)


def analyze(
    files: Files = None,
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
    decode_as: DecodeAs = None,
    jobs: Jobs = 0,
    keylog: Keylog = None,
    live: LiveCapture = False,
    interface: Interface = None,
    duration: Duration = None,
) -> None:
    """Analyze."""  # replaced by HELP
    from mqproof.dissectors.overhead.account import Unbalanced
    from mqproof.dissectors.overhead.selection import BadSelection
    from mqproof.harness.cli import analyzing

    wishes = Wishes(
        top, messages or bool(topic), findings, html, workload_out, tuple(decode_as or ()), jobs, keylog,
        live, interface or "", duration,
    )  # fmt: skip
    files = files or []
    try:
        wanted = analyzing.selection(connection or [], kind or [], topic or [], since, until)
        if as_json and as_csv:
            raise BadSelection("--json and --csv exclude each other")
        _check_sources(files, wanted, wishes)
        if check_with is not None:
            if as_json or as_csv or html or workload_out:
                raise BadSelection("--check-with prints a table: leave --json, --csv, --html and --workload-out out")
            raise typer.Exit(_check(check_with, files, wanted, wishes))
        account = _account(files, wanted, wishes)
    except _refusals() as error:  # evaluated when something is raised, not before
        raise typer.Exit(fail(USAGE, error, "mqproof analyze")) from None
    except Unbalanced as error:
        raise typer.Exit(fail(INTERNAL, f"internal error: {error}", "mqproof analyze")) from None
    _show(account, wishes, as_json=as_json, as_csv=as_csv)


analyze.__doc__ = HELP


def _refusals() -> tuple[type[Exception], ...]:
    """Return what says that the user's wishes cannot be met; who raises it need not be imported for nothing."""
    from mqproof.dissectors.overhead.selection import BadSelection
    from mqproof.dissectors.packets.pcap import CaptureError
    from mqproof.harness.oracle import OracleMissing
    from mqproof.harness.workload_capture import NoTraffic

    return CaptureError, BadSelection, NoTraffic, OracleMissing


def _show(account: dict[str, Any], wishes: Wishes, *, as_json: bool, as_csv: bool) -> None:
    """Print the account, and for each file that is cut off where it stops."""
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


def _check_sources(files: list[str], wanted: "Selection", wishes: Wishes) -> None:
    """Say what does not go together. Raises BadSelection."""
    from mqproof.dissectors.overhead.selection import BadSelection

    if wishes.live and (files or not wishes.interface):
        raise BadSelection("--live wants an interface (-i lo) and no files")
    if wishes.live and (wishes.look(wanted) or wanted.of_packets or wishes.keylog):
        raise BadSelection("--live makes the account only: for all else, capture into a file first")
    if not wishes.live and (wishes.interface or wishes.duration):
        raise BadSelection("-i and --duration belong to --live")
    if not wishes.live and not files:
        raise BadSelection("name a capture, or - for standard input, or --live -i INTERFACE")
    if wishes.keylog and (len(files) != 1 or files[0] == "-" or wanted.of_packets):
        raise BadSelection("--keylog wants one file, whole")


def _check(oracle: str, files: list[str], wanted: "Selection", wishes: Wishes) -> int:
    """Show both counts of each file; return the exit code."""
    from mqproof.dissectors.overhead.account import kinds
    from mqproof.dissectors.overhead.selection import BadSelection, Selection
    from mqproof.harness.checking import check
    from mqproof.harness.cli.walking import decode_as, walked
    from mqproof.harness.oracle import OracleMissing
    from mqproof.harness.reporting.checking_text import print_check

    if oracle != "tshark":
        raise BadSelection(f"there is no {oracle!r} to check with, only tshark")
    if wanted != Selection() or "-" in files:
        raise BadSelection("--check-with compares whole files: leave filters and standard input out")
    rows = []
    ports = decode_as(list(wishes.decode_as))
    for name in files:
        try:
            summary = walked([name], ports, 1)
            found = check(name, kinds(summary), ports)
        except OracleMissing as error:
            raise BadSelection(str(error)) from None
        print_check(name, found, _console())
        rows += found
    return 0 if all(row.agrees or row.why for row in rows) else DIFFERS


def _account(files: list[str], wanted: "Selection", wishes: Wishes) -> dict[str, Any]:
    """Return the account with all that was asked for; write what goes into files."""
    from mqproof.dissectors.overhead.account import as_json as account_of
    from mqproof.harness.cli import analyzing, walking

    look = wishes.look(wanted)
    others = analyzing.other_watchers(wishes.html, wishes.workload_out)
    with analyzing.chosen(files, wanted, read_twice=look) as captures:
        summary = _walked(captures.paths, wishes)
        streams = None
        if wishes.keylog:
            from mqproof.harness import decryption

            streams = decryption.add(summary, captures.paths[0], wishes.keylog)
        account = account_of(summary, top=wishes.top)
        account["tls"]["decrypted_connections"] = streams
        if not wishes.live:
            analyzing.rename(account, captures)
        account["looked_closer"] = look  # else followed messages and findings are not there, which does not mean none
        if look:
            analyzing.add_views(account, captures, wanted, others, walking.decode_as(list(wishes.decode_as)))
    analyzing.write_others(account, others, wishes.html, wishes.workload_out)
    return account


def _print(account: dict[str, Any], wishes: Wishes) -> None:
    from mqproof.harness.reporting.account_text import print_account

    console = _console()
    print_account(account, console)
    if not account["looked_closer"]:
        return
    from mqproof.harness.reporting import messages_text

    if account.get("selected"):
        messages_text.print_selection(account["selected"], console)
    if wishes.messages:
        messages_text.print_followed(account["followed"], console)
    if wishes.findings:
        messages_text.print_findings(account["findings"], console)


def _console() -> "Console":
    from mqproof.harness.reporting.screen import Screen

    return Screen(width=None if sys.stdout.isatty() else 80)


def _walked(files: list[str], wishes: Wishes) -> "Summary":
    """Return the account of the files, or of an interface. Raises CaptureError, OracleMissing."""
    from mqproof.harness.cli import walking

    ports = walking.decode_as(list(wishes.decode_as))
    if wishes.live:
        return walking.live(wishes.interface, wishes.duration, ports)
    _say_if_slow(files)
    return walking.walked(files, ports, wishes.jobs)


def _say_if_slow(files: list[str]) -> None:
    from mqproof.dissectors.overhead import compiled

    if not compiled.available() and any(Path(name).is_file() and Path(name).stat().st_size > SLOW for name in files):
        typer.echo("mqproof analyze: without numba this takes a while: pip install 'mqproof[fast]'", err=True)
