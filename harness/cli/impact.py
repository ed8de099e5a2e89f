"""``mqproof impact``: will an application survive the upgrade, by its own traffic."""

import json
from pathlib import Path
from typing import Annotated

import typer
from mqproof.harness.cli.codes import CONFORMS, DEVIATES, NOTHING, USAGE
from mqproof.harness.cli.failing import fail

HELP = """Show which verdicts that differ between two runs concern an application, by a capture of its traffic.

The capture (pcap, pcapng) shows which features the application uses, each with the numbers of the packets that prove
it; only changes of statements that depend on these features are shown. What it did not do meanwhile is not seen.

\b
Exit codes:
  0    nothing that it uses got worse
  1    something did
  2    wrong usage, no run or no capture
  5    the capture holds no AMQP or MQTT that can be read
"""


def impact(
    capture: Annotated[Path, typer.Argument(metavar="CAPTURE")],
    before: Annotated[Path, typer.Option("--from", metavar="RUN_A", help="What the application runs on today.")],
    after: Annotated[Path, typer.Option("--to", metavar="RUN_B", help="What it will run on.")],
    features: Annotated[bool, typer.Option("--features", help="List the features that it uses, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown, for a comment.")] = None,
) -> None:
    """Show the impact."""  # replaced by HELP
    from mqproof.dissectors.packets.pcap import CaptureError
    from mqproof.harness.compare import load_group
    from mqproof.harness.impact import NothingUsed
    from mqproof.harness.impact import impact as impact_of
    from mqproof.harness.reporting import impact_text
    from mqproof.harness.reporting.screen import Screen
    from mqproof.harness.run import BadRun, write_atomically

    try:
        found = impact_of(capture, load_group(before), load_group(after))
    except (BadRun, CaptureError, NothingUsed) as error:
        raise typer.Exit(fail(NOTHING if isinstance(error, NothingUsed) else USAGE, error)) from None
    if markdown is not None:
        write_atomically(markdown, impact_text.markdown(found))
    if as_json:
        typer.echo(json.dumps(found.plain(), indent=1))
    else:
        impact_text.print_impact(found, Screen(), with_features=features)
    raise typer.Exit(DEVIATES if found.of("worse") else CONFORMS)


impact.__doc__ = HELP
