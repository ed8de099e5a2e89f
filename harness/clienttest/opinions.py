"""What the judge thinks of a client, statement by statement, and the evidence for it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mqproof.harness.statements.registry import Statement, find, load
from mqproof.harness.verdicts import Verdict

UNSEEN = "leaves no trace on the wire"


@dataclass(frozen=True, slots=True)
class Breach:
    """How a statement was broken: what should have come, what came, and in which connection."""

    expected: str
    actual: str
    connection: int
    situation: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """The verdict on one statement. ``times``: how often it was kept."""

    statement: Statement
    verdict: Verdict
    times: int
    breaches: tuple[Breach, ...]
    reason: str


class Opinions:
    """Collects what was kept and what was broken."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.connection = 0
        self.situation = "plain"
        self._kept: Counter[str] = Counter()
        self._broken: dict[str, list[Breach]] = {}

    def kept(self, *ids: str) -> None:
        """Note that the client had the occasion to break these statements, and kept them."""
        self._kept.update(ids)

    def broke(self, ids: Iterable[str], expected: str, actual: str) -> None:
        """Accuse the client. A statement that only permits something cannot be broken."""
        for key in ids:
            if find(f"{self.spec}:{key}").level not in ("MAY",):
                breach = Breach(expected, actual, self.connection, self.situation)
                self._broken.setdefault(key, []).append(breach)

    def judge(self, condition: object, ids: Iterable[str], expected: str, actual: str) -> None:
        """Note the statements as kept or broken."""
        if condition:
            self.kept(*ids)
        else:
            self.broke(ids, expected, actual)

    def all(self, unseen: dict[str, str]) -> list[Opinion]:
        """Return an opinion on every statement that binds clients, and on each that was seen besides.

        ``unseen``: why statements cannot be judged from the wire, by id.
        """
        bound = [statement for statement in load().values() if statement.spec == self.spec]
        seen = self._kept.keys() | self._broken.keys()
        return [self._opinion(each, unseen) for each in bound if each.actor == "client" or each.id in seen]

    def _opinion(self, statement: Statement, unseen: dict[str, str]) -> Opinion:
        breaches = tuple(self._broken.get(statement.id, ()))
        times = self._kept[statement.id]
        verdict = Verdict.DEVIATES if breaches else Verdict.CONFORMS if times else Verdict.UNTESTED
        reason = "" if verdict is not Verdict.UNTESTED else unseen.get(statement.id, "not exercised")
        return Opinion(statement, verdict, times, breaches, reason)
