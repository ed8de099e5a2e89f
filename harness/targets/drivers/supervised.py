"""One broker process on the reaper's leash, as its driver sees it."""

import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.errors import BrokerFailed

REAPER = Path(__file__).with_name("reaper.py")
END_SECONDS = 10.0
START_SECONDS = 10.0


class Supervised:
    """A process that cannot outlive this one: when we end, however we end, the reaper ends it and removes its folder.

    ``folder``: where it runs and writes; a new temporary one, removed at the end, when it is None.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.name = name
        self.keeps_folder = folder is not None
        self.folder = folder or Path(tempfile.gettempdir()).resolve() / f"mqproof-{name}-{secrets.token_hex(4)}"
        self.command: Sequence[str] = ()
        self.pid: int | None = None
        self.status: int | None = None  # of the last end; negative for a signal
        self._reaper: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._lock = threading.RLock()

    def leash(self, command: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        """Start the reaper; the folder exists afterwards, and the reaper owns it from before its first moment.

        ``command``: what ``start`` will start; it may also be set later. ``env``: its environment, ours when None.
        """
        self.command = command
        keep = "keep" if self.keeps_folder else "remove"
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(REAPER), str(self.folder), keep],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=None if env is None else dict(env),
        )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=self.keeps_folder)

    @property
    def running(self) -> bool:
        """Whether the process is there (a paused one is)."""
        with self._lock:
            self._read_answers(0)
            return self.pid is not None

    @property
    def reaper_pid(self) -> int:
        """The reaper's process id."""
        assert self._reaper is not None
        return self._reaper.pid

    def start(self) -> None:
        """Start the process; return when it exists, which is before it serves. Raises BrokerFailed."""
        with self._lock:
            self.status = None
            self._order(" ".join(("start", *(os.fsencode(word).hex() for word in self.command))))
            deadline = Deadline.within(START_SECONDS)
            while self.pid is None and self.status is None:
                self._read_answers(deadline.left)
                if deadline.over:
                    raise BrokerFailed(f"{self.name} could not be started: its reaper does not answer")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all of its group; nothing when it does not run."""
        with self._lock:
            if self.running:
                self._order(f"signal {number.value}")

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the process to end; return whether it did."""
        deadline = Deadline.within(seconds)
        with self._lock:
            while self.running and not deadline.over:
                self._read_answers(deadline.left)
            return self.pid is None

    def end(self) -> None:
        """Cut the leash: the process is killed, the folder removed, and both are gone on return."""
        with self._lock:
            if self._reaper is None:
                return
            reaper, self._reaper = self._reaper, None
            assert reaper.stdin is not None
            assert reaper.stdout is not None
            reaper.stdin.close()
            try:
                reaper.wait(Deadline.within(END_SECONDS).left)
            except subprocess.TimeoutExpired:
                raise BrokerFailed(f"{self.name} does not end; its files are in {self.folder}") from None
            finally:
                reaper.stdout.close()
                self.pid = None

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines that the process printed."""
        return tail(self.folder / "log", lines)

    def _order(self, order: str) -> None:
        if self._reaper is None or self._reaper.stdin is None:
            raise BrokerFailed(f"{self.name} has been stopped")
        try:
            os.write(self._reaper.stdin.fileno(), order.encode() + b"\n")
        except OSError:
            raise BrokerFailed(f"{self.name} has lost its reaper") from None

    def _read_answers(self, seconds: float) -> None:
        if self._reaper is None or self._reaper.stdout is None:
            return
        stdout = self._reaper.stdout.fileno()
        while select.select([stdout], [], [], seconds)[0]:
            received = os.read(stdout, 4096)
            if not received:
                raise BrokerFailed(f"{self.name} has lost its reaper")
            *answers, self._received = (self._received + received).split(b"\n")
            for answer in answers:
                self._take(answer.decode())
            seconds = 0

    def _take(self, answer: str) -> None:
        word, _, rest = answer.partition(" ")
        if word == "started":
            self.pid = int(rest)
        elif word == "exited":
            self.pid, self.status = None, int(rest)
        else:
            raise BrokerFailed(f"{self.name} could not be started: {rest}")


def tail(path: Path, lines: int) -> str:
    """Return the last ``lines`` of a text file, empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 400 * lines))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
