"""Fuzz read_idx: every input, read in every way, gives what an independent, naive parser says, within bounded memory.

Run by hand, with atheris in the environment and, if wanted, a folder for the inputs that reach new code:

    pip install atheris
    python -m tests.fuzz_idx [-runs=1000000] [-max_len=2048] [folder ...]

The options are libFuzzer's. An input is the content of a file, which is read as it is and cut or filled to what its
header claims; plain, gzipped and gzipped as two members; as an open file, by its path and mapped. The first exception
that is not IdxError, array that is not the naive parser's, or use of much more memory than the file has bytes ends the
run, and writes the input to a file; ``python -m tests.fuzz_idx that-file`` repeats it.
"""

import contextlib
import gzip
import importlib
import io
import math
import os
import sys
import tempfile
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numnet.datasets import diagnosis, idx

TYPES = {8: ("uint8", 1), 9: ("int8", 1), 11: ("int16", 2), 12: ("int32", 4), 13: ("float32", 4), 14: ("float64", 8)}
MAX_DIMS = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
Parsed = tuple[str, tuple[int, ...], bytes]


def parse(content: bytes) -> Parsed | None:
    """What a plain or gzipped file holds: type, shape and elements in native byte order; None if it is not IDX."""
    try:
        return parse_plain(unpack(content) if content[:2] == b"\x1f\x8b" else content)
    except (IndexError, ValueError, zlib.error):
        return None


def parse_plain(content: bytes) -> Parsed:
    zero, also_zero, code, ndim = content[:4]
    if zero or also_zero or code not in TYPES:
        raise ValueError("magic")
    name, size = TYPES[code]
    shape = []
    for i in range(ndim):
        a, b, c, d = content[4 + 4 * i : 8 + 4 * i]
        shape.append(((a * 256 + b) * 256 + c) * 256 + d)
    room = count = size
    for side in shape:
        count *= side
        room *= side or 1
    data = content[4 + 4 * ndim :]
    if len(data) != count or ndim > MAX_DIMS or room > sys.maxsize:
        raise ValueError("size")
    native = bytearray(count)
    for i in range(size):
        native[size - 1 - i if sys.byteorder == "little" else i :: size] = data[i::size]
    return name, tuple(shape), bytes(native)


def unpack(content: bytes) -> bytes:
    """Unpack the members by RFC 1952; as gzip does, let zeros follow a member and do not check a header's sum."""
    data = b""
    while content:
        if content[:3] != b"\x1f\x8b\x08":
            raise ValueError("member")
        flags, end = content[3], 10
        if flags & 4:
            end += 2 + content[end] + 256 * content[end + 1]
        for flag in (8, 16):
            if flags & flag:
                end = content.index(0, end) + 1
        if flags & 2:
            end += 2
        inflate = zlib.decompressobj(-15)
        member = inflate.decompress(content[end:])
        ending = inflate.unused_data[:8]
        if ending != zlib.crc32(member).to_bytes(4, "little") + (len(member) % (1 << 32)).to_bytes(4, "little"):
            raise ValueError("sum")
        data += member
        content = inflate.unused_data[8:].lstrip(b"\0")
    return data


