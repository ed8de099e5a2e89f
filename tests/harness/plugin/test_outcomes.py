"""Who accuses: only a plain assert in a test's own body, ``check``, and wire verbs that say must."""

import json

import pytest

WORDS = "amqp-0-9-1:3.1.3.3/words"


def body(*lines: str, marker: str = f'"{WORDS}"', arguments: str = "target", before: str = "") -> str:
    inner = "\n".join(f"    {line}" for line in lines)
    return f"{before}\n@pytest.mark.normative({marker})\ndef test_it({arguments}):\n{inner}\n"


def test_a_test_that_passes_conforms(suite):
    result = suite.run(body("assert 1 == 1"))
    assert result.ret == 0
    assert result.verdicts == {("3.1.3.3/words", "fake-amqp"): "conforms"}
    assert result.run["complete"] is True
    assert result.run["planned"] == 1


@pytest.mark.parametrize(
    ("lines", "expected", "actual"),
    [
        (["got = [1]", "assert got == [1, 2]"], "[1, 2]", "[1]"),
        (["assert 3 in {1}"], "one of {1}", "3"),
        (["assert len([1]) >= 2"], ">= 2", "1"),
        (["assert target.host == 'x' or target.port == 2"], "that target.host == 'x' or target.port == 2", None),
        (["assert not target.host"], "that not target.host", None),
        (["from mqproof.harness.verdicts import check", "check(False, expected='a', actual='b')"], "a", "b"),
    ],
)
def test_the_checking_line_accuses_with_expected_and_actual(suite, lines, expected, actual):
    result = suite.run(body(*lines))
    test = result.tests["test_it[fake-amqp]"]
    assert (test["outcome"], test["expected"]) == ("deviates", expected)
    assert actual is None or test["actual"] == actual
    assert result.ret == 1
    row = result.run["statements"][0]
    assert (row["verdict"], row["expected"], row["actual"]) == ("deviates", test["expected"], test["actual"])


INNOCENT = {
    "precondition": ["from mqproof.harness.verdicts import Blocked", "raise Blocked('no SUBACK')"],
    "no such fixture": ["pass"],
    "other exception": ["raise ConnectionResetError('gone')"],
    "assertion of a helper": ["helper()"],
    "assertion of a library": ["import json, unittest", "unittest.TestCase().assertEqual(1, 2)"],
    "deviation in a fixture": ["pass"],
    "narrowed to a foreign id": [
        "from mqproof.harness.verdicts import check",
        "check(False, expected='', actual='', statement='amqp-0-9-1:basic/01')",
    ],
}


@pytest.mark.parametrize("what", INNOCENT)
def test_everything_else_is_inconclusive(suite, what):
    before = "def helper():\n    assert False\n"
    arguments = "target"
    if what == "deviation in a fixture":
        before += (
            "from mqproof.harness.verdicts import Deviation\n"
            "@pytest.fixture\ndef broken(): raise Deviation('a', 'b')\n"
        )
        arguments = "target, broken"
    if what == "no such fixture":
        arguments = "target, nonsense"
    result = suite.run(body(*INNOCENT[what], arguments=arguments, before=before))
    assert result.verdicts == {("3.1.3.3/words", "fake-amqp"): "inconclusive"}
    assert result.tests["test_it[fake-amqp]"]["reason"]
    assert result.ret == 1


def test_a_cleanup_that_fails_spoils_a_good_result_but_hides_no_deviation(suite):
    lines = ["def fail(): raise OSError('no')", "cleanup(fail)", "assert target.port == port"]
    source = '@pytest.mark.parametrize("port", [1, 5])' + body(*lines, arguments="target, cleanup, port")
    result = suite.run(source)
    outcomes = {name: test["outcome"] for name, test in result.tests.items()}
    assert outcomes == {"test_it[fake-amqp-1]": "inconclusive", "test_it[fake-amqp-5]": "deviates"}
    assert result.verdicts == {("3.1.3.3/words", "fake-amqp"): "deviates"}


def test_a_feature_that_the_broker_lacks_is_unsupported_and_skipped_with_its_reason(suite):
    source = "@pytest.mark.needs('basic.nack')" + body("assert False")
    result = suite.run(source, "-rs")
    assert result.verdicts == {("3.1.3.3/words", "fake-amqp"): "unsupported"}
    assert "does not offer basic.nack" in result.run["statements"][0]["reason"]
    result.stdout.fnmatch_lines(["*SKIPPED*does not offer basic.nack*"])
    assert result.ret == 5  # nothing was judged


