"""Which files memory is mapped from, on systems that list mappings and on those that do not."""

import mmap
import os

import numpy as np
import pytest

from numnet import mapped

LISTED = os.path.exists("/proc/self/maps")


@pytest.fixture(params=["listed", "not listed"])
def way(request, monkeypatch):
    if request.param == "not listed":
        monkeypatch.setattr(mapped, "_LIST", "/proc/self/no list")
    elif not LISTED:
        pytest.skip("the system lists no mappings")
    return request.param


@pytest.fixture(params=["t.npy", "a name  with spaces.npy", "two\nlines.npy", "ünïcode.npy", "(deleted).npy"])
def path(request, tmp_path):
    path = tmp_path / request.param
    np.save(path, np.arange(60, dtype=np.float32))
    return path


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        np.asarray,
        lambda x: x[7:],
        lambda x: np.asarray(x)[::-1],
        lambda x: x.reshape(6, 10).T[2:, 1],
        lambda x: x.view(np.uint8)[3:],
        lambda x: np.lib.stride_tricks.as_strided(np.asarray(x), (3,), (8,)),
    ],
)
def test_a_view_is_of_the_file_too(view, path, way):
    array = view(np.load(path, mmap_mode="r"))
    assert os.path.samefile(mapped.file_of(array), path)
    assert mapped.in_use(path)
    del array
    assert not mapped.in_use(path)


@pytest.mark.skipif(not LISTED, reason="NumPy alone does not tell")
def test_whoever_has_mapped_the_file(path):
    with open(path, "rb") as file:
        array = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    assert os.path.samefile(mapped.file_of(array[5:]), path)
    assert mapped.in_use(path)


def test_a_file_is_itself_by_any_name(path, way, tmp_path, monkeypatch):
    array = np.load(path, mmap_mode="r")
    os.link(path, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    assert mapped.in_use("hard")
    assert mapped.in_use("soft")
    assert mapped.in_use(f"../{tmp_path.name}/{path.name}")
    assert len(array)


def test_a_copy_is_of_no_file(path, way):
    array = np.load(path, mmap_mode="r").copy()
    assert mapped.file_of(array) is None
    assert not mapped.in_use(path)


def test_a_new_file_of_the_old_name_is_not_mapped(path, way, tmp_path):
    array = np.load(path, mmap_mode="r")
    if way == "not listed":
        pytest.skip("NumPy knows the name alone, so the new file is protected too")
    np.save(tmp_path / "new.npy", np.arange(3))
    os.replace(tmp_path / "new.npy", path)
    assert not mapped.in_use(path)
    assert len(array)


@pytest.mark.parametrize("thing", [None, [1, 2], np.zeros(0), np.zeros(3), 7])
def test_what_is_not_mapped(thing, way):
    assert mapped.file_of(thing) is None


def test_a_file_that_is_not_there(tmp_path, way):
    assert not mapped.in_use(tmp_path / "nothing")
