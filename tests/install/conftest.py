"""mqproof as a wheel, in a fresh environment, beside a stranger's folders of the same names."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("dissectors", "harness", "suites", "loadtests")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules")

FOREIGN_TEST = """
import harness
import harness.engine
import suites


def test_own_folders_are_found():
    assert harness.OWNER == suites.OWNER == "somebody else"
    assert harness.engine.answer() == 42
"""


@dataclass(frozen=True)
class Installed:
    """A virtual environment that has mqproof from its wheel; ``run`` runs one of its commands."""

    prefix: Path

    def run(self, *command: object, cwd: Path, seconds: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
        program, *arguments = map(str, command)
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
        return subprocess.run(
            [str(self.prefix / "bin" / program), *arguments],
            cwd=cwd, env=outside | env, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that building leaves nothing in the working tree."""
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=LEFT_OUT)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A fresh environment with the wheel; the dependencies are links to those of the running one."""
    prefix = tmp_path_factory.mktemp("installed")
    venv.create(prefix, with_pip=False, symlinks=True)
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(prefix)}))
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "mqproof" not in entry.name and not (purelib / entry.name).exists():
            (purelib / entry.name).symlink_to(entry)
    pip = [sys.executable, "-m", "pip", "--python", str(prefix / "bin" / "python")]
    options = ["install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, *options, str(wheel)], check=True, capture_output=True, timeout=300)
    script = prefix / "bin" / "pytest"
    body = (Path(sysconfig.get_path("scripts")) / "pytest").read_text().partition("\n")[2]
    script.write_text(f"#!{prefix}/bin/python\n{body}")
    script.chmod(0o755)
    return Installed(prefix)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A stranger's project that has ``harness``, ``suites`` and ``tests`` of its own, and its own pytest settings."""
    for name in ("harness", "suites", "tests", "dissectors", "loadtests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'somebody else'\n")
    (tmp_path / "harness" / "engine.py").write_text("def answer():\n    return 42\n")
    (tmp_path / "suites" / "amqp").mkdir()
    (tmp_path / "suites" / "amqp" / "__init__.py").write_text("raise ImportError('a stranger's suite')\n")
    (tmp_path / "tests" / "test_own.py").write_text(FOREIGN_TEST)
    return tmp_path
