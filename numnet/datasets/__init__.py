"""Data sets of labelled images, and the IDX format in which they are published."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .dataset import Dataset
from .download import DownloadError, fetch, sha256_of
from .drawing import as_mnist
from .idx import IdxError, read_idx, write_idx

__all__ = [
    "Dataset",
    "DownloadError",
    "IdxError",
    "as_mnist",
    "digits",
    "fashion_mnist",
    "mnist",
    "read_idx",
    "write_idx",
]

_SETTLED = 2 * 10**9  # nanoseconds


def mnist(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    timeout: float = 10.0,
    progress: bool = True,
) -> tuple[Dataset, Dataset]:
    """Load MNIST, 70,000 handwritten digits of 28 x 28 pixels.

    Collected by Y. LeCun, C. Cortes and C. J. C. Burges.

    Parameters
    ----------
    data_dir : str or os.PathLike, optional
        The folder that has the four published files, gzipped or unpacked. Missing files are downloaded into this
        folder. If no folder is given, the files are taken from the folder that the environment variable NUMNET_DATA
        names. Files that are missing there are taken from ``numnet/mnist`` in the user's cache folder, or downloaded
        into it. The cache folder is $XDG_CACHE_HOME or ~/.cache, ~/Library/Caches on macOS, and %LOCALAPPDATA% on
        Windows.
    download : bool, optional
        Whether to download missing files, 11.6 MB in all.
    timeout : float, optional
        The seconds that each mirror has for each 16 KiB, name lookup included.
    progress : bool, optional
        Whether to show a progress bar on standard error if that is a terminal, or in a notebook.

    Returns
    -------
    train, test : Dataset
        60,000 and 10,000 images, uint8, with labels 0 to 9.

    Raises
    ------
    DownloadError
        If a file is missing and is not downloaded or cannot be downloaded, or a file is not the published file. Every
        load compares the SHA-256 of each file with the published file's. In the user's cache folder, only the first
        load does so, and a later load if the size or the time of the file has changed.

    Examples
    --------
    >>> from numnet.datasets import mnist
    >>> train, test = mnist()  # doctest: +SKIP
    >>> train  # doctest: +SKIP
    Dataset('mnist train', 60000 images of 28 x 28, 10 classes)
    """
    return _load(_MNIST, data_dir, download, timeout, progress)


def fashion_mnist(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    timeout: float = 10.0,
    progress: bool = True,
) -> tuple[Dataset, Dataset]:
    """Load Fashion-MNIST, 70,000 pictures of clothes of 28 x 28 pixels.

    Collected by H. Xiao, K. Rasul and R. Vollgraf: https://github.com/zalandoresearch/fashion-mnist. The classes are
    T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag and ankle boot.

    Parameters
    ----------
    data_dir : str or os.PathLike, optional
        As for `mnist`, with two differences. The files have the same names as MNIST's files, so the subfolder
        ``fashion-mnist`` of the folder is searched first, and files are downloaded into this subfolder. And the files
        must be gzipped.
    download : bool, optional
        Whether to download missing files, 30.9 MB in all.
    timeout : float, optional
        As for `mnist`.
    progress : bool, optional
        As for `mnist`.

    Returns
    -------
    train, test : Dataset
        60,000 and 10,000 images, uint8, with labels 0 to 9 and the names of the classes.

    Raises
    ------
    DownloadError
        As for `mnist`.

    Examples
    --------
    >>> from numnet.datasets import fashion_mnist
    >>> train, test = fashion_mnist()  # doctest: +SKIP
    >>> train  # doctest: +SKIP
    Dataset('fashion-mnist train', 60000 images of 28 x 28, 10 classes)
    """
    train, test = _load(_FASHION_MNIST, data_dir, download, timeout, progress)
    train.classes = test.classes = _CLOTHES
    return train, test


def digits() -> tuple[Dataset, Dataset]:
    """Load 1,797 handwritten digits of 8 x 8 pixels, which come with numnet and need no network.

    Returns
    -------
    train, test : Dataset
        1,437 and 360 images, uint8, with labels 0 to 9. Every fifth image, starting with the first, is a test image.
        So the same writers are in both parts, and the test accuracy is higher than it would be for new writers.

    Notes
    -----
    These are the test set of Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998), UCI Machine
    Learning Repository, https://doi.org/10.24432/C50P49, licensed CC BY 4.0. A published pixel is an integer from 0 to
    16. Here every pixel is scaled to 0 to 255 and rounded, since uint8 images go from 0 to 255 in numnet.
    ``np.round(images / 255 * 16)`` gives the published values back.

    Examples
    --------
    >>> from numnet.datasets import digits
    >>> train, test = digits()
    >>> train
    Dataset('digits train', 1437 images of 8 x 8, 10 classes)
    >>> test
    Dataset('digits test', 360 images of 8 x 8, 10 classes)
    """
    from importlib.resources import files

    published = []
    for name in "digits-images-idx3-ubyte.gz", "digits-labels-idx1-ubyte.gz":
        with (files("numnet.datasets") / "data" / name).open("rb") as file:
            published.append(read_idx(file))
    images, labels = np.rint(published[0] * (255 / 16)).astype(np.uint8), published[1]
    testing = np.arange(len(labels)) % 5 == 0
    return (
        Dataset(images[~testing], labels[~testing], "digits train"),
        Dataset(images[testing], labels[testing], "digits test"),
    )


class _Published(NamedTuple):
    """A published data set: its addresses, and the SHA-256 of each form (gzipped, unpacked) of its four files."""

    name: str
    subfolder: str
    mirrors: Sequence[str]
    files: Sequence[Mapping[str, str]]  # training images and labels, then test images and labels; .gz first


_MNIST = _Published(
    name="mnist",
    subfolder="",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://yann.lecun.com/exdb/mnist/",  # the original home is last, since it has answered 403 or 503 for years
    ),
    files=(
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        },
        {
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        },
        {
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        },
        {
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
)

_CLOTHES = "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"

_FASHION_MNIST = _Published(
    name="fashion-mnist",
    subfolder="fashion-mnist",
    mirrors=(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ),
    files=(
        {"train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"},
        {"train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"},
        {"t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"},
        {"t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"},
    ),
)


def _load(
    published: _Published, data_dir: str | os.PathLike[str] | None, download: bool, timeout: float, progress: bool
) -> tuple[Dataset, Dataset]:
    """Find, or download, the four files of a published data set, and read them."""
    if data_dir is not None:
        folders = [Path(data_dir).expanduser()]
    else:
        named = os.environ.get("NUMNET_DATA")
        folders = [Path(folder) for folder in (named, _cache()) if folder]
    target = folders[-1] / published.subfolder
    cache = _cache() if data_dir is None else None
    found = [_find(forms, folders, published.subfolder, cache) for forms in published.files]
    missing = [next(iter(forms)) for forms, path in zip(published.files, found, strict=True) if path is None]
    remedy = (
        f"To provide the files by hand, put {', '.join(missing)} in the folder {target}, "
        "or in another one that you name with data_dir or the environment variable NUMNET_DATA."
    )
    if missing and not download:
        looked = ", ".join(str(folder / published.subfolder) for folder in folders)
        raise DownloadError(
            f"{', '.join(missing)} of {published.name} missing in {looked}, and download is False.\n{remedy}"
        )
    arrays = []
    for forms, path in zip(published.files, found, strict=True):
        if path is None:
            name, sha256 = next(iter(forms.items()))
            path = fetch(name, published.mirrors, sha256, target, timeout, progress, remedy)
        arrays.append(read_idx(path))
    return (
        Dataset(arrays[0], arrays[1], f"{published.name} train"),
        Dataset(arrays[2], arrays[3], f"{published.name} test"),
    )


def _find(forms: Mapping[str, str], folders: Sequence[Path], subfolder: str, cache: Path | None) -> Path | None:
    """Find one of the forms of a file; DownloadError if the data set's own folder has another file of that name."""
    for folder in folders:
        for path in (place / name for place in (folder / subfolder, folder) for name in forms):
            if path.is_file():
                if _is_published(path, forms[path.name], keep_record=folder == cache):
                    return path
                if path.parent == folder / subfolder:
                    raise DownloadError(
                        f"{path} is not the published file: its SHA-256 is {sha256_of(path)}, "
                        f"expected {forms[path.name]}. "
                        "Delete it; then it is downloaded anew."
                    )
    return None


def _is_published(path: Path, sha256: str, keep_record: bool) -> bool:
    """Return whether a file has this SHA-256. A record of the last check saves work if the file has not changed."""
    record = path.with_name(f"{path.name}.verified")
    status = path.stat()
    text = f"{status.st_size} {status.st_mtime_ns} {sha256}\n"
    with suppress(OSError):
        if keep_record and record.read_bytes() == text.encode():
            return True
    if sha256_of(path) != sha256:
        return False
    # Some file systems keep times to 2 seconds only: a file that is younger could change again and have the same time.
    if keep_record and time.time_ns() - status.st_mtime_ns > _SETTLED:
        with suppress(OSError):  # the folder may be read-only
            record.write_bytes(text.encode())  # need not be atomic: only the whole text is trusted
    return True


def _cache() -> Path:
    """Return the folder for downloads, by the custom of the operating system."""
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        folder = "~/Library/Caches"
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder).expanduser() / "numnet" / "mnist"
