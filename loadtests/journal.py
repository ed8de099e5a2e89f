"""What a load has made on a broker and not yet removed, on disk: so that a crash leaves nothing behind for ever.

One file for each run in the user's cache, without a password; it goes when everything is removed. A file whose process
is gone tells the next run, or ``mqproof clean``, what to remove.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from mqproof.harness.run import cache_folder, write_atomically
from mqproof.harness.targets.target import Target

Thing = tuple[str, str]  # queue, exchange or session, and its name


def folder() -> Path:
    """Return where the journals are."""
    return cache_folder() / "load"


class Journal:
    """The things of one run."""

    def __init__(self, target: Target, token: str) -> None:
        self._file = folder() / f"{token}.json"
        self._head = {**place_of(target), "pid": os.getpid(), "born": psutil.Process().create_time()}
        self._things: list[Thing] = []

    def note(self, things: Iterable[Thing]) -> None:
        """Note what is about to be made."""
        self._things = list(things)
        if self._things:
            write_atomically(self._file, json.dumps({**self._head, "things": self._things}) + "\n")

    def forget(self) -> None:
        """Note that everything is removed."""
        self._things = []
        self._file.unlink(missing_ok=True)


def place_of(target: Target) -> dict[str, Any]:
    """Return where a target is."""
    return {"protocol": target.protocol, "host": target.host, "port": target.port, "vhost": target.vhost}


def left_behind(target: Target) -> list[tuple[Path, list[Thing]]]:
    """Return the journals of runs on this target whose process is gone, and what they made."""
    found = []
    for file in sorted(folder().glob("*.json")):
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            things = [(str(kind), str(name)) for kind, name in data["things"]]
            if all(data[key] == value for key, value in place_of(target).items()) and not _lives(data):
                found.append((file, things))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another version's, or being written just now
    return found


def _lives(data: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(data["pid"])
        return bool(process.create_time() == data["born"]) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
