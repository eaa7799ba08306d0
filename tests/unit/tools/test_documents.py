"""The project's documents are accurate: their links, and the daemon's settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sampan.bootstrap.reload import RELOADED
from sampan.config import DaemonConfig
from sampan.sampand import main as sampand

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "core/*.md", "plugins/*/*.md") for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
OPERATIONS = (ROOT / "docs/operations.md").read_text()
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and most renderers make them."""
    kept = (re.sub(r"[^\w\- ]", "", heading).strip() for heading in HEADING.findall(document.read_text()))
    return {heading.lower().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(document: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(document.read_text()):
        if "://" in target:
            continue
        path = document.parent / target if target else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_the_page_on_operations_has_every_flag_and_setting_of_the_daemon() -> None:
    flags = {word for parameter in sampand.params for word in parameter.opts} - {"-v", "--version"}
    settings = {
        name.replace("_", "-") for name in DaemonConfig.model_fields.keys() - {one.name for one in sampand.params}
    }
    told = set(re.findall(r"`?(--?[a-z-]+|[a-z-]+)\b", OPERATIONS, re.IGNORECASE))
    assert flags - told == set()
    assert settings - told == set()


def test_the_page_on_operations_names_what_changes_without_a_restart() -> None:
    [paragraph] = [text for text in OPERATIONS.split("\n\n") if text.startswith("SIGHUP")]
    listed = re.findall(r"`([a-z-]+)`", paragraph.partition("at once:")[2].partition(". ")[0])
    assert sorted(listed) == sorted(name.replace("_", "-") for name in RELOADED)
