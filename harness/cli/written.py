"""What commands print: the name of the file that was written, JSON, or a text."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from mqproof.harness.printable import printable_lines

AsJson = Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")]


def say(text: str, *, nl: bool = True) -> None:
    """Print a text in which others may have a word: brokers, clients, a run that somebody sent."""
    typer.echo(printable_lines(text), nl=nl)


def say_json(document: Any) -> None:
    """Print plain data as JSON."""
    typer.echo(json.dumps(document, indent=1))


def say_written(kind: str, path: Path, as_json: bool) -> None:
    """Print the file; ``kind`` names it in the JSON object, such as ``page``."""
    typer.echo(json.dumps({kind: str(path)}) if as_json else str(path))
