"""Thresholds on a load's result, and what a broker promises without any: a value that was not measured never passes."""

import math
import re
from dataclasses import dataclass
from typing import Any

EXACTLY_ONCE = "exactly once"  # what a stage says that it was promised
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
        for name in ("max_lost", "min_rate", "max_duplicated"):
            bound = getattr(self, name)
            if bound is not None and not 0 <= bound < math.inf:
                raise BadThreshold(f"--{name.replace('_', '-')} {bound}: say a number, 0 or more")

    def check(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        """Return one row per bound, and per broken promise: ``rule``, ``value``, ``bound``, ``passes``.

        Raises BadThreshold.
        """
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
        return rows + self._broken_promises(result)

    def _broken_promises(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a row per promise that the broker broke, unless a bound of the user's speaks of the same."""
        ledger = result["ledger"]
        found = {name: ledger[name] for name in ("corrupted", "unexpected")}
        if self.max_lost is None:
            found["confirmed but lost"] = ledger["confirmed_lost"]
        if self.max_duplicated is None:
            found["duplicated at exactly once"] = sum(
                stage["ledger"]["duplicated"]
                for stage in result.get("stages", ())
                if stage.get("promise") == EXACTLY_ONCE
            )
        return [_at_most(rule, count, 0) for rule, count in found.items() if count]


def microseconds(text: str) -> int:
    """Return a time such as ``20ms``, ``1.5s`` or ``800us`` in microseconds. Raises BadThreshold."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|)", text.strip())
    if match is None:
        raise BadThreshold(f"{text!r} is no time: write 800us, 20ms or 1.5s")
    return round(float(match[1]) * UNITS[match[2]])


def _at_most(rule: str, value: Any, bound: float) -> dict[str, Any]:
    return {"rule": rule, "value": value, "bound": bound, "passes": value is not None and value <= bound}
