"""A load message says who published it and when, and a changed one is found out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqproof.loadtests.messages import SMALLEST, Stamp, read, write

STAMPS = st.builds(Stamp, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


@given(STAMPS, st.integers(0, 200))
def test_message_says_what_was_written_at_any_size(stamp: Stamp, size: int) -> None:
    payload = write(stamp, size)
    assert len(payload) == max(size, SMALLEST)
    assert read(payload) == stamp


@given(STAMPS, st.integers(SMALLEST, 100), st.data())
def test_any_changed_octet_is_found_out(stamp: Stamp, size: int, data: st.DataObject) -> None:
    payload = bytearray(write(stamp, size))
    payload[data.draw(st.integers(0, size - 1))] ^= data.draw(st.integers(1, 255))
    assert read(bytes(payload)) is None


@pytest.mark.parametrize("payload", [b"", b"MQP1", b"somebody else's message, which is long enough"])
def test_other_payloads_are_not_ours(payload: bytes) -> None:
    assert read(payload) is None
