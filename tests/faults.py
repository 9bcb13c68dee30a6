"""What can go wrong: the table of all faults, tests/faults.md, and the situations that users meet, docs/faults.md.

A new row of the table needs a test that calls `fault`. A new situation needs a section on the page, with an empty block
of text for what users see, and a test in test_faults.py that calls `situation`. NUMNET_WRITE_TABLES=1 fills both in.
"""

import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from .tables import ROOT, Table, message, shown

FAULTS = Table(
    "tests/faults.md",
    """# Faults

What can go wrong, what the user then sees, and what is left on disk. The tests cause each of these and check its row
here; `rm tests/faults.md && NUMNET_WRITE_TABLES=1 pytest` writes the rows anew. Of a message there are the first two
lines; an ellipsis stands for what differs from run to run. docs/faults.md has what users meet most often.
""",
    head=("Fault", "What the user sees", "What is left on disk"),
    sections=("Download", "IDX files", "Checkpoints", "Training"),
)
PAGE = ROOT / "docs" / "faults.md"
Fault = Callable[[str, str, "str | BaseException", "str | Path"], None]
Situation = Callable[[str, "str | BaseException"], None]


def listed(folder: Path) -> str:
    """Name the files below a folder, but for locks: whether an empty one stays is filelock's affair."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return ", ".join(f"`{path.relative_to(folder)}`" for path in paths) or "nothing"


@pytest.fixture
def fault(tmp_path: Path) -> Fault:
    """Record a fault: section, name, what the user sees (words or an error), what is left (words or a folder)."""

    def record(section: str, name: str, seen: str | BaseException, left: str | Path) -> None:
        FAULTS.record(section, name, shown(seen, tmp_path), left if isinstance(left, str) else listed(left))

    return record


def situations() -> dict[str, str]:
    """Return the situations that users meet: each title on the page, with what the page says they see."""
    parts = re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {
        title: "".join(re.findall(r"^```text\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)) for title, body in parts
    }


@pytest.fixture
def situation(tmp_path: Path) -> Situation:
    """Check what the page says that users see in a situation (an error, or a warning), or write it there."""

    def record(title: str, seen: str | BaseException) -> None:
        lines = message(seen, tmp_path).splitlines()
        text = "".join(f"{textwrap.fill(line, 88, break_long_words=False, break_on_hyphens=False)}\n" for line in lines)
        assert title in situations(), f"docs/faults.md has no section {title!r}"
        there = situations()[title]
        if os.environ.get("NUMNET_WRITE_TABLES"):
            before, heading, after = PAGE.read_text(encoding="utf-8").partition(f"### {title}\n")
            after = after.replace(f"```text\n{there}```", f"```text\n{text}```", 1)
            PAGE.write_text(f"{before}{heading}{after}", encoding="utf-8")
        assert situations()[title] == text, "docs/faults.md is out of date; NUMNET_WRITE_TABLES=1 pytest writes it"

    return record
