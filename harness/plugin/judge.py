"""From a test's outcome to a verdict for each statement that it claims."""

from dataclasses import dataclass, field
from typing import Any

from mqproof.harness.plugin.accusation import Outcome
from mqproof.harness.plugin.known import Known
from mqproof.harness.statements.registry import Statement
from mqproof.harness.verdicts import Verdict, merge


@dataclass(slots=True)
class Judgement:
    """What one test says: a verdict and a reason for each statement, and one word for the test itself.

    ``fails``: whether pytest shall call it a failure. ``stale``: statements that conform although a profile knows
    them to deviate.
    """

    outcome: Verdict
    verdicts: dict[str, tuple[Verdict, str]] = field(default_factory=dict)
    fails: bool = False
    stale: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as data that JSON and xdist can carry."""
        verdicts = {key: [str(verdict), reason] for key, (verdict, reason) in self.verdicts.items()}
        return {"outcome": str(self.outcome), "verdicts": verdicts, "stale": self.stale}


def judge(
    claimed: list[Statement], outcome: Outcome, known: tuple[Known, ...], test: str, *, fail_on_should: bool
) -> Judgement:
    """Return what the outcome means for each statement.

    A MAY never deviates: it is a finding, and the statement ``unsupported``. A deviating SHOULD is shown and fails only
    where ``fail_on_should``. What a narrowed deviation does not accuse, this test has not examined: other tests may.
    """
    if outcome.verdict is not Verdict.DEVIATES:
        return _unaccused(claimed, outcome, known, test)
    accused = [statement for statement in claimed if outcome.accused is None or statement.key in outcome.accused]
    if outcome.accused and not accused:
        reason = f"harness error: the test accuses {' and '.join(outcome.accused)}, which it does not claim"
        return _unaccused(claimed, Outcome(Verdict.INCONCLUSIVE, reason), known, test)
    result = Judgement(Verdict.DEVIATES, fails=not claimed)
    for statement in claimed:
        if statement in accused:
            result.verdicts[statement.key] = _accused(statement, outcome, known, test)
            deviates = result.verdicts[statement.key][0] is Verdict.DEVIATES
            result.fails |= deviates and (fail_on_should or not statement.is_should)
        else:
            reason = f"not examined: the test ended at a deviation from {' and '.join(one.key for one in accused)}"
            result.verdicts[statement.key] = (Verdict.UNTESTED, reason)
    if accused:
        result.outcome = merge(result.verdicts[statement.key][0] for statement in accused)
    return result


def _accused(statement: Statement, outcome: Outcome, known: tuple[Known, ...], test: str) -> tuple[Verdict, str]:
    if statement.is_may:
        return Verdict.UNSUPPORTED, f"finding: {outcome.reason}"
    for entry in known:
        if entry.covers(statement.key, test):
            return Verdict.KNOWN_DEVIATION, f"{entry.reason}{f' ({entry.link})' if entry.link else ''}"
    return Verdict.DEVIATES, outcome.reason


def _unaccused(claimed: list[Statement], outcome: Outcome, known: tuple[Known, ...], test: str) -> Judgement:
    verdicts = {statement.key: (outcome.verdict, outcome.reason) for statement in claimed}
    conforms = outcome.verdict is Verdict.CONFORMS
    lasting = [entry for entry in known if not entry.by_chance]
    stale = [key for key in verdicts if conforms and any(entry.covers(key, test) for entry in lasting)]
    return Judgement(outcome.verdict, verdicts, fails=outcome.verdict is Verdict.INCONCLUSIVE, stale=stale)
