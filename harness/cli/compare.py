"""``mqproof compare``: what changed between two brokers, two versions or two days."""

import json
from pathlib import Path
from typing import Annotated

import typer
from mqproof.harness.cli.codes import CONFORMS, DEVIATES, USAGE
from mqproof.harness.cli.failing import fail

HELP = """Show what changed between two runs: verdicts, overhead per message, latency, throughput.

A and B are run directories, or folders that hold several runs of the same kind: a number is called better or worse
only where three or more repeats on each side do not overlap.

\b
Exit codes:
  0    nothing got worse
  1    verdicts or numbers got worse
  2    wrong usage, or no run
"""


def compare(
    a: Annotated[Path, typer.Argument(metavar="RUN_A")],
    b: Annotated[Path, typer.Argument(metavar="RUN_B")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown, for a comment.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
) -> None:
    """Compare."""  # replaced by HELP
    from mqproof.harness.compare import compare as compared
    from mqproof.harness.compare import load_group
    from mqproof.harness.reporting import compare_text
    from mqproof.harness.reporting.screen import Screen
    from mqproof.harness.run import BadRun, write_atomically

    try:
        found = compared(load_group(a), load_group(b))
    except BadRun as error:
        raise typer.Exit(fail(USAGE, error)) from None
    if markdown is not None:
        write_atomically(markdown, compare_text.markdown(found))
    if html is not None:
        write_atomically(html, compare_text.page(found))
    if as_json:
        typer.echo(json.dumps(found.plain(), indent=1))
    else:
        compare_text.print_comparison(found, Screen())
    is_worse = found.of("worse") or any(metric.verdict == "worse" for metric in found.metrics)
    raise typer.Exit(DEVIATES if is_worse else CONFORMS)


compare.__doc__ = HELP
