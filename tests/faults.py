"""The table of faults, docs/faults.md."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .tables import Table, shown

FAULTS = Table(
    "faults.md",
    """# Faults

What can go wrong, what the user then sees, and what is left on disk. The tests cause each of these and check its row
here; `rm docs/faults.md && NUMNET_WRITE_TABLES=1 pytest` writes the rows anew. Of a message there are the first two
lines; an ellipsis stands for what differs from run to run. Next to what is left, an empty `.lock` file can stay.
""",
    head=("Fault", "What the user sees", "What is left on disk"),
    sections=("Download", "IDX files", "Checkpoints", "Training"),
)
Fault = Callable[[str, str, "str | BaseException", "str | Path"], None]


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
