"""The worked example of docs/how-to/chaos.md does what the page says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "chaos.md"
EXAMPLE = re.compile(r"<!-- example: (.+?) -->\n```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def example(pytester: pytest.Pytester) -> dict[str, str]:
    texts = dict(EXAMPLE.findall(PAGE.read_text(encoding="utf-8")))
    pytester.makeini("[pytest]\naddopts = -p no:randomly")
    (pytester.path / "test_payments.py").write_text(texts["test_payments.py"])
    return texts


def test_the_careless_consumer_fails_only_when_messages_come_twice(
    pytester: pytest.Pytester, example: dict[str, str]
) -> None:
    (pytester.path / "payments.py").write_text(example["payments.py"])
    result = pytester.runpytest_subprocess("test_payments.py")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_payments.py::test_payments_are_booked_once_when_*"])


def test_the_mended_consumer_passes(pytester: pytest.Pytester, example: dict[str, str]) -> None:
    (pytester.path / "payments.py").write_text(example["payments.py, mended"])
    pytester.runpytest_subprocess("test_payments.py").assert_outcomes(passed=2)
