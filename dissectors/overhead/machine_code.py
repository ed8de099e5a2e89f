"""Machine code between runs: an object file in the user's cache folder, loaded by LLVM alone, without numba.

What is loaded is run: the file must be the user's (or root's) and nobody else's to write, and carry the digest of its
contents and of what they were made for. Whatever fails is not there: it is made anew.
"""

import contextlib
import ctypes
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

NAME: Final = "kernels.o"
_DIGEST: Final = hashlib.sha256().digest_size
_READ: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Unusable(Exception):
    """What this numba makes of the kernels cannot be called as an object file; the uncompiled kernels are left."""


@dataclass(frozen=True, slots=True)
class MachineCode:
    """A relocatable object file, and the name of the one function in it that is called from outside."""

    symbol: str
    octets: bytes


@cache
def processor() -> str:
    """Return the name and features of the processor that the machine code is made for."""
    import llvmlite.binding as llvm

    return f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def target_machine() -> Any:
    """Return LLVM's code generator for this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True)


class Loaded:
    """Machine code in this process. ``address``: of its function; it lasts as long as this object."""

    def __init__(self, code: MachineCode) -> None:
        import llvmlite.binding as llvm

        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code.octets))
        self._engine.finalize_object()
        self.address = int(self._engine.get_function_address(code.symbol))

    def function(self, *types: Any) -> Any:
        """Return the function as Python calls it, without the interpreter's lock. ``types``: result, arguments."""
        return ctypes.CFUNCTYPE(*types)(self.address)


def kept(folder: Path) -> MachineCode | None:
    """Return what is kept in ``folder``; None where there is nothing, or nothing that can be trusted."""
    try:
        if not _trusted(os.lstat(folder), stat.S_ISDIR):
            return None
        file = os.open(folder / NAME, _READ)
        with open(file, "rb") as stream:
            if not _trusted(os.fstat(file), stat.S_ISREG):
                return None
            octets = stream.read()
    except OSError:
        return None
    if octets[:_DIGEST] != _digest(folder, octets[_DIGEST:]):
        return None
    symbol, _, code = octets[_DIGEST:].partition(b"\n")
    return MachineCode(symbol.decode(), code)


def keep(folder: Path, code: MachineCode) -> None:
    """Keep it for next time, whole or not at all; where nothing can be written, it goes with this process."""
    octets = code.symbol.encode() + b"\n" + code.octets
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file, name = tempfile.mkstemp(dir=folder)
        try:
            with open(file, "wb") as stream:
                stream.write(_digest(folder, octets) + octets)
            os.replace(name, folder / NAME)
        except OSError:
            os.unlink(name)
            raise


def _digest(folder: Path, octets: bytes) -> bytes:
    """Return the digest of the contents, and of the folder's name: what they were made for."""
    return hashlib.sha256(folder.name.encode() + b"\n" + octets).digest()


def _trusted(status: os.stat_result, is_kind: Any) -> bool:
    if not is_kind(status.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True  # Windows: the folder's own rights say who may write
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & _OTHERS_WRITE
