"""``mqproof statements``: what the specifications demand, and which tests examine it."""

import json
from typing import Annotated, Any

import typer
from mqproof.harness.cli.codes import INTERNAL, USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.printable import counted


def statements(
    spec: Annotated[str | None, typer.Option(help="amqp-0-9-1, mqtt-3.1.1 or mqtt-5.0.", show_default=False)] = None,
    untested: Annotated[bool, typer.Option("--untested", help="Only those that no test examines.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    write_index: Annotated[bool, typer.Option("--write-index", help="Regenerate.", hidden=True)] = False,
) -> None:
    """List the normative statements and the tests on them. Exit codes: 0; 2 for an unknown specification."""
    from mqproof.harness.statements.registry import UnknownStatement

    if write_index:
        _write_index()
        return
    try:
        found = rows(spec, untested)
    except UnknownStatement as error:
        raise typer.Exit(fail(USAGE, error)) from None
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        _print(found)


def _write_index() -> None:
    from mqproof.harness.cli.indexing import NotCollected
    from mqproof.harness.cli.indexing import write_index as write

    try:
        typer.echo(f"{write()} statements have tests")
    except NotCollected as error:
        raise typer.Exit(fail(INTERNAL, f"the suites cannot be collected: {error}")) from None


def rows(spec: str | None, untested: bool = False) -> list[dict[str, Any]]:
    """Return the statements as plain data, each with its tests. Raises UnknownStatement."""
    from mqproof.harness.statements.index import tests_by_statement
    from mqproof.harness.statements.registry import statements as registered

    index = tests_by_statement()
    return [
        {
            "spec": statement.spec,
            "source": statement.source,
            "id": statement.id,
            "section": statement.section,
            "level": statement.level,
            "actor": statement.actor,
            "testable": statement.testable,
            "summary": statement.summary,
            "reason": statement.reason,
            "tests": index.get(statement.key, []),
        }
        for statement in registered(spec)
        if not (untested and index.get(statement.key))
    ]


def _print(found: list[dict[str, Any]]) -> None:
    """Print each statement; its id, which is for copying, is never cut."""
    from mqproof.harness.reporting.screen import Screen
    from rich.padding import Padding
    from rich.text import Text

    console = Screen()
    for row in found:
        tests = _number(row["tests"]) if row["testable"] != "no" else "no client can see it"
        line = f"{row['level']:10}  {row['spec']}:{row['id']}  ({tests})"
        console.print(line, markup=False, soft_wrap=True)
        console.print(Padding(Text(row["summary"]), (0, 0, 0, 12), expand=False))
    testable = [row for row in found if row["testable"] != "no"]
    tested = sum(bool(row["tests"]) for row in testable)
    statements = counted(len(found), "statement")
    console.print(f"{statements}, {len(testable)} testable from a client, {tested} of them tested")


def _number(tests: list[str]) -> str:
    return f"{len(tests) or 'no'} test{'s' if len(tests) != 1 else ''}"
