"""What a run of the suites ends with."""

from collections.abc import Iterable

from mqproof.harness.cli.codes import CONFORMS, DEVIATES, INTERNAL, INTERRUPTED, NOTHING, UNREACHABLE, USAGE
from mqproof.harness.run import Run
from mqproof.harness.statements.registry import load
from mqproof.harness.verdicts import Verdict

__all__ = [
    "CONFORMS", "DEVIATES", "INTERNAL", "INTERRUPTED", "NOTHING", "UNREACHABLE", "USAGE",
    "exit_code", "is_failure", "worst",
]  # fmt: skip


def exit_code(run: Run, *, fail_on_should: bool = False) -> int:
    """Return what a run of the suites ends with.

    0: every statement conforms, is known to deviate, or is a feature that the broker may lack. 1: deviations. 4: the
    run is not complete. 5: nothing was judged, or nothing deviates but results are inconclusive.
    """
    verdicts = {row["verdict"] for row in run.statements}
    if run.planned == 0 and not run.errors:
        return NOTHING
    if any(is_failure(row, fail_on_should) for row in run.statements):
        return DEVIATES
    if not run.complete:
        return INTERNAL
    if Verdict.INCONCLUSIVE in verdicts or not verdicts & {Verdict.CONFORMS, Verdict.KNOWN_DEVIATION, Verdict.DEVIATES}:
        return NOTHING
    return CONFORMS


def is_failure(row: dict[str, str], fail_on_should: bool) -> bool:
    """Return whether a row of run.json's statements fails a run: a deviation of a level that counts."""
    if row["verdict"] != Verdict.DEVIATES:
        return False
    statement = load().get(f"{row['spec']}:{row['id']}")
    return fail_on_should or statement is None or not statement.is_should


def worst(codes: Iterable[int]) -> int:
    """Return the code of several: an interruption, else an error of ours, else what is worst of the verdicts."""
    order = (INTERRUPTED, INTERNAL, UNREACHABLE, USAGE, DEVIATES, NOTHING, CONFORMS)
    found = set(codes)
    return next((code for code in order if code in found), CONFORMS)
