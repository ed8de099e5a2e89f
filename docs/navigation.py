"""The order of the pages. What lies in a folder is found, so that a new page needs no entry."""

from pathlib import Path
from typing import Any

SECTIONS = {
    "How to": "how-to",
    "Reference": "reference",
    "Explanation": "explanation",
    "Conformance": "conformance",
    "Measured": "",
    "Clients": "client-test",
}
FIRST = ("index.md", "tutorial.md")


def on_config(config: Any) -> Any:
    """Make the navigation from the folders, for MkDocs."""
    folder = Path(config["docs_dir"])
    config["nav"] = list(FIRST)
    for title, name in SECTIONS.items():
        pages = sorted(str(page.relative_to(folder)) for page in (folder / name).glob("*.md"))
        pages = [page for page in pages if page not in FIRST]
        if pages:
            config["nav"].append({title: pages})
    return config
