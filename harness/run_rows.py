"""What the rows of run.json hold, for readers that rely on it: whoever wrote the file, a row that lacks it is damaged.

What is not named here may be there as well: a newer mqproof, or a job of its own, writes more.
"""

from typing import Any, Final

TEXT: Final = (str,)
PERHAPS: Final = (str, type(None))
NUMBER: Final = (int, float)
NEEDED: Final = object()  # in place of what stands for a value that is missing
LEAVE: Final = object()

# Key -> what it may be, and what it is when it is missing. A list of texts is (list, str), one of tables (list, dict).
Shape = dict[str, tuple[tuple[type, ...], Any]]
ROWS: Final[dict[str, Shape]] = {
    "targets": {
        **dict.fromkeys(("name", "url", "protocol", "product", "version"), (TEXT, NEEDED)),
        "capabilities": ((list, str), []),
    },
    "tests": {
        **dict.fromkeys(("id", "target", "outcome"), (TEXT, NEEDED)),
        "statements": ((list, str), []), "duration_s": (NUMBER, 0.0), "expected": (PERHAPS, LEAVE),
        "actual": (PERHAPS, LEAVE), "reason": (TEXT, LEAVE), "case": (TEXT, LEAVE), "transcript": (TEXT, LEAVE),
    },
    "statements": {
        **dict.fromkeys(("spec", "id", "target", "verdict"), (TEXT, NEEDED)),
        "tests": ((list, str), []), "expected": (PERHAPS, None), "actual": (PERHAPS, None), "reason": (TEXT, ""),
    },
    "analyses": {"target": (TEXT, LEAVE), "file": (TEXT, LEAVE), "account": ((dict,), LEAVE)},
    "loads": {
        "scenario": (TEXT, LEAVE), "target": (TEXT, LEAVE),
        **dict.fromkeys(("settings", "metrics", "ledger", "latencies_us", "errors", "counts", "broker"),
                        ((dict,), LEAVE)),
        **dict.fromkeys(("figures", "stages", "thresholds"), ((list, dict), LEAVE)),
    },
}  # fmt: skip
TOP: Final[Shape] = {
    "complete": ((bool,), LEAVE), "planned": ((int,), LEAVE), "started": (TEXT, LEAVE), "finished": (PERHAPS, LEAVE),
    "errors": ((list, str), LEAVE),
}  # fmt: skip


def complaint(data: dict[str, Any]) -> str:
    """Return what is wrong with a run's data, or nothing; what may be missing is entered."""
    if not isinstance(data["tool"].setdefault("version", ""), str):
        return "tool has no version"
    if wrong := _wrong(data, TOP):
        return wrong
    for name, shape in ROWS.items():
        rows = data.get(name, [])
        if not isinstance(rows, list):
            return f"{name} is no list"
        for row in rows:
            if not isinstance(row, dict):
                return f"a row of {name} is no table"
            if wrong := _wrong(row, shape):
                return f"in a row of {name}, {wrong}"
    if not all(_are_tables(row.get("account", {}).get("messages", {}), 3) for row in data.get("analyses", [])):
        return "in a row of analyses, account has no messages by protocol and kind"
    return ""


def _are_tables(value: Any, depth: int) -> bool:
    return isinstance(value, dict) and (depth == 1 or all(_are_tables(each, depth - 1) for each in value.values()))


def _wrong(table: dict[str, Any], shape: Shape) -> str:
    """Return what is wrong with the values of a table, or nothing."""
    for key, (kinds, default) in shape.items():
        if key not in table and default is NEEDED:
            return f"{key} is missing"
        if key not in table and default is not LEAVE:
            table[key] = list(default) if isinstance(default, list) else default
        if key in table and not _is(table[key], kinds):
            return f"{key} is no {_called(kinds)}"
    return ""


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    if kinds[0] is list:
        return isinstance(value, list) and all(isinstance(each, kinds[1]) for each in value)
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _called(kinds: tuple[type, ...]) -> str:
    names = {str: "text", dict: "table", int: "number", float: "number", bool: "boolean"}
    return f"list of {names[kinds[1]]}s" if kinds[0] is list else names[kinds[0]]
