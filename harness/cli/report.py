"""``mqproof report``: one self-contained page of one or several runs."""

from pathlib import Path
from typing import Annotated

import typer
from mqproof.harness.cli.codes import UNREACHABLE, USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.waiting import waiting
from mqproof.harness.cli.written import AsJson, say_written

HELP = """Make one self-contained page (Allure 3) of one or several run directories; it opens from a file.

Runs that lie together in mqproof-runs share a history, from which trends are drawn; elsewhere --history names it.

\b
Exit codes:
  0    the page is there
  2    wrong usage, or no run
  3    the page cannot be made here (no node, or npm cannot be reached):
       the runs are untouched, and one line says why
"""


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="PAGE", help="Default: RUN/report.html.")] = None,
    history: Annotated[Path | None, typer.Option(metavar="FILE", help="For trends (history.jsonl).")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a page."""  # replaced by HELP
    from mqproof.harness.reporting.allure import Reported, ReportUnavailable, render
    from mqproof.harness.run import BadRun, load

    try:
        reported = [Reported(load(path), path if path.is_dir() else path.parent) for path in runs]
        page = out or reported[-1].folder / "report.html"
        whole = [Reported(one.run, one.folder.resolve()) for one in reported]
        with waiting("making the page"):
            render(whole, page.resolve(), history and history.resolve())
    except BadRun as error:
        raise typer.Exit(fail(USAGE, error)) from None
    except ReportUnavailable as error:
        raise typer.Exit(fail(UNREACHABLE, f"no report: {error}")) from None
    say_written("page", page, as_json)


report.__doc__ = HELP
