"""What a run of the suites keeps out of, and puts back into, the user's environment."""

import os
import sys

import pytest
from mqproof.harness.cli.pytest_run import own_environment


@pytest.mark.parametrize("forbidden", ["1", None])
def test_bytecode_is_kept_in_our_own_folder_even_where_none_may_be_written(monkeypatch, tmp_path, forbidden):
    """Containers often forbid it; every worker of every run would compile all that it imports."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", forbidden is not None)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    if forbidden:
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", forbidden)
    before = dict(os.environ), sys.pycache_prefix, sys.dont_write_bytecode
    with own_environment():
        assert "PYTHONDONTWRITEBYTECODE" not in os.environ
        assert not sys.dont_write_bytecode
        assert sys.pycache_prefix == os.environ["PYTHONPYCACHEPREFIX"]
        assert sys.pycache_prefix.startswith(str(tmp_path))
    assert (dict(os.environ), sys.pycache_prefix, sys.dont_write_bytecode) == before
