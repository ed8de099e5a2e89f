"""What must hold for every suite: claims that exist and leave nothing out, names of their own, no broker by name.

That no suite sleeps is held by ``tests/test_architecture.py``; that the index of tests is up to date by
``tests/harness/cli_test/test_statements.py``.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqproof.dissectors.amqp.tables import REPLY_CODES
from mqproof.harness.statements.index import tests_by_statement as claims
from mqproof.harness.statements.registry import SPECS, load, statements
from mqproof.harness.targets.profile import all_profiles

SUITES = Path(__file__).parent.parent.parent / "suites"
FILES = sorted(SUITES.rglob("*.py"))
FOLDERS = sorted({path.parent.name for path in FILES if path.name.startswith("test_")})
BROKERS = re.compile(
    r"rabbit|mosquitto|emqx|hivemq|vernemq|nanomq|lavinmq|qpid|activemq|artemis|solace|amqtt|hbmqtt|mochi",
    re.IGNORECASE,
)
NAMED_BY_EXTENSIONS = "amq.rabbitmq.reply-to"  # the queue of direct reply-to
# Reply codes that no client can provoke on a broker that keeps to the text.
UNPROVOKED = {
    311: "a server sends it that is short of room for a content; what is larger than it ever takes is answered by 406",
    320: "an operator closes the connection",
    402: "the text reserves it for an unknown virtual host, and 530 for one that the user may not use: either is taken",
    506: "the server is short of resources",
    541: "the server has failed",
}


def trees(folder: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((SUITES / folder).glob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("spec", SPECS)
def test_every_testable_statement_is_claimed_and_no_other(spec):
    index = claims()
    unclaimed = [entry.id for entry in statements(spec) if entry.testable != "no" and not index.get(entry.key)]
    surplus = [entry.id for entry in statements(spec) if entry.testable == "no" and index.get(entry.key)]
    assert (unclaimed, surplus) == ([], [])


def test_every_claimed_id_exists():
    """Collection refuses the others; this says so of the index."""
    assert set(claims()) <= set(load())


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_two_tests_share_a_name(folder):
    names = Counter(
        node.name
        for _, tree in trees(folder)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SUITES)))
def test_no_suite_names_a_broker(path):
    text = path.read_text(encoding="utf-8").replace(NAMED_BY_EXTENSIONS, "")
    assert BROKERS.findall(text) == []


@pytest.mark.parametrize(("name", "profile"), all_profiles(), ids=lambda value: value if type(value) is str else "")
def test_a_known_deviation_names_a_test_of_its_statement(name, profile):
    """By the function's name: patterns after it, for parameters, are compared when the test runs."""
    lost = []
    for entry in profile.get("known", ()):
        function = re.split(r"[*\[]", entry["test"])[0]
        if not any(function in test for test in claims().get(entry["statement"], [])):
            lost.append((entry["statement"], entry["test"]))
    assert lost == []


def test_every_reply_code_is_provoked_or_has_a_reason():
    found = {
        node.value
        for _, tree in trees("amqp")
        for call in ast.walk(tree)
        if isinstance(call, ast.Call | ast.Compare | ast.Assert)
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in REPLY_CODES
    }
    assert set(REPLY_CODES) - {200} - found == set(UNPROVOKED) - found
    assert not UNPROVOKED.keys() - {402} & found
