"""The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can hold."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("dissectors", "harness", "suites", "loadtests")
MAY_IMPORT = {
    "dissectors": {"dissectors"},
    "harness": {"harness", "dissectors"},
    "suites": {"suites", "harness", "dissectors"},
    "loadtests": {"loadtests", "harness", "dissectors"},
    "harness/cli": {"harness", "dissectors", "suites", "loadtests"},  # the composition root
}
SLOW_LIBRARIES = ("scapy", "numba", "numpy", "locust", "gevent", "pika", "paho", "pyshark", "pytest", "hypothesis")
LINES_PER_FILE = 400
LINES_PER_FUNCTION = 60


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return "harness/cli" if relative.parts[:2] == ("harness", "cli") else relative.parts[0]


def forbidden(part: str, names: Iterator[str]) -> list[str]:
    """Return those of ``names`` that a module in ``part`` may not import."""
    found = []
    for name in names:
        words = name.split(".")
        if words[0] in PARTS:
            found.append(f"{name} (write mqproof.{name})")
        elif words[0] == "mqproof" and len(words) > 1 and words[1] in PARTS:
            is_cli = words[1:3] == ["harness", "cli"]
            if words[1] not in MAY_IMPORT[part] or (is_cli and part != "harness/cli"):
                found.append(name)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_imports_follow_the_directions(part: str) -> None:
    found = {name(path): forbidden(part_of(path), imported(tree_of(path))) for path in sources(part)}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("dissectors", "import mqproof.harness.patience"),
        ("harness", "from mqproof.suites import amqp"),
        ("harness", "from mqproof.harness.cli import main"),
        ("suites", "from mqproof.loadtests import scenarios"),
        ("suites", "from mqproof import loadtests"),
        ("loadtests", "import harness.patience"),
    ],
)
def test_a_wrong_import_is_seen(part: str, statement: str) -> None:
    assert forbidden(part, imported(ast.parse(statement)))


def test_packages_that_exist_are_installed_and_the_other_way_round() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {
        "mqproof." + ".".join(path.parent.relative_to(ROOT).parts)
        for path in sources(*PARTS)
        if path.parent != ROOT / "harness" / "distribution"
    }
    assert listed - {"mqproof"} == present


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each function's place and its lines."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name(path)}::{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("part", [*PARTS, "tests"])
def test_files_and_functions_stay_small(part: str) -> None:
    assert [name(path) for path in sources(part) if path.read_text().count("\n") > LINES_PER_FILE] == []
    sizes = (found for path in sources(part) for found in functions(path))
    assert [place for place, size in sizes if size > LINES_PER_FUNCTION] == []


def test_suites_never_sleep() -> None:
    def called(path: Path) -> Iterator[str]:
        calls = (node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
        return (call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls)

    assert [name(path) for path in sources("suites") if "sleep" in called(path)] == []


@pytest.mark.parametrize("arguments", [["--help"], ["brokers", "--help"]])
def test_help_imports_no_slow_library(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from mqproof.harness.cli.main import app\n"
        f"try: app({arguments!r}, prog_name='mqproof')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print([name for name in {SLOW_LIBRARIES!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_plugin_imports_nothing_of_ours_until_a_broker_is_named(tmp_path: Path) -> None:
    """Everybody who installs mqproof loads its plugin in every pytest run."""
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own():\n"
        "    ours = {name for name in sys.modules if name.startswith('mqproof.')}\n"
        "    assert ours <= {'mqproof.harness', 'mqproof.harness.plugin', 'mqproof.harness.plugin.entry'}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout


def test_make_bench_runs_every_benchmark() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nbench:")[2].partition("\n\n")[0]
    assert [path for path in (ROOT / "tests/benchmarks").glob("bench_*.py") if path.name not in recipe] == []
