"""The account's tables at 80 columns."""

import io

import pytest
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.harness.reporting.account_text import _kinds_table
from rich.console import Console


@pytest.mark.parametrize("count", [1, 1234, 123_456])
def test_neither_names_nor_numbers_are_cut_or_folded(count: int) -> None:
    row = {"count": count, "from_client": count, "from_broker": count, "bytes": 50 * count, "payload": 40 * count}
    text = io.StringIO()
    Console(width=80, file=text).print(_kinds_table("amqp", dict.fromkeys(METHODS, row)))
    words = text.getvalue().split()
    for name in METHODS:
        class_name, _, method = name.partition(".")
        assert name in words or {f"{class_name}.", method} <= set(words)
    for number in row.values():
        assert words.count(f"{number:,}") >= len(METHODS)
