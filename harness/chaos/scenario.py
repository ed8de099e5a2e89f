"""What is to go wrong, and when: faults with their options, in phases; from words on a command line or from TOML."""

import fnmatch
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZES = {"": 1, "k": 1000, "M": 1_000_000}
FILTERS = ("queue", "exchange", "key", "topic", "direction", "client")
OPTIONS = ("delay", "jitter", "rate")


class BadScenario(ValueError):
    """A scenario that cannot be played; the message is one line that says what is wrong and what to write."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One fault at work: ``after`` and ``until`` are seconds since the beginning, ``until`` None for ever.

    ``only``: filters (queue, exchange, key, topic, direction, client) with patterns as of file names; all must match.
    ``options``: delay and jitter in seconds, rate in octets per second.
    """

    fault: str
    probability: float = 1.0
    after: float = 0.0
    until: float | None = None
    only: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, float] = field(default_factory=dict)

    def is_active(self, elapsed: float) -> bool:
        """Return whether the fault is at work ``elapsed`` seconds after the beginning."""
        return self.after <= elapsed and (self.until is None or elapsed < self.until)

    def matches(self, facts: Mapping[str, str]) -> bool:
        """Return whether what is known of a message passes every filter."""
        return all(name in facts and fnmatch.fnmatchcase(facts[name], pattern) for name, pattern in self.only.items())


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults, and the seed from which every decision follows."""

    plans: tuple[Plan, ...]
    seed: int = 0

    def as_toml(self) -> str:
        """Return the scenario as a file that ``read`` understands."""
        lines = [f"seed = {self.seed}"]
        for plan in self.plans:
            lines += ["", "[[fault]]", f'name = "{plan.fault}"', f"probability = {plan.probability}"]
            lines += [f'after = "{plan.after:g}s"', *([] if plan.until is None else [f'until = "{plan.until:g}s"'])]
            if plan.only:
                lines.append(f'only = {_quoted(",".join(f"{name}={text}" for name, text in plan.only.items()))}')
            lines += [f"{name} = {_written(name, value)}" for name, value in plan.options.items()]
        return "\n".join([*lines, ""])


def read(path: Path, known: Iterable[str]) -> Scenario:
    """Return the scenario in a TOML file. Raises BadScenario; ``known`` are the names of faults."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadScenario(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadScenario(f"{path} is no scenario: {error}") from None
    if strange := set(data) - {"seed", "fault", "phase"}:
        raise BadScenario(f"{path}: {strange.pop()!r} has no meaning; there are seed, [[fault]] and [[phase]]")
    names = tuple(known)
    plans = [_plan(table, names, str(path)) for table in _tables(data, "fault", str(path))]
    seed = data.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise BadScenario(f"{path}: seed must be a whole number")
    return Scenario((*plans, *_phases(_tables(data, "phase", str(path)), names, str(path))), seed)


def parse_fault(
    text: str, known: Iterable[str], *, probability: float = 1.0, after: float = 0.0, only: str = ""
) -> Plan:
    """Return the plan that ``NAME`` or ``NAME:delay=100ms,jitter=20ms`` stands for. Raises BadScenario."""
    name, _, rest = text.partition(":")
    table: dict[str, Any] = {"name": name, "probability": probability, "after": after, "only": only}
    for part in filter(None, rest.split(",")):
        option, equals, value = part.partition("=")
        if not equals:
            raise BadScenario(f"--fault {text}: write {name}:OPTION=VALUE, such as latency:delay=100ms")
        table[option.strip()] = float(value) if option == "probability" and _is_number(value) else value.strip()
    return _plan(table, tuple(known), f"--fault {text}")


def seconds(value: Any, where: str) -> float:
    """Return a time: a number of seconds, or text such as ``250ms``, ``30s``, ``2m``. Raises BadScenario."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", str(value).strip())
    if found is None:
        raise BadScenario(f"{where}: {value!r} is no time; write 250ms, 30s or 2m")
    return float(found[1]) * UNITS[found[2] or "s"]


def filters(text: str, where: str) -> dict[str, str]:
    """Return the filters in ``queue=orders,key=eu.*``. Raises BadScenario."""
    result = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, pattern = part.partition("=")
        if name not in FILTERS or not equals:
            raise BadScenario(f"{where}: only {part!r} is no filter; there are {', '.join(FILTERS)} (queue=orders)")
        result[name] = pattern
    return result


def _tables(data: Mapping[str, Any], name: str, where: str) -> Sequence[Mapping[str, Any]]:
    tables = data.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadScenario(f"{where}: write [[{name}]], once for each {name}")
    return tables


def _phases(tables: Sequence[Mapping[str, Any]], known: tuple[str, ...], where: str) -> list[Plan]:
    """Phases follow one another; a fault of a phase is at work as long as the phase lasts."""
    plans = []
    start = 0.0
    for number, table in enumerate(tables):
        if strange := set(table) - {"name", "for", "faults"}:
            raise BadScenario(f"{where}: a phase has no {strange.pop()!r}; it has name, for and faults")
        if "for" not in table and number < len(tables) - 1:
            raise BadScenario(f"{where}: phase {number + 1} needs for = \"30s\"; only the last may go on for ever")
        end = start + seconds(table["for"], where) if "for" in table else None
        faults = table.get("faults", [])
        if not isinstance(faults, list) or not all(isinstance(entry, dict) for entry in faults):
            raise BadScenario(f'{where}: write faults = [{{name = "latency", delay = "100ms"}}]')
        plans += [_plan({**entry, "after": start, "until": end}, known, where) for entry in faults]
        start = end if end is not None else start
    return plans


def _plan(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> Plan:
    name = table.get("name")
    if not isinstance(name, str) or name not in known:
        raise BadScenario(f"{where}: no fault is called {name!r}; 'mqproof sabotage --list' shows them")
    if strange := set(table) - {"name", "probability", "after", "until", "only", *OPTIONS}:
        raise BadScenario(f"{where}: a fault has no option {strange.pop()!r}; there are {', '.join(OPTIONS)}")
    probability = table.get("probability", 1.0)
    if not _is_number(probability) or not 0 <= float(probability) <= 1:
        raise BadScenario(f"{where}: probability {probability!r} is not between 0 and 1")
    until = table.get("until")
    return Plan(
        name, float(probability), seconds(table.get("after", 0), where),
        None if until is None else seconds(until, where),
        filters(str(table.get("only", "")), where),
        {option: _option(option, table[option], where) for option in OPTIONS if option in table},
    )  # fmt: skip


def _option(name: str, value: Any, where: str) -> float:
    if name != "rate":
        return seconds(value, where)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)(?:B/s)?", str(value).strip())
    if found is None or not float(found[1]):
        raise BadScenario(f"{where}: {value!r} is no rate; write octets per second, such as 10k")
    return float(found[1]) * SIZES[found[2]]


def _written(name: str, value: float) -> str:
    return f'"{value:.0f}"' if name == "rate" else f'"{value:g}s"'


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
