"""What the project's own conftest does with the tests: which are left out by ``make check``, and what begins first."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"
TESTS = """
import pytest

@pytest.mark.parametrize("case", range(9))
def test_command(case, mqproof): ...

@pytest.mark.parametrize("case", range(9))
def test_here(case, mqproof, mqproof_here): ...

@pytest.mark.alike
@pytest.mark.parametrize("case", range(9))
def test_alike(case): ...

@pytest.mark.slow
def test_slow(): ...

@pytest.mark.whole_run
def test_whole_run(): ...

def test_broker(rabbitmq): ...
"""


@pytest.fixture
def in_order(pytester: pytest.Pytester):
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(TESTS)

    def collected(seed: int, *options: str) -> list[str]:
        quiet = ("--collect-only", "-q", "-p", "no:cacheprovider")
        done = pytester.inline_run(*quiet, f"--randomly-seed={seed}", *options)
        return [item.name for item in done.getcalls("pytest_collection_finish")[0].session.items]

    return collected


def test_the_first_case_is_the_same_in_any_order(in_order):
    first = {*in_order(1, "-m", "not further_case")}
    assert first == {*in_order(2, "-m", "not further_case")}
    here = {f"test_here[{case}]" for case in range(9)}
    assert first == {"test_command[0]", "test_alike[0]", *here, "test_slow", "test_whole_run", "test_broker"}


def test_what_takes_long_begins_first_and_the_rest_is_shuffled(in_order):
    one, two = in_order(1), in_order(2)
    assert {*one[:2]} == {*two[:2]} == {"test_slow", "test_whole_run"}
    assert sorted(one) == sorted(two)
    assert one[2:] != two[2:]


def test_what_needs_a_broker_is_marked(in_order):
    assert "test_broker" not in in_order(1, "-m", "not real_broker")
