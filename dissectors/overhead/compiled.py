"""The same kernels, compiled: numba (extra ``fast``) turns the functions as they are written into machine code.

Each kernel function is taken with its code and given globals in which the other kernels' names mean the compiled ones;
its types are those of its annotations. Callees come first, so each is compiled once. The machine code is kept in the
user's cache folder, in a folder named after the sources and versions that made it: it is never older than its source.
"""

import atexit
import contextlib
import dis
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from mqproof.dissectors.amqp import finding as amqp_finding
from mqproof.dissectors.amqp import kernel as amqp_kernel
from mqproof.dissectors.amqp import tables as amqp_tables
from mqproof.dissectors.mqtt import finding as mqtt_finding
from mqproof.dissectors.mqtt import kernel as mqtt_kernel
from mqproof.dissectors.mqtt import tables as mqtt_tables
from mqproof.dissectors.overhead import entries, recognition, websocket
from mqproof.dissectors.overhead import walk as walk_kernel
from mqproof.dissectors.packets import booking, fragments, keys, links, octets, records, state, tcp, tls

KERNELS: Final = (
    octets, records, links, fragments, booking, keys, tcp, tls, amqp_finding, mqtt_finding, mqtt_kernel, amqp_kernel,
    websocket, recognition, walk_kernel, entries,
)  # fmt: skip
ENTRIES: Final = ("walk", "finish")
CHECK_BOUNDS: Final = "NUMBA_BOUNDSCHECK"  # in the environment: numba's own name
RETRY_SECONDS: Final = 600
KEPT_SECONDS: Final = 30 * 86400
_MARK: Final = "ready"


def available() -> bool:
    """Return whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def cache_folder() -> Path:
    """Return where the machine code of exactly these sources is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    digest = hashlib.sha256()
    for module in (*KERNELS, state, amqp_tables, mqtt_tables, sys.modules[__name__]):
        digest.update(Path(str(module.__file__)).read_bytes())
    versions = (metadata.version("numba"), metadata.version("numpy"), platform.python_version(), platform.machine())
    for word in (*versions, os.environ.get(CHECK_BOUNDS, "")):
        digest.update(word.encode())
    for module in KERNELS:  # numba keeps what it made for one place and age of a file: another's would be made anew
        path = Path(str(module.__file__))
        digest.update(f"{path} {path.stat().st_mtime}".encode())
    return Path(base) / "mqproof" / f"kernels-{digest.hexdigest()[:16]}"


def is_ready() -> bool:
    """Return whether the machine code has been made before, so that it loads at once."""
    return available() and (cache_folder() / _MARK).exists()


def prepare_in_background() -> None:
    """Let a process of its own compile the kernels for next time; it outlives this one and says nothing."""
    folder = cache_folder()
    begun = folder / "begun"
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


class Kernels:
    """The compiled entries: ``walk`` and ``finish``. Made once per process: :func:`load`."""

    def __init__(self) -> None:
        import numba
        import numpy

        self.numpy = numpy
        folder = _place(cache_folder())
        with _caching_in(folder):
            self.walk, self.finish = _compiled(numba, (folder / _MARK).exists())
        if not (folder / _MARK).exists():
            (folder / _MARK).touch()
            _remove_old(folder)


_loaded: Kernels | None = None


def load() -> Kernels:
    """Return the compiled kernels, compiling them (many seconds) where no cache has them."""
    global _loaded
    if _loaded is None:
        _loaded = Kernels()
    return _loaded


class Compiled:
    """An engine like ``engine.Plain``: numpy arrays instead of lists, and machine code."""

    name = "compiled"

    def __init__(self) -> None:
        self._kernels = load()
        numpy = self._kernels.numpy
        self.m: Any = numpy.zeros(state.M_SIZE, numpy.uint8)
        self.s: Any = numpy.zeros(state.CONN_TABLE + state.MAX_CONNS * state.CONN_WORDS, numpy.int64)
        self.s[state.CONN_LIMIT] = state.MAX_CONNS  # the pages are the system's until they are used

    def view(self, buffer: bytearray) -> Any:
        """Return the buffer as the kernels want it."""
        return self._kernels.numpy.frombuffer(buffer, self._kernels.numpy.uint8)

    def walk(self, view: Any, end: int) -> int:
        """Walk what is in the buffer."""
        return int(self._kernels.walk(view, end, self.s, self.m))

    def finish(self) -> int:
        """Bring the books to an end; again after ROWS_FULL."""
        return int(self._kernels.finish(self.s, self.m))

    def grow(self) -> None:
        """Never called: all connections have room from the start."""
        raise AssertionError("compiled kernels have all connections' room from the start")


