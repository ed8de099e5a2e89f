"""Known deviations: what the profiles of the targets say of a product and its versions, as ``[[known]]`` entries."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mqproof.harness.statements.registry import find
from mqproof.harness.targets.profile import profiles_of
from mqproof.harness.targets.target import Target


@dataclass(frozen=True, slots=True)
class Known:
    """A deviation that is known: of one statement, in the tests that match ``test`` (a shell pattern)."""

    statement: str
    test: str
    reason: str
    link: str = ""
    by_chance: bool = False  # it does not show every time: where it conforms, the entry is not stale

    def covers(self, statement: str, test: str) -> bool:
        """Return whether a deviation from ``statement`` in the test with the id ``test`` is this one."""
        return statement == self.statement and fnmatchcase(test, f"*{self.test}*")


class BadProfile(ValueError):
    """A profile that says what cannot be; the message names the file and the entry."""


def known_deviations(target: Target) -> tuple[Known, ...]:
    """Return what the profiles know of this target's product and version. Raises BadProfile."""
    return tuple(known for name, profile in profiles_of(target) for known in _known(name, profile))


def _known(name: str, profile: dict[str, Any]) -> Iterable[Known]:
    for entry in profile.get("known", ()):
        try:
            known = Known(**entry)
            find(known.statement)
        except (TypeError, LookupError) as error:
            raise BadProfile(f"profile {name}: {error}") from None
        yield known
