"""``--trace``: every arrival as it came, and every message's fate at the end, as CSV."""

import csv
from pathlib import Path
from typing import Any

from mqproof.harness.intervals import Intervals
from mqproof.harness.ledger import Ledger

ARRIVALS = ("time_ns", "route", "consumer", "publisher", "message", "intended_ns", "flags")
FATES = ("publisher", "route", "first", "last", "fate", "confirmed")


class Trace:
    """Writes arrivals while they come. ``flags``: 1 intact, 2 flagged as a repeat by the broker, 4 not readable."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("w", newline="", encoding="utf-8")
        self._file.write(",".join(ARRIVALS) + "\n")

    def arrived(self, now: int, route: str, path: int, messages: Any) -> None:
        """Write arrivals: rows of publisher, number, intended time and flags."""
        head = f"{now},{route},{path},"
        self._file.writelines(head + ",".join(map(str, row)) + "\n" for row in messages.tolist())

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


def write_fates(ledger: Ledger, file: Path) -> None:
    """Write what became of every published copy, as ranges of messages with the same fate."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(FATES)
        missing = {(publisher, route): lost for publisher, route, lost in ledger.missing()}
        for publisher, books in sorted(ledger.publishers.items()):
            for route in sorted(books.routes) or [""]:
                lost = missing.get((publisher, route), Intervals())
                for first, last, fate, confirmed in sorted(_fates(ledger, publisher, route, lost)):
                    rows.writerow((publisher, route, first, last, fate, confirmed))


def _fates(ledger: Ledger, publisher: int, route: str, lost: Intervals) -> list[tuple[int, int, str, str]]:
    books = ledger.publishers[publisher]
    groups = [("delivered", books.sent.minus(lost).minus(books.refused)), ("refused by the broker", books.refused)]
    groups += [(f"lost: {cause}", numbers) for cause, numbers in ledger.explained(publisher, route, lost)]
    rows = []
    for fate, numbers in groups:
        for answer, part in (("yes", numbers.both(books.confirmed)), ("no", numbers.minus(books.confirmed))):
            rows += [(start, stop - 1, fate, answer) for start, stop in part]
    return rows
