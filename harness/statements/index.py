"""Which tests examine a statement: read from a generated file, so that nothing has to be collected.

``mqproof statements --write-index`` generates it.
"""

import json
from functools import cache
from importlib.resources import files

FILE = "tests.json"


@cache
def tests_by_statement() -> dict[str, list[str]]:
    """Return the test functions (file and name) by the qualified id of the statement that they claim."""
    text = files("mqproof.harness.statements").joinpath(FILE).read_text(encoding="utf-8")
    tests: dict[str, list[str]] = json.loads(text)["tests"]
    return tests
