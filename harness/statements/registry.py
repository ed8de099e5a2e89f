"""The normative statements of the specifications, read from the tables beside this module.

An id is unique within its specification. The extensions' statements on negative acknowledgements are called
``negative-acks/NN``, because ``basic.nack/NN`` are rules of the AMQP XML.
"""

import csv
import difflib
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Testable = Literal["yes", "partly", "no"]

SPECS = ("amqp-0-9-1", "mqtt-3.1.1", "mqtt-5.0")

_SOURCES = (
    ("amqp-0-9-1", "rules", "amqp-0-9-1-rules.csv"),
    ("amqp-0-9-1", "prose", "amqp-0-9-1-prose.csv"),
    ("amqp-0-9-1", "extension", "amqp-0-9-1-extensions.csv"),
    ("mqtt-3.1.1", "standard", "mqtt-3.1.1-statements.csv"),
    ("mqtt-5.0", "standard", "mqtt-5.0-statements.csv"),
)


class UnknownStatement(LookupError):
    """An id that no statement has; the message names the nearest one."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One normative statement. ``summary`` is ours; ``reason`` says why it cannot be tested from a client."""

    spec: str
    source: str
    id: str
    section: str
    level: str
    actor: str
    testable: Testable
    summary: str
    reason: str

    @property
    def key(self) -> str:
        """The qualified id, ``spec:id``, as markers name it."""
        return f"{self.spec}:{self.id}"

    @property
    def is_may(self) -> bool:
        """Whether the statement only permits something, so that it can never be broken."""
        return self.level in ("MAY", "MAY NOT") and self.actor != "client"

    @property
    def is_should(self) -> bool:
        """Whether the statement only advises."""
        return self.level in ("SHOULD", "SHOULD NOT")


@cache
def load() -> dict[str, Statement]:
    """Return all statements by qualified id, in the order of their tables."""
    return {statement.key: statement for source in _SOURCES for statement in _read(*source)}


def statements(spec: str | None = None) -> list[Statement]:
    """Return the statements of one specification, or of all. Raises UnknownStatement for an unknown name."""
    if spec is not None and spec not in SPECS:
        raise UnknownStatement(f"no specification is called {spec!r}: there are {', '.join(SPECS)}")
    return [statement for statement in load().values() if spec in (None, statement.spec)]


def find(key: str) -> Statement:
    """Return the statement with this qualified id. Raises UnknownStatement."""
    try:
        return load()[key]
    except KeyError:
        nearest = difflib.get_close_matches(key, load(), n=1)
        hint = f"; the nearest is {nearest[0]}" if nearest else ""
        raise UnknownStatement(f"no statement is called {key!r}{hint}") from None


def _read(spec: str, source: str, name: str) -> list[Statement]:
    return [_statement(spec, source, row) for row in _rows(name)]


def _rows(name: str) -> list[dict[str, str]]:
    table = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(table)))


@cache
def _reasons() -> dict[str, str]:
    """Return why statements cannot be tested from a client, by qualified id."""
    return {row["statement"]: row["reason"] for row in _rows("untestable.csv")}


def _statement(spec: str, source: str, row: dict[str, str]) -> Statement:
    testable = row["testable"]
    if testable not in ("yes", "partly", "no"):
        raise ValueError(f"{spec}:{row['id']}: testable is {testable!r}")
    return Statement(
        spec=spec,
        source=source,
        id=row["id"],
        section=row.get("section") or row.get("feature") or row["id"].partition("/")[0],
        level=row["level"],
        actor=row["actor"],
        testable=testable,  # type: ignore[arg-type]
        summary=row["summary"],
        reason=_reasons().get(f"{spec}:{row['id']}", ""),
    )