def test_a_feature_that_the_broker_has_is_tested(suite):
    suite.capabilities = ["basic.nack"]
    result = suite.run("@pytest.mark.needs('basic.nack')" + body("assert target.port == 1"))
    assert result.verdicts == {("3.1.3.3/words", "fake-amqp"): "conforms"}


def test_a_deviation_narrowed_to_one_statement_leaves_the_others_unexamined(suite):
    lines = [
        "from mqproof.harness.verdicts import check",
        f"check(False, expected='a', actual='b', statement='{WORDS}')",
    ]
    result = suite.run(body(*lines, marker=f'"{WORDS}", "amqp-0-9-1:queue.bind/unique"'))
    assert result.verdicts == {
        ("3.1.3.3/words", "fake-amqp"): "deviates",
        ("queue.bind/unique", "fake-amqp"): "untested",
    }
    assert result.tests["test_it[fake-amqp]"]["outcome"] == "deviates"


def level_of(level: str) -> str:
    from mqproof.harness.statements.registry import statements

    return next(s.key for s in statements("amqp-0-9-1") if s.level == level and s.actor == "server")


def test_a_should_is_shown_and_fails_only_when_asked(suite):
    source = body("assert target.port == 7", marker=f'"{level_of("SHOULD")}"')
    lenient = suite.run(source)
    assert lenient.ret == 0 or lenient.ret == 5
    assert list(lenient.verdicts.values()) == ["deviates"]
    assert suite.run(source, "--mqproof-fail-on", "should").ret == 1


def test_a_may_never_deviates(suite):
    result = suite.run(body("assert target.port == 7", marker=f'"{level_of("MAY")}"'))
    assert list(result.verdicts.values()) == ["unsupported"]
    assert result.run["statements"][0]["reason"].startswith("finding: ")
    assert result.ret != 1


def test_the_tests_of_a_statement_merge_to_the_worst(suite):
    source = '@pytest.mark.parametrize("n", [1, 2, 3])' + body(
        "if n == 2: raise OSError()", "assert n != 3", arguments="target, n"
    )
    result = suite.run(source)
    row = result.run["statements"][0]
    assert row["verdict"] == "deviates"
    assert len(row["tests"]) == 3


def test_a_disturbing_test_is_untested_on_a_foreign_broker(suite):
    source = "@pytest.mark.destructive" + body("assert target.port == 1")
    assert list(suite.run(source).verdicts.values()) == ["untested"]
    assert list(suite.run(source, "--mqproof-destructive").verdicts.values()) == ["conforms"]


def test_hypothesis_tests_accuse_too(suite):
    source = (
        "from hypothesis import HealthCheck, given, settings, strategies as st\n"
        f'@pytest.mark.normative("{WORDS}")\n'
        "@settings(max_examples=5, database=None, suppress_health_check=list(HealthCheck))\n@given(n=st.integers())\n"
        "def test_it(target, n):\n    assert n is None\n"
    )
    result = suite.run(source)
    assert list(result.verdicts.values()) == ["deviates"]


def test_a_password_never_reaches_the_run(suite):
    result = suite.run(body("assert target.password == 'other'"), "--junitxml", str(suite.pytester.path / "run/j.xml"))
    assert list(result.verdicts.values()) == ["deviates"]
    assert "s3cret-word" not in (suite.pytester.path / "run" / "run.json").read_text()


def test_allure_gets_labels_evidence_and_no_fixtures(suite):
    folder = suite.pytester.path / "allure"
    lines = [
        "from mqproof.harness.wires.base import Transcript",
        "wire = Transcript('wire 1')",
        "wire.add('>', b'x', 'said ' + target.password)",
        "transcripts.append(wire)",
        "assert target.port == 7",
    ]
    run = suite.run(body(*lines, arguments="target, transcripts"), "--alluredir", str(folder))
    assert "s3cret-word" not in run.stdout.str()
    assert "said ***" in run.stdout.str()
    assert list(folder.glob("*-container.json")) == []
    result = json.loads(next(folder.glob("*-result.json")).read_text())
    labels = {(label["name"], label["value"]) for label in result["labels"]}
    assert {("epic", "AMQP 0-9-1"), ("severity", "critical"), ("target", "fake-amqp")} <= labels
    assert ("verdict", "deviates") in labels
    assert [link["name"] for link in result["links"]] == [WORDS]
    broker = next(parameter for parameter in result["parameters"] if parameter["name"] == "broker")
    assert (broker["value"], broker["excluded"]) == ("'amqp://me:***@127.0.0.1:1'", True)
    files = {attachment["name"]: folder / attachment["source"] for attachment in result["attachments"]}
    assert files["capture"].suffix == ".pcapng"
    assert files.pop("capture").read_bytes().startswith(b"\x0a\x0d\x0d\x0a")
    names = {name: file.read_text() for name, file in files.items()}
    assert {"verdict", "wire 1", "conversation"} <= names.keys()
    assert "repeat     mqproof test amqp://me@127.0.0.1:1 -k test_it" in names["verdict"]
    assert "said ***" in names["wire 1"]
    assert names["conversation"].startswith("<svg")
    assert not any(b"s3cret-word" in path.read_bytes() for path in folder.iterdir())


