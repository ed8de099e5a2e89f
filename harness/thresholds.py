"""Thresholds on a load's result, for CI: a value that was not measured never passes."""

import re
from dataclasses import dataclass
from typing import Any

UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "": 1_000}  # microseconds; a bare number is milliseconds


class BadThreshold(ValueError):
    """A threshold that cannot be read; one line."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds, each of which may be absent. ``max_p99``: a time such as ``20ms``; ``min_rate`` in messages a second."""

    max_p99: str = ""
    max_lost: int | None = None
    min_rate: float | None = None
    max_duplicated: int | None = None

    def check_wording(self) -> None:
        """Raise BadThreshold where a bound cannot be read."""
        if self.max_p99:
            microseconds(self.max_p99)

    def check(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        """Return one row per bound: ``rule``, ``value``, ``bound``, ``passes``. Raises BadThreshold."""
        rows = []
        if self.max_p99:
            bound = microseconds(self.max_p99)
            rows.append(_at_most("p99 (us)", result["metrics"]["latency_us"]["p99"], bound))
        if self.max_lost is not None:
            rows.append(_at_most("lost", result["ledger"]["lost"], self.max_lost))
        if self.max_duplicated is not None:
            rows.append(_at_most("duplicated", result["ledger"]["duplicated"], self.max_duplicated))
        if self.min_rate is not None:
            value = result["metrics"]["delivery_rate_msg_s"]
            passes = value is not None and value >= self.min_rate
            rows.append({"rule": "delivery rate (msg/s)", "value": value, "bound": self.min_rate, "passes": passes})
        return rows


def microseconds(text: str) -> int:
    """Return a time such as ``20ms``, ``1.5s`` or ``800us`` in microseconds. Raises BadThreshold."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|)", text.strip())
    if match is None:
        raise BadThreshold(f"{text!r} is no time: write 800us, 20ms or 1.5s")
    return round(float(match[1]) * UNITS[match[2]])


def _at_most(rule: str, value: Any, bound: float) -> dict[str, Any]:
    return {"rule": rule, "value": value, "bound": bound, "passes": value is not None and value <= bound}
