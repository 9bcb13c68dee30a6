"""numnet.datasets.idx: reading and writing the IDX format."""

import bz2
import gzip
import io
import itertools
import lzma
import math
import os
import pickle
import re
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
import matplotlib.pyplot
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import numnet as nn
from numnet.datasets import IdxError, idx, read_idx, write_idx

from .. import fuzz_idx
from ..faults import Fault

TYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
EXAMPLE = bytes.fromhex("00 00 0b 02  00 00 00 02  00 00 00 03  00 01 00 02 00 03  ff ff 80 00 7f ff")
EXAMPLE_ARRAY = np.array([[1, 2, 3], [-1, -32768, 32767]], dtype=np.int16)

arrays = hnp.arrays(
    st.sampled_from(TYPES).flatmap(lambda name: st.sampled_from([np.dtype(name), np.dtype(name).newbyteorder()])),
    hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
)
in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def read(data: bytes) -> NDArray[Any]:
    return read_idx(io.BytesIO(data))


def write(array: Any) -> bytes:
    file = io.BytesIO()
    write_idx(file, array)
    return file.getvalue()


@given(array=arrays, packed=st.booleans(), opened=st.booleans(), transposed=st.booleans())
@in_folder
def test_what_was_written_is_read(
    tmp_path: Path, array: NDArray[Any], packed: bool, opened: bool, transposed: bool
) -> None:
    array = array.T if transposed else array
    path = tmp_path / ("array.gz" if packed else "array")
    if opened:
        with gzip.open(path, "wb") if packed else open(path, "wb", buffering=0) as file:
            write_idx(file, array)  # type: ignore[arg-type]
        with open(path, "rb", buffering=0) as file:
            result = read_idx(file)
            assert not file.closed
    else:
        write_idx(path, array)
        result = read_idx(str(path))
    assert path.read_bytes().startswith(b"\x1f\x8b") == packed
    assert result.shape == array.shape
    assert result.dtype == array.dtype.newbyteorder("=")
    assert result.dtype.isnative
    assert result.flags.writeable
    assert result.flags.c_contiguous
    assert result.tobytes() == array.astype(result.dtype).tobytes()


@given(array=arrays)
def test_the_bytes_are_the_header_and_the_big_endian_elements(array: NDArray[Any]) -> None:
    code = {"u1": 8, "i1": 9, "i2": 0xB, "i4": 0xC, "f4": 0xD, "f8": 0xE}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    assert write(array) == header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(data=st.binary(max_size=64), start=st.sampled_from([b"", b"\0\0", b"\x1f\x8b"]))
@in_folder
def test_any_bytes_give_what_a_naive_parser_gives(tmp_path: Path, data: bytes, start: bytes) -> None:
    fuzz_idx.check(start + data, tmp_path)


def test_the_fuzzers_first_files_give_what_a_naive_parser_gives(tmp_path: Path) -> None:
    for seed in fuzz_idx.seeds():
        for content in (seed, fuzz_idx.mended(seed)):
            fuzz_idx.check(content, tmp_path)
            fuzz_idx.check_memory(content, tmp_path)


DIGITS = [
    (Path(idx.__file__).parent / f"data/digits-{name}-ubyte.gz").read_bytes() for name in ("images-idx3", "labels-idx1")
]
places, lengths = (st.integers(0, 12) | st.integers(0, most) for most in (1 << 17, 1 << 12))