def _place(folder: Path) -> Path:
    """Return the folder, made; where nothing can be written, one that goes with this process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) or (folder / _MARK).exists():
            return folder
    except OSError:
        pass
    passing = Path(tempfile.mkdtemp(prefix="mqproof-kernels-"))
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    return passing


def _remove_old(folder: Path) -> None:
    """Remove the machine code of sources that have not been used for long."""
    for other in folder.parent.glob("kernels-*"):
        if time.time() - other.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)


def _compiled(numba: Any, cached: bool) -> list[Any]:
    """Return the entries compiled; ``cached``: only load them, what they call is part of them."""
    scopes = {module: dict(vars(module)) for module in KERNELS}
    stand_ins = {module: ModuleType(f"{module.__name__}.compiled") for module in KERNELS}
    checked = bool(numba.config.BOUNDSCHECK)
    called = [vars(walk_kernel if checked else entries)[name] for name in ENTRIES]
    order = _callees_first(called)
    for scope in scopes.values():
        scope.update({name: stand_ins[value] for name, value in scope.items() if _is_kernel(value)})
    options = {"nogil": True, "error_model": "numpy", "_nrt": False}
    made = {}
    for function in order:
        module = sys.modules[function.__module__]
        twin = FunctionType(function.__code__, scopes[module], function.__name__)
        twin.__qualname__ = function.__qualname__
        signature = _signature(function, numba, arrays=checked or function in called)
        if function in called:
            made[function] = numba.njit(signature, cache=True, **options)(twin)
        elif cached:
            made[function] = numba.njit(**options)(twin)
        else:  # without the wrappers that only Python needs, compiling takes half the time
            quick = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
            made[function] = numba.njit(signature, **options, **quick)(twin)
        setattr(stand_ins[module], function.__name__, made[function])
        for scope in scopes.values():
            scope.update({name: made[function] for name, value in scope.items() if value is function})
    return [made[entry] for entry in called]


def _signature(function: FunctionType, numba: Any, *, arrays: bool) -> Any:
    """Return the types of a function's annotations; ``arrays``: as such, not as the addresses of what is in them."""
    types = {bytearray: numba.uint8[::1], list[int]: numba.int64[::1], int: numba.int64, None: numba.void}
    if not arrays:
        types |= {bytearray: numba.types.CPointer(numba.uint8), list[int]: numba.types.CPointer(numba.int64)}
    notes = function.__annotations__
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return types[notes["return"]](*(types[notes[name]] for name in names))


def _is_kernel(value: object) -> bool:
    return isinstance(value, ModuleType) and value in KERNELS


def _callees_first(entries: list[FunctionType]) -> list[FunctionType]:
    order: dict[FunctionType, None] = {}

    def visit(function: FunctionType) -> None:
        if function not in order:
            for callee in _callees(function):
                visit(callee)
            order[function] = None

    for entry in entries:
        visit(entry)
    return list(order)


def _callees(function: FunctionType) -> Iterator[FunctionType]:
    """Yield the kernel functions that a function's code names, directly or through a kernel module."""
    module: Any = None
    for step in dis.get_instructions(function):
        value = None
        if step.opname == "LOAD_GLOBAL":
            value = function.__globals__.get(step.argval)
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and _is_kernel(module):
            value = vars(module).get(step.argval)
        if isinstance(value, FunctionType) and _is_kernel(sys.modules[value.__module__]):
            yield value
        module = value


@contextlib.contextmanager
def _caching_in(folder: Path) -> Iterator[None]:
    """Let numba keep this machine code in ``folder``, and leave its setting for others as it was."""
    from numba import config

    before = vars(config)["CACHE_DIR"]
    vars(config)["CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        vars(config)["CACHE_DIR"] = before
