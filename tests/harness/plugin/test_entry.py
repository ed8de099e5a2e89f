"""What the plugin costs somebody who only has it installed, and what it says to somebody who forgot the broker."""

import subprocess
import sys

import pytest
from mqproof.harness.plugin.entry import NO_BROKER

PROBE = """
import sys

def test_mine():
    loaded = sorted(name for name in sys.modules if name.startswith("mqproof."))
    assert loaded == ["mqproof.harness", "mqproof.harness.plugin", "mqproof.harness.plugin.entry"]
"""


def run(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_run_without_brokers_loads_nothing_but_the_options(tmp_path):
    (tmp_path / "test_mine.py").write_text(PROBE)
    result = run(tmp_path)
    assert result.returncode == 0, result.stdout


def test_a_users_fixtures_of_the_same_names_are_not_touched(tmp_path):
    (tmp_path / "test_mine.py").write_text("def test_mine(target):\n    pass\n")
    assert "fixture 'target' not found" in run(tmp_path).stdout


@pytest.mark.parametrize("more", [(), ("-n", "1")])
def test_suites_without_a_broker_are_a_usage_error_of_one_line(tmp_path, more):
    result = run(tmp_path, "--pyargs", "mqproof.suites.amqp", *more)
    assert result.returncode == 4
    assert result.stderr.strip() == f"ERROR: {NO_BROKER}"


@pytest.mark.parametrize(
    ("broker", "code", "says"),
    [
        ("nonsense", 4, "'nonsense' is no target"),
        ("amqp://me:hunter2@127.0.0.1:9", 3, "amqp://me:***@127.0.0.1:9: nothing listens on port 9"),
    ],
)
def test_a_broker_that_cannot_be_tested_is_one_line(tmp_path, broker, code, says):
    result = run(tmp_path, "--pyargs", "mqproof.suites.amqp", "--broker", broker)
    assert result.returncode == code
    assert says in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "hunter2" not in result.stdout + result.stderr


@pytest.mark.whole_run
def test_plain_pytest_runs_a_suite_as_pytest_users_know_it(tmp_path):
    suite = ("--pyargs", "mqproof.suites.amqp", "--broker", "embedded-amqp", "-k", "fanout", "--junitxml", "j.xml")
    result = run(tmp_path, *suite, "-x", "-v")
    assert result.returncode == 0, result.stdout
    assert "[embedded-amqp" in result.stdout
    assert (tmp_path / "j.xml").exists()
    assert not (tmp_path / "mqproof-runs").exists()
