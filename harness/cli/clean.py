"""``mqproof clean``: remove what load runs that crashed have left on a broker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.written import say_json

HELP = """Remove what load runs of this machine left on a broker because they crashed.

A run notes what it makes before it makes it; queues, exchanges and sessions of runs that are no more are removed, and
nothing else is touched. The next load on the same broker does the same at its start.

\b
Exit codes:
  0    everything is removed, or nothing was left
  2    wrong usage
  3    the target cannot be reached
  4    something could not be removed
"""


def clean(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The broker's URL.")],
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that verify the broker (TLS).")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the broker's certificate.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="File whose first line is the password.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print how many things were removed as JSON.")] = False,
) -> None:
    """Remove what crashed runs left."""  # replaced by HELP
    from mqproof.harness.cli.exits import INTERNAL, UNREACHABLE, USAGE
    from mqproof.harness.targets.errors import TargetError
    from mqproof.harness.targets.identify import identify
    from mqproof.harness.targets.opening import plan, read_password
    from mqproof.harness.targets.target import BadTarget, Target, Tls
    from mqproof.loadtests.settings import Settings

    try:
        found = plan(target, tls=Tls(ca_file, insecure), password=read_password(password_file))
        if not isinstance(found, Target):
            raise BadTarget(f"{target} is started anew each time and keeps nothing: name a URL")
        identify(found)
    except BadTarget as error:
        raise typer.Exit(fail(USAGE, error)) from None
    except TargetError as error:
        raise typer.Exit(fail(UNREACHABLE, error)) from None
    settings = Settings("throughput", found.url, ca_file=str(ca_file) if ca_file else None, insecure=insecure)
    done = subprocess.run(
        [sys.executable, "-m", "mqproof.loadtests.cleaning"], input=json.dumps(settings.plain()) + "\n",
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise typer.Exit(fail(INTERNAL, said[-1] if said else "it failed"))
    removed = json.loads(done.stdout)["removed"]
    if as_json:
        say_json({"broker": found.redacted_url, "removed": removed})
    else:
        typer.echo(f"{removed} things of crashed runs removed from {found.redacted_url}")


clean.__doc__ = HELP
