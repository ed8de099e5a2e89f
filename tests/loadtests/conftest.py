"""Running ``mqproof load`` as a user does, with its result."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from mqproof.harness.targets.drivers.ports import Port

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(mqproof: Callable[..., "subprocess.CompletedProcess[str]"]) -> Load:
    """Run ``mqproof load`` and return its result; it has to end with exit code 0, or with ``code``."""

    def run(*arguments: object, seconds: float = 150, code: int = 0) -> dict[str, Any]:
        done = mqproof("load", *arguments, "--json", "-", seconds=seconds)
        assert done.returncode == code, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    """Return a free port that no driver of a parallel worker takes before the test is over."""
    with ExitStack() as held:

        def reserve() -> int:
            port = Port.reserve()
            held.callback(port.release)
            return port.number

        yield reserve
