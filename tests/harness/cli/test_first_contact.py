"""The first minutes with the command: what to do next, wrong usage, and output that goes nowhere."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from sysconfig import get_path

import pytest
from mqproof.harness.cli.main import COMMANDS

Command = Callable[..., subprocess.CompletedProcess[str]]
MQPROOF = str(Path(get_path("scripts")) / "mqproof")
PRINTERS = [["statements", "--json"], ["statements"], ["brokers"], ["faults", "list"], ["--help"], ["test", "--help"]]


def test_the_bare_command_says_in_ten_lines_what_to_do_next(mqproof: Command) -> None:
    done = mqproof()
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80
    for line in lines:
        command = line.split()[1:2] if line.startswith("  mqproof") else []
        assert set(command) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_that_is_not_there_is_one_line_with_a_remedy(mqproof: Command, command: str) -> None:
    done = mqproof(command, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "--no-such-option" in line
    assert f"mqproof {command} --help" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("analise",), "but there is analyze"),
        (("compare", "a"), "RUN_B"),
        (("gate",), "RUN"),
        (("load", "x", "--users", "many"), "--users"),
        (("runs", "nonsense"), "nonsense"),
        (("runs", "list", "/nowhere/runs"), "/nowhere/runs is no folder"),
    ],
)
def test_wrong_usage_is_one_line(mqproof: Command, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = mqproof(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line


@pytest.mark.alike
@pytest.mark.parametrize("arguments", PRINTERS, ids=" ".join)
def test_a_reader_that_goes_away_sees_no_complaint(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([MQPROOF, *arguments], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.alike
@pytest.mark.parametrize("arguments", PRINTERS, ids=" ".join)
def test_output_that_cannot_be_written_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([MQPROOF, *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 4
    assert b"No space left" in line


def test_a_closed_standard_output_is_no_error() -> None:
    done = subprocess.run(["sh", "-c", f"{MQPROOF} brokers >&-"], stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_page_that_cannot_be_written_is_one_line(mqproof: Command, tmp_path: Path) -> None:
    run = {"schema": 1, "tool": {"name": "mqproof", "version": "0"}, "started": "2026-01-01T00:00:00Z"}
    (tmp_path / "run.json").write_text(json.dumps(run))
    done = mqproof("scorecard", tmp_path, "-o", tmp_path / "run.json" / "page.html")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "run.json" in line


def test_what_was_written_can_be_had_as_json(mqproof: Command, tmp_path: Path) -> None:
    run = {"schema": 1, "tool": {"name": "mqproof", "version": "0"}, "started": "2026-01-01T00:00:00Z"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    page = json.loads(mqproof("scorecard", tmp_path / "run", "--json").stdout)["page"]
    assert Path(page).is_file()
    packed = json.loads(mqproof("runs", "pack", tmp_path / "run", "--json").stdout)["file"]
    into = tmp_path / "elsewhere"
    unpacked = json.loads(mqproof("runs", "unpack", packed, "--into", into, "--json").stdout)["run"]
    assert (Path(unpacked) / "run.json").is_file()


@pytest.mark.parametrize(("no_color", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_sees_colours_unless_it_wants_none(
    tmp_path: Path, no_color: dict[str, str], is_coloured: bool
) -> None:
    run = {"schema": 1, "tool": {"name": "mqproof", "version": "0"}, "started": "2026-01-01T00:00:00Z"}
    (tmp_path / "run.json").write_text(json.dumps(run))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    controller, terminal = pty.openpty()
    done = subprocess.run(
        [MQPROOF, "gate", str(tmp_path)], env=environment | {"TERM": "xterm"} | no_color, stdout=terminal,
        stderr=terminal, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    os.close(terminal)
    text = os.read(controller, 1 << 16)
    os.close(controller)
    assert done.returncode == 1
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-7]m", text)) is is_coloured
    assert b"not-empty" in text


@pytest.mark.parametrize("words", ["mqproof test --su", "mqproof runs unp"])
def test_a_shell_can_complete_options_and_commands_below(words: str) -> None:
    environment = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": "2", "_MQPROOF_COMPLETE": "complete_bash"}
    done = subprocess.run([MQPROOF], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() in ("--suite", "unpack")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands(shell: str) -> None:
    words = {"COMP_WORDS": "mqproof sco", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "mqproof sco"}
    environment = {
        **os.environ,
        **words,
        "_MQPROOF_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run([MQPROOF], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "scorecard" in done.stdout
