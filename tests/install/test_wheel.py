"""What a stranger gets from ``pip install mqproof``: everything that is needed, nothing that is in the way."""

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.targets.drivers.base import LocalBroker

ROOT = Path(__file__).parents[2]
PARTS = ("dissectors", "harness", "suites", "loadtests")

pytestmark = pytest.mark.wheel


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_parts(wheel: Path) -> None:
    expected = {f"mqproof/{name}" for name in tracked(*PARTS) if not name.startswith("harness/distribution/")}
    missing = expected - names_in(wheel)
    assert sorted(missing) == []


def test_the_wheel_holds_nothing_under_a_bare_name(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mqproof"}
    assert {"mqproof/__init__.py", "mqproof/py.typed"} <= names_in(wheel)
    assert not [name for name in names_in(wheel) if "/tests/" in name or name.startswith("mqproof/tests")]


def test_the_suites_run_from_the_wheel_beside_a_strangers_folders(installed: Any, foreign: Path) -> None:
    (foreign / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (foreign / "conftest.py").write_text("raise RuntimeError('a stranger's conftest')\n")
    out = foreign / "out.json"
    done = installed.run(
        "mqproof", "test", "embedded", "--quick", "--json", out, "--out", foreign / "run",
        cwd=foreign, PYTEST_ADDOPTS="--no-such-option",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(out.read_text())
    assert run["complete"]
    assert {"amqp", "mqtt"} == {target["protocol"] for target in run["targets"]}
    assert len(run["tests"]) > 50


@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
def test_plain_pytest_runs_the_suites_from_the_wheel(
    installed: Any, foreign: Path, embedded: LocalBroker, protocol: str
) -> None:
    target = embedded.target(protocol)
    for command in (["pytest"], ["python", "-m", "pytest"]):
        done = installed.run(
            *command, "-q", "--pyargs", f"mqproof.suites.{protocol}", "--broker", target.url, "-m", "sanity",
            cwd=foreign,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert " passed" in done.stdout.splitlines()[-1]


def test_a_strangers_own_tests_run_as_before(installed: Any, foreign: Path) -> None:
    for command in (["pytest"], ["python", "-m", "pytest"], ["pytest", "-n", "2"], ["pytest", "tests/test_own.py"]):
        done = installed.run(*command, "-q", cwd=foreign)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1].startswith("1 passed")


def test_the_imports_are_those_of_the_wheel(installed: Any, foreign: Path) -> None:
    program = "import mqproof.harness as h, mqproof.suites.amqp as s; print(h.__file__, s.__file__)"
    done = installed.run("python", "-c", program, cwd=foreign)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(installed.prefix)) for path in done.stdout.split())


def test_local_brokers_start_from_the_wheel(installed: Any, foreign: Path) -> None:
    program = (
        "from mqproof.harness.targets.drivers import DRIVERS\n"
        "with DRIVERS['embedded'].start() as broker: print(len(broker.targets))\n"
    )
    done = installed.run("python", "-c", program, cwd=foreign)
    assert done.stdout == "2\n", done.stderr
