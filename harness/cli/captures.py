"""What `mqproof test --record` says of its captures, and the accounts of them that run.json keeps."""

from pathlib import Path
from typing import Any

from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.harness.printable import counted
from mqproof.harness.recording import Recording
from rich.console import Console

TOP = 10  # topics and routing keys that an account names


def analyses_of(recording: Recording, folder: Path) -> list[dict[str, Any]]:
    """Return an entry of run.json's ``analyses`` for each capture; paths are relative to the run directory."""
    return [
        {
            "target": target.name,
            "file": str(file.relative_to(folder)),
            "recorded_by": recording.kind,
            "dropped": recording.dropped,
            "account": as_json(analyze(str(file)), top=TOP),
        }
        for target, file in zip(recording.targets, recording.files, strict=True)
    ]


def print_recording(recording: Recording, folder: Path, console: Console) -> None:
    """Say where the captures are, and what they are not."""
    names = ", ".join(str(file.relative_to(folder)) for file in recording.files)
    console.print(f"\nrecorded by {recording.kind}: {names}", soft_wrap=True)
    if recording.kind == "tap":
        console.print(f"  not real packets ({recording.why_tap}): link, IP and TCP headers are made up", soft_wrap=True)
    if recording.dropped:
        console.print(f"  the kernel dropped {counted(recording.dropped, 'packet')}", style="bold red")
