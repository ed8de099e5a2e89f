"""What a profile knows of a broker, and what becomes of it where the broker conforms after all."""

import pytest
from mqproof.harness.plugin.judge import Outcome, judge
from mqproof.harness.plugin.known import Known
from mqproof.harness.statements.registry import find
from mqproof.harness.verdicts import Verdict

DURABLE = "amqp-0-9-1:3.1.4/durable"


@pytest.mark.parametrize(("by_chance", "stale"), [(False, [DURABLE]), (True, [])])
def test_a_known_deviation_that_conforms_is_stale_unless_it_shows_by_chance(by_chance: bool, stale: list[str]) -> None:
    known = Known(DURABLE, "test_kill", "the reason", by_chance=by_chance)
    conforming = judge([find(DURABLE)], Outcome(Verdict.CONFORMS), (known,), "a.py::test_kill", fail_on_should=False)
    deviating = judge([find(DURABLE)], Outcome(Verdict.DEVIATES), (known,), "a.py::test_kill", fail_on_should=False)
    assert (conforming.outcome, conforming.stale) == (Verdict.CONFORMS, stale)
    assert (deviating.outcome, deviating.fails) == (Verdict.KNOWN_DEVIATION, False)
