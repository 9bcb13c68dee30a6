"""Data sets of labelled images, and the IDX format in which they are published."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .dataset import Dataset
from .download import DownloadError, fetch, sha256_of
from .drawing import as_mnist
from .folder import Role, arrays, listed, roles
from .idx import IdxError, contents, read_idx, write_idx

__all__ = [
    "Dataset",
    "DownloadError",
    "IdxError",
    "as_mnist",
    "digits",
    "fashion_mnist",
    "load_idx",
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
        The folder that has the four published files, in itself or, as torchvision leaves them, in its subfolder
        ``MNIST/raw`` or ``raw``. The files may be gzipped or unpacked, and have any of their usual names, such as
        ``train-images-idx3-ubyte.gz`` and ``train-images.idx3-ubyte``. Missing files are downloaded into this folder.
        If no folder is given, the files are taken from the folder that the environment variable NUMNET_DATA names.
        Files that are missing there are taken from ``numnet/mnist`` in the user's cache folder, or downloaded into it.
        The cache folder is $XDG_CACHE_HOME or ~/.cache, ~/Library/Caches on macOS, and %LOCALAPPDATA% on Windows.
    download : bool, optional
        Whether to download missing files, 11.6 MB in all. If not, `data_dir` must be there. A download that fails
        leaves the files that are whole, and the first bytes of the next file. The next call goes on from there.
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
        If a file is missing and is not downloaded or cannot be downloaded, `data_dir` is a file, or the folder that
        NUMNET_DATA names is not there. If a file is missing and a folder directly below has all files, the message
        names that folder, and nothing is downloaded. Also if a file has the name of a published file and other
        contents, unless the folder has the published file in another form, too. Every load compares the SHA-256 of each
        file, or of what the file unpacks to, with the published one. In the user's cache folder, only the first load
        does so, and a later load if the size or the time of the file has changed.
    OSError
        If a folder or a file is there and cannot be read.

    See Also
    --------
    load_idx : Load images and labels of one's own.

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
        As for `mnist`, with one difference. The files have the same names as MNIST's files, so the subfolders
        ``fashion-mnist`` and ``FashionMNIST/raw`` of the folder are searched first, and files are downloaded into the
        subfolder ``fashion-mnist``.
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
    DownloadError, OSError
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


def load_idx(folder: str | os.PathLike[str], name: str | None = None) -> Any:
    """Load images and labels of one's own from a folder of IDX files.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder. The names of the files say which file is which, as for MNIST: ``train-images``, ``train-labels``,
        ``t10k-images`` or ``test-images``, ``t10k-labels`` or ``test-labels``; or just ``images`` and ``labels``. The
        name of the data set may stand before, and ``idx3-ubyte`` and the like and ``.gz`` after, as in
        ``emnist-letters-test-labels-idx1-ubyte.gz`` and ``images.idx3-ubyte``. Files with other names are passed over.
    name : str, optional
        The name of the data set, such as ``"emnist-letters"``. Needed if the folder has several data sets.

    Returns
    -------
    Dataset or tuple of Dataset
        ``(train, test)`` if there are four files. One data set if there are two files, images and labels.

    Raises
    ------
    IdxError
        If files are missing, the files do not make a data set, or it is not clear which files are meant; the message
        says what is in the folder. Also if a file is not in the IDX format.
    OSError
        If the folder or a file cannot be read; FileNotFoundError if there is no such folder.

    Warns
    -----
    DataWarning
        If images have numbers below 0 and a name with ``ubyte``, for unsigned bytes. They are left as they are, and the
        warning says how to view them as pixels.

    See Also
    --------
    read_idx : Read the array in one file.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from numnet.datasets import load_idx, write_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part, count in ("train", 3), ("test", 2):
    ...         path = os.path.join(folder, f"own-{part}")
    ...         images = np.zeros((count, 28, 28), np.uint8)
    ...         write_idx(f"{path}-images-idx3-ubyte.gz", images)
    ...         write_idx(f"{path}-labels-idx1-ubyte.gz", images[:, 0, 0])
    ...     train, test = load_idx(folder)
    >>> train
    Dataset('own train', 3 images of 28 x 28, 1 classes)
    """
    folder = _expanded(folder)
    loaded = []
    for title, (images, labels) in arrays(folder, name).items():
        try:
            loaded.append(Dataset(images, labels, title))
        except ValueError as error:
            raise IdxError(f"{folder}, {title}: {error}. nn.datasets.read_idx reads a single file.") from error
    return loaded[0] if len(loaded) == 1 else tuple(loaded)


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
    """A published data set: where it is, and the SHA-256 of its four files."""

    name: str
    title: str
    places: Sequence[str]  # where its files may be below a folder; downloads go to the first place
    mirrors: Sequence[str]
    files: Sequence[Mapping[str, str]]  # as in _ROLES: the SHA-256 of the published .gz file, and of what it unpacks to


_ROLES = [Role("", part, kind) for part in ("train", "test") for kind in ("images", "labels")]

_MNIST = _Published(
    name="mnist",
    title="MNIST",
    places=("", "MNIST/raw", "raw"),  # raw is torchvision's
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

# The SHA-256 of the unpacked files are those that several public projects give, which unpack the published .gz files.
_FASHION_MNIST = _Published(
    name="fashion-mnist",
    title="Fashion-MNIST",
    places=("fashion-mnist", "FashionMNIST/raw", "", "raw"),
    mirrors=(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ),
    files=(
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        },
        {
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        },
        {
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        },
        {
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
)


def _load(
    published: _Published, data_dir: str | os.PathLike[str] | None, download: bool, timeout: float, progress: bool
) -> tuple[Dataset, Dataset]:
    """Find, or download, the four files of a published data set, and read them."""
    folders = _folders(data_dir, download)
    cache = _cache() if data_dir is None else None
    target = folders[-1] / published.places[0]
    paths = [_find(published, role, folders, cache) for role in range(len(_ROLES))]
    missing = [next(iter(forms)) for forms, path in zip(published.files, paths, strict=True) if path is None]
    there = "".join(_there(published, folder) for folder in folders) if missing else ""
    if data_dir is not None and not folders[0].is_dir():
        there = f"There is no folder {folders[0]}.\n"
    remedy = (
        f"{there}To provide the files by hand, put {', '.join(missing)} in the folder {target}, "
        "or in another one that you name with data_dir or the environment variable NUMNET_DATA."
    )
    if missing and not download:
        looked = ", ".join(str(folder / published.places[0]) for folder in folders)
        raise DownloadError(
            f"{', '.join(missing)} of {published.name} missing in {looked}, and download is False.\n{remedy}"
        )
    found = []
    for forms, path in zip(published.files, paths, strict=True):
        if path is None:
            name, sha256 = next(iter(forms.items()))
            path = fetch(name, published.mirrors, sha256, target, timeout, progress, remedy)
        found.append(read_idx(path))
    return (
        Dataset(found[0], found[1], f"{published.name} train"),
        Dataset(found[2], found[3], f"{published.name} test"),
    )


def _folders(data_dir: str | os.PathLike[str] | None, download: bool) -> Sequence[Path]:
    """Return the folders in which to look; DownloadError if one that the user names is not there."""
    if data_dir is not None:
        folder = _expanded(data_dir)
        if folder.exists() and not folder.is_dir():
            near = folder.absolute().parent
            raise DownloadError(f"{folder} is no folder: give data_dir the folder that has the files, such as {near}")
        if not download and not folder.is_dir():
            raise DownloadError(f"there is no folder {folder}: correct data_dir, or give download=True to fill it")
        return [folder]
    if not (named := os.environ.get("NUMNET_DATA")):
        return [_cache()]
    folder = _expanded(named)
    if not folder.is_dir():
        raise DownloadError(
            f"there is no folder {folder}, which the environment variable NUMNET_DATA names: correct the variable or, "
            "for the user's cache folder, unset it"
        )
    return [folder, _cache()]


def _there(published: _Published, folder: Path) -> str:
    """Return a line that says what a folder has in place of missing files; nothing of a folder that has nothing.

    DownloadError, before any download, if a folder directly below has all files.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if listed(files) == "nothing":
        return ""
    lacks = [f"{role.part} {role.kind}" for i, role in enumerate(_ROLES) if not _has(published, folder, i)]
    below = next((file for file in files if all(_has(published, file, i) for i in range(len(_ROLES)))), None)
    has = f"{folder} has no {' and no '.join(lacks)} of {published.title}: it has {listed(files)}."
    if below:
        raise DownloadError(f"{has} Did you mean {below}?")
    return f"{has}\n"


