"""The gate's rules as a user writes them: ``[gate]`` in mqproof.toml, or ``[tool.mqproof.gate]`` in pyproject.toml."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

FILES = ("mqproof.toml", "pyproject.toml")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class BadConfig(ValueError):
    """A configuration that cannot be used; the message is one line with the file, the key and what to write."""


def _rule(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"says": text})


@dataclass(frozen=True, slots=True)
class GateConfig:
    """The rules; None where a rule is not asked for. Unknown keys are refused."""

    max_deviations: int = _rule("Deviations from statements stronger than SHOULD, known ones not counted.", 0)
    max_should_deviations: int | None = _rule("Deviations from SHOULD statements.")
    max_inconclusive: int | None = _rule("Statements that could not be judged.")
    min_statements: int | None = _rule("Statements that were judged, at least.")
    max_worse_than_baseline: int = _rule("Verdicts worse than in the baseline, where one is given.", 0)
    max_age_hours: float | None = _rule("Hours since the run began.")
    max_p99_ms: float | None = _rule("99th percentile of the end-to-end latency under load, milliseconds.")
    max_lost: int | None = _rule("Messages lost under load.")
    max_duplicated: int | None = _rule("Messages delivered more often than promised under load.")
    max_reordered: int | None = _rule("Messages delivered out of order under load.")
    max_corrupted: int | None = _rule("Messages changed under load.")
    min_delivery_rate: float | None = _rule("Messages delivered per second under load, at least.")
    max_memory_per_connection_kb: float | None = _rule("The broker's memory per connection under load, kilobytes.")
    max_overhead_bytes: Mapping[str, float] = field(
        default_factory=dict,
        metadata={"says": "Overhead in bytes per delivered message, by protocol and QoS, such as \"mqtt.qos1\" = 60."},
    )


def read_config(path: Path | None, folder: Path) -> GateConfig:
    """Return the rules in ``path``, else those of the configuration in ``folder``, else the defaults.

    Raises BadConfig.
    """
    if path is not None:
        return _parse(path, required=True)
    for name in FILES:
        if (folder / name).exists() and (found := _table(folder / name)) is not None:
            return from_table(found, folder / name)
    return GateConfig()


def from_table(table: Any, file: Path, environment: Mapping[str, str] = os.environ) -> GateConfig:
    """Return the rules in a table; ``${NAME}`` in a text stands for a variable. Raises BadConfig."""
    if not isinstance(table, dict):
        raise BadConfig(f"{file}: gate is no table")
    names = [rule.name for rule in fields(GateConfig)]
    for key in table:
        if key not in names:
            nearest = difflib.get_close_matches(key, names, n=1, cutoff=0.4)
            raise BadConfig(f"{file}: there is no rule {key!r}" + (f"; the nearest is {nearest[0]}" if nearest else ""))
    return GateConfig(**{key: _value(file, key, value, environment) for key, value in table.items()})


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration, which is published beside this module."""
    properties = {rule.name: _schema_of(rule) for rule in fields(GateConfig)}
    gate = {"type": "object", "additionalProperties": False, "properties": properties}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mqproof.toml",
        "description": "Generated from gate_config.py: do not edit.",
        "type": "object",
        "properties": {"gate": gate},
    }


def _schema_of(rule: Any) -> dict[str, Any]:
    number = {"type": "integer" if "int" in str(rule.type) else "number", "minimum": 0}
    variable = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
    one: dict[str, Any] = {"oneOf": [number, variable]}
    says = {"description": rule.metadata["says"]}
    if rule.default_factory is not MISSING:
        return {"type": "object", "additionalProperties": one, **says}
    return one | says | ({"default": rule.default} if rule.default is not None else {})


def _parse(path: Path, required: bool) -> GateConfig:
    table = _table(path)
    if table is None and required:
        raise BadConfig(f"{path}: there is no table [gate] (in pyproject.toml: [tool.mqproof.gate])")
    return from_table(table or {}, path)


def _table(path: Path) -> Any:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadConfig(f"{path} is no TOML: {error}") from None
    if path.name == "pyproject.toml":
        found: Any = data
        for name in ("tool", "mqproof", "gate"):
            found = found.get(name) if isinstance(found, dict) else None
        return found
    unknown = sorted(data.keys() - {"gate"})
    if unknown:
        raise BadConfig(f"{path}: there is no table {unknown[0]!r}; the nearest is gate")
    return data.get("gate")


def _value(file: Path, key: str, value: Any, environment: Mapping[str, str]) -> Any:
    if key == "max_overhead_bytes":
        if not isinstance(value, dict):
            raise BadConfig(f"{file}: {key} must be a table such as {{ \"mqtt.qos1\" = 60 }}")
        return {name: _number(file, f"{key}.{name}", bound, environment) for name, bound in value.items()}
    return _number(file, key, value, environment)


def _number(file: Path, key: str, value: Any, environment: Mapping[str, str]) -> float:
    if isinstance(value, str):
        value = _substituted(file, key, value, environment)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise BadConfig(f"{file}: {key} must be a number of at least 0")
    return value


def _substituted(file: Path, key: str, text: str, environment: Mapping[str, str]) -> Any:
    """Return the number that a text with ``${NAME}`` stands for; a value from the environment is never shown."""

    def replace(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise BadConfig(f"{file}: {key} asks for the variable {match[1]}, which is not set")
        return environment[match[1]]

    substituted = _VARIABLE.sub(replace, text)
    try:
        number = float(substituted)
    except ValueError:
        remedy = "or ${NAME} of a variable that holds one"
        raise BadConfig(f"{file}: {key} must be a number of at least 0, {remedy}") from None
    return int(number) if number.is_integer() else number
