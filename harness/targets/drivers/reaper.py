"""The reaper: owns a folder and starts a process in it, and ends both when mqproof ends, however mqproof ends.

Run as a file by an isolated interpreter, so that it starts in milliseconds and depends on nothing that is installed::

    python -I -S reaper.py FOLDER KEEP

Standard input is the leash. Each line is an order: ``start COMMAND`` (each of its words in hexadecimal), or ``signal
NUMBER`` to the broker's process group. Its end means that nobody needs the broker any more: the reaper kills the
process group and whatever else descends from it, removes FOLDER (unless KEEP is ``keep``) and ends. Standard output
carries the answers: ``started PID``, ``failed REASON``, ``exited STATUS`` (negative for a signal). The broker's own
output is appended to ``FOLDER/log``; all that it writes is for its owner only.

As the broker's parent the reaper leaves no moment in which a broker runs and nobody owns it, and as a sub-reaper
(Linux) it also inherits what the broker sends into the background.
"""

import os
import select
import signal
import sys
import time

END_PATIENCE = 5.0
"""Seconds that a killed process group may take to vanish before the folder is removed all the same."""

PR_SET_CHILD_SUBREAPER = 36
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGPIPE)


class Reaper:
    """Owns one broker's process group."""

    def __init__(self, folder: str, keep: bool) -> None:
        self.folder = folder
        self.keep = keep
        self.pid = 0  # the running broker, which is also its process group's id; 0 for none
        self.groups: set[int] = set()

    def obey(self, order: str) -> None:
        """Carry out one order."""
        word, _, argument = order.partition(" ")
        if word == "start" and not self.pid:
            self.start([os.fsdecode(bytes.fromhex(word)) for word in argument.split(" ")])
        elif word == "signal" and self.pid:
            self.signal(self.pid, int(argument))

    def start(self, command: list[str]) -> None:
        """Start the broker in its own process group and in FOLDER."""
        log = os.path.join(self.folder, "log")
        try:
            os.chdir(self.folder)
            self.pid = os.posix_spawn(
                command[0],
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setpgroup=0,
                setsigdef=IGNORED,
            )
        except OSError as problem:
            answer(f"failed {problem.strerror}: {problem.filename or command[0]}")
        else:
            self.groups.add(self.pid)
            answer(f"started {self.pid}")

    def reap(self) -> None:
        """Collect every process that ended, and tell of the broker."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.pid:
                self.pid = 0
                answer(f"exited {os.waitstatus_to_exitcode(status)}")

    def signal(self, group: int, number: int) -> bool:
        """Send a signal to a process group; return whether the group still has members."""
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's process has got the number meanwhile, or the broker changed its user
            return False
        return True

    def finish(self) -> None:
        """Kill all that is left and remove the folder."""
        signal.set_wakeup_fd(-1)
        deadline = time.monotonic() + END_PATIENCE
        while self.kill_everything() and time.monotonic() < deadline:
            select.select([], [], [], 0.005)
        if not self.keep:
            self.remove_folder()

    def kill_everything(self) -> bool:
        """Kill the groups and the adopted processes; return whether any was left."""
        left = [group for group in self.groups if self.signal(group, signal.SIGKILL)]
        orphans = children()
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.reap()
        return bool(left or orphans)

    def remove_folder(self) -> None:
        """Remove FOLDER; a dying process may still write into it, so once more."""
        import shutil

        os.chdir("/")
        for _ in range(3):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not os.path.lexists(self.folder):
                return

    def watch(self) -> None:
        """Carry out orders until the leash is cut."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        pending = b""
        while True:
            ready = select.select([0, wake_read], [], [])[0]
            if wake_read in ready:
                os.read(wake_read, 512)
                self.reap()
            if 0 in ready:
                received = os.read(0, 4096)
                if not received:
                    return
                *orders, pending = (pending + received).split(b"\n")
                for order in orders:
                    self.obey(order.decode())


def answer(line: str) -> None:
    """Write one answer; nobody may be there to read it."""
    try:
        os.write(1, line.encode(errors="replace").replace(b"\n", b" ") + b"\n")
    except OSError:
        pass


def children() -> list[int]:
    """Return our living children, adopted ones included (Linux; elsewhere none are adopted)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def adopt_orphans() -> None:
    """Become the parent of what the broker leaves behind (Linux)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def main() -> None:
    """Run as the module's docstring says."""
    folder, keep = sys.argv[1:]
    os.umask(0o077)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    adopt_orphans()
    reaper = Reaper(folder, keep == "keep")
    try:
        reaper.watch()
    finally:
        reaper.finish()


if __name__ == "__main__":
    main()
