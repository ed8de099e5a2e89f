"""Processes that share out work, and do not outlive the one that they work for."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait


@contextmanager
def shared_out(workers: int, method: str | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of so many processes, started by ``method`` (of multiprocessing; None: the system's usual one).

    They end when this process ends, even killed; where the work is given up with an exception, at once, and what was
    not done comes to BrokenProcessPool.
    """
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        others = multiprocessing.active_children()
        try:
            yield pool
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            raise


def _end_with_parent() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork has what its parent does about it
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)  # nobody is left to hand anything to

    threading.Thread(target=watch, daemon=True, name="ends with its parent").start()
