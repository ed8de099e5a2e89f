"""Work shared out to processes: none outlives the one that shared it out, whatever ends that."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mqproof.harness.processes import shared_out
from mqproof.harness.targets.deadline import Deadline

SECONDS = 60.0
ENDLESS = """
import multiprocessing, signal, sys
sys.path[:0] = {path}
from mqproof.harness.processes import shared_out
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with shared_out(2, {method!r}) as pool:
        work = [pool.submit(signal.pause) for _ in range(5)]
        first = [pool.submit(abs, -1)]
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        work[0].result()
"""


@pytest.fixture(params=["spawn", "fork"])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for work that never ends."""
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS.format(path=sys.path, method=request.param))
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_one_it_works_for(sharing: subprocess.Popen[str], number: signal.Signals) -> None:
    assert sharing.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in sharing.stdout.readline().split()]
    assert len(workers) == 2
    deadline = Deadline.within(SECONDS)
    while sharing.poll() is None and not deadline.over:
        sharing.send_signal(number)  # again: Python overlooks a SIGINT that comes just before it begins to wait
        with suppress(subprocess.TimeoutExpired):
            sharing.wait(1)
    assert sharing.returncode
    assert psutil.wait_procs(workers, timeout=SECONDS)[1] == []


def test_what_the_work_comes_to_is_handed_back() -> None:
    with shared_out(2, "spawn") as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]


def test_work_that_is_given_up_ends_at_once_and_the_reason_comes_through() -> None:
    waiting: list[Future[None]] = []

    def give_up(pool: ProcessPoolExecutor) -> None:
        waiting.extend(pool.submit(signal.pause) for _ in range(5))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), shared_out(2, "spawn") as pool:
        give_up(pool)
    assert len(waiting) == 5
    for work in waiting:
        with pytest.raises(BrokenProcessPool):
            work.result(timeout=0)


def test_a_process_that_dies_is_not_waited_for() -> None:
    with pytest.raises(BrokenProcessPool), shared_out(1, "spawn") as pool:
        pool.submit(os._exit, 3).result()
