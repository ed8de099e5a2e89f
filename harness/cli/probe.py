"""``mqproof probe``: what can this broker do?"""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.waiting import waiting

HELP = """Find out what a broker offers: versions, abilities, and limits as announced and as measured.

\b
Exit codes:
  0    done
  2    wrong usage
  3    a target cannot be reached
"""


def probe(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="URLs, or names of local brokers.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of tables.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that verify the broker (TLS).")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the broker's certificate.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="File whose first line is the password.")] = None,
) -> None:
    """Probe."""  # replaced by HELP
    from mqproof.harness.cli.exits import UNREACHABLE, USAGE
    from mqproof.harness.targets.errors import TargetError
    from mqproof.harness.targets.opening import open_all, read_password
    from mqproof.harness.targets.target import BadTarget, Tls, redact
    from mqproof.harness.verdicts import Blocked

    try:
        with ExitStack() as resources, waiting(f"asking {', '.join(map(redact, targets))}"):
            tls = Tls(ca_file, insecure) if ca_file or insecure else None
            found = open_all(targets, resources, tls=tls, password=read_password(password_file))
            rows = [_probe(target) for target in found]
    except BadTarget as error:
        raise typer.Exit(fail(USAGE, error)) from None
    except (TargetError, Blocked) as error:
        raise typer.Exit(fail(UNREACHABLE, error)) from None
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        _show(row)


probe.__doc__ = HELP


def _probe(target: Any) -> dict[str, Any]:
    from mqproof.harness.probing import amqp, mqtt
    from mqproof.harness.probing.amqp_features import with_features
    from mqproof.harness.probing.limits import ProbeNames

    target = with_features(target, "mqproof")
    how = amqp.probe if target.protocol == "amqp" else mqtt.probe
    return {
        "name": target.name,
        "url": target.redacted_url,
        "protocol": target.protocol,
        "product": target.product,
        "version": target.version,
        "capabilities": sorted(target.capabilities),
        "limits": [limit.plain() for limit in how(target, ProbeNames())],
    }


def _show(row: dict[str, Any]) -> None:
    from mqproof.harness.reporting.screen import Screen
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Screen()
    name = f"{row['product'] or 'an unnamed broker'} {row['version']}"
    console.print(Text.assemble((name, "bold"), f"  {row['url']}"), soft_wrap=True)
    table = Table("", "announced", "measured", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for limit in row["limits"]:
        table.add_row(limit["name"], limit["announced"], limit["measured"])
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
    console.print(Padding(f"capabilities: {', '.join(row['capabilities'])}", (0, 0, 1, 2), expand=False))
