"""Real packets: dumpcap, or tcpdump, between two fences.

A capture program says neither when it really captures nor when it has written what it saw. So a little traffic of our
own goes by first and last, on a port that nobody else uses: when it stands in the file, the capture has begun, and at
the end everything before it has been written. The fences' packets do not reach the masked file.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mqproof.harness.patience import patience
from mqproof.harness.targets.drivers.supervised import Supervised
from mqproof.harness.targets.errors import BrokerFailed
from mqproof.harness.targets.target import Target

START_DEADLINE = 10.0  # seconds
STOP_DEADLINE = 20.0
POLL = 0.02
BETWEEN_FENCES = 0.2
KERNEL_BUFFER_MIB = 64
RAW = "raw.pcapng"
FRAGMENTS = "(ip proto 6 and ip[6:2] & 0x3fff != 0) or ip6 proto 44"  # RFC 791 section 3.1, RFC 8200 section 4.5


class NotPermitted(Exception):
    """Packets cannot be captured here; the message says why."""


@dataclass
class Capture:
    """A capture under way; ``dropped`` is known at its end: packets that the kernel could not keep."""

    process: Supervised
    raw: Path
    fence: socket.socket
    dropped: int = 0

    @property
    def fence_port(self) -> int:
        """The port of the fences' traffic."""
        return int(self.fence.getsockname()[1])

    def send_fence(self) -> int:
        """Let a connection go by; returns its port, which marks its packets in the file."""
        with socket.create_connection(self.fence.getsockname()) as near:
            far, _ = self.fence.accept()
            far.close()
            return int(near.getsockname()[1])

    def await_fence(self, seconds: float) -> bool:
        """Send fences until one stands in the file. False when the program ends or the time is over."""
        deadline = time.monotonic() + patience.seconds(seconds)
        marks: list[bytes] = []
        start = self._size()
        while time.monotonic() < deadline:
            ours, theirs = self.send_fence(), self.fence_port
            marks.append(theirs.to_bytes(2, "big") + ours.to_bytes(2, "big"))
            until = min(deadline, time.monotonic() + BETWEEN_FENCES)
            while time.monotonic() < until:
                if self._holds(marks, start):
                    return True
                if self.process.wait(POLL):
                    return False
        return False

    def _size(self) -> int:
        return self.raw.stat().st_size if self.raw.exists() else 0

    def _holds(self, marks: list[bytes], start: int) -> bool:
        if self._size() <= start:
            return False
        with self.raw.open("rb") as file:
            file.seek(start)
            octets = file.read()
        return any(mark in octets for mark in marks)


@contextlib.contextmanager
def capturing(targets: Sequence[Target], private: Supervised, *, cooked: bool = False) -> Iterator[Capture]:
    """Capture the targets' TCP packets into ``raw.pcapng`` in a folder on the reaper's leash. Raises NotPermitted.

    ``cooked``: on all interfaces, as Linux cooked v2, wherever the targets are.
    """
    with contextlib.ExitStack() as stack:
        fence = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        interface = ("any", "-y", "LINUX_SLL2") if cooked else (_interface(targets),)
        capture = _start(targets, private, fence, interface)
        try:
            if not capture.await_fence(START_DEADLINE):
                raise NotPermitted(_complaint(capture))
            yield capture
            capture.await_fence(STOP_DEADLINE)
        finally:
            _stop(capture)


def _start(targets: Sequence[Target], private: Supervised, fence: socket.socket, interface: Sequence[str]) -> Capture:
    raw = private.folder / RAW
    private.command = _command(interface, capture_filter(targets, fence.getsockname()[1]), raw)
    try:
        private.start()
    except BrokerFailed as failure:
        raise NotPermitted(str(failure)) from None
    return Capture(private, raw, fence)


def _command(interface: Sequence[str], expression: str, raw: Path) -> list[str]:
    dumpcap, tcpdump = shutil.which("dumpcap"), shutil.which("tcpdump", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if dumpcap:
        return [dumpcap, "-q", "-n", "-i", *interface, "-B", str(KERNEL_BUFFER_MIB), "-f", expression, "-w", str(raw)]
    if tcpdump:
        user = ["-Z", "root"] if os.geteuid() == 0 else []  # otherwise it may not write into the private folder
        size = ["-B", str(KERNEL_BUFFER_MIB * 1024)]
        return [tcpdump, "-n", "-U", *user, *size, "-s", "0", "-i", *interface, "-w", str(raw), expression]
    raise NotPermitted("neither dumpcap nor tcpdump is installed")


def _interface(targets: Sequence[Target]) -> str:
    return "lo" if all(_is_loopback(address) for target in targets for address in addresses_of(target)) else "any"


def capture_filter(targets: Sequence[Target], fence_port: int) -> str:
    """Return the capture filter: the targets' own packets and the fences', nobody else's.

    Only the first fragment of a datagram has ports: all TCP fragments from or to the targets' hosts come along, and
    what turns out to be somebody else's does not reach the masked file.
    """
    ends = {(address, target.port) for target in targets for address in addresses_of(target)}
    wanted = [f"(host {address} and port {port})" for address, port in sorted(ends)]
    hosts = [f"host {address}" for address in sorted({address for address, _ in ends})]
    whole = f"tcp and ({' or '.join([*wanted, f'(host 127.0.0.1 and port {fence_port})'])})"
    return f"({whole}) or (({' or '.join(hosts)}) and ({FRAGMENTS}))" if hosts else whole


def addresses_of(target: Target) -> list[str]:
    """Return the target's IP addresses. Raises NotPermitted for a name that has none."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotPermitted(f"{target.host} cannot be resolved: {error}") from None
    return sorted({str(entry[4][0]) for entry in found})


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def _complaint(capture: Capture) -> str:
    lines = [line.strip() for line in capture.process.log_tail().splitlines() if line.strip()]
    name = Path(capture.process.command[0]).name
    return f"{name} captures nothing here: {lines[-1] if lines else 'it gives no reason'}"


def _stop(capture: Capture) -> None:
    capture.process.send(signal.SIGINT)
    if not capture.process.wait(STOP_DEADLINE):
        capture.process.send(signal.SIGKILL)
        capture.process.wait(STOP_DEADLINE)
    text = capture.process.log_tail()
    numbers = re.findall(r"dropped on interface[^:]*: \d+/(\d+)|(\d+) packets? dropped by kernel", text)
    capture.dropped = sum(int(first or second) for first, second in numbers)
