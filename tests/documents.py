"""The documents and the fenced blocks in them."""

import re
from pathlib import Path

from manifests import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str]]:
    """Return kind and text of each fenced block of a document."""
    return [(match["kind"], match["text"]) for match in BLOCK.finditer(path.read_text("utf-8"))]
