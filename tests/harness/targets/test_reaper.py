"""However mqproof ends, nothing of what it started is left: no process, no folder."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from mqproof.harness.targets.drivers.supervised import Supervised
from mqproof.harness.targets.errors import BrokerFailed

VANISH_SECONDS = 20.0
REAL = [pytest.param(name, marks=pytest.mark.real_broker) for name in ("rabbitmq", "mosquitto")]

# A parent that starts something, says what, and waits to be killed.
PARENT = """
import json, sys
from mqproof.harness.targets.drivers import DRIVERS
broker = DRIVERS[sys.argv[1]].start()
if sys.argv[2] == "pause":
    broker.pause()
processes = [server.process for server in broker.servers]
pids = [pid for process in processes for pid in (process.pid, process.reaper_pid)]
print(json.dumps({"pids": pids, "folders": list(map(str, broker.folders))}), flush=True)
sys.stdin.read()
"""

# A broker that sends a child into the background, in a session of its own, and waits.
DAEMONIZING = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print("daemon", os.getpid(), flush=True)
signal.pause()
"""


@contextlib.contextmanager
def parent(driver: str, *, pause: bool = False) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run PARENT; yield its process and what it started."""
    command = [sys.executable, "-c", PARENT, driver, "pause" if pause else "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def descendants(pids: list[int]) -> list[psutil.Process]:
    """Return the processes and everything below them."""
    found = [psutil.Process(pid) for pid in pids]
    return list({*found, *(child for process in found for child in process.children(recursive=True))})


def are_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=VANISH_SECONDS)[1]


@pytest.fixture
def supervised(request: pytest.FixtureRequest) -> Iterator[Supervised]:
    """A started process of the program that the test's parameter gives."""
    process = Supervised("test")
    process.leash([sys.executable, "-c", request.param], os.environ)
    process.start()
    yield process
    process.end()


@pytest.mark.parametrize("driver", ["embedded", *REAL])
def test_nothing_is_left_after_sigkill(driver: str) -> None:
    with parent(driver) as (process, started):
        processes = descendants(started["pids"])
        assert all(Path(folder).is_dir() for folder in started["folders"])
        process.kill()
        assert are_gone(processes)
    assert not any(Path(folder).exists() for folder in started["folders"])


def test_nothing_is_left_of_a_paused_broker() -> None:
    with parent("embedded", pause=True) as (process, started):
        processes = descendants(started["pids"])
        process.kill()
        assert are_gone(processes)
    assert not any(Path(folder).exists() for folder in started["folders"])


def test_a_signal_to_the_terminals_group_leaves_the_broker_to_its_owner() -> None:
    """Ctrl-C reaches mqproof alone, which ends its tests first and the broker last."""
    with parent("embedded") as (_, started):
        processes = descendants(started["pids"])
        assert all(os.getsid(entry.pid) != os.getsid(0) for entry in processes)
        for entry in started["pids"][1::2]:  # the reapers
            os.kill(entry, signal.SIGINT)
            os.kill(entry, signal.SIGTERM)
        assert psutil.wait_procs(processes, timeout=0.3)[0] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has sub-reapers")
@pytest.mark.parametrize("supervised", [DAEMONIZING], indirect=True)
def test_what_went_into_the_background_ends_too(supervised: Supervised) -> None:
    while "daemon" not in supervised.log_tail():
        assert not supervised.wait(0.01)
    daemon = psutil.Process(int(supervised.log_tail().split()[-1]))
    assert os.getsid(daemon.pid) != os.getsid(supervised.pid or 0)
    supervised.end()
    assert are_gone([daemon])


@pytest.mark.parametrize("supervised", ["import signal; signal.pause()"], indirect=True)
def test_end_returns_when_all_is_gone(supervised: Supervised) -> None:
    process = psutil.Process(supervised.pid)
    supervised.end()
    assert not process.is_running()
    assert not supervised.folder.exists()
    supervised.end()  # once more is harmless


@pytest.mark.parametrize("supervised", ["raise SystemExit(7)"], indirect=True)
def test_the_status_of_a_process_that_ended(supervised: Supervised) -> None:
    assert supervised.wait(60)
    assert supervised.status == 7
    assert not supervised.running


@pytest.mark.parametrize("supervised", ["import signal; signal.pause()"], indirect=True)
def test_a_killed_process_starts_again_in_its_folder(supervised: Supervised) -> None:
    (supervised.folder / "state").write_text("kept")
    first = supervised.pid
    supervised.send(signal.SIGKILL)
    assert supervised.wait(60)
    assert supervised.status == -signal.SIGKILL
    supervised.start()
    assert supervised.running
    assert supervised.pid != first
    assert (supervised.folder / "state").read_text() == "kept"


def test_a_process_outlives_the_thread_that_started_it() -> None:
    process = Supervised("test")
    process.leash([sys.executable, "-c", "import signal; signal.pause()"], os.environ)
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    try:
        assert not process.wait(0.2)
    finally:
        process.end()


def test_a_folder_of_the_users_stays(tmp_path: Path) -> None:
    process = Supervised("test", tmp_path / "broker")
    process.leash([sys.executable, "-c", "print('hello')"], os.environ)
    process.start()
    assert process.wait(60)
    process.end()
    assert (tmp_path / "broker" / "log").read_text() == "hello\n"


def test_a_program_that_does_not_exist() -> None:
    process = Supervised("test")
    process.leash(["/nowhere/broker"], os.environ)
    try:
        with pytest.raises(BrokerFailed, match="/nowhere/broker"):
            process.start()
    finally:
        process.end()
    assert not process.folder.exists()


@pytest.mark.parametrize("supervised", ["import signal; signal.pause()"], indirect=True)
def test_a_lost_reaper_is_noticed(supervised: Supervised) -> None:
    broker = psutil.Process(supervised.pid)
    os.kill(supervised.reaper_pid, signal.SIGKILL)
    try:
        with pytest.raises(BrokerFailed, match="lost its reaper"):
            supervised.wait(10)
    finally:
        broker.kill()
        (supervised.folder / "log").unlink()
        supervised.folder.rmdir()