def pack(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def expect(content: bytes) -> dict[str, Parsed | None]:
    """What each call of `read_all` should give."""
    given = parse(content)
    plain = None if content[:2] == b"\x1f\x8b" else given  # gzipped twice is not IDX
    packed = dict.fromkeys(["packed", "members", "packed path", "mapped"], plain)
    return {"given": given, "path": given, "packed mapped": None} | packed


def read_all(content: bytes, folder: Path) -> dict[str, Parsed | None]:
    """Read a file with that content in every way."""
    half = len(content) // 2
    path, packed = folder / "plain", folder / "packed"
    path.write_bytes(content)
    packed.write_bytes(pack(content))
    return {
        "given": read(io.BytesIO(content)),
        "packed": read(io.BytesIO(pack(content))),
        "members": read(io.BytesIO(pack(content[:half]) + pack(content[half:]))),
        "path": read(path),
        "packed path": read(str(packed)),
        "mapped": read(path, mmap_mode="r"),
        "packed mapped": read(packed, mmap_mode="r"),
    }


def read(*args: Any, **options: Any) -> Parsed | None:
    try:
        array = idx.read_idx(*args, **options)
    except idx.IdxError:
        return None
    return array.dtype.name, array.shape, array.astype(array.dtype.newbyteorder("=")).tobytes()


def check(content: bytes, folder: Path) -> bool:
    """Compare `read_idx` with the parser above; return whether the content is IDX."""
    expected = expect(content)
    for way, result in read_all(content, folder).items():
        assert result == expected[way], f"{way}: {result} is not {expected[way]}"
    return expected["given"] is not None


def came(content: bytes) -> int:
    """Return how many of the bytes that it claims a gzipped file gives before it ends or turns out to be damaged."""
    length = 0
    with contextlib.suppress(OSError, EOFError, zlib.error, LookupError), gzip.open(io.BytesIO(content)) as file:
        start = file.read(4)
        sizes = [int.from_bytes(file.read(4), "big") for _ in range(start[3])]
        claim = TYPES[start[2]][1] * math.prod(sizes) + 1
        while piece := file.read(min(claim - length, 1 << 14)):
            length += len(piece)
    return length


def check_memory(content: bytes, folder: Path) -> int:
    """Return the peak of the memory taken; the arrays of all ways are held together.

    Whether a gzipped file is damaged shows at its end, and a kilobyte can be a megabyte until then.
    """
    whole = came(content) + sum(len(result[2]) for result in expect(content).values() if result)
    tracemalloc.start()
    try:
        read_all(content, folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    bound = (1 << 20) + 4 * len(content) + 4 * whole
    assert peak < bound, f"{peak} bytes of memory for a file of {len(content)}"
    return peak


def mended(content: bytes) -> bytes:
    """The content, cut or filled with zeros to the size that its header claims."""
    if content[:2] != b"\0\0" or len(content) < 4 or len(content) < 4 + 4 * content[3] or content[2] not in TYPES:
        return content
    end = 4 + 4 * content[3]
    claim = TYPES[content[2]][1] * math.prod(int.from_bytes(content[i : i + 4], "big") for i in range(4, end, 4))
    return content[: end + claim].ljust(end + claim, b"\0") if claim < 1 << 16 else content


def seeds() -> list[bytes]:
    """Small files of each kind."""
    files = [b"\0\0", b"\0\0\x08\x02\0\0\xff\xff\xff\xff\xff\xff", b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"7"]
    for code, (_, size) in TYPES.items():
        for shape in [(), (0,), (3,), (2, 2), (0, 7), (1, 1, 1, 1, 1)]:
            header = bytes([0, 0, code, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
            files.append(header + bytes(range(size * int(np.prod(shape)))))
    array = files[-3]
    packed = gzip.compress(array, mtime=0)
    named = packed[:3] + b"\x08" + packed[4:10] + b"name\0" + packed[10:]
    options = packed[:3] + b"\x1e" + packed[4:10] + b"\2\0abname\0comment\0cr" + packed[10:]
    bomb = gzip.compress(b"\0\0\x08\1\0\0\0\2" + bytes(300_000), mtime=0)
    large = gzip.compress(b"\0\0\x08\1\0\1\0\0" + bytes(1 << 16), mtime=0)
    return [*files, array * 2, packed, packed * 2, packed + bytes(9), named, options, bomb, large]


def in_memory(fuzz: Callable[[Path], None]) -> None:
    """Call a function in a process of its own, which libFuzzer ends, with a folder that is removed afterwards."""
    memory = Path("/dev/shm")  # files on a disk would take most of the time
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as folder:
        child = os.fork()
        if not child:
            fuzz(Path(folder))
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def fuzz(folder: Path) -> None:
    """Try inputs in a folder for the files."""
    import resource

    import atheris

    del sys.modules["gzip"]  # to be imported again, followed by the fuzzer as well
    with atheris.instrument_imports(include=["gzip", "numnet.datasets.diagnosis", "numnet.datasets.idx"]):
        importlib.reload(diagnosis)
        importlib.reload(idx)
    corpus = folder / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(seeds()):
        (corpus / f"seed{i}").write_bytes(seed)
    counts: Counter[str] = Counter()
    peaks = [0]

    def one(data: bytes) -> None:
        counts["inputs"] += 1
        for content in {data, mended(data)}:
            counts["IDX" if check(content, folder) else "refused"] += 1
            if counts["inputs"] % 64 == 0:
                peaks[0] = max(peaks[0], check_memory(content, folder))
        if counts["inputs"] % 50_000 == 0:
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(dict(counts), f"peaks: {peaks[0] >> 10} KiB traced, {resident} KiB resident", flush=True)

    # A claim that is believed is a MemoryError.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), resource.getrlimit(resource.RLIMIT_AS)[1]))
    repeated = any(Path(argument).is_file() for argument in sys.argv[1:])
    atheris.Setup([*sys.argv, *([] if repeated else [str(corpus)])], one)
    atheris.Fuzz()


if __name__ == "__main__":
    in_memory(fuzz)
