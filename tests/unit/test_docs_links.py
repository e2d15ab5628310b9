"""What the documents point at is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SKIPPED = {".venv", ".git", ".cache", ".tenon", ".tenon-demo", ".pytest_cache", "node_modules", "build", "dist"}
_FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not _SKIPPED.intersection(path.relative_to(ROOT).parts))


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """The names by which a document's headings can be linked to, as GitHub makes them."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(path)))
    return set(plain)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file or folder of the repository, and every #anchor a heading of it."""
    wrong = []
    for link in _LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if (
            not target.is_relative_to(ROOT)
            or not target.exists()
            or (anchor and target.suffix == ".md" and anchor not in anchors(target))
        ):
            wrong.append(link)
    assert not wrong, f"{document.relative_to(ROOT)} links to what is not there: {', '.join(wrong)}"


def test_readme_draws_the_map() -> None:
    """The README has a mermaid diagram in a closed fence, and links to a how-to, a reference and the examples."""
    text = (ROOT / "README.md").read_text()
    assert re.search(r"^```mermaid\nflowchart .*?^```$", text, re.MULTILINE | re.DOTALL)
    linked = set(_LINK.findall(prose(ROOT / "README.md")))
    assert {"docs/how-to/own-data.md", "docs/reference/cli.md", "examples/hospital/README.md"} <= linked


def test_every_concept_is_reachable_from_the_readme() -> None:
    """No document is an island: following links from the README reaches every one under docs/."""
    seen, open_ends = set(), [ROOT / "README.md"]
    while open_ends:
        document = open_ends.pop()
        if document in seen:
            continue
        seen.add(document)
        targets = (
            (document.parent / link.partition("#")[0]).resolve()
            for link in _LINK.findall(prose(document))
            if ":" not in link
        )
        open_ends += [target for target in targets if target.suffix == ".md" and target.exists()]
    islands = {path for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")} - seen
    assert not islands, sorted(str(path.relative_to(ROOT)) for path in islands)


def test_make_targets_that_documents_name_exist() -> None:
    """Each `make TARGET` of the documents is a target of the Makefile."""
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    targets = set(re.findall(r"^  make (\S+)", listed.stdout, re.MULTILINE))
    for document in DOCUMENTS:
        for target in re.findall(r"(?:^|`|\$ )make ([a-z][a-z-]*)", document.read_text(), re.MULTILINE):
            assert target in targets or target.startswith("bench-"), f"{document.relative_to(ROOT)}: make {target}"
