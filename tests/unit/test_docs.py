"""The documents say what the code says."""

import re
from pathlib import Path

from runtime.pool import slot

ROOT = Path(__file__).resolve().parents[2]


def worker_life():
    """Return the slot table as a Mermaid diagram: one arrow for each pair of states, with all its events."""
    arrows = {}
    for (state, event), target in slot.TRANSITIONS.items():
        arrows.setdefault((state.value, target.value), []).append(event.value)
    lines = [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> starting", *lines, "    dead --> [*]", "```"])


def test_the_diagram_of_a_workers_life_is_the_table():
    text = (ROOT / "docs/architecture.md").read_text()
    shown = re.search(r"<!-- slot:begin -->\n(.*?)\n?<!-- slot:end -->", text, re.DOTALL)[1]
    assert shown == worker_life()


def test_links_inside_the_repository_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    links = [(page, target) for page in pages for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())]
    assert len(links) > len(pages)
    broken = [
        f"{page.name}: {target}"
        for page, target in links
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_test_that_the_promises_name_exists():
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", (ROOT / "docs/security.md").read_text())
    assert len(named) > 80
    missing = [
        f"{file}::{name}" for file, name in named if file not in files or (name and f"def {name}(" not in files[file])
    ]
    assert missing == []


def test_every_row_of_the_promises_names_a_test():
    text = (ROOT / "docs/security.md").read_text().partition("## Promise, control, test")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| **")][1:]
    assert len(rows) > 35
    assert [row for row in rows if "`test_" not in row] == []
