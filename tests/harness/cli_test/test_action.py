"""The GitHub action and the example workflow: well-formed, and only with options and inputs that exist."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from mqproof.harness.cli.main import app
from typer.testing import CliRunner

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / "docs" / "examples" / "github-workflow.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
JOB: dict[str, Any] = WORKFLOW["jobs"]["conformance"]


def uses() -> dict[str, dict[str, Any]]:
    return {step["uses"]: step for step in JOB["steps"] if "uses" in step}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["name"])
def test_scripts_are_valid_and_take_inputs_from_the_environment_only(step):
    assert step["shell"] == "bash"
    subprocess.run(["bash", "-n", "-c", step["run"]], check=True)
    assert "${{" not in step["run"], "an input inside a script could run as a command"
    wanted = set(re.findall(r"\$\{?([A-Z]+)", step["run"]))
    assert wanted == step.get("env", {}).keys()


def test_every_input_is_declared_and_used():
    used = set(re.findall(r"inputs\.([a-z]+)", (ROOT / "action.yml").read_text()))
    assert used == ACTION["inputs"].keys()
    assert all(about["description"] for about in ACTION["inputs"].values())


@pytest.mark.parametrize("command", ["test", "gate", "scorecard"])
def test_every_option_exists(command):
    lines = "\n".join(step["run"] for step in STEPS).replace("\\\n", " ").splitlines()
    written = " ".join(line for line in lines if f"mqproof {command} " in line)
    help_text = CliRunner().invoke(app, [command, "--help"]).stdout
    options = set(re.findall(r"--[a-z-]+", written))
    assert written
    assert all(option in help_text for option in options)


def test_the_workflow_passes_only_inputs_that_the_action_has():
    ours = next(step for name, step in uses().items() if "/mqproof@" in name)
    assert ours["with"].keys() <= ACTION["inputs"].keys()
    assert all(name in ours["with"] for name, about in ACTION["inputs"].items() if about.get("required"))


def test_the_workflow_is_safe_by_default():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert JOB["timeout-minutes"] <= 30
    assert all(re.search(r"@v\d", name) for name in uses())
    assert JOB["services"]["rabbitmq"]["ports"] == ["5672:5672"]
    artifact = next(step for name, step in uses().items() if name.startswith("actions/upload-artifact@"))
    assert (artifact["if"], artifact["with"]["path"]) == ("always()", ACTION["inputs"]["run"]["default"])


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 0), (5, 0), (2, 2), (3, 3), (4, 4), (130, 130)])
def test_only_verdicts_are_left_to_the_gate(tmp_path, code, ends):
    fake = tmp_path / "mqproof"
    fake.write_text(f'#!/bin/sh\n[ "$1" = test ] && exit {code}\nexit 0\n')
    fake.chmod(0o755)
    script = next(step["run"] for step in STEPS if step["name"] == "Judge the brokers")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TARGETS": "a b", "ARGUMENTS": "", "RUN": "r"}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environment, check=False)
    assert done.returncode == ends
