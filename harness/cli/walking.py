"""What lets ``mqproof analyze`` walk captures: several at once, or live from an interface."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mqproof.dissectors.overhead import account
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.overhead.selection import BadSelection
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.pcap import CaptureError
from mqproof.harness.reporting.reading import reading

if TYPE_CHECKING:
    from mqproof.dissectors.overhead.summary import Summary

SPOKEN: Final = {"amqp": w.PLAIN_AMQP, "mqtt": w.PLAIN_MQTT, "tls": w.OVER_TLS, "other": w.PLAIN_OTHER}
REFRESH: Final = 0.25  # seconds between two looks at a live capture
KERNEL_BUFFER_MIB: Final = 64


def decode_as(texts: list[str]) -> dict[int, int]:
    """Return ports and what is spoken there from PORT=PROTOCOL. Raises BadSelection."""
    found = {}
    for text in texts:
        port, _, protocol = text.partition("=")
        if not port.isdecimal() or not 0 < int(port) < 65536 or protocol not in SPOKEN:
            raise BadSelection(f"--decode-as {text}: say PORT=PROTOCOL, the protocol one of {', '.join(SPOKEN)}")
        found[int(port)] = SPOKEN[protocol]
    return found


def walked(files: list[str], ports: Mapping[int, int], jobs: int) -> "Summary":
    """Return the account of all files together: totals are exact sums. Raises CaptureError."""
    jobs = min(jobs or os.cpu_count() or 1, len(files))
    if jobs > 1 and "-" not in files:
        from mqproof.harness.processes import shared_out

        with shared_out(jobs) as pool:
            summaries = list(pool.map(partial(analyze, decode_as=ports), files))
    else:
        with reading(files, "byte by byte") as progress:
            summaries = [analyze(name, decode_as=ports, progress=progress) for name in files]
    return merged(summaries)


def merged(summaries: "list[Summary]") -> "Summary":
    """Add up the accounts of several files. Raises CaptureError."""
    first, *others = summaries
    for summary in summaries:
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


def live(interface: str, duration: float | None, ports: Mapping[int, int]) -> "Summary":
    """Return the account of what passes an interface until Ctrl-C, or for ``duration`` seconds. Raises CaptureError.

    On a terminal a table is shown meanwhile.
    """
    with _dumpcap(interface, duration) as process, _table(interface) as show:
        try:
            return analyze(interface, file=process.stdout, decode_as=ports, snapshot=show)  # type: ignore[arg-type]
        except CaptureError as error:  # no octet came
            raise CaptureError(f"nothing can be captured on {interface}: {_complaint(process) or error}") from None


def _complaint(process: "subprocess.Popen[bytes]") -> str:
    """Return what dumpcap says is wrong, in one line."""
    process.wait()
    assert process.stderr is not None
    lines = [line.strip() for line in process.stderr.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return next((line for line in lines if "dumpcap" in line or "permission" in line), lines[0] if lines else "")


@contextlib.contextmanager
def _dumpcap(interface: str, duration: float | None) -> "Iterator[subprocess.Popen[bytes]]":
    """Run dumpcap, its packets on standard output; a signal to us ends it, and with it the capture, in good order."""
    tool = shutil.which("dumpcap")
    if tool is None:
        raise CaptureError("dumpcap is not installed: apt-get install wireshark-common")
    command = [tool, "-q", "-i", interface, "-B", str(KERNEL_BUFFER_MIB), "-w", "-"]
    if duration is not None:
        command += ["-a", f"duration:{max(1, round(duration))}"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True
    )

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield process
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _table(interface: str) -> "Iterator[Callable[[Callable[[], Summary]], None]]":
    """Show kinds and messages while they come, on a terminal; else say once that it has begun."""
    if not sys.stderr.isatty():
        said: list[int] = []

        def say(_: object) -> None:
            if not said:
                said.append(sys.stderr.write(f"mqproof analyze: capturing on {interface} until Ctrl-C\n"))
                sys.stderr.flush()

        yield say
        return
    from mqproof.harness.reporting.account_text import live_table
    from mqproof.harness.reporting.screen import Screen
    from rich.live import Live

    last = 0.0
    with Live(console=Screen(stderr=True), auto_refresh=False, transient=True) as screen:

        def show(summary: "Callable[[], Summary]") -> None:
            nonlocal last
            if time.monotonic() - last >= REFRESH:
                last = time.monotonic()
                screen.update(live_table(_so_far(summary())), refresh=True)

        yield show


def _so_far(summary: "Summary") -> dict[str, Any]:
    """Return what can be said before the books are closed: packets whose purpose is open are not in them yet."""
    return {
        "packets": summary.counters["packets"],
        "captured": summary.counters["captured"],
        "kinds": account.kinds(summary),
        "purposes": account.by_purpose(summary),
    }
