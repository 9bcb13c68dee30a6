"""The files of a folder that are the images and labels of data sets, by the names that MNIST's files have."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checks import warn
from .idx import IdxError, read_idx

# Such as train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte and labels.idx.
_NAME = re.compile(
    r"((?P<name>.+?)[-_. ])??((?P<part>train|training|t10k|test|testing)[-_. ])?(?P<kind>images?|labels?)"
    r"([-_. ](idx\d*|ubyte|byte|short|int|float|double))*(\.gz)?",
    re.IGNORECASE,
)


class Role(NamedTuple):
    """What the name of a file says."""

    name: str  # of the data set, such as "emnist-letters", and mostly empty
    part: str  # "train", "test" or empty
    kind: str  # "images" or "labels"


def roles(paths: Iterable[Path]) -> dict[Role, list[Path]]:
    """Return the files that are named like MNIST's files. A file in several forms, such as gzipped, has several."""
    found: dict[Role, list[Path]] = {}
    for path in sorted(paths):
        if (match := _NAME.fullmatch(path.name)) and path.is_file():
            part = (match["part"] or "").lower().replace("t10k", "test").removesuffix("ing")
            kind = match["kind"].lower().removesuffix("s") + "s"
            found.setdefault(Role(match["name"] or "", part, kind), []).append(path)
    return found


def arrays(folder: Path, name: str | None) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return the images and labels of each data set in a folder, by what to call it.

    IdxError if it is not clear which files are meant; the message says what is in the folder.
    """
    there = sorted(folder.iterdir())
    files = roles(there)
    has = f"it has {listed(there)}"
    names = sorted({role.name for role in files})
    if name is None and len(names) > 1:
        raise IdxError(
            f"{folder} has several data sets, {', '.join(map(repr, names))}: name the one that you want, as in "
            f"load_idx({str(folder)!r}, {names[-1]!r})"
        )
    if not names or name not in (None, *names):
        whose = "" if name is None else f" of {name!r}"
        below = next((paths[0].parent for paths in roles(folder.glob("*/*")).values()), None)
        hint = "" if name is not None or below is None else f". Did you mean {below}?"
        raise IdxError(
            f"{folder} has no files{whose} with names such as train-images-idx3-ubyte.gz and labels.idx1-ubyte: "
            f"{has}{hint}"
        )
    name = names[0] if name is None else name
    parts = [part for part in ("train", "test", "") if any(role[:2] == (name, part) for role in files)]
    wanted = [Role(name, part, kind) for part in parts for kind in ("images", "labels")]
    if missing := [f"{part} {kind}".strip() for _, part, kind in wanted if (name, part, kind) not in files]:
        raise IdxError(f"{folder} has no {' and no '.join(missing)}: {has}")
    if len(parts) > 1 and "" in parts:
        raise IdxError(
            f"{folder} has {parts[0]} images, and images of neither train nor test. Move one of the data sets to a "
            f"folder of its own: {has}"
        )
    found = {}
    for part in parts:
        images = _one_of(files[Role(name, part, "images")])
        labels = _one_of(files[Role(name, part, "labels")])
        found[f"{name or folder.resolve().name} {part}".strip()] = images, labels
    return found


def listed(paths: Sequence[Path]) -> str:
    """Return the names of files, at most twenty, without what a download has left."""
    names = [path.name for path in paths if path.suffix not in (".lock", ".part")]
    return ", ".join(names[:20] + ["..."] * (len(names) > 20)) or "nothing"


def _one_of(paths: Sequence[Path]) -> NDArray[Any]:
    """Read a file that may be there in several forms, such as gzipped and unpacked, some of them damaged."""
    read, errors = [], []
    for path in paths:
        try:
            read.append((path, read_idx(path)))
        except IdxError as error:
            errors.append(error)
    if not read:
        raise errors[0]
    for path, array in read[1:]:
        if not np.array_equal(array, read[0][1], equal_nan=array.dtype.kind == "f"):
            raise IdxError(f"{read[0][0]} and {path} differ: move one of them to another folder")
    path, array = read[0]
    if array.dtype == np.int8 and array.min(initial=0) < 0 and "ubyte" in path.name.lower():
        warn(
            f"{path} has signed bytes, from {array.min()} to {array.max()}, and a name for unsigned bytes (ubyte). "
            "If they are pixels, nn.datasets.Dataset(data.images.view(np.uint8), data.labels) has them from 0 to 255."
        )
    return array
