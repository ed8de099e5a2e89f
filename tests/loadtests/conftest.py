"""Running ``mqproof load`` as a user does, with its result."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

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