def _has(published: _Published, folder: Path, role: int) -> bool:
    """Return whether a folder has one of the four files; also False if the folder cannot be read."""
    with suppress(DownloadError, OSError):
        return _find(published, role, [folder], None) is not None
    return False


def _expanded(folder: str | os.PathLike[str]) -> Path:
    """Return a path, with the user's home for ~."""
    return Path(os.path.expanduser(folder))


def _find(published: _Published, role: int, folders: Sequence[Path], cache: Path | None) -> Path | None:
    """Find one of the four files, in any of its forms.

    DownloadError if a folder has files with the name of this file, and none with its contents.
    """
    for folder in folders:
        refusals = []
        for path in (path for place in published.places for path in _named(folder / place, _ROLES[role])):
            try:
                found = _recognized(path, keep_record=folder == cache)
            except IdxError as error:
                refusals.append((path, f"{error} It has the name of a file of {published.title}."))
                continue
            if found == (published, role):
                return path
            # The sets have the same names: the one may lie in a folder, and the other in a subfolder of that folder.
            if not found or found[0] == published or path.parent == folder / published.places[0]:
                refusals.append((path, _refusal(path, published, found)))
        if refusals:
            path, reason = refusals[0]
            if folder == cache:
                expected = next(iter(published.files[role].values()))
                reason = (
                    f"{path} is not the published file: its SHA-256 is {sha256_of(path)}, expected {expected}. "
                    "Delete it; then it is downloaded anew."
                )
            raise DownloadError(reason)
    return None


