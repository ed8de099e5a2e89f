"""``mqproof conformance``: the page of statements and brokers for a repository."""

from pathlib import Path
from typing import Annotated

import typer
from mqproof.harness.cli.codes import USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.written import say, say_json

HELP = """Write a Markdown page: each statement of a specification, and what the runs say of it for each broker.

RUN is a run directory, or a folder of repeats that mqproof stability made: their verdicts are merged, and the page
gets a section with what differed and how long each took.

\b
Exit codes:
  0    the page is there
  2    wrong usage, no run, or none on this specification
"""


def conformance(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN")],
    spec: Annotated[list[str], typer.Option(help="amqp-0-9-1, mqtt-3.1.1 or mqtt-5.0 (repeatable).")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="PAGE", help="Else it is printed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Write a page."""  # replaced by HELP
    from mqproof.harness.compare import load_group
    from mqproof.harness.reporting.conformance import conformance_data, conformance_page
    from mqproof.harness.run import BadRun, write_atomically
    from mqproof.harness.stability import load_stability
    from mqproof.harness.statements.registry import UnknownStatement

    try:
        found = [run for path in runs for run in load_group(path)]
        stabilities = [result for path in runs if (result := load_stability(path)) is not None]
        page = conformance_page(spec, found, stabilities)
        data = conformance_data(spec, found, stabilities) if as_json else None
    except (BadRun, UnknownStatement) as error:
        raise typer.Exit(fail(USAGE, error)) from None
    if out is not None:
        write_atomically(out, page)
    if as_json:
        say_json(data)
    elif out is None:
        say(page, nl=False)
    else:
        typer.echo(str(out))


conformance.__doc__ = HELP
