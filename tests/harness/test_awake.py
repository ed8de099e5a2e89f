"""A stall is no time in which something could have come."""

import pytest
from mqproof.harness.awake import LONGEST, Awake


def test_a_stall_counts_as_one_look() -> None:
    now = [100.0]
    awake = Awake(lambda: now[0])
    for _ in range(10):
        now[0] += 0.1
        awake.seconds()
    now[0] += 60.0
    assert awake.seconds() == pytest.approx(1.0 + LONGEST)
    awake.begin()
    assert awake.seconds() == 0.0
