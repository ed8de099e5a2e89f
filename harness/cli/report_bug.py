"""``mqproof report-bug``: what a broker's maintainers need to see a deviation for themselves."""

import json
from pathlib import Path
from typing import Annotated

import typer

HELP = """Print a ready report (Markdown) of a deviation: the clause, the smallest conversation that shows it, expected
and actual, and a script of plain Python that needs no mqproof.

\b
Exit codes: 0 printed; 2 wrong usage, no run, or no such deviation in it.
"""


def report_bug(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    statement: Annotated[str, typer.Argument(metavar="STATEMENT")],
    target: Annotated[str | None, typer.Option(help="Of this target.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the text in a JSON object.")] = False,
) -> None:
    """Report."""  # replaced by HELP
    from mqproof.harness.bug_report import NothingToReport, as_markdown, smallest_case
    from mqproof.harness.run import BadRun, load
    from mqproof.harness.statements.registry import UnknownStatement

    folder = run if run.is_dir() else run.parent
    try:
        text = as_markdown(smallest_case(load(run), folder, statement, target))
    except (BadRun, NothingToReport, UnknownStatement) as error:
        typer.echo(f"mqproof: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps({"statement": statement, "markdown": text}))
    else:
        typer.echo(text, nl=False)


report_bug.__doc__ = HELP
