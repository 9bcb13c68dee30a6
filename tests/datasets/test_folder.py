"""numnet.datasets.folder: images and labels of one's own, by the names of their files."""

import gzip
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import numnet as nn
from numnet.datasets import Dataset, IdxError, load_idx, write_idx

from .test_datasets import FORMS, NAMES, SPELLINGS, own, put_form

WHICH = {"four": NAMES, "training": NAMES[:2], "test": NAMES[2:], "neither": NAMES[:2]}


@pytest.mark.parametrize("which", WHICH)
@given(data=st.data(), name=st.sampled_from(["", "emnist-letters-", "my.own.", "x_y_", "labels-"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_written_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, which: str, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("own")
    for file in WHICH[which]:
        called = name + file.removeprefix("train-" if which == "neither" else "")
        for form in data.draw(st.lists(st.sampled_from(list(FORMS)), min_size=1, max_size=2)):
            spelling = data.draw(st.sampled_from(sorted(SPELLINGS.keys() - {"in capitals", "with underscores"})))
            put_form(folder, called, own(4)[file], spelling, form)
    for other in ("readme.md", "train-images.png", "labels.csv", "train-images-idx3-ubyte.gz.part"):
        (folder / other).touch()
    (folder / "test-labels").mkdir()
    loaded = load_idx(str(folder))
    if which == "four":
        assert type(loaded) is tuple
        train, test = loaded
        assert train.name.endswith(" train")
        assert test.name.endswith(" test")
    pairs = loaded if which == "four" else [loaded]
    assert all(isinstance(pair, Dataset) for pair in pairs)
    arrays = [array for pair in pairs for array in (pair.images, pair.labels)]
    assert all(np.array_equal(array, own(4)[file]) for array, file in zip(arrays, WHICH[which], strict=True))
    assert pairs[0].name.startswith(name[:-1] or folder.name)


def test_names_may_be_in_capital_letters(tmp_path: Path) -> None:
    for file, array in own(4).items():
        write_idx(tmp_path / file.upper(), array)
    train, test = load_idx(tmp_path)
    assert np.array_equal(train.images, own(4)[NAMES[0]])
    assert np.array_equal(test.labels, own(4)[NAMES[3]])


def files(folder: Path, *names: str) -> Path:
    """Write small images and labels under these names."""
    for name in names:
        write_idx(folder / name, np.zeros((3, 2, 2) if "images" in name.lower() else 3, np.uint8))
    return folder


EMNIST = [
    f"emnist-{name}-train-{kind}-ubyte.gz" for name in ("letters", "digits") for kind in ("images-idx3", "labels-idx1")
]


def test_one_of_several_data_sets_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdxError, match=r"several data sets, 'emnist-digits', 'emnist-letters': name"):
        load_idx(files(tmp_path, *EMNIST))
    with pytest.raises(IdxError, match=r"has no files of '' with names such as"):
        load_idx(tmp_path, "")
    files(tmp_path, "images.idx3-ubyte", "labels.idx1-ubyte")
    with pytest.raises(
        IdxError, match=r"several data sets, '', 'emnist-digits', 'emnist-letters': name .* as in "
    ) as info:
        load_idx(tmp_path)
    call = str(info.value).partition(" as in ")[2]
    assert eval(call, {"load_idx": load_idx}).name == "emnist-letters train"
    assert load_idx(tmp_path, "emnist-digits").name == "emnist-digits train"
    assert load_idx(tmp_path, "").name == tmp_path.name
    with pytest.raises(
        IdxError, match=r"no files of 'emnist' with names such as .*: it has emnist-digits-train-images"
    ):
        load_idx(tmp_path, "emnist")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no files with names such as train-images-idx3-ubyte.gz and labels.idx1-ubyte: it has nothing"),
        (["x.idx", "y.idx"], "has no files with names such as .*: it has x.idx, y.idx"),
        (["train-images.idx"], "has no train labels: it has train-images.idx"),
        (["labels.idx"], "has no images: it has labels.idx"),
        (["train-images.idx", "train-labels.idx", "t10k-labels"], "has no test images: it has t10k-labels, train-im"),
        (["train-images.idx", "test-labels.idx"], "has no train labels and no test images: it has test-labels.idx"),
        (
            ["train-images", "train-labels", "images", "labels"],
            "has train images, and images of neither train nor test.*: it has images, labels, train-images",
        ),
        ([f"{i:02}.idx" for i in range(30)], r"has no files .*: it has 00.idx, .*, 19.idx, \.\.\."),
        ([f"{i:02}.idx" for i in range(21)], r"has no files .*: it has 00.idx, .*, 19.idx, \.\.\.$"),
        ([f"{i:02}.idx" for i in range(20)], r"has no files .*: it has 00.idx, .*, 18.idx, 19.idx$"),
    ],
)
def test_if_files_are_missing_or_unclear_what_is_there_is_told(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(IdxError, match=f"{re.escape(str(tmp_path))} {message}"):
        load_idx(files(tmp_path, *names))
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_folder_below_that_has_images_or_labels_is_named(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "own").mkdir()
    files(tmp_path / "own", "images.idx", "labels.idx")
    with pytest.raises(IdxError, match=r": it has a file, empty, own\. Did you mean ") as info:
        load_idx(tmp_path)
    assert len(load_idx(str(info.value).partition("Did you mean ")[2].removesuffix("?"))) == 3
    with pytest.raises(IdxError, match=r"of 'emnist' with .*: it has a file, empty, own$"):
        load_idx(tmp_path, "emnist")


@pytest.mark.parametrize("name", ["images.idx", "labels.idx"])
def test_of_several_folders_below_the_first_by_name_is_told_of(tmp_path: Path, name: str) -> None:
    for folder in ("b", "a", "c"):
        (tmp_path / folder).mkdir()
        files(tmp_path / folder, name)
    with pytest.raises(IdxError, match=re.escape(f"Did you mean {tmp_path / 'a'}?")):
        load_idx(tmp_path)


def test_two_forms_that_are_equal_are_one_also_if_there_is_nan(tmp_path: Path) -> None:
    files(tmp_path, "labels.idx")
    for name in ("images.idx", "images.gz"):
        write_idx(tmp_path / name, np.full((3, 2, 2), np.nan, np.float32))
    assert np.isnan(load_idx(tmp_path).images).all()


def test_two_forms_that_differ_are_named(tmp_path: Path) -> None:
    files(tmp_path, "images.idx", "labels.idx")
    write_idx(tmp_path / "labels.gz", np.ones(3, np.uint8))
    with pytest.raises(IdxError, match=r"labels\.gz and .*labels\.idx differ: move one"):
        load_idx(tmp_path)
    (tmp_path / "labels.gz").write_bytes(b"<html>")
    assert load_idx(tmp_path).labels.tolist() == [0, 0, 0]


def test_numbers_that_are_missing_are_loaded_as_they_are(tmp_path: Path) -> None:
    images = np.array([[0.5, np.nan]])
    write_idx(tmp_path / "images", images)
    write_idx(tmp_path / "labels", np.zeros(1, np.uint8))
    np.testing.assert_array_equal(load_idx(tmp_path).images, images)


def test_a_file_that_is_not_idx_is_named(tmp_path: Path) -> None:
    files(tmp_path, "images.idx", "labels.idx")
    (tmp_path / "labels.idx").write_bytes(gzip.compress(b"0,1\n"))
    with pytest.raises(IdxError, match=r"labels\.idx: not an IDX file but a table"):
        load_idx(tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4,), "each image needs one label"),
        ((3, 8), r"labels must be a vector.*got shape \(3, 8\)"),
        ((0,), "one label"),
    ],
)
def test_files_that_are_no_data_set_are_named(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    write_idx(files(tmp_path, "x-images.idx") / "x-labels-idx2-int", np.zeros(shape, np.int32))
    with pytest.raises(IdxError, match=f"{re.escape(str(tmp_path))}, x: .*{message}.*read_idx"):
        load_idx(tmp_path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="nothing here"):
        load_idx(tmp_path / "nothing here")
    with pytest.raises(NotADirectoryError, match=r"images\.idx"):
        load_idx(files(tmp_path, "images.idx") / "images.idx")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    (tmp_path / "own").mkdir()
    files(tmp_path / "own", "images", "labels")
    assert load_idx("~/own").name == "own"
    monkeypatch.chdir(tmp_path / "own")
    (tmp_path / "own" / "below").mkdir()
    assert load_idx(".").name == load_idx("below/..").name == "own"


PIXELS = np.array([[[0, 1, 127], [128, 200, 255]]], np.uint8)


@pytest.mark.parametrize("ending", ["idx3-ubyte.gz", "idx3-UBYTE"])
def test_signed_bytes_under_the_name_of_unsigned_ones_are_told(tmp_path: Path, ending: str) -> None:
    write_idx(tmp_path / f"images-{ending}", PIXELS.view(np.int8))
    write_idx(tmp_path / "labels-idx1-ubyte", np.zeros(1, np.int8))
    with pytest.warns(nn.DataWarning, match=r"images.* signed bytes, from -128 to 127, and a name") as warned:
        data = load_idx(tmp_path)
    assert warned[0].filename == __file__
    assert data.images.tolist() == PIXELS.view(np.int8).tolist()
    (remedy,) = re.findall(r"nn\.datasets\.Dataset\(.*\)(?= has)", str(warned[0].message))
    assert (eval(remedy, {"nn": nn, "np": np, "data": data}).images == PIXELS).all()


def test_of_several_forms_the_first_by_name_is_told_of(tmp_path: Path) -> None:
    for name in "images-idx3-ubyte", "images.gz":
        write_idx(tmp_path / name, PIXELS.view(np.int8))
    write_idx(tmp_path / "labels", np.zeros(1, np.uint8))
    with pytest.warns(nn.DataWarning, match=r"images-idx3-ubyte has signed bytes"):
        load_idx(tmp_path)
    for name in "images-idx3-ubyte", "images.gz":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(IdxError, match="images-idx3-ubyte: it ends after 0 bytes"):
        load_idx(tmp_path)


def test_signed_bytes_of_no_image_are_no_data_set(tmp_path: Path) -> None:
    for name, shape in ("images-idx3-ubyte", (0, 2, 2)), ("labels", (0,)):
        write_idx(tmp_path / name, np.zeros(shape, np.int8))
    with pytest.raises(IdxError, match="a data set needs at least one image"):
        load_idx(tmp_path)


@given(low=st.integers(-128, 0), kind=st.sampled_from([np.int8, np.int16, np.float32]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_signed_numbers_that_do_not_pretend_are_no_reason_to_warn(tmp_path: Path, low: int, kind: type) -> None:
    name = f"images-idx3-{'byte' if low < 0 and kind is np.int8 else 'ubyte'}"
    write_idx(tmp_path / name, np.full((1, 2, 2), low, kind))
    write_idx(tmp_path / "labels", np.zeros(1, np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_idx(tmp_path).images.min() == low
    (tmp_path / name).unlink()
