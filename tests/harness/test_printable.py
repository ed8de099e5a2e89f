"""Numbers of things, in words."""

from mqproof.harness.printable import counted


def test_one_thing_is_no_plural():
    assert [counted(number, "fault") for number in (0, 1, 2)] == ["0 faults", "1 fault", "2 faults"]
