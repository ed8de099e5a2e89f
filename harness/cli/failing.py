"""What a command ends with when something goes wrong: one line that says what, where and what to do; never a traceback.

A reader that has gone (``mqproof statements | head``) is no error that anybody has to read about: the command ends with
141, as programs do that SIGPIPE ends. ``MQPROOF_TRACEBACK=1`` shows the traceback of an internal error.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from mqproof.harness.cli.codes import CONFORMS, INTERNAL, INTERRUPTED, READER_GONE, USAGE
from mqproof.harness.printable import printable_lines

# Typer carries a click of its own in newer versions; the class that all wrong usage comes from is found by its name.
CLICK_ERROR: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def ended(command: Callable[[], Any]) -> int:
    """Run a command line and return its exit code; everything that it may raise has become one line on stderr."""
    _open_missing_streams()
    try:
        with _terminated_as_interrupted():
            return _flushed(command() or CONFORMS)
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # rich says 1 then, which means deviations here
            return _reader_gone()
        return leaving.code if isinstance(leaving.code, int) else CONFORMS if leaving.code is None else INTERNAL
    except CLICK_ERROR as error:
        return fail(USAGE, _usage(error))
    except (KeyboardInterrupt, typer.Abort):
        return fail(INTERRUPTED, "interrupted")
    except OSError as error:
        return _cannot(error)
    except Exception as error:
        if os.environ.get("MQPROOF_TRACEBACK"):
            raise
        return fail(INTERNAL, f"internal error: {_of(error)}; MQPROOF_TRACEBACK=1 shows where")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: with what there is written down, and nothing left behind."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def fail(code: int, why: object, who: str = "mqproof") -> int:
    """Say on stderr why a command ends and return its exit code; texts of others in it do nothing to the terminal."""
    print(f"{who}: {printable_lines(str(why))}", file=sys.stderr)  # noqa: T201 - typer's echo may be what failed
    return code


def _open_missing_streams() -> None:
    """A process may be started with closed streams; Python has None for them, and libraries do not expect that."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _flushed(code: int) -> int:
    sys.stdout.flush()  # else Python itself meets the broken pipe, after us
    return code


def _reader_gone() -> int:
    _discard_output()
    return READER_GONE


def _discard_output() -> None:
    """Let nothing that is still buffered fail once more when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _cannot(error: OSError) -> int:
    """Say what the system refused: of a file that the user named, or of the output."""
    if error.filename is not None:
        return fail(USAGE, f"{os.fsdecode(error.filename)}: {error.strerror}")
    _discard_output()
    return fail(INTERNAL, f"{error.strerror or _of(error)}: the output or a file is not whole")


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "mqproof"
    return f"{_one_line(error.format_message()).rstrip('.')}: {where} --help says what there is"


def _of(error: Exception) -> str:
    return f"{type(error).__name__}: {_one_line(str(error))}".removesuffix(": ")


def _one_line(text: str) -> str:
    return " ".join(text.split())
