"""What a broker, a capture or somebody's run says is shown, and does nothing to the terminal: no escape, no markup."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.probe import _show
from mqproof.harness.cli.waiting import waiting
from mqproof.harness.printable import printable, printable_lines
from mqproof.harness.reporting.screen import Screen
from mqproof.harness.reporting.terminal import print_summary
from mqproof.harness.run import Run
from rich.table import Table
from rich.text import Text

Mqproof = Callable[..., CompletedProcess[str]]
EVIL = "\x1b]0;owned\x07\x1b[2J[/bold][red]x\u202e\x9b31m:smile:"
HARMLESS = "?]0;owned?[2J[/bold][red]x??31m:smile:"


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "said",
    [EVIL, Text(EVIL), Text.assemble((EVIL, "bold"))],
    ids=["str", "text", "styled"],
)
def test_a_screen_shows_brackets_and_hides_nothing(said: str | Text) -> None:
    stream = io.StringIO()
    Screen(file=stream, width=80).print(said)
    assert stream.getvalue() == f"{HARMLESS}\n"


def test_a_screen_makes_the_cells_of_a_table_harmless_and_keeps_their_width() -> None:
    stream = io.StringIO()
    table = Table("what", "b", box=None, pad_edge=False)
    table.add_row("\x1b[2Jx", "end")
    table.add_row("a name", "end")
    Screen(file=stream, width=40).print(table)
    rows = ["what    b  ", "?[2Jx   end", "a name  end"]
    assert stream.getvalue().splitlines() == rows


def test_colours_of_styles_still_reach_a_terminal() -> None:
    stream = io.StringIO()
    Screen(file=stream, width=80, force_terminal=True, color_system="standard").print(Text("x\x1b[2J", "bold red"))
    assert stream.getvalue() == "\x1b[1;31mx?[2J\x1b[0m\n"


def test_texts_stay_as_they_are_but_for_what_acts() -> None:
    assert printable("Größe…\n\x1b[0m\udc80") == r"Größe…\n\x1b[0m\udc80"
    assert printable_lines("a\tb\nc\x07") == "a\tb\nc\\x07"


def test_an_error_that_quotes_a_broker_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(3, ValueError("the server refuses (\x1b[2Jgone)")) == 3
    assert capsys.readouterr().err == "mqproof: the server refuses (\\x1b[2Jgone)\n"


def hostile_run(folder: Path) -> Path:
    described = {"name": "b", "url": "amqp://h:1", "protocol": "amqp", "product": EVIL, "version": "1"}
    row = {"spec": "amqp-0-9-1", "id": "basic/01", "target": "b", "tests": ["t"], "expected": EVIL, "actual": EVIL}
    run = Run(complete=True, planned=1, targets=[described])
    run.statements = [{**row, "verdict": "deviates", "reason": EVIL}]
    run.save(folder)
    return folder


def test_a_run_of_somebody_else_is_listed_harmlessly(mqproof_here: Mqproof, tmp_path: Path) -> None:
    hostile_run(tmp_path / "mqproof-runs" / "one")
    done = mqproof_here("runs", "list", tmp_path / "mqproof-runs")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "[/bold]" in done.stdout.replace("\n", "")


def test_a_run_of_somebody_else_is_summed_up_harmlessly(tmp_path: Path) -> None:
    from mqproof.harness.run import load

    stream = io.StringIO()
    print_summary(load(hostile_run(tmp_path)), Screen(file=stream, width=80))
    assert "[/bold][red]" in stream.getvalue()
    assert not [char for char in stream.getvalue() if char != "\n" and not char.isprintable()]


@pytest.mark.parametrize("command", ["compare", "gate"])
def test_no_command_writes_control_characters_of_a_run(mqproof_here: Mqproof, tmp_path: Path, command: str) -> None:
    hostile_run(tmp_path / "a")
    Run(complete=True, planned=1).save(tmp_path / "b")
    runs = [tmp_path / "a", tmp_path / "b"] if command == "compare" else [tmp_path / "a"]
    done = mqproof_here(command, *runs)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout
    assert not [char for char in done.stdout + done.stderr if char != "\n" and not char.isprintable()]


def test_probe_shows_a_url_with_a_literal_address_and_a_hostile_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """``[fe80::1]`` would be markup."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    _show({"product": EVIL, "version": "1", "url": "mqtt://[fe80::1]:1883", "limits": [], "capabilities": [EVIL]})
    assert f"{HARMLESS} 1  mqtt://[fe80::1]:1883" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_waiting_shows_a_literal_address_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with waiting("asking mqtt://[fe80::1]:1883"):
        pass
    assert "mqtt://[fe80::1]:1883" in sys.stderr.getvalue()  # type: ignore[attr-defined]
