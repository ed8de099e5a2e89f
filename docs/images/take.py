"""Takes the pictures of scorecard and report from a run directory, with headless Chromium.

``python docs/images/take.py RUN`` from the root of the repository.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SIZE = {"width": 1360, "height": 860}


def main(run: str) -> None:
    """Make both pages of the run and take their pictures."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for kind in ("scorecard", "report"):
            page = Path(folder) / f"{kind}.html"
            subprocess.run([sys.executable, "-m", "mqproof.harness.cli", kind, run, "-o", str(page)], check=True)
            tab = browser.new_page(viewport=SIZE)
            tab.goto(page.as_uri(), wait_until="networkidle")
            tab.wait_for_timeout(1000)  # milliseconds; the charts' first animation
            tab.screenshot(path=HERE / f"{kind}.png")
            tab.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
