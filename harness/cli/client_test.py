"""``mqproof client-test``: the embedded broker judges a client."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.written import say, say_json

if TYPE_CHECKING:
    from mqproof.harness.clienttest.opinions import Opinion

HELP = """Judge a client's traffic: a verdict for each statement that binds clients.

COMMAND is the client, with {host}, {port} or {url} where it takes the broker's address (also in the environment:
MQPROOF_HOST, MQPROOF_PORT, MQPROOF_URL, MQPROOF_PROTOCOL, MQPROOF_SITUATION). It is run once in each situation: all
goes well, the connection is cut before an acknowledgement, the broker's limits are small, and so on.

\b
  mqproof client-test --protocol mqtt5 -- ./my-client --broker {host}:{port}
  mqproof client-test --protocol amqp --listen 5673 -- python worker.py

\b
Exit codes:
  0    no statement deviates, or only one that advises (SHOULD)
  1    the client deviates
  2    wrong usage, the port is taken, or the command cannot be started
  5    the client said nothing
  130  interrupted
"""


def client_test(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", show_default=False)],
    protocol: Annotated[list[str], typer.Option(metavar="NAME", help="mqtt5, mqtt311, amqp (repeatable).")],
    listen: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port on loopback; 0 takes a free one.")
    ] = 0,
    situation: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this one (repeatable).")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for the command in each situation.")] = 30.0,
    client: Annotated[str, typer.Option(metavar="NAME", help="What reports call it.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run directory.", show_default=False)] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Judge a client."""  # replaced by HELP
    from mqproof.harness.cli.exits import INTERRUPTED, USAGE
    from mqproof.harness.clienttest.report import lines, page, save
    from mqproof.harness.clienttest.running import BadCommand, try_client
    from mqproof.harness.run import Run, new_folder

    name = client or Path(command[0]).name
    run = Run()
    output = sys.stderr.fileno() if as_json else None  # what the client prints is no part of our JSON
    try:
        _check(protocol, situation or [])
        trials = [
            try_client(each, command, port=listen, seconds=timeout, names=situation or [], output=output)
            for each in protocol
        ]
    except (BadCommand, OSError) as error:
        raise typer.Exit(fail(USAGE, error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    folder = out or new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    save(folder, run, trials, name)
    if markdown:
        markdown.write_text(page(trials, name, command), encoding="utf-8")
    if as_json:
        say_json({"client": name, "folder": str(folder), "statements": run.statements})
    else:
        for line in (line for trial in trials for line in lines(trial)):
            say(line)
        typer.echo(f"the conversations are in {folder}")
    raise typer.Exit(_code([opinion for trial in trials for opinion in trial.opinions]))


client_test.__doc__ = HELP


def _code(opinions: "list[Opinion]") -> int:
    from mqproof.harness.cli.exits import CONFORMS, DEVIATES, NOTHING
    from mqproof.harness.verdicts import Verdict

    if any(each.verdict is Verdict.DEVIATES and not each.statement.is_should for each in opinions):
        return DEVIATES
    return CONFORMS if any(each.verdict is Verdict.CONFORMS for each in opinions) else NOTHING


def _check(protocols: list[str], situations: list[str]) -> None:
    from mqproof.harness.clienttest.running import BadCommand
    from mqproof.harness.clienttest.situations import PROTOCOLS

    for protocol in protocols:
        if protocol not in PROTOCOLS:
            raise BadCommand(f"--protocol {protocol}: there are {', '.join(PROTOCOLS)}")
    known = {each.name for protocol in protocols for each in PROTOCOLS[protocol][1]}
    for name in situations:
        if name not in known:
            raise BadCommand(f"--situation {name}: there are {', '.join(sorted(known))}")
