"""One call for both ways of recording: ``with record(targets, folder) as recording: ...``."""

import contextlib
import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mqproof.harness.recording.dumpcap import RAW, NotPermitted, addresses_of, capturing
from mqproof.harness.recording.masking import Stream, write_masked
from mqproof.harness.recording.tap import broker_address, tapping
from mqproof.harness.targets.drivers.supervised import Supervised
from mqproof.harness.targets.target import Target

Kind = Literal["dumpcap", "tap"]


@dataclass
class Recording:
    """What is being recorded. ``targets``: use these (a tap stands before them); iterating gives them.

    ``files`` (one per target, in the same order) and ``dropped`` (packets that the kernel could not keep, and fragments
    of which the rest is missing) are filled in when the recording ends. ``why_tap``: why real packets could not be
    captured.
    """

    targets: list[Target]
    kind: Kind
    files: list[Path] = field(default_factory=list)
    dropped: int = 0
    why_tap: str = ""

    def __iter__(self) -> Iterator[Target]:
        return iter(self.targets)


@contextlib.contextmanager
def record(
    targets: Sequence[Target], folder: Path, *, kind: Kind | None = None, cooked: bool = False
) -> Iterator[Recording]:
    """Record everything between us and the targets into ``folder``, one pcapng file per target, passwords masked.

    ``kind``: "dumpcap" or "tap" to insist; otherwise packets are captured where that is permitted. Raises NotPermitted
    where "dumpcap" was insisted on in vain. ``cooked``: packets with Linux cooked v2 headers, from all interfaces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _private_folder() as private:
        with contextlib.ExitStack() as stack:
            recording = _begin(list(targets), private, kind, cooked, stack)
            yield recording
        streams = [_stream(target, number, recording.kind) for number, target in enumerate(targets)]
        recording.files = [folder / f"{_file_name(target, number)}.pcapng" for number, target in enumerate(targets)]
        secrets = [target.password for target in targets if target.password and target.password != target.user]
        recording.dropped += write_masked(
            private.folder / RAW, list(zip(streams, recording.files, strict=True)), secrets
        )


@contextlib.contextmanager
def _private_folder() -> Iterator[Supervised]:
    """A folder for raw packets, readable by its owner only, that is gone however we end: they hold passwords."""
    private = Supervised("raw")
    private.leash()
    try:
        yield private
    finally:
        private.end()


def _begin(
    targets: list[Target], private: Supervised, kind: Kind | None, cooked: bool, stack: contextlib.ExitStack
) -> Recording:
    why = "asked for"
    if kind != "tap":
        try:
            capture = stack.enter_context(capturing(targets, private, cooked=cooked))
        except NotPermitted as error:
            if kind == "dumpcap":
                raise
            why = str(error)
        else:
            recording = Recording(targets, "dumpcap")
            stack.callback(lambda: setattr(recording, "dropped", capture.dropped))
            return recording
    return Recording(stack.enter_context(tapping(targets, private.folder / RAW)), "tap", why_tap=why)


def _stream(target: Target, number: int, kind: Kind) -> Stream:
    names = [broker_address(number)] if kind == "tap" else addresses_of(target)
    addresses = frozenset(ipaddress.ip_address(name).packed for name in names)
    return Stream(target.protocol, target.port, addresses, encrypted=kind != "tap" and target.tls is not None)


def _file_name(target: Target, number: int) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", f"{target.name}-{target.protocol}-{number}")