def _named(folder: Path, role: Role) -> Sequence[Path]:
    """Return the files in a folder, if there is such a folder, whose names are spellings of this role."""
    return roles(folder.iterdir()).get(role, []) if folder.is_dir() else []


def _recognized(path: Path, keep_record: bool) -> tuple[_Published, int] | None:
    """Return which published file this is, by its SHA-256 or by that of what it unpacks to; None if it is another file.

    A record of the last check saves work if the file has not changed. IdxError if the file is not in the IDX format.
    """
    sets = _MNIST, _FASHION_MNIST
    known = {sha256: (each, i) for each in sets for i, forms in enumerate(each.files) for sha256 in forms.values()}
    record = path.with_name(f"{path.name}.verified")
    status = path.stat()
    stamp = f"{status.st_size} {status.st_mtime_ns}"
    with suppress(OSError, ValueError):
        if keep_record:
            recorded, sha256 = record.read_text("ascii").rsplit(maxsplit=1)
            if recorded == stamp and sha256 in known:
                return known[sha256]
    sha256 = sha256_of(path)  # of the file as it is first, since a published .gz file is short
    if sha256 not in known:
        sha256 = _unpacked_sha256(path)
    # Some file systems keep times to 2 seconds only: a file that is younger could change again and have the same time.
    if keep_record and sha256 in known and time.time_ns() - status.st_mtime_ns > _SETTLED:
        with suppress(OSError):  # the folder may be read-only
            record.write_text(f"{stamp} {sha256}\n", "ascii")  # need not be atomic: only the whole text is trusted
    return known.get(sha256)


def _unpacked_sha256(path: Path) -> str:
    """Return the SHA-256 of an IDX file or, if it is gzipped, of what it unpacks to, in hexadecimal."""
    import hashlib

    digest = hashlib.sha256()
    for part in contents(read_idx(path)):
        digest.update(part)
    return digest.hexdigest()


def _refusal(path: Path, published: _Published, found: tuple[_Published, int] | None) -> str:
    """Return what a file is that has the name of a published file and other contents, and what to do with it."""
    folder = str(path.parent)
    if not found:
        size = " x ".join(map(str, read_idx(path).shape)) or "one number"
        return (
            f"{path} is a valid IDX file, {size}, but not {published.title}: "
            f"read the folder with nn.datasets.load_idx({folder!r})."
        )
    owner, role = found
    if owner == published:
        return f"{path} has the contents of {owner.title}'s {list(owner.files[role])[-1]}: give the file that name."
    call = f"nn.datasets.{owner.name.replace('-', '_')}({folder!r})"
    return f"{path} is not {published.title} but {owner.title}: read the folder with {call}."


def _cache() -> Path:
    """Return the folder for downloads, by the custom of the operating system."""
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        folder = "~/Library/Caches"
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    if (expanded := os.path.expanduser(folder)).startswith("~"):
        raise DownloadError(f"the user has no home folder, so there is no {folder}: name a folder with data_dir")
    return Path(expanded) / "numnet" / "mnist"
