"""Whether a broker is still there: what a test saw of one that crashed meanwhile accuses nobody.

Tests run side by side, so the one that sees connections end need not be the one that made the broker fall.
"""

import socket
import threading

from mqproof.harness.patience import patience
from mqproof.harness.plugin.accusation import Outcome
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Verdict
from mqproof.harness.wires.base import Transcript

CONNECT = 2.0  # seconds, before patience
GRACE = 0.1  # seconds between two looks: a process that ends closes its connections one after the other
AFFECTED = (Verdict.DEVIATES, Verdict.INCONCLUSIVE)
GONE = "the broker went away while this test ran, and takes no connection any more: did it crash? Its log may tell"


def seen_with(outcome: Outcome, target: Target, transcripts: list[Transcript]) -> Outcome:
    """Return the outcome, inconclusive where the broker was heard in this test and is gone now."""
    if outcome.verdict not in AFFECTED or not _was_heard(transcripts):
        return outcome
    if _is_there(target) and not (_seems_ended(outcome) and _is_gone_soon(target)):
        return outcome
    return Outcome(Verdict.INCONCLUSIVE, GONE)


def _was_heard(transcripts: list[Transcript]) -> bool:
    return any(line.direction == "<" for transcript in transcripts for line in transcript.lines)


def _seems_ended(outcome: Outcome) -> bool:
    return any(word in outcome.reason for word in ("closed", "reset", "no connection"))


def _is_gone_soon(target: Target) -> bool:
    threading.Event().wait(patience.seconds(GRACE))
    return not _is_there(target)


def _is_there(target: Target) -> bool:
    try:
        socket.create_connection((target.host, target.port), timeout=patience.seconds(CONNECT)).close()
    except OSError:
        return False
    return True
