"""From the kernels as they are written to machine code: numba (extra ``fast``) compiles them, once for each source.

Each kernel function is taken with its code and given globals in which the other kernels' names mean the compiled ones;
its types are those of its annotations. Callees come first, so each is compiled once. What comes out is an object file,
so that the next process needs LLVM to load it and numba no more.
"""

import dis
import importlib
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from mqproof.dissectors.amqp import counting as amqp_counting
from mqproof.dissectors.amqp import finding as amqp_finding
from mqproof.dissectors.amqp import kernel as amqp_kernel
from mqproof.dissectors.amqp import whole as amqp_whole
from mqproof.dissectors.mqtt import counting as mqtt_counting
from mqproof.dissectors.mqtt import finding as mqtt_finding
from mqproof.dissectors.mqtt import kernel as mqtt_kernel
from mqproof.dissectors.mqtt import whole as mqtt_whole
from mqproof.dissectors.overhead import entry, machine_code, recognition, websocket
from mqproof.dissectors.overhead import walk as walk_kernel
from mqproof.dissectors.packets import booking, fragments, keys, links, octets, records, tcp, tls

KERNELS: Final = (
    octets, records, links, fragments, booking, keys, tcp, tls, amqp_finding, amqp_counting, amqp_whole, amqp_kernel,
    mqtt_finding, mqtt_counting, mqtt_whole, mqtt_kernel, websocket, recognition, walk_kernel, entry,
)  # fmt: skip
ARRAY: Final = ["ptr", "ptr", "i64", "i64", "ptr", "i64", "i64"]
"""How an array is passed to a compiled kernel: owner, parent, items, octets of one, data, shape, stride."""
_ENTRY: Final[FunctionType] = vars(entry)["run"]
_FROM_THE_SYSTEM: Final = frozenset({"memcpy", "memmove", "memset"})


def compiled(*, arrays: bool) -> machine_code.MachineCode:
    """Return the kernels' machine code, many seconds later. Raises Unusable.

    ``arrays``: it is given arrays, not the addresses of what is in them.
    """
    import llvmlite.binding as llvm

    dispatcher = _dispatcher(arrays)
    signature = dispatcher.signatures[0]
    symbol = dispatcher.overloads[signature].fndesc.llvm_func_name
    module = llvm.parse_assembly(dispatcher.inspect_llvm(signature))
    _check(module, symbol, arrays)
    return machine_code.MachineCode(symbol, machine_code.target_machine().emit_object(module))


def _dispatcher(arrays: bool) -> Any:
    """Return the entry, compiled with all that it calls."""
    numba: Any = importlib.import_module("numba")
    scopes = {module: dict(vars(module)) for module in KERNELS}
    stand_ins = {module: ModuleType(f"{module.__name__}.compiled") for module in KERNELS}
    for scope in scopes.values():
        scope.update({name: stand_ins[value] for name, value in scope.items() if _is_kernel(value)})
    options = {"error_model": "numpy", "_nrt": False}
    quick = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only Python needs them: half the time
    made = None
    for function in _callees_first(_ENTRY):
        module = sys.modules[function.__module__]
        twin = FunctionType(function.__code__, scopes[module], function.__name__)
        twin.__qualname__ = function.__qualname__
        made = numba.njit(_signature(function, numba, arrays), **options, **quick)(twin)
        setattr(stand_ins[module], function.__name__, made)
        for scope in scopes.values():
            scope.update({name: made for name, value in scope.items() if value is function})
    return made


def _check(module: Any, symbol: str, arrays: bool) -> None:
    """See that the entry takes what it will be called with, and calls nothing that only numba has. Raises Unusable."""
    notes = _ENTRY.__annotations__
    expected = ["ptr", "ptr"]  # where the result goes, and the exception
    for name in _arguments(_ENTRY):
        expected += ["i64"] if notes[name] is int else ARRAY if arrays else ["ptr"]
    taken = [str(argument.type) for argument in module.get_function(symbol).arguments]
    if taken != expected:
        raise machine_code.Unusable(f"the kernels take {taken}")
    declared = {function.name for function in module.functions if function.is_declaration}
    foreign = {name for name in declared - _FROM_THE_SYSTEM if not name.startswith("llvm.")}
    if foreign:
        raise machine_code.Unusable(f"the kernels call {', '.join(sorted(foreign))}")


def _signature(function: FunctionType, numba: Any, arrays: bool) -> Any:
    types = {bytearray: numba.uint8[::1], list[int]: numba.int64[::1], int: numba.int64, None: numba.void}
    if not arrays:
        types |= {bytearray: numba.types.CPointer(numba.uint8), list[int]: numba.types.CPointer(numba.int64)}
    notes = function.__annotations__
    return types[notes["return"]](*(types[notes[name]] for name in _arguments(function)))


def _arguments(function: FunctionType) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def _is_kernel(value: object) -> bool:
    return isinstance(value, ModuleType) and value in KERNELS


def _callees_first(last: FunctionType) -> list[FunctionType]:
    order: dict[FunctionType, None] = {}

    def visit(function: FunctionType) -> None:
        if function not in order:
            for callee in _callees(function):
                visit(callee)
            order[function] = None

    visit(last)
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
