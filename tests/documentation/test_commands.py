"""Every block of commands in README.md and docs/ runs: those of a page one after the other, in a folder of their own.

A comment before a block says what is special about it:

- ``<!-- sh: real_broker -->``: needs RabbitMQ or Mosquitto; the page's blocks then run in ``make test`` only.
- ``<!-- sh: exit 1 -->``: ends with this code.
- ``<!-- sh: until "TEXT" -->``: runs until it is interrupted; here, once it has printed TEXT.
- ``<!-- sh: setup: captures/X as Y -->``: a file of the repository that the user has under another name.
- ``<!-- sh: not run: REASON -->``: does not run here; the reason is printed.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sysconfig import get_path
from typing import Any

import pytest
from mqproof.harness.targets.drivers.base import LocalBroker

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"<!-- sh: (?P<text>(?:(?!-->).)+) -->\s*\Z", re.DOTALL)
SECONDS = 300  # for one block, on a busy machine
FEW = 12  # blocks that do not run


@dataclass(frozen=True, slots=True)
class Block:
    """Commands as they stand on a page, and what the comment before them says."""

    page: Path
    line: int
    body: str
    directive: str

    @property
    def where(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def why_not_run(self) -> str:
        """The reason why it does not run; empty where it does."""
        return self.directive.removeprefix("not run: ") if self.directive.startswith("not run:") else ""


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the page's blocks of shell commands."""
    text = page.read_text()
    for fence in FENCE.finditer(text):
        if fence["language"] == "sh":
            directive = DIRECTIVE.search(text, 0, fence.start())
            yield Block(
                page, text.count("\n", 0, fence.start()) + 1, fence["body"], directive["text"] if directive else ""
            )


BLOCKS = {page: list(blocks_of(page)) for page in PAGES}


def _case(page: Path) -> Any:
    is_real = any("real_broker" in block.directive for block in BLOCKS[page])
    marks = [pytest.mark.whole_run, *([pytest.mark.real_broker] if is_real else [])]
    return pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("page", [_case(page) for page, blocks in BLOCKS.items() if blocks])
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, embedded: LocalBroker) -> None:
    for block in BLOCKS[page]:
        if block.why_not_run:
            print(f"{block.where} does not run: {block.why_not_run}")  # noqa: T201 - seen with -rP
            continue
        _prepare(block, tmp_path)
        _run(block, _with_urls(block.body, embedded), tmp_path)


def test_few_blocks_do_not_run_and_each_says_why() -> None:
    left_out = [block for blocks in BLOCKS.values() for block in blocks if block.directive.startswith("not run")]
    assert all(len(block.why_not_run) > 15 for block in left_out)
    assert len(left_out) <= FEW, "\n".join(f"{block.where}: {block.why_not_run}" for block in left_out)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_stand_in_blocks_that_are_run(page: Path) -> None:
    others = {fence["language"] for fence in FENCE.finditer(page.read_text())} & {"bash", "console", "shell", "zsh"}
    assert not others, f"write ```sh, so that {page.name} is tested"
    known = re.compile(r'real_broker|exit \d+|until ".+"|setup: \S+ as \S+|not run: .+', re.DOTALL)
    for block in BLOCKS[page]:
        assert not block.directive or known.fullmatch(block.directive), block.where


def _with_urls(commands: str, embedded: LocalBroker) -> str:
    """Put a broker that is there in the place of the user's own, and a free port in that of a fixed one."""
    for protocol in ("amqp", "mqtt"):
        target = embedded.target(protocol)
        ours = f"{protocol}://{target.host}:{target.port}"
        commands = re.sub(rf"{protocol}://(guest:guest@)?localhost(?![\w.:])", ours, commands)
    return re.sub(r"--listen \d+", "--listen 0", commands)


def _prepare(block: Block, folder: Path) -> None:
    setup = re.match(r"setup: (?P<source>\S+) as (?P<name>\S+)", block.directive)
    if setup:
        shutil.copy(ROOT / setup["source"], folder / setup["name"])


def _run(block: Block, commands: str, folder: Path) -> None:
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    path = f"{get_path('scripts')}:{os.environ['PATH']}"
    caches = {name: os.environ[name] for name in ("XDG_CACHE_HOME",) if name in os.environ}
    caches.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # the machine code that was made before
    environment = {"PATH": path, "HOME": str(home), "COLUMNS": "80", "LANG": "C.UTF-8", **caches}
    if block.directive.startswith("until"):
        commands = f"exec {commands}"  # the interruption is for the command alone
    process = subprocess.Popen(
        ["sh", "-eu", "-c", commands], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output = _interrupted(process, block) if block.directive.startswith("until") else ""
        output += process.communicate(timeout=SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"{block.where} did not end in {SECONDS} s:\n{commands}\n{process.communicate()[0]}")
    expected = int(block.directive.removeprefix("exit ")) if block.directive.startswith("exit") else 0
    assert process.returncode == expected, f"{block.where}\n{commands}\n{output}"
    assert "Traceback" not in output, f"{block.where}\n{output}"


def _interrupted(process: subprocess.Popen[str], block: Block) -> str:
    """Read until the text is there, then interrupt as Ctrl-C does."""
    text = block.directive.split('"')[1]
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        if text in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    return "".join(seen)
