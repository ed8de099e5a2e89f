"""Which tests run on which targets, and what stops a collection."""

WORDS = "amqp-0-9-1:3.1.3.3/words"
OLD, NEW = "mqtt-3.1.1:MQTT-4.3.3-2", "mqtt-5.0:MQTT-4.3.3-13"

AMQP = f'@pytest.mark.normative("{WORDS}")\ndef test_it(target):\n    assert target.protocol == "amqp"\n'
MQTT = (
    f'@pytest.mark.normative("{OLD}", "{NEW}")\n@pytest.mark.parametrize("qos", [0, 1])\n'
    "def test_it(target, version, qos):\n    assert target.protocol == 'mqtt'\n"
)


def test_ids_name_target_then_version_then_parameters(suite):
    result = suite.run(MQTT)
    assert sorted(result.tests) == [
        "test_it[fake-mqtt-mqtt-3.1.1-0]",
        "test_it[fake-mqtt-mqtt-3.1.1-1]",
        "test_it[fake-mqtt-mqtt-5.0-0]",
        "test_it[fake-mqtt-mqtt-5.0-1]",
    ]
    assert {test["id"].partition("::")[0] for test in result.run["tests"]} == {"suites/test_it.py"}
    assert {test["case"] for test in result.run["tests"]} == {
        "suites/test_it.py::test_it[mqtt-3.1.1-0]",
        "suites/test_it.py::test_it[mqtt-3.1.1-1]",
        "suites/test_it.py::test_it[mqtt-5.0-0]",
        "suites/test_it.py::test_it[mqtt-5.0-1]",
    }


def test_an_item_claims_only_the_statements_of_its_version(suite):
    result = suite.run(MQTT)
    assert result.tests["test_it[fake-mqtt-mqtt-3.1.1-0]"]["statements"] == [OLD]
    assert result.tests["test_it[fake-mqtt-mqtt-5.0-0]"]["statements"] == [NEW]


def test_a_test_of_one_version_runs_in_that_version_only(suite):
    source = f'@pytest.mark.normative("{NEW}")\ndef test_it(target):\n    pass\n'
    assert list(suite.run(source).tests) == ["test_it[fake-mqtt-mqtt-5.0]"]


def test_a_version_that_the_broker_does_not_offer_is_unsupported(suite):
    suite.capabilities = ["mqtt-3.1.1"]
    result = suite.run(MQTT)
    assert result.verdicts[("MQTT-4.3.3-13", "fake-mqtt")] == "unsupported"
    assert result.verdicts[("MQTT-4.3.3-2", "fake-mqtt")] == "conforms"
    assert "does not offer mqtt-5.0" in result.tests["test_it[fake-mqtt-mqtt-5.0-0]"]["reason"]


def test_a_test_runs_on_the_targets_of_its_protocol(suite):
    assert list(suite.run(AMQP).tests) == ["test_it[fake-amqp]"]


def test_an_unknown_statement_stops_the_collection_and_names_the_nearest(suite):
    source = '@pytest.mark.normative("amqp-0-9-1:3.1.3.3/word")\ndef test_it(target):\n    pass\n'
    result = suite.run(source)
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*test_it*no statement is called*3.1.3.3/word'; the nearest is *3.1.3.3/words"])
    assert "Traceback" not in result.stdout.str()
    assert result.run["complete"] is False


def test_a_test_cannot_claim_statements_of_two_protocols(suite):
    result = suite.run(f'@pytest.mark.normative("{WORDS}", "{OLD}")\ndef test_it(target):\n    pass\n')
    assert result.ret == 2


def test_options_select_by_statement_level_and_section(suite):
    source = AMQP + f'@pytest.mark.normative("{NEW}")\ndef test_other(target):\n    pass\n'
    assert list(suite.run(source, "--mqproof-statement", "3.1.3.3/words").tests) == ["test_it[fake-amqp]"]
    assert list(suite.run(source, "--mqproof-section", "4.3.3").tests) == ["test_other[fake-mqtt-mqtt-5.0]"]
    nothing = suite.run(source, "--mqproof-level", "MAY")
    assert (nothing.ret, nothing.run["complete"]) == (5, False)


def test_under_a_fault_only_its_statements_and_the_sanity_tests_run(suite):
    suite.more = (
        "from mqproof.harness.plugin.state import mqproof_key\n"
        "def pytest_sessionstart(session):\n"
        f"    session.config.stash[mqproof_key].faults['fake-amqp'] = frozenset(['{WORDS}'])\n"
    )
    source = AMQP + (
        '@pytest.mark.normative("amqp-0-9-1:queue.bind/unique")\ndef test_other(target):\n    pass\n'
        '@pytest.mark.sanity\n@pytest.mark.normative("amqp-0-9-1:basic/01")\ndef test_sane(target):\n    pass\n'
    )
    result = suite.run(source)
    assert sorted(result.tests) == ["test_it[fake-amqp]", "test_sane[fake-amqp]"]
    assert result.run["planned"] == 2


def test_a_users_own_tests_are_left_alone(suite):
    result = suite.run("def test_mine(): assert True\n" + AMQP)
    assert list(result.tests) == ["test_it[fake-amqp]"]
    result.assert_outcomes(passed=2)


def test_names_are_unique_safe_and_carry_the_prefix(suite):
    source = (
        f'@pytest.mark.normative("{WORDS}")\ndef test_it(target, names):\n'
        "    made = {names('a b#/.') for _ in range(50)} | {names.client_id() for _ in range(50)}\n"
        "    assert len(made) == 100\n"
        "    assert all(name.startswith('myrun') for name in made)\n"
        "    assert all(set(name) <= set('abcdefghijklmnopqrstuvwxyz0123456789-') for name in made)\n"
        "    assert len(names.client_id()) <= 23 and names.client_id().isalnum()\n"
    )
    assert suite.run(source, "--mqproof-prefix", "myrun").ret == 0


def test_cleanup_runs_last_first_even_after_a_failure(suite):
    source = (
        "done = []\n"
        f'@pytest.mark.normative("{WORDS}")\ndef test_it(target, cleanup):\n'
        "    cleanup(done.append, 1)\n    cleanup(done.append, 2)\n    assert done\n"
        f'@pytest.mark.normative("{WORDS}")\ndef test_after(target):\n    assert done == [2, 1]\n'
    )
    result = suite.run(source)
    assert result.tests["test_after[fake-amqp]"]["outcome"] == "conforms"
    assert result.tests["test_it[fake-amqp]"]["outcome"] == "deviates"


def test_a_test_that_no_target_can_run_is_skipped_and_not_planned(suite):
    suite.more = "\n_all = pytest_mqproof_targets\ndef pytest_mqproof_targets(config):\n    return _all(config)[:1]\n"
    result = suite.run(AMQP + MQTT.replace("test_it", "test_other"))
    result.assert_outcomes(passed=1, skipped=2)
    assert list(result.tests) == ["test_it[fake-amqp]"]
    assert (result.run["planned"], result.run["complete"]) == (1, True)
