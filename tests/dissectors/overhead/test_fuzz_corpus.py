"""What the fuzzer found worth keeping, and what once failed, stays right; the compiled walk agrees with the other."""

import contextlib
import sys
from pathlib import Path

import pytest
from mqproof.dissectors.overhead import compiled
from mqproof.dissectors.packets.pcap import CaptureError

FOLDER = Path(__file__).parents[2] / "fuzz"
sys.path.insert(0, str(FOLDER))
from arrays import Cleared, Strict  # noqa: E402
from mutation import mutated  # noqa: E402
from targets import TARGETS, agree, capture, walked  # noqa: E402

KEPT = {name: sorted(path for path in FOLDER.glob(f"*/{name}/*") if path.is_file()) for name in TARGETS}
PARTS = pytest.mark.parametrize("part", range(4))  # make check has the first


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_kept_is_still_handled(name: str) -> None:
    assert KEPT[name]
    for path in KEPT[name]:
        TARGETS[name](path.read_bytes())


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
@pytest.mark.alike
@PARTS
def test_both_walks_agree_on_what_was_kept(part: int) -> None:
    for path in KEPT["walk"][part::4]:
        octets = capture(path.read_bytes())
        assert walked(octets, Cleared()) == walked(octets, compiled.Compiled())


@pytest.mark.alike
@PARTS
def test_torn_golden_captures(part: int) -> None:
    """Some of those that `make fuzz` goes through by the million."""
    for seed in range(part, 40, 4):
        agree(mutated(seed), views=True)


@pytest.mark.alike
@PARTS
@pytest.mark.parametrize("name", ["walk", "reader"])
def test_the_walk_stays_within_its_arrays_and_the_octets_that_were_read(name: str, part: int) -> None:
    """The machine code is given addresses and checks nothing: an index that is wrong here would be anywhere there."""
    for path in KEPT[name][part::4]:
        data = path.read_bytes()
        with contextlib.suppress(CaptureError):
            walked(capture(data) if name == "walk" else data, Strict(), stutter=True)


@pytest.mark.alike
@PARTS
def test_the_walk_stays_within_its_arrays_on_torn_golden_captures(part: int) -> None:
    for seed in range(part, 40, 4):
        walked(mutated(seed), Strict(), stutter=True)
