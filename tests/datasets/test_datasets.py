"""numnet.datasets: the data sets by name."""

import gzip
import hashlib
import inspect
import io
import json
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
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import numnet
from numnet import datasets
from numnet.datasets import (
    Dataset,
    DownloadError,
    digits,
    fashion_mnist,
    mnist,
    read_idx,
    write_idx,
)

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
    for attribute, seed in {"_MNIST": 1, "_FASHION_MNIST": 2}.items():
        folder = put(tmp_path / "published" / attribute, small(seed))
        table = []
        for name in NAMES:
            packed = (folder / f"{name}.gz").read_bytes()
            server.answers[f"/{attribute}/{name}.gz"] = packed
            forms = {f"{name}.gz": packed, name: gzip.decompress(packed)}
            table.append({form: hashlib.sha256(data).hexdigest() for form, data in forms.items()})
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


SPELLINGS = {
    "as published": lambda name: name,
    "with a dot": lambda name: name.replace("-idx", ".idx"),
    "with underscores": lambda name: name.replace("-", "_"),
    "test": lambda name: name.replace("t10k", "test"),
    "in capitals": str.upper,
    "training": lambda name: name.replace("train", "training").replace("t10k", "testing"),
    "short": lambda name: name.partition("-idx")[0],
}
FORMS = {
    "gzipped": (".gz", lambda data: data),
    "unpacked": ("", gzip.decompress),
    "unpacked under a .gz name": (".gz", gzip.decompress),
    "gzipped without .gz": ("", lambda data: data),
    "gzipped anew": (".gz", lambda data: gzip.compress(gzip.decompress(data), 1)),
    "gzipped in two members": (".gz", lambda data: gzip.compress(b"") + gzip.compress(gzip.decompress(data))),
}
PLACES = {mnist: ("", "MNIST/raw", "raw"), fashion_mnist: ("", "fashion-mnist", "FashionMNIST/raw", "raw")}
SEEDS = {mnist: 1, fashion_mnist: 2}


def put_form(place: Path, name: str, array: np.ndarray[Any, Any], spelling: str, form: str) -> Path:
    """Write an array into a folder as the published file in another form."""
    plain, packed = io.BytesIO(), io.BytesIO()
    write_idx(plain, array)
    with gzip.GzipFile("", "wb", 6, packed, mtime=0) as file:
        file.write(plain.getvalue())
    ending, change = FORMS[form]
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{SPELLINGS[spelling](name)}{ending}"
    path.write_bytes(change(packed.getvalue()))
    return path


