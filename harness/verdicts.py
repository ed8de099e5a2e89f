"""Verdicts: what a test may say of a broker, and how several tests are merged into one word.

Accusations are typed. Only :class:`Deviation` accuses the broker, and only the line that checks a statement raises it.
A precondition that fails raises :class:`Blocked`; a feature that the specification lets a server lack, and that the
server lacks, raises :class:`Unsupported`; what must not or cannot be examined here raises :class:`Untested`. Every
other exception is a fault of ours. None of these accuses.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The word for one statement on one target; the same words are used for a single test's outcome."""

    CONFORMS = "conforms"
    DEVIATES = "deviates"
    KNOWN_DEVIATION = "known-deviation"
    UNSUPPORTED = "unsupported"
    INCONCLUSIVE = "inconclusive"
    UNTESTED = "untested"


WORST_FIRST = (
    Verdict.DEVIATES,
    Verdict.INCONCLUSIVE,
    Verdict.KNOWN_DEVIATION,
    Verdict.CONFORMS,
    Verdict.UNSUPPORTED,
    Verdict.UNTESTED,
)


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the one verdict that several tests of a statement add up to; ``untested`` for none."""
    present = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in present), Verdict.UNTESTED)


class Deviation(AssertionError):
    """The broker broke a statement: raised only by the line that checks it.

    ``statement`` narrows the accusation to one or several of the ids that the test claims ("spec:id"), of which those
    of the version at hand count; without it, all that the test claims are meant.
    """

    def __init__(self, expected: str, actual: str, statement: str | tuple[str, ...] | None = None) -> None:
        super().__init__(f"expected {expected}; got {actual}")
        self.expected = expected
        self.actual = actual
        self.statements = (statement,) if isinstance(statement, str) else statement


class Blocked(Exception):
    """A precondition failed, so that the statement could not be examined: inconclusive, never an accusation."""


class Late(Blocked):
    """We did too late what had to be done by a time, on a busy machine: it can be tried again."""


class Unsupported(Exception):
    """The broker does not offer a feature that the specification leaves to it, and said so (or a probe showed it)."""


class Untested(Exception):
    """The statement was not examined here: it would disturb others, or needs a setting that the target has not."""


def check(
    condition: object, *, expected: object, actual: object, statement: str | tuple[str, ...] | None = None
) -> None:
    """Accuse the broker unless ``condition`` holds.

    ``expected`` and ``actual`` are shown to people; anything that is not a string is shown by ``repr``.
    Raises Deviation.
    """
    if not condition:
        raise Deviation(_shown(expected), _shown(actual), statement)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
