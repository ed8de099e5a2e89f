"""What a command prints that has written one file: the file's name, or the same as JSON."""

import json
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")]


def say_written(kind: str, path: Path, as_json: bool) -> None:
    """Print the file; ``kind`` names it in the JSON object, such as ``page``."""
    typer.echo(json.dumps({kind: str(path)}) if as_json else str(path))