@pytest.mark.parametrize("loader", [mnist, fashion_mnist])
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_each_file_may_have_another_form_name_and_place(
    published: Any, tmp_path_factory: pytest.TempPathFactory, loader: Loader, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("here")
    for name, array in small(SEEDS[loader]).items():
        place, spelling, form = (data.draw(st.sampled_from(list(of))) for of in (PLACES[loader], SPELLINGS, FORMS))
        put_form(folder / place, name, array, spelling, form)
    before = files_below(folder)
    assert same(loader(folder), small(SEEDS[loader]))
    assert same(loader(str(folder), download=False), small(SEEDS[loader]))
    assert files_below(folder) == before
    assert published.asked == []


@pytest.mark.parametrize("loader", [mnist, fashion_mnist])
def test_torchvisions_folder_may_be_named_at_any_level(published: Any, tmp_path: Path, loader: Loader) -> None:
    top = tmp_path / ("MNIST" if loader is mnist else "FashionMNIST")
    for ending in ("", ".gz"):
        put(top / "raw", small(SEEDS[loader]), ending)
    for folder in (tmp_path, top, top / "raw"):
        assert same(loader(folder, download=False), small(SEEDS[loader]))


BAD = [b"", b"<html>", b"\x1f\x8b\x08 cut", bytes.fromhex("00000801 00000002 0607")]


@pytest.mark.parametrize("bad", BAD, ids=["empty", "page", "cut", "own"])
@pytest.mark.parametrize("where", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train_images.idx3"])
def test_if_one_form_is_bad_another_is_taken(published: Any, tmp_path: Path, bad: bytes, where: str) -> None:
    folder = put(tmp_path / "raw", small(1), ".gz")
    (folder / f"{NAMES[0]}.gz").rename(folder / "train-images.idx3-ubyte")
    for path in (folder / where, tmp_path / where):
        path.write_bytes(bad)
    assert same(mnist(tmp_path), small(1))
    (folder / "train-images.idx3-ubyte").unlink()
    with pytest.raises(DownloadError, match=re.escape(where)):
        mnist(tmp_path)
    assert published.asked == []
    assert (tmp_path / where).read_bytes() == (folder / where).read_bytes() == bad


def test_a_cache_may_have_other_forms_and_keeps_a_record_of_them(
    published: Any, cache: Path, settled: Callable[[], list[Path]], hashed: list[str]
) -> None:
    paths = [
        put_form(cache / "numnet" / "mnist", name, array, "with a dot", "gzipped anew")
        for name, array in small(1).items()
    ]
    settled()
    for _ in range(3):
        assert same(mnist(download=False), small(1))
    assert sorted(hashed) == sorted(path.name for path in paths)
    assert files_below(cache / "numnet" / "mnist") == sorted(hashed + [f"{name}.verified" for name in hashed])


def test_numnet_data_is_taken_then_the_cache(
    published: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "named", small(1))
    monkeypatch.setenv("NUMNET_DATA", str(folder))
    assert same(mnist(download=False), small(1))
    (folder / GZIPPED[0]).unlink()
    missing = re.escape(
        f"{GZIPPED[0]} of mnist missing in {folder}, {cache / 'numnet' / 'mnist'}, and download is False."
    )
    with pytest.raises(DownloadError, match=f"^{missing}\n"):
        mnist(download=False)
    assert same(mnist(), small(1))
    assert len(files_below(folder)) == 3
    assert [Path(name).name for name in files_below(cache)] == [GZIPPED[0]]


@pytest.mark.parametrize(
    ("loader", "name", "place"), [(mnist, "mnist", "."), (fashion_mnist, "fashion-mnist", "fashion-mnist")]
)
def test_what_is_missing_and_what_is_there_is_told(
    published: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, loader: Loader, name: str, place: str
) -> None:
    arrays, below = small(SEEDS[loader]), cache / "numnet" / "mnist"
    folder = put(tmp_path / "named" / place, {name: arrays[name] for name in NAMES[:2]})
    below.mkdir(parents=True)
    for file in "notes", "t10k-labels-idx1-ubyte.gz.lock", "t10k-labels-idx1-ubyte.gz.part":
        (below / file).touch()
    monkeypatch.setenv("NUMNET_DATA", str(tmp_path / "named"))
    with pytest.raises(DownloadError) as info:
        loader(download=False)
    missing = ", ".join(f"{name}.gz" for name in NAMES[2:])
    title = {mnist: "MNIST", fashion_mnist: "Fashion-MNIST"}[loader]
    there = ", ".join(sorted(os.listdir(tmp_path / "named")))
    assert str(info.value).splitlines() == [
        f"{missing} of {name} missing in {folder}, {below / place}, and download is False.",
        f"{tmp_path / 'named'} has no test images and no test labels of {title}: it has {there}.",
        f"{below} has no train images and no train labels and no test images and no test labels of {title}: it has "
        "notes.",
        f"To provide the files by hand, put {missing} in the folder {below / place}, or in another one that you name "
        "with data_dir or the environment variable NUMNET_DATA.",
    ]


@pytest.mark.parametrize("loader", [mnist, fashion_mnist])
def test_a_folder_one_too_high_is_told_and_the_right_one_is_named(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: Loader
) -> None:
    published.answers.clear()
    data = tmp_path / "data"
    put(data / "a part", {name: small(SEEDS[loader])[name] for name in NAMES[:3]})
    put(data / "other", small(3 - SEEDS[loader]))  # the other set, under the same names
    put(data / "own", small(3))
    put(data / "set" / "raw", small(SEEDS[loader]))
    (data / "a file").touch()
    monkeypatch.setenv("NUMNET_DATA", str(data))
    for call in (lambda: loader(download=False), loader, lambda: loader(data)):
        with pytest.raises(DownloadError, match=r": it has a file, a part, other, own, set\. Did you mean ") as info:
            call()
        named = re.findall(r"Did you mean (.*)\?$", str(info.value))
        assert named == [str(data / "set")]
        assert "To provide the files" not in str(info.value)
        assert published.asked == []
        assert same(loader(named[0], download=False), small(SEEDS[loader]))
    shutil.rmtree(data / "set")
    with pytest.raises(DownloadError, match="it has a file, a part, other, own\\.\n"):
        loader()


def test_a_given_folder_that_is_not_there_is_told_when_the_download_fails(published: Any, tmp_path: Path) -> None:
    published.answers.clear()
    for folder, says in (tmp_path, False), (tmp_path / "mnits", True):
        with pytest.raises(DownloadError, match="could not be downloaded") as info:
            mnist(folder)
        assert (f"\nThere is no folder {folder}.\nTo provide" in str(info.value)) == says
    with pytest.raises(DownloadError, match="could not be downloaded") as info:
        mnist()  # the cache is a folder that nobody has given
    assert "There is no folder" not in str(info.value)


def test_a_file_that_cannot_be_read_does_not_hide_the_right_folder(published: Any, tmp_path: Path) -> None:
    unreadable = Path("/proc/self/mem")
    if not unreadable.exists():
        pytest.skip("the system has no regular file that nobody can read from its start on")
    put(tmp_path / "set", small(1))
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / NAMES[0]).symlink_to(unreadable)
    with pytest.raises(DownloadError, match=re.escape(f"Did you mean {tmp_path / 'set'}?")):
        mnist(tmp_path)
    assert published.asked == []


@pytest.mark.parametrize("download", [True, False])
def test_a_folder_that_numnet_data_names_must_be_there(
    published: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, download: bool, fault: Any
) -> None:
    mnist()
    asked = len(published.asked)
    (tmp_path / "a file").touch()
    for name in ("nothing here", "a file", "~/nothing here", "~nobody-of-this-name/data"):
        monkeypatch.setenv("NUMNET_DATA", name if name.startswith("~") else str(tmp_path / name))
        for loader in (mnist, fashion_mnist):
            with pytest.raises(DownloadError, match=rf"no folder .*{Path(name).name}, .*NUMNET_DATA.*unset") as info:
                loader(download=download)
        if name == "nothing here":
            fault("Download", "NUMNET_DATA names a folder that is not there", info.value, "nothing")
        assert same(mnist(cache / "numnet" / "mnist"), small(1))  # data_dir makes the variable irrelevant
    assert len(published.asked) == asked
    assert not (tmp_path / "nothing here").exists()


@pytest.mark.parametrize("download", [True, False])
def test_a_tilde_is_the_users_home(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: bool
) -> None:
    home = tmp_path / "cache"  # by the fixture
    put(home / "my data", small(1))
    monkeypatch.setenv("NUMNET_DATA", "~/my data")
    assert same(mnist(download=download), small(1))
    assert same(mnist("~/my data", download=download), small(1))
    monkeypatch.setenv("NUMNET_DATA", "~")
    put(home, small(1), "")
    assert same(mnist(download=download), small(1))
    assert published.asked == []
    assert not Path("~").exists()


def test_a_given_folder_is_the_only_one(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setenv("NUMNET_DATA", str(put(tmp_path / "named", small(1))))
    other = tmp_path / "other"
    for loader in (mnist, fashion_mnist):
        with pytest.raises(DownloadError, match=r"there is no folder \S*other: correct data_dir, or give d") as info:
            loader(other, download=False)
    fault("Download", "data_dir is not there, and download is False", info.value, "nothing")
    assert not other.exists()
    other.mkdir()
    with pytest.raises(
        DownloadError, match=r"missing in \S*other, and download is False\.\nTo provide the files by hand"
    ):
        mnist(other, download=False)
    assert published.asked == []
    assert files_below(other) == []


def test_an_empty_name_is_the_present_folder(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMNET_DATA", str(put(tmp_path / "named", small(3))))
    monkeypatch.chdir(put(tmp_path / "present", small(1)))
    for download in (True, False):
        assert same(mnist("", download=download), small(1))


@pytest.mark.parametrize("download", [True, False])
def test_a_file_for_a_folder_is_told_so_and_its_folder_is_taken(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: bool, fault: Any
) -> None:
    folder = put(tmp_path / "here", small(1))
    monkeypatch.chdir(folder)
    for file in (folder / GZIPPED[0], Path(GZIPPED[0])):
        with pytest.raises(DownloadError) as info:
            mnist(file, download=download)
        says, remedy = str(info.value).split(", such as ")
        assert says == f"{file} is no folder: give data_dir the folder that has the files"
        assert same(mnist(remedy, download=download), small(1))
    assert published.asked == []
    fault("Download", "data_dir is a file", info.value, "the file, as it is")


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


def test_without_a_home_a_folder_must_be_named(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom the system does not know
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(
        DownloadError, match=r"has no home folder, so there is no ~/\.cache: name a folder with data_dir"
    ):
        mnist()
    assert same(mnist(tmp_path / "here"), small(1))
    monkeypatch.chdir(tmp_path / "here")
    assert same(mnist(""), small(1))


def own(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return images and labels of one's own."""
    rng = np.random.default_rng(seed)
    shapes = [(90, 8, 8), (90,), (10, 8, 8), (10,)]
    return {name: rng.integers(0, 4, shape).astype(np.uint8) for name, shape in zip(NAMES, shapes, strict=True)}


@pytest.mark.parametrize("loader", [mnist, fashion_mnist])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("form", FORMS)
def test_ones_own_files_under_mnists_names_are_told_so_and_loaded(
    published: Any, tmp_path: Path, loader: Loader, spelling: str, form: str, fault: Any
) -> None:
    place = tmp_path / "it's mine" / PLACES[loader][1]
    paths = [put_form(place, name, array, spelling, form) for name, array in own(3).items()]
    before = {path: path.read_bytes() for path in paths}
    told = []
    for download in (True, False):
        with pytest.raises(DownloadError) as info:
            loader(tmp_path / "it's mine", download=download)
        told.append(str(info.value))
    title = "MNIST" if loader is mnist else "Fashion-MNIST"
    assert told == 2 * [told[0]]
    says, remedy = told[0].split(": read the folder with ")
    assert says == f"{paths[0]} is a valid IDX file, 90 x 8 x 8, but not {title}"
    assert same(eval(remedy.rstrip("."), {"nn": numnet}), own(3))
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    assert published.asked == []
    if loader is mnist and spelling == "as published" and form == "gzipped":
        fault("Download", "one's own files under MNIST's names", info.value, "the files, as they are")


@pytest.mark.parametrize("loader", [mnist, fashion_mnist])
@pytest.mark.parametrize("bad", BAD, ids=["empty", "page", "cut", "own"])
@pytest.mark.parametrize("named", [True, False], ids=["NUMNET_DATA", "data_dir"])
def test_nobody_is_told_to_delete_a_file_outside_the_cache(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: Loader, bad: bytes, named: bool
) -> None:
    loader(tmp_path / "here")
    path = next((tmp_path / "here").rglob(GZIPPED[1]))
    path.write_bytes(bad)
    before = files_below(tmp_path)
    asked = len(published.asked)
    if named:
        monkeypatch.setenv("NUMNET_DATA", str(tmp_path / "here"))
    for download in (True, False):
        with pytest.raises(DownloadError, match=re.escape(str(path))) as info:
            loader(None if named else tmp_path / "here", download=download)
        assert not re.search("delete|remove", str(info.value).replace(str(tmp_path), ""), re.IGNORECASE)
        title = "MNIST" if loader is mnist else "Fashion-MNIST"
        told = f" It has the name of a file of {title}."
        assert str(info.value).endswith(told) or (bad is BAD[3] and told not in str(info.value))
    assert path.read_bytes() == bad
    assert files_below(tmp_path) == before
    assert len(published.asked) == asked


def test_of_several_files_that_are_none_of_the_set_the_first_by_name_is_told_of(published: Any, tmp_path: Path) -> None:
    paths = [tmp_path / f"{NAMES[0].replace('-idx3', f'{sign}idx{digit}')}" for digit in "9753" for sign in "-._"]
    for path in paths:
        path.write_bytes(bytes.fromhex("00000800 07"))
    with pytest.raises(DownloadError, match=f"^{re.escape(str(min(paths)))} is a valid IDX file, one number, but not"):
        mnist(tmp_path)


def test_a_file_of_the_other_set_is_named(published: Any, tmp_path: Path) -> None:
    put(tmp_path / "fashion", small(2), "")
    with pytest.raises(DownloadError, match="is not MNIST but Fashion-MNIST: read the folder with ") as info:
        mnist(tmp_path / "fashion")
    remedy = str(info.value).partition(" with ")[2]
    assert same(eval(remedy.rstrip("."), {"nn": numnet}), small(2))
    put(tmp_path / "both" / "fashion-mnist", small(1))
    with pytest.raises(DownloadError, match=r"is not Fashion-MNIST but MNIST: read the folder with nn.datasets.mnist"):
        fashion_mnist(tmp_path / "both")
    assert published.asked == []


@pytest.mark.parametrize("place", PLACES[mnist])
def test_a_file_under_the_name_of_another_is_named(published: Any, tmp_path: Path, place: str) -> None:
    folder = put(tmp_path / place, small(1))
    (folder / GZIPPED[0]).write_bytes((folder / GZIPPED[2]).read_bytes())
    with pytest.raises(DownloadError, match=f"{GZIPPED[0]} has the contents of MNIST's {NAMES[0]}: give"):
        mnist(tmp_path)


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
    status, sha256 = first.stat(), hashlib.sha256(first.read_bytes()).hexdigest()
    record = f"{status.st_size} {status.st_mtime_ns} {sha256}\n"  # as every version writes and believes it
    assert first.with_name(f"{first.name}.verified").read_text() == record
    hashed.clear()
    os.utime(first)
    assert same(mnist(download=False), small(1))
    assert hashed == [first.name]


def other_in(array: np.ndarray[Any, Any], place: int) -> np.ndarray[Any, Any]:
    """Return an array with another number in one place."""
    array = array.copy()
    array.flat[place] ^= 1
    return array


CONTENTS = {  # of a file that is not the published one
    "another first number": lambda arrays, name: other_in(arrays[name], 0),
    "another last number": lambda arrays, name: other_in(arrays[name], -1),
    "another order": lambda arrays, name: arrays[name][::-1],
    "one image or label less": lambda arrays, name: arrays[name][1:],
    "the other part's": lambda arrays, name: arrays[NAMES[(NAMES.index(name) + 2) % 4]],
    "the other set's": lambda arrays, name: small(2)[name],
}


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_one_file_of_four_that_is_another_is_noticed_in_every_form_place_and_moment(
    published: Any, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    arrays, top = small(1), tmp_path_factory.mktemp("here")
    where = data.draw(st.sampled_from(["a folder", "NUMNET_DATA", "the cache"]), "where")
    form, other_form = (data.draw(st.sampled_from(list(FORMS)), what) for what in ("form", "form of the other files"))
    wrong = data.draw(st.sampled_from(NAMES), "wrong")
    content = CONTENTS[data.draw(st.sampled_from(list(CONTENTS)), "content")](arrays, wrong)
    assume(not np.array_equal(content, arrays[wrong]))
    folder = top / "numnet" / "mnist" if where == "the cache" else top
    paths = {
        name: put_form(folder, name, array, "as published", form if name == wrong else other_form)
        for name, array in arrays.items()
    }
    for path in paths.values():
        os.utime(path, ns=(0, 10**18 + 123_456_789))
    path, shift = paths[wrong], data.draw(st.sampled_from([-1, 1, 10**6, 10**9, 3600 * 10**9]), "nanoseconds later")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(top if where == "the cache" else top / "no cache"))
        if where == "NUMNET_DATA":
            patch.setenv("NUMNET_DATA", str(top))
        given = top if where == "a folder" else None
        if data.draw(st.booleans(), "loaded before"):
            assert same(mnist(given, download=False), arrays)
        size = path.stat().st_size
        put_form(folder, wrong, content, "as published", form)
        longer = path.stat().st_size != size
        os.utime(path, ns=(0, 10**18 + 123_456_789 + (shift if not longer or data.draw(st.booleans()) else 0)))
        for _ in range(2):
            with pytest.raises(DownloadError, match=re.escape(str(path))):
                mnist(given, download=False)
        put_form(folder, wrong, arrays[wrong], "as published", form)
        os.utime(path, ns=(0, 10**18))
        assert same(mnist(given, download=False), arrays)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("later", [-(10**9), -1000, -1, 0, 1, 1000, 10**9], ids=lambda later: f"{later} ns")
def test_a_file_in_the_cache_that_changes_is_checked_again_however_soon_and_small_the_change(
    published: Any, cache: Path, name: str, later: int
) -> None:
    folder, arrays, time = put(cache / "numnet" / "mnist", small(1), ""), small(1), 10**18 + 123_456_789
    for path in folder.iterdir():
        os.utime(path, ns=(0, time))
    assert same(mnist(download=False), arrays)
    path = folder / name
    content = other_in(arrays[name], -1) if later else arrays[name][1:]  # as long, or of the same time
    write_idx(path, content)
    os.utime(path, ns=(0, time + later))
    with pytest.raises(DownloadError, match=f"{re.escape(str(path))} is not the published file"):
        mnist(download=False)


def test_a_file_in_the_cache_that_a_link_stands_for_is_checked_again_if_it_changes(
    published: Any, tmp_path: Path, cache: Path
) -> None:
    real, folder = put(tmp_path / "elsewhere", small(1)), cache / "numnet" / "mnist"
    folder.mkdir(parents=True)
    for path in real.iterdir():
        os.utime(path, ns=(0, 10**18))
        (folder / path.name).symlink_to(path)
    for link in folder.iterdir():
        os.utime(link, ns=(0, 10**18), follow_symlinks=False)
    assert same(mnist(download=False), small(1))
    (real / GZIPPED[1]).write_bytes((real / GZIPPED[3]).read_bytes())
    with pytest.raises(DownloadError, match=f"{GZIPPED[1]} is not the published file"):
        mnist(download=False)


@pytest.mark.parametrize("record", ["", "1 2 3\n", "x" * 1000, "\0" * 80, "{size} {time} unknown\n", "é{size} {time}"])
def test_a_record_that_does_not_match_is_not_believed(
    published: Any, settled: Callable[[], list[Path]], hashed: list[str], record: str
) -> None:
    mnist()
    first = settled()[0]
    status = first.stat()
    record = record.format(size=status.st_size, time=status.st_mtime_ns)
    first.with_name(f"{first.name}.verified").write_text(record, "utf-8")
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
    path.unlink()
    assert same(mnist(), small(1))


def test_of_a_file_in_the_cache_that_is_not_the_published_one_no_record_is_kept(
    published: Any, cache: Path, settled: Callable[[], list[Path]]
) -> None:
    folder = put(cache / "numnet" / "mnist", small(3))
    settled()
    with pytest.raises(DownloadError, match="is not the published file"):
        mnist(download=False)
    assert files_below(folder) == GZIPPED


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
import hashlib, json, sys
from numnet import datasets
datasets._MNIST = datasets._MNIST._replace(files=json.loads(sys.argv[1]))
print(*datasets.mnist(download=False))
"""


def test_a_cache_that_is_read_only_is_read(published: Any, cache: Path, settled: Callable[[], list[Path]]) -> None:
    mnist()
    settled()
    folder = cache / "numnet" / "mnist"
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    if sys.platform != "linux" or subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting a folder read-only needs Linux and the right to")
    script = f"{mount} && {shlex.join([sys.executable, '-c', LOAD, json.dumps(datasets._MNIST.files)])}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True)
    assert files_below(folder) == GZIPPED
    assert done.stdout == "{} {}\n".format(*mnist(download=False))


def test_the_error_says_how_to_provide_the_files(published: Any, tmp_path: Path) -> None:
    published.answers.clear()
    with pytest.raises(DownloadError) as info:
        mnist(tmp_path / "here", timeout=5)
    message = str(info.value)
    *transfer, _, remedy = message.splitlines()
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


# Of each set, where it is published and, of its four files, the SHA-256 of the .gz and of what it unpacks to, as the
# loaders of several other projects have them.
ADDRESSES = {
    "_MNIST": [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://yann.lecun.com/exdb/mnist/",
    ],
    "_FASHION_MNIST": [
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ],
}
SUMS = {
    "_MNIST": [
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ],
    "_FASHION_MNIST": [
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ],
}


@pytest.mark.parametrize("name", SUMS)
def test_the_addresses_and_sums_are_the_published_ones(name: str) -> None:
    published = getattr(datasets, name)
    assert list(published.mirrors) == ADDRESSES[name]
    assert [form for forms in published.files for form in forms] == [f"{n}{end}" for n in NAMES for end in (".gz", "")]
    assert [sha256 for forms in published.files for sha256 in forms.values()] == SUMS[name]


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


@pytest.mark.parametrize(
    "form", [form if form == "unpacked" else pytest.param(form, marks=pytest.mark.slow) for form in FORMS]
)
def test_the_real_mnist_in_another_form(real: Path, tmp_path: Path, form: str) -> None:
    ending, change = FORMS[form]
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name in NAMES:
        path = tmp_path / "MNIST" / "raw" / f"{SPELLINGS['with a dot'](name)}{ending}"
        path.write_bytes(change((real / f"{name}.gz").read_bytes()))
    for data, published in zip(mnist(tmp_path, download=False), mnist(real), strict=True):
        assert (data.images == published.images).all()
        assert (data.labels == published.labels).all()


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
