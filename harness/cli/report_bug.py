"""``mqproof report-bug``: what a broker's maintainers need to see a deviation for themselves."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mqproof.harness.cli.codes import UNREACHABLE, USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.waiting import waiting
from mqproof.harness.cli.written import say

if TYPE_CHECKING:
    from mqproof.harness.bug_report import Case

HELP = """Print a ready report (Markdown) of a deviation: the clause, the smallest conversation that shows it, expected
and actual, a script of plain Python that needs no mqproof, and the end of the broker's log where it was started here.

With --shrink the broker (one that mqproof can start) and the embedded reference broker are started, and the script's
steps are left out one by one, as long as the broker still answers as it did and the reference broker otherwise.

\b
Exit codes:
  0    printed
  2    wrong usage, no run, or no such deviation in it
  3    a broker cannot be started
"""


def report_bug(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    statement: Annotated[str, typer.Argument(metavar="STATEMENT")],
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Of this target, where several deviate.")] = None,
    shrink: Annotated[bool, typer.Option("--shrink", help="Start the broker, leave out what is not needed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the text in a JSON object.")] = False,
) -> None:
    """Report."""  # replaced by HELP
    from mqproof.harness.bug_report import NothingToReport, as_markdown, smallest_case
    from mqproof.harness.run import BadRun, load
    from mqproof.harness.statements.registry import UnknownStatement
    from mqproof.harness.targets.errors import TargetError
    from mqproof.harness.targets.target import BadTarget

    folder = run if run.is_dir() else run.parent
    try:
        case = smallest_case(load(run), folder, statement, target)
        text = as_markdown(_shrunk(case) if shrink else case)
    except (BadRun, NothingToReport, UnknownStatement, BadTarget, TargetError) as error:
        raise typer.Exit(fail(UNREACHABLE if isinstance(error, TargetError) else USAGE, error)) from None
    if as_json:
        typer.echo(json.dumps({"statement": statement, "markdown": text}))
    else:
        say(text, nl=False)


def _shrunk(case: "Case") -> "Case":
    """Start the broker and the reference, and shrink. Raises NothingToReport, BadTarget, TargetError."""
    from mqproof.harness.bug_report import NothingToReport, shrunk
    from mqproof.harness.targets.opening import open_all, plan
    from mqproof.harness.targets.target import Target

    name, protocol = str(case.target["name"]), str(case.target["protocol"])
    word = name if name.endswith(f"-{protocol}") else f"{name}-{protocol}"
    if "://" in word or "." in word or ":" in word or isinstance(plan(word), Target):
        raise NothingToReport(f"{name} is no broker that mqproof starts: run report-bug without --shrink")
    with ExitStack() as resources, waiting("leaving out one step after the other"):
        broker, reference = open_all([word, f"embedded-{protocol}"], resources)
        return shrunk(case, (broker.host, broker.port), (reference.host, reference.port))


report_bug.__doc__ = HELP
