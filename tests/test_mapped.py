"""Which files memory is mapped from, on systems that list mappings and on those that do not."""

import contextlib
import ctypes
import gc
import mmap
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

import numnet as nn
from numnet import mapped

LISTED = os.path.exists("/proc/self/maps")


@pytest.fixture(params=["listed", "not listed"])
def way(request, monkeypatch):
    if request.param == "not listed":
        monkeypatch.setattr(mapped, "_LIST", "/proc/self/no list")
    elif not LISTED:
        pytest.skip("the system lists no mappings")
    gc.freeze()  # the millions of objects of the tests before are not looked through
    yield request.param
    gc.unfreeze()


@pytest.fixture(
    params=["t.npy", "a name  with spaces.npy", "two\nlines.npy", "return\r.npy", "ünïcode.npy", "(deleted).npy"]
)
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
        lambda x: np.memmap(x.filename, np.uint8, "r"),  # from the first byte of the file
        lambda x: np.memmap(Path(x.filename), np.uint8, "r"),
    ],
)
def test_a_view_is_of_the_file_too(view, path, way):
    array = view(np.load(path, mmap_mode="r"))
    assert type(mapped.file_of(array)) is str
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


@pytest.mark.skipif(not LISTED, reason="the names in the list are not always text")
def test_a_name_may_have_bytes_that_are_no_text(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.npy")
    np.save(path, np.arange(3))
    array = np.load(path, mmap_mode="r")
    assert os.path.samefile(mapped.file_of(array), path)
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


@pytest.mark.skipif(not LISTED, reason="NumPy alone does not tell")
def test_a_file_whose_first_name_is_gone_is_still_mapped(path, tmp_path):
    array = np.load(path, mmap_mode="r")
    os.link(path, tmp_path / "hard")
    path.unlink()
    assert mapped.in_use(tmp_path / "hard")
    (tmp_path / "hard").rename(tmp_path / "x (deleted)")  # which the list says of files that are gone
    assert mapped.in_use(tmp_path / "x (deleted)")
    del array
    assert not mapped.in_use(tmp_path / "x (deleted)")


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


def test_a_file_is_in_use_whatever_else_was_mapped_and_is_gone(path, way, tmp_path):
    arrays = []
    for name in ("before.npy", None, "after.npy"):
        if name:
            np.save(tmp_path / name, np.arange(3))
        arrays.append(np.load(tmp_path / name if name else path, mmap_mode="r"))
    for name in ("before.npy", "after.npy"):
        (tmp_path / name).unlink()
    assert mapped.in_use(path)
    del arrays
    assert not mapped.in_use(path)


@pytest.mark.skipif(not LISTED, reason="the system lists no mappings")
def test_a_list_that_numbers_files_otherwise_than_stat_is_read_by_names(path, tmp_path, monkeypatch):
    """As it is with layers of file systems: there the list has the numbers of the layer below."""
    for name in ("before.npy", "after.npy"):
        np.save(tmp_path / name, np.arange(3))
    arrays = [np.load(one, mmap_mode="r") for one in (tmp_path / "before.npy", path, tmp_path / "after.npy")]
    lines = re.findall(rb".*/%b/.*\n" % re.escape(os.fsencode(tmp_path.name)), Path(mapped._LIST).read_bytes())
    ours = [line for line in lines if os.fsencode(f"/{path.name}").replace(b"\n", b"\\012") in line]
    others = [line for line in lines if line not in ours]
    assert len(ours) == 1
    assert len(others) >= 2
    for name in ("before.npy", "after.npy"):
        (tmp_path / name).unlink()
    (tmp_path / "hard").hardlink_to(path)
    for order in (ours, [*ours, *others], [*others, *ours]):
        (tmp_path / "list").write_bytes(re.sub(rb"[0-9a-f]+:[0-9a-f]+ \d+( +/)", rb"99:98 97\1", b"".join(order)))
        monkeypatch.setattr(mapped, "_LIST", str(tmp_path / "list"))
        assert mapped.in_use(path)
        assert mapped.in_use(tmp_path / "hard")
        assert not mapped.in_use(tmp_path / "list")
    del arrays


@pytest.mark.parametrize(
    "thing",
    [
        *(None, [1, 2], np.zeros(0), np.zeros(3), 7, np.frombuffer(bytes(5000), np.uint8)),
        *(np.ctypeslib.as_array((ctypes.c_double * n)()) for n in (1, 200, 10**5)),  # of heaps and of no file's mapping
        np.frombuffer(mmap.mmap(-1, 5000)),
    ],
)
def test_what_is_not_mapped(thing, way):
    assert mapped.file_of(thing) is None


@pytest.mark.parametrize(
    "view",
    [lambda x: x, lambda x: x[7:], lambda x: x[::-1], lambda x: x.reshape(6, 10).T[2:, 1], lambda x: x.view("u1")[3:]],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(60.0),
        lambda: np.frombuffer(bytes(480)),
        lambda: np.frombuffer(bytearray(480)),
        lambda: np.ndarray(60, buffer=bytearray(480)),
        lambda: nn.datasets.read_idx(nn.datasets.write_idx("x.idx", np.arange(60.0)) or "x.idx"),
    ],
)
def test_for_what_is_in_pythons_own_memory_no_list_is_read(make, view, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = view(make())
    monkeypatch.setattr(mapped, "_LIST", str(tmp_path))  # a folder cannot be read
    assert mapped.file_of(array) is None


@pytest.mark.skipif(not LISTED, reason="the system lists no mappings")
def test_a_list_that_cannot_be_read_is_no_sign_that_nothing_is_mapped(path):
    resource = pytest.importorskip("resource", reason="the system has no limits of Unix")
    array = np.load(path, mmap_mode="r")
    before, files = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                files.append(open(path, "rb"))  # noqa: SIM115
        with pytest.raises(OSError, match="Too many open files"):
            mapped.in_use(path)
    finally:
        for file in files:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert mapped.in_use(path)
    assert array.size


def test_a_mapped_file_without_a_name(way):
    with tempfile.TemporaryFile() as file:
        file.truncate(60)
        array = np.memmap(file, np.uint8, "r")
    assert mapped.file_of(array) is None


def test_a_file_that_is_not_there(tmp_path, way):
    assert not mapped.in_use(tmp_path / "nothing")


@pytest.mark.parametrize(
    "view",
    [lambda x: x, np.asarray, lambda x: np.asarray(x)[::-1], lambda x: x.reshape(6, 10).T, lambda x: x[30:]],
)
def test_a_file_that_has_been_cut_short_is_refused(view, path, way):
    array = view(np.load(path, mmap_mode="r"))
    mapped.refuse_cut("inputs", array)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(ValueError, match=r"inputs are mapped from the file [\s\S]*cut short since"):
        mapped.refuse_cut("inputs", array)


def test_what_lies_before_the_cut_is_fine(path):
    array = np.load(path, mmap_mode="r")[:20]
    os.truncate(path, path.stat().st_size - 20)
    if LISTED:
        mapped.refuse_cut("inputs", array)


def test_of_a_part_of_a_large_file_only_this_part_can_be_cut_off(way, tmp_path):
    offset = 2 * mmap.ALLOCATIONGRANULARITY + 8
    (tmp_path / "x").write_bytes(bytes(offset + 100))
    array = np.memmap(tmp_path / "x", np.uint8, "r", offset, (60,))
    os.truncate(tmp_path / "x", offset + 60)
    mapped.refuse_cut("inputs", array)
    os.truncate(tmp_path / "x", offset + 59)
    told = (
        f"{tmp_path / 'x'}, which has {offset + 59} bytes now, and they reach to byte {offset + 60}: the file has been"
    )
    with pytest.raises(ValueError, match=f"^inputs are mapped from the file {re.escape(told)} cut short since"):
        mapped.refuse_cut("inputs", array)


def test_an_empty_array_has_nothing_that_could_be_cut_off(path, way):
    array = np.load(path, mmap_mode="r")[60:]
    os.truncate(path, 0)
    mapped.refuse_cut("inputs", array)
    assert mapped.file_of(array) is None


def test_a_file_that_is_gone_has_not_been_cut_short(path, way):
    array = np.load(path, mmap_mode="r")
    path.unlink()
    path.with_name(f"{path.name} (deleted)").write_bytes(b"")  # the name that the list then has
    mapped.refuse_cut("inputs", array)
    assert way == "not listed" or mapped.file_of(array) is None
    assert not mapped.in_use(f"{path} (deleted)")


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("way_in", ["net", "predict", "accuracy", "step", "fit", "test", "evaluate"])
@pytest.mark.parametrize("view", [lambda x: x, lambda x: x.swapaxes(1, 2)], ids=["as it is", "flattened by a copy"])
def test_no_way_in_touches_what_is_cut_off(part, way_in, view, tmp_path):
    x, t = np.random.default_rng(0).normal(size=(20_000, 2, 2)), np.arange(20_000) % 2
    for name, array in (("x.npy", x), ("t.npy", t)):
        np.save(tmp_path / name, array)
    data = [np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "t.npy")]
    data[0] = view(data[0])
    os.truncate(tmp_path / ("x.npy", "t.npy")[part], 200)
    net = nn.Sequential(nn.Linear(4, 2), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    if part and way_in in ("net", "predict"):
        assert len(net(data[0])) == len(x)
        return
    with pytest.raises(ValueError, match=f"{('inputs', 'targets')[part]} are mapped from the file .*cut short since"):
        {
            "net": lambda: net(data[0]),
            "predict": lambda: net.predict(data[0]),
            "accuracy": lambda: net.accuracy(*data),
            "step": lambda: trainer.step(*data),
            "fit": lambda: trainer.fit(tuple(data), 1, 64),
            "test": lambda: trainer.fit((x, t), 1, 64, test=tuple(data)),
            "evaluate": lambda: trainer.evaluate(tuple(data)),
        }[way_in]()
    assert not trainer.history
