"""The pages of documentation: generated ones are what their sources say, built ones ask nothing of another host."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mqproof.harness.cli.main import COMMANDS
from mqproof.harness.cli.reference import pages

ROOT = Path(__file__).parents[2]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
LINKED = {"stylesheet", "preload", "preconnect", "dns-prefetch", "icon", "modulepreload", "manifest"}


class Loads(HTMLParser):
    """What a page loads by itself, as opposed to links that a reader may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADS:
            self.found.append(values.get(LOADS[tag]) or "")
        elif tag == "link" and LINKED & set((values.get("rel") or "").split()):
            self.found.append(values.get("href") or "")


@pytest.mark.parametrize("name", ["cli.md", "schemas.md", "exit-codes.md"])
def test_the_pages_of_reference_are_what_the_commands_and_schemas_say(name: str) -> None:
    written = (ROOT / "docs" / "reference" / name).read_text()
    assert written == pages()[name], "run: python -m mqproof.harness.cli.reference docs/reference"


def test_every_command_is_in_the_reference() -> None:
    text = pages()["cli.md"]
    assert all(f"\n## mqproof {name}\n" in text for name in COMMANDS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built."""
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.whole_run
def test_every_page_is_in_the_navigation(site: Path) -> None:
    text = (site / "index.html").read_text()
    pages = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")]
    assert [str(page) for page in pages if f'href="{page}" class="md-nav__link' not in text] == []


@pytest.mark.whole_run
def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert len(built) >= len(list((ROOT / "docs").rglob("*.md")))
    for page in built:
        loads = Loads()
        loads.feed(page.read_text())
        assert loads.found, page
        outside = [url for url in loads.found if url.startswith(("http:", "https:", "//"))]
        assert outside == [], page
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text(), sheet
        assert "@import" not in sheet.read_text(), sheet
