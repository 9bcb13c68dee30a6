"""numnet.datasets: the data sets by name."""

import gzip
import hashlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numnet import datasets
from numnet.datasets import Dataset, DownloadError, digits, fashion_mnist, mnist, read_idx, write_idx

NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
GZIPPED = sorted(f"{name}.gz" for name in NAMES)
Loader = Callable[..., tuple[Dataset, Dataset]]


def small(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return four small arrays in the place of a published set's."""
    rng = np.random.default_rng(seed)
    shapes = [(7, 3, 2), (7,), (4, 3, 2), (4,)]
    return {name: rng.integers(0, 10, shape).astype(np.uint8) for name, shape in zip(NAMES, shapes, strict=True)}


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder, temporary ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def put(folder: Path, arrays: dict[str, np.ndarray[Any, Any]], ending: str = ".gz") -> Path:
    """Write the arrays into a folder, gzipped unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        write_idx(folder / f"{name}{ending}", array)
    return folder


def same(loaded: tuple[Dataset, Dataset], arrays: dict[str, np.ndarray[Any, Any]]) -> bool:
    """Whether a data set has these arrays."""
    parts = [part for data in loaded for part in (data.images, data.labels)]
    return all(np.array_equal(*pair) for pair in zip(parts, arrays.values(), strict=True))


@pytest.fixture
def published(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both sets, small, published on the server; empty folders for the caches."""
    for place, (attribute, seed) in enumerate({"_MNIST": 1, "_FASHION_MNIST": 2}.items()):
        folder = put(tmp_path / "published" / attribute, small(seed))
        table = []
        for name in NAMES:
            packed = (folder / f"{name}.gz").read_bytes()
            server.answers[f"/{attribute}/{name}.gz"] = packed
            forms = {f"{name}.gz": packed, name: gzip.decompress(packed)}
            kept = list(forms)[: 2 - place]  # of Fashion-MNIST only the .gz are known
            table.append({form: hashlib.sha256(forms[form]).hexdigest() for form in kept})
        real = getattr(datasets, attribute)
        monkeypatch.setattr(
            datasets, attribute, real._replace(mirrors=(server.mirror("gone"), server.mirror(attribute)), files=table)
        )
    monkeypatch.delenv("NUMNET_DATA", raising=False)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    return server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return the folder below which all caches are."""
    return tmp_path / "cache"


def test_mnist_is_downloaded_once_into_the_folder(published: Any, tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "here"
    train, test = mnist(folder)
    assert same((train, test), small(1))
    assert (train.name, test.name) == ("mnist train", "mnist test")
    assert files_below(folder) == GZIPPED
    asked = len(published.asked)
    assert asked == 8  # four files from two mirrors, the first of which has none
    assert same(mnist(str(folder), download=False), small(1))
    assert len(published.asked) == asked
    assert files_below(cache) == []


def test_fashion_mnist_is_downloaded_into_its_subfolder(published: Any, tmp_path: Path) -> None:
    put(tmp_path / "here", small(1))
    train, test = fashion_mnist(tmp_path / "here")
    assert same((train, test), small(2))
    assert (train.name, test.name) == ("fashion-mnist train", "fashion-mnist test")
    names = "T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot"
    assert train.classes == test.classes == tuple(names.split(", "))
    assert files_below(tmp_path / "here" / "fashion-mnist") == GZIPPED
    assert same(mnist(tmp_path / "here", download=False), small(1))
    assert same(fashion_mnist(tmp_path / "here", download=False), small(2))


def test_fashion_mnist_may_lie_in_the_folder_itself(published: Any, tmp_path: Path) -> None:
    put(tmp_path / "here", small(2))
    assert same(fashion_mnist(tmp_path / "here", download=False), small(2))


def test_only_missing_files_are_downloaded(published: Any, tmp_path: Path) -> None:
    folder = put(tmp_path, small(1))
    (folder / GZIPPED[2]).unlink()
    assert same(mnist(folder), small(1))
    assert published.asked == [f"/gone/{GZIPPED[2]}", f"/_MNIST/{GZIPPED[2]}"]


def test_unpacked_files_of_mnist_are_taken(published: Any, tmp_path: Path) -> None:
    assert same(mnist(put(tmp_path / "here", small(1), ""), download=False), small(1))
    with pytest.raises(DownloadError, match="missing"):
        fashion_mnist(put(tmp_path / "there", small(2), ""), download=False)


def test_numnet_data_is_taken_then_the_cache(
    published: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "named", small(1))
    monkeypatch.setenv("NUMNET_DATA", str(folder))
    assert same(mnist(download=False), small(1))
    (folder / GZIPPED[0]).unlink()
    with pytest.raises(DownloadError, match=f"^{GZIPPED[0]} of mnist missing in .*named, .*cache.*download is False"):
        mnist(download=False)
    assert same(mnist(), small(1))
    assert len(files_below(folder)) == 3
    assert [Path(name).name for name in files_below(cache)] == [GZIPPED[0]]
    monkeypatch.setenv("NUMNET_DATA", str(tmp_path / "nothing here"))
    assert same(mnist(), small(1))
    assert [Path(name).name for name in files_below(cache)] == GZIPPED
    assert not (tmp_path / "nothing here").exists()


def test_a_given_folder_is_the_only_one(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMNET_DATA", str(put(tmp_path / "named", small(1))))
    with pytest.raises(DownloadError, match=r"missing in \S*other, and"):
        mnist(tmp_path / "other", download=False)
    assert published.asked == []
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("platform", "variable", "below"),
    [
        ("linux", "XDG_CACHE_HOME", "cache/numnet/mnist"),
        ("linux", "HOME", "cache/.cache/numnet/mnist"),
        ("darwin", "HOME", "cache/Library/Caches/numnet/mnist"),
        ("win32", "LOCALAPPDATA", "cache/numnet/mnist"),
        ("win32", "HOME", "cache/AppData/Local/numnet/mnist"),
    ],
)
def test_the_cache_is_where_the_system_has_it(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, below: str
) -> None:
    if variable == "HOME":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("LOCALAPPDATA")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", platform)
        mnist()
    assert files_below(tmp_path / below) == GZIPPED


@pytest.mark.parametrize("loader", [mnist, fashion_mnist])
def test_another_file_under_the_name_is_named_with_both_hashes(published: Any, tmp_path: Path, loader: Loader) -> None:
    loader(tmp_path / "here")
    path = next((tmp_path / "here").rglob(GZIPPED[1]))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"<html>")
    got = hashlib.sha256(b"<html>").hexdigest()
    asked = len(published.asked)
    with pytest.raises(DownloadError, match=f"{re.escape(str(path))} .*{got}, expected {expected}.*Delete it"):
        loader(tmp_path / "here")
    assert path.read_bytes() == b"<html>"
    assert len(published.asked) == asked


@pytest.fixture
def settled(cache: Path) -> Callable[[], list[Path]]:
    """Let the downloaded files be an hour older than they are, and return them."""

    def age() -> list[Path]:
        paths = sorted(cache.rglob("*.gz"))
        for path in paths:
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 3600 * 10**9))
        return paths

    return age


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the files whose hashes are computed."""
    names = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(datasets, "sha256_of", noted)
    return names


def test_a_file_in_the_cache_is_verified_once(
    published: Any, cache: Path, settled: Callable[[], list[Path]], hashed: list[str]
) -> None:
    mnist()
    assert files_below(cache / "numnet" / "mnist") == GZIPPED
    first = settled()[0]
    for _ in range(3):
        assert same(mnist(download=False), small(1))
    assert sorted(hashed) == GZIPPED
    assert files_below(cache / "numnet" / "mnist") == sorted(GZIPPED + [f"{name}.verified" for name in GZIPPED])
    hashed.clear()
    os.utime(first)
    assert same(mnist(download=False), small(1))
    assert hashed == [first.name]


@pytest.mark.parametrize("record", ["", "1 2 3\n", "x" * 1000, "\0" * 80])
def test_a_record_that_does_not_match_is_not_believed(
    published: Any, settled: Callable[[], list[Path]], hashed: list[str], record: str
) -> None:
    mnist()
    first = settled()[0]
    first.with_name(f"{first.name}.verified").write_text(record)
    for _ in range(2):
        assert same(mnist(), small(1))
    assert hashed.count(first.name) == 1


@pytest.mark.parametrize("content", [b"", b"<html>", None], ids=["empty", "page", "as long"])
def test_a_file_in_the_cache_that_changed_is_named(
    published: Any, settled: Callable[[], list[Path]], content: bytes | None, fault: Any
) -> None:
    mnist()
    path = settled()[1]
    mnist()
    path.write_bytes(path.read_bytes()[::-1] if content is None else content)
    with pytest.raises(DownloadError, match=f"{re.escape(str(path))} is not the published file.*Delete it") as info:
        mnist()
    fault("Download", "a file in the cache has changed", info.value, "the file, as it is")


def test_a_file_that_is_new_is_not_yet_recorded(published: Any, cache: Path, hashed: list[str]) -> None:
    mnist()
    for _ in range(2):  # within the exactness of a time, it could still change unseen
        assert same(mnist(), small(1))
    assert sorted(hashed) == sorted(2 * GZIPPED)
    assert files_below(cache / "numnet" / "mnist") == GZIPPED


def test_no_record_is_believed_or_kept_in_the_users_folders(
    published: Any, tmp_path: Path, cache: Path, settled: Any, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist()
    settled()
    mnist()
    copy = shutil.copytree(cache / "numnet" / "mnist", tmp_path / "copy")
    (copy / f"{GZIPPED[0]}.verified").unlink()
    before = files_below(copy)
    assert len(before) == 7
    hashed.clear()
    assert same(mnist(copy), small(1))
    monkeypatch.setenv("NUMNET_DATA", str(copy))
    assert same(mnist(), small(1))
    assert sorted(hashed) == sorted(2 * GZIPPED)
    assert files_below(copy) == before


LOAD = """
import hashlib, pathlib, sys
from numnet import datasets
files = [path for path in sorted(pathlib.Path(sys.argv[1]).glob("*.gz"))]
print([datasets._is_published(path, hashlib.sha256(path.read_bytes()).hexdigest(), True) for path in files])
"""


def test_a_cache_that_is_read_only_is_read(published: Any, cache: Path, settled: Callable[[], list[Path]]) -> None:
    mnist()
    settled()
    folder = cache / "numnet" / "mnist"
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    if sys.platform != "linux" or subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting a folder read-only needs Linux and the right to")
    script = f"{mount} && {shlex.join([sys.executable, '-c', LOAD, str(folder)])}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True, True, True]\n"
    assert files_below(folder) == GZIPPED


def test_the_error_says_how_to_provide_the_files(published: Any, tmp_path: Path) -> None:
    published.answers.clear()
    with pytest.raises(DownloadError) as info:
        mnist(tmp_path / "here", timeout=5)
    message = str(info.value)
    *transfer, remedy = message.splitlines()
    assert "train-images-idx3-ubyte.gz could not be downloaded" in transfer[0]
    assert [line.split(": ")[1] for line in transfer[1:]] == ["HTTP 404 Not Found"] * 2
    for words in (*GZIPPED, str(tmp_path / "here"), "NUMNET_DATA"):
        assert words in remedy
    assert set(files_below(tmp_path / "here")) <= {f"{NAMES[0]}.gz.lock"}


def test_the_time_out_is_passed_on(published: Any, tmp_path: Path) -> None:
    published.answers[f"/gone/{NAMES[0]}.gz"] = lambda _: published.over.wait(10)
    published.answers.pop(f"/_MNIST/{NAMES[0]}.gz")
    with pytest.raises(DownloadError, match=r"time-out: .* 0\.2 s"):
        mnist(tmp_path / "here", timeout=0.2)


def test_the_signatures() -> None:
    for loader in (mnist, fashion_mnist):
        assert re.sub(r": [^,=)]+|\s", "", str(inspect.signature(loader))).startswith(
            "(data_dir=None,*,download=True,timeout=10.0,progress=True)"
        )
    assert set(datasets.__all__) <= set(dir(datasets))


@pytest.fixture
def real() -> Path:
    """Return the folder with the real MNIST."""
    folder = os.environ.get("NUMNET_DATA", "")
    if not all((Path(folder) / f"{name}.gz").is_file() for name in NAMES):
        pytest.skip("NUMNET_DATA does not name a folder with MNIST's four .gz files")
    return Path(folder)


def test_the_real_mnist(real: Path, tmp_path: Path) -> None:
    train, test = mnist(download=False)
    assert repr(train) == "Dataset('mnist train', 60000 images of 28 x 28, 10 classes)"
    assert repr(test) == "Dataset('mnist test', 10000 images of 28 x 28, 10 classes)"
    assert train.images.dtype == test.images.dtype == np.uint8
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert round(float(train.images.mean() / 255), 4) == 0.1307  # the mean that every MNIST tutorial subtracts
    for name in NAMES:
        (tmp_path / name).write_bytes(gzip.decompress((real / f"{name}.gz").read_bytes()))
    unpacked = mnist(tmp_path, download=False)
    assert (unpacked[0].images == train.images).all()
    assert (unpacked[1].labels == test.labels).all()


def test_digits_are_those_of_scikit_learn() -> None:
    published = pytest.importorskip("sklearn.datasets").load_digits()
    train, test = digits()
    testing = np.arange(1797) % 5 == 0
    for data, chosen in ((train, ~testing), (test, testing)):
        assert (np.round(data.images / 255 * 16) == published.images[chosen]).all()
        assert (data.labels == published.target[chosen]).all()


def test_digits() -> None:
    train, test = digits()
    assert repr(train) == "Dataset('digits train', 1437 images of 8 x 8, 10 classes)"
    assert repr(test) == "Dataset('digits test', 360 images of 8 x 8, 10 classes)"
    for data in (train, test):
        assert data.images.dtype == np.uint8
        assert set(np.unique(data.images)) == {round(value * 255 / 16) for value in range(17)}
    # the counts that the publisher's optdigits.names gives for the test set
    counts = np.bincount(train.labels) + np.bincount(test.labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_files_of_digits_have_the_published_values() -> None:
    folder = Path(datasets.__file__).parent / "data"
    images = read_idx(folder / "digits-images-idx3-ubyte.gz")
    assert images.shape == (1797, 8, 8)
    assert (images.min(), images.max()) == (0, 16)
    assert read_idx(folder / "digits-labels-idx1-ubyte.gz").shape == (1797,)


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, numnet.datasets as d; d.digits(); print({'requests', 'tqdm', 'filelock'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
