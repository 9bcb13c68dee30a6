"""Tables whose rows come from tests: a test checks its row, or writes it if NUMNET_WRITE_TABLES is set."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Table:
    """A page: a text, then a table in each section, with one column for each name in `head`."""

    def __init__(self, page: str, about: str, head: Sequence[str], sections: Sequence[str]) -> None:
        self.page, self.about, self.sections = ROOT / page, about, sections
        self.head = f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"

    def rows(self) -> dict[str, dict[str, str]]:
        """Read the page: the rows of each section by their first cells."""
        text = self.page.read_text(encoding="utf-8") if self.page.exists() else ""
        return {
            section: {row.split(" | ")[0][2:]: row for row in re.findall(r"^\| .*$", body, re.MULTILINE)[1:]}
            for section in self.sections
            for body in re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL) or [""]
        }

    def record(self, section: str, *cells: str) -> None:
        """Check a row of a section, or write it."""
        row, rows = f"| {' | '.join(cells)} |", self.rows()
        if os.environ.get("NUMNET_WRITE_TABLES"):
            rows[section][cells[0]] = row
            tables = (
                "\n".join([f"\n## {title}\n", self.head + "\n".join(found.values()), ""])
                for title, found in rows.items()
                if found
            )
            self.page.write_text(self.about + "".join(tables), encoding="utf-8")
        wrong = f"{self.page.relative_to(ROOT)} is out of date; NUMNET_WRITE_TABLES=1 pytest writes it"
        assert self.rows()[section].get(cells[0]) == row, wrong


def message(seen: str | BaseException, folder: str | Path) -> str:
    """Return a message without what differs from run to run."""
    text = seen if isinstance(seen, str) else f"{type(seen).__name__}: {seen}".removesuffix(": ")
    text = re.sub(r"http(s?)://(127\.0\.0\.1|localhost):\d+", r"http\1://…", text.replace(str(folder), "…"))
    return re.sub(r"\b[0-9a-f]{64}\b", "…", text)


def shown(seen: str | BaseException, folder: str | Path) -> str:
    """Return the first lines of a message for a cell of a table."""
    return "<br>".join(line.strip() for line in message(seen, folder).replace("|", "\\|").splitlines()[:2])
