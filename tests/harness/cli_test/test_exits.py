"""Exit codes: an empty or incomplete run is never 0, and only what counts as a failure is 1."""

import pytest
from mqproof.harness.cli.exits import exit_code
from mqproof.harness.run import Run

MUST, SHOULD = "3.1.3.3/words", "domain.redelivered/implementation"


def run(*verdicts: str, identifier: str = MUST, **more: object) -> Run:
    rows = [{"spec": "amqp-0-9-1", "id": identifier, "target": "t", "verdict": verdict} for verdict in verdicts]
    return Run(**{"complete": True, "planned": len(rows), "statements": rows, **more})


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (run("conforms"), 0),
        (run("conforms", "known-deviation", "unsupported", "untested"), 0),
        (run("known-deviation"), 0),
        (run("conforms", "deviates", "inconclusive"), 1),
        (run("conforms", "inconclusive"), 5),
        (run("inconclusive"), 5),
        (run("unsupported"), 5),
        (run("untested"), 5),
        (run(), 5),
        (run("conforms", complete=False), 4),
        (run("deviates", complete=False), 1),
        (run(complete=False, errors=["collection failed"]), 4),
    ],
)
def test_the_code_of_a_run(what, code):
    assert exit_code(what) == code


def test_a_should_fails_only_when_asked():
    assert exit_code(run("deviates", identifier=SHOULD)) == 0
    assert exit_code(run("deviates", identifier=SHOULD), fail_on_should=True) == 1
