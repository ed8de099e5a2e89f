"""What commands print: the name of the file that was written, or JSON."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")]


def say_json(document: Any) -> None:
    """Print plain data as JSON."""
    typer.echo(json.dumps(document, indent=1))


def say_written(kind: str, path: Path, as_json: bool) -> None:
    """Print the file; ``kind`` names it in the JSON object, such as ``page``."""
    typer.echo(json.dumps({kind: str(path)}) if as_json else str(path))