def test_a_fault_of_ours_is_a_category_of_its_own(suite):
    folder = suite.pytester.path / "allure"
    suite.run(body("raise KeyError('oops')", arguments="target"), "--alluredir", str(folder))
    result = json.loads(next(folder.glob("*-result.json")).read_text())
    assert ("verdict", "harness error") in {(label["name"], label["value"]) for label in result["labels"]}


def test_cases_that_differ_in_octets_are_different_tests_to_allure(suite):
    """Allure shows one of several tests with equal parameters, and calls the others retries: a failure could hide."""
    folder = suite.pytester.path / "allure"
    source = body("assert octets", arguments="target, octets")
    suite.run('@pytest.mark.parametrize("octets", [b"a", b"b", b"c"])\n' + source.lstrip(), "--alluredir", str(folder))
    results = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]
    told = {tuple((one["name"], one["value"]) for one in result["parameters"]) for result in results}
    assert len(results) == len(told) == 3
    assert not any("<class" in value for parameters in told for _, value in parameters)


def test_a_broker_that_went_away_is_not_accused(suite):
    """It answered in this test and takes no connection any more: some test made it crash, perhaps another one."""
    lines = [
        "from mqproof.harness.wires.base import Transcript",
        "wire = Transcript('wire 1')",
        "wire.add('<', b'x', 'something')",
        "transcripts.append(wire)",
        "assert target.port == 7",
    ]
    result = suite.run(body(*lines, arguments="target, transcripts"))  # nobody listens on the target's port
    test = result.tests["test_it[fake-amqp]"]
    assert test["outcome"] == "inconclusive"
    assert "went away while this test ran" in test["reason"]


def test_a_broker_that_is_still_there_is_accused(suite):
    lines = [
        "import socket",
        "from mqproof.harness.wires.base import Transcript",
        "listener = socket.create_server(('127.0.0.1', 0))",
        "request.addfinalizer(listener.close)",
        "object.__setattr__(target, 'port', listener.getsockname()[1])",
        "wire = Transcript('wire 1')",
        "wire.add('<', b'x', 'something')",
        "transcripts.append(wire)",
        "assert target.user == 'closed'",
    ]
    result = suite.run(body(*lines, arguments="target, transcripts, request"))
    assert result.tests["test_it[fake-amqp]"]["outcome"] == "deviates"


def test_a_case_with_marks_of_its_own_examines_those_alone(suite):
    """The function's marks are the sum of its cases: a case must not be accused of another's statement."""
    other = "amqp-0-9-1:3.1.3.1/match"
    source = "\n".join([
        "CASES = [",
        f"    pytest.param(1, marks=pytest.mark.normative('{WORDS}')),",
        f"    pytest.param(2, marks=pytest.mark.normative('{other}')),",
        "]",
        f"@pytest.mark.normative('{WORDS}', '{other}')",
        "@pytest.mark.parametrize('number', CASES)",
        "def test_it(target, number):",
        "    assert number == 1",
    ])  # fmt: skip
    result = suite.run(source)
    assert {key[0]: verdict for key, verdict in result.verdicts.items()} == {
        "3.1.3.3/words": "conforms", "3.1.3.1/match": "deviates"
    }  # fmt: skip


def test_several_statements_can_be_accused_and_the_others_are_not(suite):
    other, third = "amqp-0-9-1:3.1.3.1/match", "amqp-0-9-1:3.1.3.2/match"
    lines = [
        "from mqproof.harness.verdicts import check",
        f"check(False, expected='a', actual='b', statement=('{WORDS}', '{other}', 'mqtt-5.0:MQTT-1.5.4-1'))",
    ]
    result = suite.run(body(*lines, marker=f'"{WORDS}", "{other}", "{third}"'))
    assert {key[0]: verdict for key, verdict in result.verdicts.items()} == {
        "3.1.3.3/words": "deviates", "3.1.3.1/match": "deviates", "3.1.3.2/match": "untested"
    }  # fmt: skip
