"""Will an application survive an upgrade: its own traffic, and what changed between two brokers that touches it.

A capture shows which features the application uses, each with the packets that prove it; a table maps features to the
statements that they depend on; of the verdicts that differ between two runs, only those of such statements are shown.
What the application did not do while it was captured is not seen.
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from mqproof.harness.compare import Direction, VerdictChange, compare
from mqproof.harness.impact_traffic import Traffic
from mqproof.harness.impact_uses import Uses
from mqproof.harness.run import Run
from mqproof.harness.statements.registry import statements

TABLE: Final = "impact_features.toml"
PACKETS: Final = 5  # that are named for each use
DETAILS: Final = 3  # different values that are shown for each use
DIRECTIONS: Final[tuple[Direction, ...]] = ("worse", "unclear", "better")
LEVELS: Final = ("MUST", "MUST NOT", "documented", "unstated", "SHOULD", "SHOULD NOT", "MAY", "MAY NOT")


class NothingUsed(ValueError):
    """A capture without any traffic that can be read; one line says what it holds instead."""


@dataclass(slots=True)
class Feature:
    """One feature that the application uses: how often, in which packets first, with which values."""

    protocol: str
    name: str
    count: int = 0
    packets: list[int] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def note(self, packet: int, detail: str) -> None:
        """Count one use."""
        self.count += 1
        if len(self.packets) < PACKETS and packet not in self.packets:
            self.packets.append(packet)
        if len(self.details) < DETAILS and detail not in self.details:
            self.details.append(detail)


@dataclass(frozen=True, slots=True)
class Touched:
    """A verdict that changed, and the features used that depend on it."""

    change: VerdictChange
    features: tuple[Feature, ...]


@dataclass(slots=True)
class Impact:
    """What an upgrade from A to B means for the application."""

    capture: str
    packets: int
    a: str
    b: str
    features: list[Feature]
    touched: list[Touched] = field(default_factory=list)
    untouched: int = 0  # verdicts that changed and do not concern the application
    depends_on: int = 0  # statements that the application depends on
    judged: int = 0  # of these, by both runs
    left_out: dict[str, int] = field(default_factory=dict)

    def of(self, direction: Direction) -> list[Touched]:
        """Return what went in one direction."""
        return [entry for entry in self.touched if entry.change.direction == direction]

    def plain(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the table: all of ``uses`` together mean that the ``statements`` matter."""

    protocol: str
    uses: tuple[str, ...]
    statements: tuple[str, ...]


@cache
def rules() -> tuple[Rule, ...]:
    """Return the table's entries; statements are patterns of qualified ids."""
    data = tomllib.loads(files("mqproof.harness").joinpath(TABLE).read_text(encoding="utf-8"))
    return tuple(
        Rule(protocol, tuple(entry["uses"]), qualified(protocol, entry["statements"]))
        for protocol in ("amqp", "mqtt")
        for entry in data[protocol]
    )


@cache
def faults() -> tuple[str, ...]:
    """Return the patterns of statements that only a client meets that breaks the protocol."""
    data = tomllib.loads(files("mqproof.harness").joinpath(TABLE).read_text(encoding="utf-8"))
    return tuple(one for entry in data["faults"] for one in qualified(entry["protocol"], entry["statements"]))


def qualified(protocol: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return patterns of ids with the specification in front."""
    return tuple(f"amqp-0-9-1:{pattern}" if protocol == "amqp" else pattern for pattern in patterns)


def impact(capture: Path, a: Sequence[Run], b: Sequence[Run]) -> Impact:
    """Return what the change from the runs of A to those of B means for the application in ``capture``.

    Raises CaptureError, and NothingUsed.
    """
    traffic = Traffic(capture)
    used = features_in(traffic)
    if not used:
        more = ": " + ", ".join(f"{count} {reason}" for reason, count in traffic.left_out.items())
        raise NothingUsed(f"{capture} holds no AMQP or MQTT that can be read{more if traffic.left_out else ''}")
    found = compare(a, b)
    needed = depended_on(used)
    left_out = dict(traffic.left_out)
    features = [feature for group in used.values() for feature in group.values() if _matters(feature)]
    result = Impact(str(capture), traffic.packets, found.a, found.b, features, left_out=left_out)
    result.depends_on = len(needed)
    result.judged = len(needed.keys() & _judged(a) & _judged(b))
    for change in found.verdicts:
        reasons = needed.get(f"{change.spec}:{change.id}")
        if reasons is None:
            result.untouched += 1
        else:
            result.touched.append(Touched(change, reasons))
    result.touched.sort(key=_order)
    return result


def features_in(traffic: Traffic) -> dict[str, dict[str, Feature]]:
    """Return the features used, by specification and name."""
    found: dict[str, dict[str, Feature]] = {}
    uses = Uses()
    for said in traffic:
        spec = said.version or "amqp-0-9-1"
        group = found.setdefault(spec, {})
        for name, detail in uses.of(said):
            group.setdefault(name, Feature(spec, name)).note(said.number, detail)
    return found


def depended_on(used: dict[str, dict[str, Feature]]) -> dict[str, tuple[Feature, ...]]:
    """Return the statements (qualified ids) that the features used depend on, with the features that prove it."""
    needed: dict[str, dict[str, Feature]] = {}
    for spec, features in used.items():
        known = [statement.key for statement in statements(spec)]
        for rule in rules():
            proof = _met(rule, features) if spec.startswith(rule.protocol) else []
            for key in _matching(known, rule.statements) if proof else ():
                needed.setdefault(key, {}).update((feature.name, feature) for feature in proof)
    return {key: tuple(features.values()) for key, features in needed.items()}


def _order(entry: Touched) -> tuple[int, int, str, str]:
    change = entry.change
    level = LEVELS.index(change.level) if change.level in LEVELS else len(LEVELS)
    return DIRECTIONS.index(change.direction), level, change.spec, change.id


def _matters(feature: Feature) -> bool:
    """Return whether any statement depends on the feature."""
    patterns = (pattern for rule in rules() if feature.protocol.startswith(rule.protocol) for pattern in rule.uses)
    return any(fnmatchcase(feature.name, pattern) for pattern in patterns)


def _met(rule: Rule, features: dict[str, Feature]) -> list[Feature]:
    """Return the features that meet a rule; none unless each of its patterns is met."""
    proof: list[Feature] = []
    for pattern in rule.uses:
        matching = [feature for name, feature in features.items() if fnmatchcase(name, pattern)]
        if not matching:
            return []
        proof += matching
    return proof


def _matching(known: Iterable[str], patterns: Sequence[str]) -> list[str]:
    return [key for key in known if any(fnmatchcase(key, pattern) for pattern in patterns)]


def _judged(runs: Sequence[Run]) -> set[str]:
    return {f"{row['spec']}:{row['id']}" for run in runs for row in run.statements if row["verdict"] != "untested"}
