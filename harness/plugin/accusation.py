"""Who accuses: turns what ended a test into an outcome, with what was expected and what came instead.

Only a Deviation, or a plain ``assert`` in the body of the test function itself, accuses the broker. The same
AssertionError out of a helper, a wire or a fixture is a fault of ours, and so is every other exception.
"""

import ast
import inspect
import linecache
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Any

import pytest
from mqproof.harness.verdicts import Blocked, Deviation, Unsupported, Verdict

SHOWN = 600  # characters of an expected or actual value that people still read


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test ended. ``accused``: the statements that a deviation was narrowed to, else None."""

    verdict: Verdict
    reason: str = ""
    expected: str | None = None
    actual: str | None = None
    accused: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The last comparison that pytest saw fail: ``left`` is what came, ``right`` what should have come."""

    op: str
    left: str
    right: str

    def words(self) -> tuple[str, str]:
        """Return expected and actual."""
        expected = {"==": "{}", "is": "{}", "in": "one of {}", "!=": "anything but {}", "is not": "anything but {}"}
        return expected.get(self.op, self.op + " {}").format(self.right), self.left


class Seen(threading.local):
    """What pytest compared last, for each thread."""

    last: Comparison | None = None


seen = Seen()
KEPT = "mqproof_comparison"  # attribute of an AssertionError that was raised on another thread


def keep_comparison(error: BaseException) -> None:
    """Keep with an error what was compared last on this thread: it is judged on another."""
    setattr(error, KEPT, seen.last)
    seen.last = None


def comparison(op: str, left: object, right: object) -> Comparison:
    """Return the comparison in words, each side cut to what people still read."""
    return Comparison(op, _shown(left), _shown(right))


def classify(error: BaseException, item: pytest.Item, phase: str, last: Comparison | None) -> Outcome:
    """Return the outcome that ``error`` means when it ends the ``phase`` of a test: setup, call or teardown."""
    if isinstance(error, Unsupported):
        return Outcome(Verdict.UNSUPPORTED, str(error))
    if isinstance(error, Blocked):
        return Outcome(Verdict.INCONCLUSIVE, f"precondition: {error}")
    if phase == "call" and isinstance(error, Deviation):
        return Outcome(Verdict.DEVIATES, str(error), _cut(error.expected), _cut(error.actual), error.statements)
    if phase == "call" and isinstance(error, AssertionError) and _is_raised_by_test(error, item):
        expected, actual = _assertion(error, getattr(error, KEPT, last))
        return Outcome(Verdict.DEVIATES, f"expected {expected}; got {actual}", expected, actual)
    if isinstance(error, pytest.FixtureLookupError):
        return Outcome(Verdict.INCONCLUSIVE, f"harness error: there is no fixture {error.argname!r}")
    where = "" if phase == "call" else f"in {phase}, "
    first = str(error).strip().partition("\n")[0]
    return Outcome(Verdict.INCONCLUSIVE, f"harness error: {where}{type(error).__name__}: {_cut(first)}")


def _is_raised_by_test(error: AssertionError, item: pytest.Item) -> bool:
    raising = _innermost(error.__traceback__)
    return raising is not None and any(raising.tb_frame.f_code in _codes(code) for code in _test_codes(item))


def _innermost(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def _test_codes(item: pytest.Item) -> Iterator[CodeType]:
    """Yield the code of the test function, and of the inner function where hypothesis has wrapped it."""
    function = inspect.unwrap(item.function) if isinstance(item, pytest.Function) else None
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", None)
    for candidate in (function, inner):
        code = getattr(candidate, "__code__", None)
        if code is not None:
            yield code


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and everything nested in it: comprehensions, lambdas, inner functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _assertion(error: AssertionError, last: Comparison | None) -> tuple[str, str]:
    """Return expected and actual of a plain assert: the sides of a comparison, else its source and explanation."""
    test = _source(error)
    if last is not None and isinstance(test, ast.Compare) and len(test.ops) == 1:
        return last.words()
    explanation = " ".join(line.strip() for line in str(error).splitlines()) or "it was false"
    return (f"that {ast.unparse(test)}" if test else "the assertion to hold"), _cut(explanation.removeprefix("assert "))


def _source(error: AssertionError) -> ast.expr | None:
    """Return what the failing ``assert`` tests; None where the source cannot be read."""
    raising = _innermost(error.__traceback__)
    if raising is None:
        return None
    try:
        module = ast.parse("".join(linecache.getlines(raising.tb_frame.f_code.co_filename)))
    except SyntaxError:
        return None
    line = raising.tb_lineno
    asserts = (node for node in ast.walk(module) if isinstance(node, ast.Assert))
    return next((node.test for node in asserts if node.lineno <= line <= (node.end_lineno or node.lineno)), None)


def _shown(value: Any) -> str:
    return _cut(value if type(value) is str and value and value.isprintable() and " " in value else repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
