"""An account as CSV: one line for each number, in long form, so that any spreadsheet or data frame can pivot it."""

import csv
import io
from collections.abc import Iterator
from typing import Any

NAMES = ("topic", "routing_key", "name", "connection", "kind")  # what calls an entry of a list by its name


def flat_csv(data: dict[str, Any]) -> str:
    """Return ``table,row,measure,value`` for every number and truth value in ``data``.

    ``table`` is the first key, ``row`` what lies between it and the last, joined by slashes.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("table", "row", "measure", "value"))
    for path, value in _leaves(data, ()):
        table, *middle, measure = path if len(path) > 1 else ("account", *path)
        writer.writerow((table, _safe("/".join(middle)), _safe(measure), value))
    return out.getvalue()


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, _name(inner, number)))
    elif isinstance(value, bool):
        yield path, int(value)
    elif isinstance(value, int | float):
        yield path, value


def _name(entry: Any, number: int) -> str:
    """Return what an entry of a list is called: the exchange goes before its key, a number where there is no name."""
    if not isinstance(entry, dict):
        return str(number)
    found = next((str(entry[key]) for key in NAMES if key in entry), str(number))
    return f"{entry['exchange']}/{found}" if "exchange" in entry else found


def _safe(text: str) -> str:
    """A capture is untrusted: a spreadsheet would take what begins so for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
