"""Whether a broker is still there: what a test saw of one that crashed meanwhile accuses nobody.

Tests run side by side, so the one that sees connections end need not be the one that made the broker fall.
"""

import socket
import threading

from mqproof.harness.patience import patience
from mqproof.harness.plugin.accusation import Outcome
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Unsupported, Untested, Verdict
from mqproof.harness.wires.base import Transcript

CONNECT = 2.0  # seconds, before patience
GRACE = 0.1  # seconds between two looks: a process that ends closes its connections first, its port a second later
LOOKS = 12
AFFECTED = (Verdict.DEVIATES, Verdict.INCONCLUSIVE)
GONE = "the broker went away while this test ran, and takes no connection any more: did it crash? Its log may tell"


def seen_with(outcome: Outcome, target: Target, transcripts: list[Transcript]) -> Outcome:
    """Return the outcome, inconclusive where the broker was heard in this test and is gone now."""
    is_affected = outcome.verdict in AFFECTED and is_gone(outcome.reason, target, transcripts)
    return Outcome(Verdict.INCONCLUSIVE, GONE) if is_affected else outcome


def require_there(error: Exception, target: Target, transcripts: list[Transcript]) -> None:
    """Raise Blocked for a failure that is judged later, where the broker was heard in this test and is gone now."""
    if not isinstance(error, (Unsupported, Untested)) and is_gone(str(error), target, transcripts):
        raise Blocked(GONE) from error


def is_gone(reason: str, target: Target, transcripts: list[Transcript]) -> bool:
    """Whether the broker was heard in a test that failed for this reason, and takes no connection any more."""
    if not _was_heard(transcripts):
        return False
    return not _is_there(target) or (_seems_ended(reason) and _is_gone_soon(target))


def _was_heard(transcripts: list[Transcript]) -> bool:
    return any(line.direction == "<" for transcript in transcripts for line in transcript.lines)


def _seems_ended(reason: str) -> bool:
    return any(word in reason for word in ("closed", "reset", "no connection"))


def _is_gone_soon(target: Target) -> bool:
    for _ in range(LOOKS):
        threading.Event().wait(patience.seconds(GRACE))
        if not _is_there(target):
            return True
    return False


def _is_there(target: Target) -> bool:
    try:
        socket.create_connection((target.host, target.port), timeout=patience.seconds(CONNECT)).close()
    except OSError:
        return False
    return True