@given(
    data=st.sampled_from([EXAMPLE, gzip.compress(EXAMPLE), *DIGITS, *map(gzip.decompress, DIGITS)]),
    changes=st.lists(st.tuples(places, lengths, st.binary(max_size=8)), min_size=1, max_size=4),
)
@in_folder
def test_a_mutated_file_gives_what_a_naive_parser_gives(
    tmp_path: Path, data: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    for place, length, new in changes:
        place %= len(data) + 1
        data = data[:place] + new + data[place + length :]
    fuzz_idx.check(data, tmp_path)
    fuzz_idx.check_memory(data, tmp_path)


@given(position=st.integers(0, len(gzip.compress(EXAMPLE, mtime=0)) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_gzipped_file_is_an_idx_error_or_harmless(position: int, bit: int) -> None:
    data = bytearray(gzip.compress(EXAMPLE, mtime=0))
    data[position] ^= 1 << bit
    try:
        array = read(bytes(data))
    except IdxError:
        return
    assert (array == EXAMPLE_ARRAY).all()


def test_a_file_written_by_hand() -> None:
    result = read(EXAMPLE)
    assert result.dtype == np.int16
    assert result.tolist() == EXAMPLE_ARRAY.tolist()
    assert write(EXAMPLE_ARRAY) == EXAMPLE


MEMBERS = gzip.compress(EXAMPLE[:9]) + gzip.compress(EXAMPLE[9:])


@pytest.mark.parametrize("whole", [EXAMPLE, gzip.compress(EXAMPLE), MEMBERS], ids=["plain", "gzipped", "two members"])
def test_a_file_cut_anywhere_is_an_idx_error(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "array"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        for source, mode in ((io.BytesIO(whole[:size]), None), (path, None), (path, "r")):
            with pytest.raises(IdxError, match=r"(given file|array): "):
                read_idx(source, mmap_mode=mode)  # type: ignore[arg-type]


def header(shape: tuple[int, ...], code: int = 8) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


FAULTS = {
    "empty file": (b"", "ends after 0 bytes, an IDX header has at least 4.*again"),
    "wrong magic number": (
        b"\0\1" + EXAMPLE[2:],
        r"not an IDX file: it starts with the bytes 00 01 0b 02, an IDX file with 00 00\. .*again",
    ),
    "unknown element type": (
        header((0,), 0x0A),
        r"code 0x0a, not one of 0x08 \(uint8\), .*, 0x0e \(float64\).*again",
    ),
    "cut in the magic number": (EXAMPLE[:3], r"ends after 3 bytes, an IDX header has at least 4.*again"),
    "cut in the sizes": (EXAMPLE[:11], r"ends after 11 bytes, its header of 2 dimensions has 12.*again"),
    "cut in the data": (
        EXAMPLE[:-1],
        r"ends after 11 bytes of data, its header claims 12 bytes: \(2, 3\) of int16.*again",
    ),
    "cut after an image": (
        header((5, 2, 3)) + bytes(18),
        r"ends after 18 bytes of data, its header claims 30 bytes.* for the shape 3 x 2 x 3\. If .*otherwise .*again",
    ),
    "bytes after the data": (
        EXAMPLE + b"\0",
        r"goes on after its data, its header claims 12 bytes: \(2, 3\) of int16\. There are 13 bytes\. .*again",
    ),
    "a dimension too few": (
        header((219, 64, 64)) + bytes(219 * 64 * 64 * 3),
        r"claims 897024 bytes.* 2691072 bytes, 3 times as many: is a dimension missing, 219 x 64 x 64 x 3\? np",
    ),
    "a dimension too few, or elements too short": (
        header((9, 2, 3)) + bytes(9 * 2 * 3 * 4),
        "4 times as many: is a dimension missing, 9 x 2 x 3 x 4, or does each element have 4 bytes.*reads the file so",
    ),
    "more images than claimed": (
        header((5, 2, 3)) + bytes(42),
        r"There are 42 bytes, enough for the shape 7 x 2 x 3\. If the header is wrong",
    ),
    "no images claimed": (
        header((0, 2, 3)) + bytes(42),
        r"claims 0 bytes.* There are 42 bytes, enough for the shape 7 x 2 x 3\. If the header",
    ),
    "little-endian sizes": (
        bytes.fromhex("00 00 08 01  84 03 00 00") + bytes(900),
        r"claims 2214789120 bytes.* Its sizes are little-endian, 900, which fits its data: np\.fromfile",
    ),
    "little-endian sizes, beyond any memory": (
        bytes.fromhex("00 00 08 03  84 03 00 00  02 00 00 00  03 00 00 00") + bytes(5400),
        r"NumPy cannot hold .* Its sizes are little-endian, 900 x 2 x 3, which fits its data: np\.fromfile",
    ),
    "a little-endian header": (
        bytes.fromhex("02 0b 00 00  02 00 00 00  03 00 00 00") + EXAMPLE[12:],
        r"not an IDX file, since its header is little-endian\. Its sizes are little-endian, 2 x 3, which fits its data",
    ),
    "255 dimensions": (
        header((1,) * 255) + b"7",
        r"NumPy cannot hold an array of 255 dimensions \(1, 1, 1, 1, 1, 1, \.\.\.\).*again",
    ),
    "sizes that overflow": (header(((1 << 32) - 1,) * 3) + bytes(4), "NumPy cannot hold an array of 3 dimensions"),
    "sizes that overflow to 0": (header((1 << 16,) * 4), "NumPy cannot hold an array of 4 dimensions"),
    "sizes that overflow, and one of 0": (
        header((0, (1 << 32) - 1, (1 << 32) - 1)),
        "NumPy cannot hold an array of 3 dimensions",
    ),
    "many dimensions, and no data": (
        header((1,) * 32),
        r"ends after 0 bytes of data, its header claims 1 .*: \(1, 1, 1, 1, 1, 1, \.\.\.\) of uint8\. The file is dam",
    ),
    "terabytes claimed": (
        header((1 << 20, 1 << 20)) + bytes(8),
        r"ends after 8 bytes of data, its header claims 1099511627776 bytes: \(1048576, 1048576\) of uint8.*again",
    ),
    "terabytes claimed, gzipped": (gzip.compress(header((1 << 20, 1 << 20)) + bytes(8)), "ends after 8 bytes of data"),
    "gzipped, nothing": (gzip.compress(b""), "ends after 0 bytes, an IDX header has at least 4.*again"),
    "gzipped, cut": (gzip.compress(EXAMPLE)[:-9], "gzipped, but does not unpack.*again"),
    "gzipped, damaged": (
        gzip.compress(EXAMPLE)[:10] + b"\7" + gzip.compress(EXAMPLE)[11:],
        "gzipped, but does not unpack.*again",
    ),
    "gzipped, wrong checksum": (
        gzip.compress(EXAMPLE)[:-8] + bytes(8),
        r"gzipped, but does not unpack \(CRC check failed.*again",
    ),
    "gzipped, wrong length": (gzip.compress(EXAMPLE)[:-4] + bytes(4), "gzipped, but does not unpack.*again"),
    "gzipped, unknown method": (b"\x1f\x8b\x09" + gzip.compress(EXAMPLE)[3:], "gzipped, but does not unpack.*again"),
    "gzipped, more after it": (gzip.compress(EXAMPLE) + b"more", r"gzipped, but does not unpack.*again"),
    "gzipped, a second array after it": (gzip.compress(EXAMPLE) * 2, "goes on after its data"),
    "gzipped, only the first of two members": (gzip.compress(EXAMPLE[:9]), "ends after 9 bytes, its header"),
    "gzipped, unpacks to far more": (
        gzip.compress(EXAMPLE + bytes(10_000_000)),
        r"goes on after its data.* of int16\. The file is damaged .*again",
    ),
}


def zipped() -> bytes:
    """Return a zip archive that holds the example."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("name", EXAMPLE)
    return file.getvalue()


def tarred() -> bytes:
    """Return a tar archive that holds the example."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("name")
        member.size = len(EXAMPLE)
        archive.addfile(member, io.BytesIO(EXAMPLE))
    return file.getvalue()


def saved_by(save: Any, *args: Any, **options: Any) -> bytes:
    """Return what a function writes into a file."""
    file = io.BytesIO()
    save(file, *args, **options)
    return file.getvalue()


TABLE = EXAMPLE_ARRAY.astype(float)
PICTURE = np.array([[0, 255], [255, 0]], np.uint8)


def picture(format: str) -> bytes:
    return saved_by(matplotlib.image.imsave, PICTURE, format=format, cmap="gray")


# What a file is: its content, the words for it and, if one call opens it, what that call gives.
KINDS: dict[str, tuple[bytes, str, Any]] = {
    "web page": (
        b"\n<!DOCTYPE html><html>404</html>",
        r"a web page \(HTML or XML\): open it in a browser.*again",
        None,
    ),
    "web page, of a store": (b"<?xml version='1.0'?><Error/>", r"a web page \(HTML or XML\)", None),
    "text": (b"404: Not Found", "text that begins with '404: Not Found': open it in an editor.*again", None),
    "text, that ends with the name of a file": (
        b"the images of the digits and their labels are in images.npy and in labels.npy",
        "text that begins with 'the images of the digits and their label': ",
        None,
    ),
    "text, after empty lines": (b"\n \n404: Not Found", "text that begins with '404: Not Found': ", None),
    "text, of one word": (b"eXample", "text that begins with 'eXample': ", None),
    "text, with commas": (
        b"Sorry, there is no such file",
        "text that begins with 'Sorry, there is no such file': ",
        None,
    ),
    "text, in JSON without spaces": (b'{"status":404,"ok":0}', "text that begins with ", None),
    "text, a list in JSON": (b"[1,2,3]", r"text that begins with '\[1,2,3\]': ", None),
    "text, in JSON": (b'{"message":"Not Found","status":"404"}', "text that begins with ", None),
    "xz": (lzma.compress(EXAMPLE), "a file compressed by xz: read_idx", EXAMPLE_ARRAY),
    "bzip2": (bz2.compress(EXAMPLE), "a file compressed by bzip2: read_idx", EXAMPLE_ARRAY),
    "zip": (zipped(), "a zip archive: read_idx", EXAMPLE_ARRAY),
    "tar": (tarred(), "a tar archive: read_idx", EXAMPLE_ARRAY),
    "npz": (saved_by(np.savez, x=TABLE), r"arrays saved by NumPy \(npz\)", {"x": TABLE}),
    "npz, of an array without a name": (
        saved_by(np.savez, **{"": TABLE}),
        r"arrays saved by NumPy \(npz\)",
        {"": TABLE},
    ),
    "npz, compressed": (saved_by(np.savez_compressed, x=TABLE), r"arrays saved by NumPy \(npz\)", {"x": TABLE}),
    "npy": (saved_by(np.save, TABLE), r"an array saved by NumPy \(npy\)", TABLE),
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:440f\nsize 9912422\n",
        "a Git LFS pointer: `git lfs pull` in its repository gets the file",
        None,
    ),
    "pickle": (pickle.dumps([1, 2]), "a pickle: .* runs the code in it, so .* trust", [1, 2]),
    **{
        f"pickle, protocol {protocol}": (
            pickle.dumps([1, 2], protocol),
            "a pickle: .*and runs the code in it, so .* trust",
            [1, 2],
        )
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
    "CSV": (b"1,2,3\n-1,-32768,32767\n", r"a table of text \(CSV\)", TABLE),
    "CSV, with names": (b'"label",pixel0,pixel1\r\n1,2,3\r\n-1,-32768,32767', r"a table of text \(CSV\)", TABLE),
    "CSV, with spaces": (b" 1.0, 2, 3\n-1, -32768, 32767", r"a table of text \(CSV\)", TABLE),
    "CSV, with semicolons": (b"1;2;3\n-1;-32768;32767", r"a table of text \(CSV\)", TABLE),
    "CSV, with tabs": (b"\xef\xbb\xbflabel\tx\ty\n1\t2\t3\n-1\t-32768\t32767", r"a table of text \(CSV\)", TABLE),
    **{
        f"{name} picture": (picture(name.lower()), rf"a picture \({name}\)", PICTURE) for name in ("PNG", "JPEG", "GIF")
    },
}


def hinted(error: Exception, path: Path) -> Any:
    """Do what the message says that reads the file."""
    (call,) = re.findall(r"[:?,] ([a-z_]+[.(](?:[^ ]|, | \d)*\)) reads ", str(error))
    return eval(call, globals() | {"path": path, "name": "name"})


leaves_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@leaves_open
@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_another_kind_is_named_and_the_hint_opens_it(
    tmp_path: Path, name: str, gzipped: bool, fault: Fault
) -> None:
    data, words, expected = KINDS[name]
    path = tmp_path / "digits-idx"
    path.write_bytes(gzip.compress(data) if gzipped else data)
    with pytest.raises(IdxError, match=f"{re.escape(str(path))}: not an IDX file but {words}") as raised:
        read_idx(path)
    if expected is None:
        assert " reads " not in str(raised.value)
    elif "picture" in name:
        opened = hinted(raised.value, path).reshape(2, 2, -1)[..., 0].astype(float)
        np.testing.assert_array_equal(np.rint(opened / opened.max()), expected / 255)
    else:
        opened = hinted(raised.value, path)
        np.testing.assert_equal(dict(opened) if isinstance(expected, dict) else opened, expected)
    if not gzipped and "," not in name:  # a comma: another case of the same
        fault("IDX files", name, raised.value, "the file, as it was")


def test_a_matlab_file_is_named_and_the_hint_opens_it(tmp_path: Path) -> None:
    global scipy
    scipy = pytest.importorskip("scipy")
    pytest.importorskip("scipy.io")
    path = tmp_path / "emnist.mat"
    scipy.io.savemat(path, {"x": TABLE})
    with pytest.raises(IdxError, match="not an IDX file but a MATLAB file: ") as raised:
        read_idx(path)
    np.testing.assert_array_equal(hinted(raised.value, path)["x"], TABLE)


@leaves_open
def test_an_idx_file_gzipped_twice_is_named_and_the_hint_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "array.gz.gz"
    path.write_bytes(gzip.compress(gzip.compress(EXAMPLE)))
    with pytest.raises(IdxError, match="not an IDX file but a file that was gzipped twice: ") as raised:
        read_idx(path)
    np.testing.assert_array_equal(hinted(raised.value, path), EXAMPLE_ARRAY)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_another_kind_that_is_cut_is_an_idx_error(name: str) -> None:
    for size in range(60):
        with pytest.raises(IdxError, match="given file: "):
            read(KINDS[name][0][:size])


@pytest.mark.parametrize("first", ["-1", "+.5e3", "0"])
def test_a_first_number_of_a_table_is_no_name(first: str) -> None:
    with pytest.raises(IdxError, match=r"np\.loadtxt\(path, delimiter=','\) reads it"):
        read(f"{first},2\n".encode())


@pytest.mark.parametrize("data", [b"  \n\t", b"text\0", b"a\0text", b"\xef\xbb\xbf \n"])
def test_what_is_blank_or_not_quite_text_is_shown_in_bytes(data: bytes) -> None:
    with pytest.raises(IdxError, match=f"it starts with the bytes {data[:4].hex(' ')}, an IDX file with 00 00"):
        read(data)


@given(start=st.binary(min_size=1, max_size=64))
def test_what_is_unknown_is_shown_in_bytes(start: bytes) -> None:
    data = b"\xf7" + start
    with pytest.raises(IdxError, match=f"it starts with the bytes {data[:4].hex(' ')}, an IDX file with 00 00"):
        read(data)


def test_what_only_looks_like_a_little_endian_header_is_shown_in_bytes() -> None:
    for code, ndim in itertools.product(range(1, 256), range(3)):
        with pytest.raises(IdxError, match=r"an IDX file with 00 00\.|is little-endian") as raised:
            read(bytes([ndim, code, 0, 0]) + bytes([1, 0, 0, 0]) * ndim + bytes(8))
        assert ("little-endian" in str(raised.value)) == (code == 0x0E and ndim > 0)  # eight bytes are one float64
    for data in b"\2\x08\0\0", b"\2\x08\0\0\1\0\0", b"\2\x08\0\0\1\0\0\0\1", b"\1\x08\0\0\0\0\0\0":  # cut, or empty
        with pytest.raises(IdxError, match=r"starts with the bytes 0[12] 08 00 00, an IDX file with 00 00\."):
            read(data)


@given(array=arrays.filter(lambda array: array.ndim and array.size), magic=st.booleans(), gzipped=st.booleans())
@in_folder
def test_a_little_endian_file_is_told_and_the_hint_reads_it(
    tmp_path: Path, array: NDArray[Any], magic: bool, gzipped: bool
) -> None:
    start = write(array)[: 4 + 4 * array.ndim]
    sizes = np.frombuffer(start[4:], ">u4").astype("<u4").tobytes()
    data = (start[3::-1] if magic else start[:4]) + sizes + array.astype(array.dtype.newbyteorder("<")).tobytes()
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(data) if gzipped else data)
    with pytest.raises(IdxError, match="Its sizes are little-endian, ") as raised:
        read_idx(path)
    np.testing.assert_array_equal(hinted(raised.value, path), array)


@given(
    array=arrays.filter(lambda array: array.size),
    more=st.sampled_from([2, 4, 8]) | st.integers(2, 256),
    gzipped=st.booleans(),
)
@example(array=np.zeros(3, np.uint8), more=256, gzipped=True)
@in_folder
def test_a_missing_dimension_is_told_and_the_hint_reads_the_file(
    tmp_path: Path, array: NDArray[Any], more: int, gzipped: bool
) -> None:
    whole = np.repeat(array[..., None], more, axis=-1)
    data = write(array)[: 4 + 4 * array.ndim] + whole.astype(array.dtype.newbyteorder(">")).tobytes()
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(data) if gzipped else data)
    width = more * array.itemsize
    told = f"{whole.nbytes} bytes, {more} times as many: is a dimension missing, {' x '.join(map(str, whole.shape))}"
    told += f", or does each element have {width} bytes" if width in (2, 4, 8) else ""
    with pytest.raises(IdxError, match=rf"{told}\? np\.") as raised:
        read_idx(path)
    np.testing.assert_array_equal(hinted(raised.value, path), whole)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((3, 1, 2, 1, 1, 1, 1, 2), "3 x 1 x 2 x 1 x ... x 2 x 5? np"),
        ((3, 1, 2, 1, 1, 1, 2), "3 x 1 x 2 x 1 x 1 x 1 x 2 x 5? np"),
    ],
)
def test_of_many_dimensions_the_first_four_and_the_last_two_are_told(shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(IdxError, match=f"is a dimension missing, {re.escape(told)}"):
        read(header(shape) + bytes(math.prod(shape) * 5))


@pytest.mark.parametrize("name", FAULTS)
def test_the_error_says_what_is_wrong_and_what_to_do(tmp_path: Path, name: str, fault: Fault) -> None:
    data, message = FAULTS[name]
    path = tmp_path / "digits-idx"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(IdxError, match=f"{re.escape(str(path))}: .*{message}") as raised:
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < max(1 << 20, len(data))
    finally:
        tracemalloc.stop()
    with pytest.raises(IdxError, match="digits-idx: ") as mapped:
        read_idx(path, mmap_mode="r")
    assert str(mapped.value) == str(raised.value) or data.startswith(b"\x1f\x8b")
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["digits-idx"]
    told = re.sub(r"(unpack|[)]) \(.*?\)\.", r"\1 (…).", str(raised.value))  # in words that are not ours
    fault("IDX files", name, f"IdxError: {told}", "the file, as it was")


def test_an_open_file_is_told_of_as_its_path_and_a_pipe_without_its_length(tmp_path: Path) -> None:
    data, message = FAULTS["more images than claimed"]
    path = tmp_path / "digits-idx"
    path.write_bytes(data)
    for buffering in -1, 0:
        with open(path, "rb", buffering=buffering) as file, pytest.raises(IdxError, match=f"digits-idx: .*{message}"):
            read_idx(file)
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    with (
        open(reading, "rb") as pipe,
        pytest.raises(IdxError, match=r"goes on after its data.* uint8\. The file is dam"),
    ):
        read_idx(pipe)


class OnlyRead:
    """A file that can be read once, and nothing else."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def test_a_file_needs_nothing_but_read() -> None:
    assert read_idx(OnlyRead(EXAMPLE)).tolist() == EXAMPLE_ARRAY.tolist()  # type: ignore[arg-type]
    for data in FAULTS["more images than claimed"][0], FAULTS["cut in the data"][0], header((5, 0, 3)) + bytes(7):
        with pytest.raises(IdxError, match=r"(goes on|ends) after .* claims .*\. The file is damaged or incomplete"):
            read_idx(OnlyRead(data))  # type: ignore[arg-type]


def test_rows_of_no_number_fit_no_data() -> None:
    with pytest.raises(IdxError, match=r"goes on after its data, its header claims 0 bytes: .*\. The file is damaged"):
        read(header((5, 0, 3)) + bytes(7))


def test_no_more_is_read_than_the_claim_and_one_byte_in_pieces() -> None:
    file = io.BytesIO()
    write_idx(file, np.zeros(3 << 19, np.uint8))
    claimed = file.tell()
    file.write(bytes(1 << 20))
    file.seek(0)
    with pytest.raises(IdxError, match="goes on after"):
        read_idx(file)
    assert file.tell() == claimed + 1


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Files' permissions do not bind root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except PermissionError:
        pytest.skip("root, whom permissions do not bind, and who may not become another user here")
    try:
        if not os.access(nn.__file__, os.R_OK, effective_ids=True):
            pytest.skip("numnet is in a folder that is closed to another user")
        yield
    finally:
        os.seteuid(0)


def test_a_missing_file_stays_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.gz"):
        read_idx(tmp_path / "nothing.gz")


@pytest.mark.parametrize("mode", [None, "r"])
def test_a_folder_is_an_os_error(tmp_path: Path, mode: Any) -> None:
    with pytest.raises((IsADirectoryError, PermissionError), match=re.escape(tmp_path.name)):
        read_idx(tmp_path, mmap_mode=mode)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_a_file_without_permission_stays_a_permission_error(tmp_path: Path) -> None:
    path = tmp_path / "array"
    write_idx(path, EXAMPLE_ARRAY)
    path.chmod(0)
    with an_ordinary_user(), pytest.raises(PermissionError, match="array"):
        read_idx(path)


@pytest.mark.parametrize("path", [b"array", EXAMPLE, None, 3, io.StringIO()], ids=lambda path: type(path).__name__)
def test_what_is_no_path_and_no_binary_file_is_refused(path: Any) -> None:
    for call in (read_idx, lambda path: write_idx(path, EXAMPLE_ARRAY)):
        with pytest.raises(
            ValueError, match=f"_idx: path is of type {type(path).__name__}, expected.*fsdecode.*BytesIO"
        ):
            call(path)


@pytest.mark.parametrize("code", fuzz_idx.TYPES)
def test_every_number_of_dimensions_that_numpy_has(code: int) -> None:
    name, size = fuzz_idx.TYPES[code]
    for ndim in range(256):
        for side in (0, 1):
            shape = (side,) * ndim
            data = header(shape, code) + bytes(size * side**ndim)
            if ndim <= fuzz_idx.MAX_DIMS:
                array = read(data)
                assert (array.shape, array.dtype.name) == (shape, name)
                assert write(array) == data
            else:
                with pytest.raises(IdxError, match=f"NumPy cannot hold an array of {ndim} dimensions"):
                    read(data)


def test_a_size_of_0_next_to_the_largest() -> None:
    shape = (0, (1 << 32) - 1)
    assert read(header(shape)).shape == shape


def test_gzipped_files_may_have_several_members() -> None:
    empty = gzip.compress(b"")
    for split in range(len(EXAMPLE) + 1):
        parts = gzip.compress(EXAMPLE[:split]), gzip.compress(EXAMPLE[split:])
        for between in (b"", empty, bytes(9)):  # gzip lets zeros follow a member, as the end of a tape's block
            data = between.join(parts)
            assert (read(data + between) == EXAMPLE_ARRAY).all()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("claim", [1 << 31, (1 << 32) - 1])
def test_a_claim_takes_no_memory_before_its_bytes_are_there(packed: bool, claim: int) -> None:
    data = b"\0\0\x0e\x01" + claim.to_bytes(4, "big") + bytes(1000)
    file = io.BytesIO(gzip.compress(data) if packed else data)
    tracemalloc.start()
    try:
        with pytest.raises(IdxError, match="ends after 1000 bytes of data"):
            read_idx(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("kind", "times"), [(np.int32, 2.3), (np.uint8, 1.3)])
def test_reading_takes_little_more_than_twice_the_memory_of_the_array(kind: type, times: float) -> None:
    array = np.arange(2_500_000).astype(kind)
    file = io.BytesIO(write(array))
    tracemalloc.start()
    try:
        result = read_idx(file)
        assert tracemalloc.get_traced_memory()[1] < times * array.nbytes
    finally:
        tracemalloc.stop()
    assert (result == array).all()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_no_more_is_read_than_the_claim_and_one_byte(packed: bool) -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    data = EXAMPLE + bytes(100_000_000 if packed else 100_000)
    file = Counting(gzip.compress(data, 1) if packed else data)
    with pytest.raises(IdxError, match="goes on after"):
        read_idx(file)
    assert file.count == len(EXAMPLE) + 1 or (packed and file.count < len(file.getvalue()) / 2)


@pytest.mark.parametrize("name", ["bool", "uint16", "int64", "float16", "complex64", "U3", "O", "M8[s]", "i4,i4"])
def test_a_type_that_the_format_lacks_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "array"
    path.write_bytes(EXAMPLE)
    with pytest.raises(IdxError, match=r"uint8.*int8.*int16.*int32.*float32.*float64.*astype") as info:
        write_idx(path, np.zeros(3, dtype=name))
    assert str(np.dtype(name)) in str(info.value)
    assert path.read_bytes() == EXAMPLE
    assert os.listdir(tmp_path) == ["array"]


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^write_idx: array must be an array, but NumPy makes none of this set"):
        write({1})
    assert write([[1.5]]) == write(np.array([[1.5]]))


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "empty file"])  # of which nothing is lost
def test_a_file_that_is_no_whole_idx_file_is_replaced_only_if_asked(tmp_path: Path, name: str) -> None:
    path = tmp_path / "array"
    path.write_bytes(FAULTS[name][0])
    with pytest.raises(FileExistsError, match="array is there already, and is no IDX file"):
        write_idx(path, EXAMPLE_ARRAY)
    assert path.read_bytes() == FAULTS[name][0]
    write_idx(path, EXAMPLE_ARRAY, overwrite=True)
    assert path.read_bytes() == EXAMPLE


@pytest.mark.parametrize(
    "data", [EXAMPLE, gzip.compress(EXAMPLE, mtime=0), header((0, 3))], ids=["plain", "gzipped", "empty"]
)
def test_a_whole_idx_file_is_replaced(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "array").write_bytes(data)
    write_idx(tmp_path / "array", EXAMPLE_ARRAY + 1)
    assert read_idx(tmp_path / "array").tolist() == (EXAMPLE_ARRAY + 1).tolist()


@pytest.mark.skipif(sys.maxsize < 1 << 33, reason="a size of 2**32 needs a 64-bit machine")
def test_a_size_that_the_format_lacks_is_refused() -> None:
    with pytest.raises(IdxError, match=r"below 2\*\*32"):
        write(np.broadcast_to(np.uint8(0), (1, 1 << 32)))


def test_the_same_array_gives_the_same_gzipped_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "one.gz", EXAMPLE_ARRAY)
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_idx(tmp_path / "two.gz", EXAMPLE_ARRAY)
    data = (tmp_path / "one.gz").read_bytes()
    assert data == (tmp_path / "two.gz").read_bytes()
    assert data[3:8] == bytes(5)  # no flags, so no file name; no time
    assert gzip.decompress(data) == EXAMPLE


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "array"
    write_idx(path, np.zeros(3, dtype=np.uint8))
    before = path.read_bytes()

    def fail(_: int) -> None:
        assert path.read_bytes() == before
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(KeyboardInterrupt):
            write_idx(path, EXAMPLE_ARRAY)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["array"]
    write_idx(path, EXAMPLE_ARRAY)
    assert path.read_bytes() == EXAMPLE
    assert os.listdir(tmp_path) == ["array"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_idx(tmp_path / "array", EXAMPLE_ARRAY)
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "array").stat().st_mode == (tmp_path / "other").stat().st_mode


@given(array=arrays, mode=st.sampled_from(["r", "r+", "c"]), kind=st.sampled_from([str, Path]))
@in_folder
def test_a_mapped_file_is_the_file_read(tmp_path: Path, array: NDArray[Any], mode: Any, kind: type) -> None:
    path = kind(tmp_path / "array")
    write_idx(path, array)
    mapped, expected = read_idx(path, mmap_mode=mode), read_idx(path)
    np.testing.assert_array_equal(mapped, expected)
    assert mapped.shape == expected.shape
    assert mapped.dtype.newbyteorder("=") == expected.dtype
    assert isinstance(mapped, np.memmap) == (array.size > 0)
    if array.size:
        assert mapped.flags.writeable == (mode != "r")


@pytest.mark.parametrize(
    "data", [EXAMPLE[:-1], EXAMPLE + b"\0", EXAMPLE[:7], gzip.compress(EXAMPLE, mtime=0), b"<html>"]
)
def test_a_file_that_cannot_be_mapped_is_an_idx_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "array").write_bytes(data)
    with pytest.raises(IdxError, match=r"array: .*(ends after|goes on|gzipped.* Unpack|web page)"):
        read_idx(tmp_path / "array", mmap_mode="r")


def test_mapping_takes_no_memory_for_the_data(tmp_path: Path) -> None:
    path = tmp_path / "array"
    write_idx(path, np.zeros((1000, 1000), np.uint8))
    tracemalloc.start()
    try:
        mapped = read_idx(path, mmap_mode="r")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert mapped.shape == (1000, 1000)
    assert peak < 100_000


@pytest.mark.parametrize(("where", "mode"), [("path", "w+"), ("path", "x"), ("path", ""), ("file", "r")])
def test_mapping_needs_a_path_and_a_mode_that_numpy_load_has(tmp_path: Path, where: str, mode: Any) -> None:
    path = tmp_path / "array"
    path.write_bytes(EXAMPLE)
    with pytest.raises(ValueError, match="mmap_mode"):
        read_idx(path if where == "path" else io.BytesIO(EXAMPLE), mmap_mode=mode)
    assert path.read_bytes() == EXAMPLE
