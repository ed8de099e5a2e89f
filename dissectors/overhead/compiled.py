"""The same kernels, compiled, and where their machine code is kept: an engine like ``engine.Plain``.

The machine code stands in the user's cache folder, in a folder named after the sources, versions and processor that it
is made from and for: it is never older than its source. While it is there, neither numba nor numpy is imported.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import mmap
import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from mqproof.dissectors.overhead import machine_code
from mqproof.dissectors.packets import state

SOURCES: Final = (
    "amqp/counting", "amqp/finding", "amqp/kernel", "amqp/tables", "amqp/whole",
    "mqtt/counting", "mqtt/finding", "mqtt/kernel", "mqtt/tables", "mqtt/whole",
    "overhead/compiled", "overhead/compiling", "overhead/entry", "overhead/machine_code", "overhead/recognition",
    "overhead/walk", "overhead/websocket", "packets/booking", "packets/fragments", "packets/keys", "packets/links",
    "packets/octets", "packets/records", "packets/state", "packets/tcp", "packets/tls",
)  # fmt: skip
"""All that the machine code is made of, below dissectors/; a test holds this to what the kernels import."""
CHECK_BOUNDS: Final = "NUMBA_BOUNDSCHECK"  # in the environment: numba's own name
MADE_BY: Final = ("numba", "llvmlite", "numpy")
RETRY_SECONDS: Final = 600
KEPT_SECONDS: Final = 30 * 86400


def checks_bounds() -> bool:
    """Return whether indices shall be checked, which takes arrays and time."""
    return os.environ.get(CHECK_BOUNDS, "0") not in ("", "0")


def available() -> bool:
    """Return whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def source_files() -> list[Path]:
    """Return the files that the machine code is made of."""
    dissectors = Path(__file__).parents[1]
    return [dissectors / f"{name}.py" for name in SOURCES]


def cache_folder() -> Path:
    """Return where this user keeps the machine code of exactly these sources, for this processor."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(path.read_bytes())
    user, checked = str(getattr(os, "geteuid", int)()), str(checks_bounds())
    for word in (*map(metadata.version, MADE_BY), sys.version, machine_code.processor(), user, checked):
        digest.update(word.encode() + b"\n")
    return Path(base) / "mqproof" / f"kernels-{digest.hexdigest()[:16]}"


def is_ready() -> bool:
    """Return whether the machine code has been made before, so that it loads at once."""
    return available() and machine_code.kept(cache_folder()) is not None


def prepare_in_background() -> None:
    """Let a process of its own compile the kernels for next time; it outlives this one and says nothing."""
    folder = cache_folder()
    begun = folder / "begun"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if begun.exists():
            if time.time() - begun.stat().st_mtime < RETRY_SECONDS:
                return  # only one at a time, and one that failed is not tried again and again
            begun.unlink()
        begun.touch(exist_ok=False)  # of two that come at once one only gets past this
    except OSError:
        return
    subprocess.Popen(
        [sys.executable, "-c", f"import os; os.nice(10); from {__name__} import load; load()"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


_loaded: Any = None


def load() -> Any:
    """Return the compiled kernels as a function, compiling them (many seconds) where none are kept.

    Raises Unusable.
    """
    global _loaded
    if _loaded is None:
        folder = cache_folder()
        code = machine_code.kept(folder)
        if code is None:
            from mqproof.dissectors.overhead import compiling

            code = compiling.compiled(arrays=checks_bounds())
            made = machine_code.Loaded(code)
            machine_code.keep(folder, code)  # what loads is kept
            _remove_old(folder)
        else:
            made = machine_code.Loaded(code)
        _loaded = made
    return _loaded


class _Memory:
    """Memory as a compiled kernel takes it. ``native``: its address, or all that numba says of an array."""

    def __init__(self, memory: Any, item: int) -> None:
        self._held = ctypes.c_char.from_buffer(memory)  # so long it stays where it is
        address, count = ctypes.addressof(self._held), len(memory) // item
        self.native = (None, None, count, item, address, count, item) if checks_bounds() else (address,)


def _types() -> tuple[Any, ...]:
    """Return what ``entry.run`` compiled returns, a status, and takes: places for its result and an exception first."""
    word, pointer = ctypes.c_int64, ctypes.c_void_p
    memory = (pointer, pointer, word, word, pointer, word, word) if checks_bounds() else (pointer,)
    return ctypes.c_int32, pointer, pointer, word, *memory, word, *memory, *memory


class Compiled:
    """An engine like ``engine.Plain``: memory of the system instead of lists, and machine code. Raises Unusable."""

    name = "compiled"

    def __init__(self) -> None:
        self._run = load().function(*_types())
        words = _zeroed(8 * (state.CONN_TABLE + state.MAX_CONNS * state.CONN_WORDS))
        octets = _zeroed(state.M_SIZE)
        self.m: Any = memoryview(octets)
        self.s: Any = memoryview(words).cast("q")
        self._arrays = _Memory(words, 8), _Memory(octets, 1)
        self._result, self._raised = ctypes.c_int64(), ctypes.c_void_p()
        self.s[state.CONN_LIMIT] = state.MAX_CONNS  # the pages are the system's until they are used

    def view(self, buffer: bytearray) -> Any:
        """Return the buffer as the kernels want it."""
        return _Memory(buffer, 1)

    def walk(self, view: Any, end: int) -> int:
        """Walk what is in the buffer."""
        return self._call(0, view, end)

    def finish(self) -> int:
        """Bring the books to an end; again after ROWS_FULL."""
        return self._call(1, self._arrays[1], 0)

    def grow(self) -> None:
        """Never called: all connections have room from the start."""
        raise AssertionError("compiled kernels have all connections' room from the start")

    def _call(self, finishing: int, view: _Memory, end: int) -> int:
        words, octets = self._arrays
        places = ctypes.addressof(self._result), ctypes.addressof(self._raised)
        status = self._run(*places, finishing, *view.native, end, *words.native, *octets.native)
        if status:
            raise IndexError(f"the kernels raised something (status {status}): nothing else is checked in them")
        return self._result.value


def _zeroed(size: int) -> mmap.mmap:
    """Return zeroed memory that takes nothing until it is used."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size)  # Windows
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _remove_old(folder: Path) -> None:
    """Remove the machine code of sources that have not been used for long."""
    for other in folder.parent.glob("kernels-*"):
        if time.time() - other.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
