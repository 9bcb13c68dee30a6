"""The table of faults, docs/faults.md: a test of a fault checks its row, or writes it if NUMNET_WRITE_TABLES is set."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "faults.md"
SECTIONS = ("Download", "IDX files", "Checkpoints", "Training")
ABOUT = """# Faults

What can go wrong, what the user then sees, and what is left on disk. The tests cause each of these and check its row
here; `rm docs/faults.md && NUMNET_WRITE_TABLES=1 pytest` writes the rows anew. Of a message there are the first two
lines; an ellipsis stands for what differs from run to run. Next to what is left, an empty `.lock` file can stay.
"""
HEAD = ("| Fault | What the user sees | What is left on disk |", "|---|---|---|")
Fault = Callable[[str, str, "str | BaseException", "str | Path"], None]


def listed(folder: Path) -> str:
    """Name the files below a folder, but for locks: whether an empty one stays is filelock's affair."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return ", ".join(f"`{path.relative_to(folder)}`" for path in paths) or "nothing"


def shown(seen: str | BaseException, folder: Path) -> str:
    """Return the first lines of a message, without what differs from run to run."""
    text = seen if isinstance(seen, str) else f"{type(seen).__name__}: {seen}".removesuffix(": ")
    text = text.replace(str(folder), "…").replace("|", "\\|")
    text = re.sub(r"http(s?)://(127\.0\.0\.1|localhost):\d+", r"http\1://…", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "…", text)
    return "<br>".join(line.strip() for line in text.splitlines()[:2])


def sections() -> dict[str, dict[str, str]]:
    """Read the page: the rows of each section by their faults."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return {
        section: {row.split(" | ")[0][2:]: row for row in re.findall(r"^\| .*$", body, re.MULTILINE)[1:]}
        for section in SECTIONS
        for body in re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL) or [""]
    }


def page(rows: dict[str, dict[str, str]]) -> str:
    """Return the page with these rows of each section."""
    tables = ("\n".join([f"\n## {title}\n", *HEAD, *rows[title].values(), ""]) for title in SECTIONS if rows[title])
    return ABOUT + "".join(tables)


@pytest.fixture
def fault(tmp_path: Path) -> Fault:
    """Record a fault: section, name, what the user sees (words or an error), what is left (words or a folder)."""

    def record(section: str, name: str, seen: str | BaseException, left: str | Path) -> None:
        row = f"| {name} | {shown(seen, tmp_path)} | {left if isinstance(left, str) else listed(left)} |"
        rows = sections()
        if os.environ.get("NUMNET_WRITE_TABLES"):
            rows[section][name] = row
            PAGE.write_text(page(rows), encoding="utf-8")
        wrong = "docs/faults.md is out of date; NUMNET_WRITE_TABLES=1 pytest writes it"
        assert sections()[section].get(name) == row, wrong

    return record
