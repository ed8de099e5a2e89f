"""The help of each command: it fits 80 columns, and names things as users do."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from mqproof.harness.cli.main import COMMANDS, app, command_of
from mqproof.loadtests.scenarios.catalogue import SCENARIOS, names
from typer.testing import CliRunner


def paths() -> Iterator[tuple[str, ...]]:
    for name in COMMANDS:
        yield (name,)
        yield from ((name, inner) for inner in getattr(command_of(name), "commands", ()))


def inner(path: tuple[str, ...]) -> Any:
    command = command_of(path[0])
    return command.commands[path[1]] if len(path) > 1 else command


def help_of(path: tuple[str, ...]) -> str:
    done = CliRunner().invoke(app, [*path, "--help"], prog_name="mqproof", env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return str(done.stdout)


@pytest.mark.parametrize("path", [(), *paths()], ids=" ".join)
def test_help_fits_80_columns(path: tuple[str, ...]) -> None:
    text = help_of(path)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "..." not in text.partition("Commands:")[2], "cut off"
    assert not re.search(r"<[a-z\[]+|\bNone\b|\[\[", text), text


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    command = inner(path)
    options = [one for one in command.params if one.param_type_name == "option" and not getattr(one, "hidden", False)]
    assert [one.name for one in options if not one.help] == []
    several = [one for one in options if getattr(one, "multiple", False)]
    assert [one.name for one in several if "epeatable" not in one.help] == []


@pytest.mark.parametrize(
    ("path", "usage"),
    [
        (("test",), "mqproof test [OPTIONS] [TARGET...]"),
        (("load",), "mqproof load [OPTIONS] [SCENARIO] [TARGET...]"),
        (("scorecard",), "mqproof scorecard [OPTIONS] RUN..."),
        (("choose",), "mqproof choose [OPTIONS] TARGET_A TARGET_B"),
        (("client-test",), "mqproof client-test [OPTIONS] -- COMMAND..."),
        (("runs", "pack"), "mqproof runs pack [OPTIONS] RUN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_usage_says_what_must_and_may_be_given(path: tuple[str, ...], usage: str) -> None:
    assert help_of(path).splitlines()[0] == f"Usage: {usage}"


def test_the_help_of_load_lists_the_scenarios_and_their_claims() -> None:
    lines = (line.split(maxsplit=1) for line in help_of(("load",)).splitlines())
    listed = {line[0]: line[1] for line in lines if len(line) == 2 and line[0] in names()}
    assert list(listed) == names()
    for name, scenario in SCENARIOS.items():
        only = f" ({scenario.protocols[0].upper()})" if len(scenario.protocols) == 1 else ""
        assert listed[name] == scenario.claim + only


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_no_name_in_the_prose_is_broken_at_its_hyphen(path: tuple[str, ...]) -> None:
    prose = help_of(path).partition("Options:")[0]
    assert not re.search(r"\w-\n", prose), prose
