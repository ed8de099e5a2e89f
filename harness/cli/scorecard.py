"""``mqproof scorecard``: the matrix of statements and brokers."""

from pathlib import Path
from typing import Annotated

import typer
from mqproof.harness.cli.codes import USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.written import AsJson, say_written

HELP = """Make one page with the matrix of statements and brokers, of one or several runs; it opens from a file.

\b
Exit codes:
  0    the page is there
  2    wrong usage, or no run
"""


def scorecard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="PAGE", help="Else RUN/scorecard.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a page."""  # replaced by HELP
    from mqproof.harness.reporting.scorecard import scorecard as page_of
    from mqproof.harness.run import BadRun, load, write_atomically

    try:
        found = [(load(path), path if path.is_dir() else path.parent) for path in runs]
        text = page_of(found)
    except BadRun as error:
        raise typer.Exit(fail(USAGE, error)) from None
    page = out or found[-1][1] / "scorecard.html"
    write_atomically(page, text)
    say_written("page", page, as_json)


scorecard.__doc__ = HELP
