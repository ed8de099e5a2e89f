"""A real browser for the pages."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


class OpenedPage:
    """A page opened from a file, with everything that it requested and complained of."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.file = file
        self.page = browser.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(file.as_uri())

    def close(self) -> None:
        """Assert that nothing but the file was asked for, and that the page complained of nothing."""
        self.page.close()
        assert self.errors == []
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert [url.partition("#")[0] for url in outside] == [self.file.as_uri()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window. Playwright keeps an event loop running meanwhile, so that it must end soon."""
    if not os.path.exists(CHROMIUM):
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[[Path], OpenedPage]]:
    """Open a file; at the end of the test the page must have been quiet."""
    opened: list[OpenedPage] = []

    def open_(file: Path) -> OpenedPage:
        opened.append(OpenedPage(browser, file))
        return opened[-1]

    yield open_
    for page in opened:
        page.close()
