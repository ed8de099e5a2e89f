"""``mqproof gate``: let a run pass or fail by rules, for CI."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mqproof.harness.cli.codes import CONFORMS, DEVIATES, USAGE
from mqproof.harness.cli.failing import fail

if TYPE_CHECKING:
    from mqproof.harness.gate import Result

HELP = """Let a run pass or fail by rules: [gate] in mqproof.toml, or [tool.mqproof.gate] in pyproject.toml.

Without rules, the run must be complete, must hold results, and must have no deviation from a statement stronger than
SHOULD, known deviations excepted. A value that was not measured never passes. Where GITHUB_ACTIONS is set, failures
become annotations, and the step's summary gets a table.

\b
Exit codes:
  0    every rule passes
  1    a rule fails
  2    wrong usage or configuration, or no run
"""


def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    baseline: Annotated[Path | None, typer.Option(metavar="RUN", help="No verdict may be worse than there.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The rules.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown, for a comment.")] = None,
    badge: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a badge's JSON.")] = None,
) -> None:
    """Gate."""  # replaced by HELP
    from mqproof.harness.gate import evaluate, passes
    from mqproof.harness.gate_config import BadConfig, read_config
    from mqproof.harness.reporting import gate_text
    from mqproof.harness.run import BadRun, load, write_atomically

    try:
        rules = read_config(config, Path.cwd())
        results = evaluate(load(run), rules, load(baseline) if baseline else None)
    except (BadConfig, BadRun) as error:
        raise typer.Exit(fail(USAGE, error)) from None
    for path, text in ((junit, gate_text.junit), (markdown, gate_text.markdown), (badge, gate_text.badge)):
        if path is not None:
            write_atomically(path, text(results))
    _show(results, as_json)
    raise typer.Exit(CONFORMS if passes(results) else DEVIATES)


def _show(results: "list[Result]", as_json: bool) -> None:
    from mqproof.harness.reporting import gate_text
    from mqproof.harness.reporting.screen import Screen

    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        gate_text.print_results(results, Screen())
    if os.environ.get("GITHUB_ACTIONS"):
        typer.echo(gate_text.annotations(results), nl=False, err=as_json)
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with open(summary, "a", encoding="utf-8") as file:
                file.write(gate_text.markdown(results))


gate.__doc__ = HELP
