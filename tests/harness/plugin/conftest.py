"""A fake suite run by pytester, on targets that nobody connects to."""

import json
from importlib.resources import files

# Loaded here, because pytester forgets what an inner run imports, and half-forgotten modules do not fit together.
import allure_pytest.plugin  # noqa: F401
import hypothesis  # noqa: F401
import jsonschema
import mqproof.harness.plugin.allure_labels
import mqproof.harness.plugin.core
import mqproof.harness.plugin.recorder  # noqa: F401
import pytest

PLUGINS = ("-p", "mqproof.harness.plugin.entry", "-p", "allure_pytest.plugin")
SCHEMA = json.loads(files("mqproof.harness").joinpath("run.schema.json").read_text())
CONFTEST = """
import pytest
from mqproof.harness.targets.target import Target

CAPABILITIES = frozenset({capabilities!r})

def pytest_mqproof_targets(config):
    return [
        Target("fake-amqp", "amqp", "127.0.0.1", 1, user="me", password="s3cret-word", capabilities=CAPABILITIES,
               product="Fake", version="1.2"),
        Target("fake-mqtt", "mqtt", "127.0.0.1", 2, capabilities=CAPABILITIES, product="Fake", version="1.2"),
    ]
"""


class Suite:
    """Writes a suite, runs pytest on it in this process and reads run.json."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.capabilities: list[str] = []
        self.more = ""  # further lines for conftest.py

    def run(self, source: str, *arguments: str, name: str = "test_it.py", subprocess: bool = False):
        """Run the tests in ``source``; the result of pytester, with ``run`` and ``tests`` (by name) read back."""
        self.pytester.makeconftest(CONFTEST.format(capabilities=self.capabilities) + self.more)
        folder = self.pytester.path / "suites"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("import pytest\n" + source, encoding="utf-8")
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        result = run(*PLUGINS, "--mqproof-run", str(self.pytester.path / "run"), *arguments, folder)
        result.folder = self.pytester.path / "run"
        file = result.folder / "run.json"
        result.run = json.loads(file.read_text()) if file.exists() else None
        if result.run:
            jsonschema.validate(result.run, SCHEMA)
        result.tests = {test["id"].partition("::")[2]: test for test in result.run["tests"]} if result.run else {}
        result.verdicts = {
            (row["id"], row["target"]): row["verdict"] for row in (result.run["statements"] if result.run else ())
        }
        return result


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # importing locust alone takes a second
    return Suite(pytester)
