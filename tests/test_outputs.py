"""What every function that writes a file must never do: lose a file that somebody needs."""

import ast
import base64
import contextlib
import functools
import importlib.util
import io
import json
import mmap
import os
import re
import runpy
import signal
import socket
import stat
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.image
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import numnet as nn
from numnet.run import Progress

from .datasets.test_idx import an_ordinary_user

NUMNET = Path(nn.__file__).parent
EXAMPLE = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "mnist_softmax.py"))
RNG = np.random.default_rng(0)
T = np.arange(64) % 2
X = RNG.normal(size=(64, 4)).astype(np.float32)
NET = nn.Sequential(nn.Linear(4, 2), nn.Softmax(), seed=0)
HISTORY = nn.History([nn.Epoch(1, 0.5, 0.25, 0.75, 0.125)])
in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def trainer():
    net = nn.Sequential(nn.Linear(4, 2), nn.Softmax(), seed=0)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)


def fit(path, train=(X, T), test=None, **options):
    """Train for an epoch with a checkpoint; if that is refused, it must be refused before the training starts."""
    run = trainer()
    try:
        run.fit(train, 1, 64, test, progress=False, checkpoint=path, **options)
    except OSError:
        assert len(run.history) == 0
        raise


def save_figure(path):
    EXAMPLE["save_figure"](Figure(figsize=(1, 1)), os.fspath(path))


def is_page(path):
    (text,) = re.findall(r'id="network">(.*?)</script>', path.read_text("utf-8"), re.S)
    weight = np.frombuffer(base64.b64decode(json.loads(text)["layers"][0]["weight"]), "<f4")
    return np.array_equal(weight, NET.layers[0].weight.ravel())


def is_model(path):
    import onnx

    weight, _ = onnx.load(path).graph.initializer
    return np.array_equal(onnx.numpy_helper.to_array(weight), NET.layers[0].weight)


def is_c_file(path):
    constants = re.search(r"_weight0\[8\] = \{(.*?)\}", path.read_text("ascii"), re.S)[1]
    return np.array_equal(np.array(constants.replace("f,", "").split(), np.float32), NET.layers[0].weight.ravel())


class Output(NamedTuple):
    """A public function that writes a file; whether a file has what the function wrote; and an ending for its name."""

    write: Callable[..., Any]
    wrote: Callable[[Path], bool]
    ending: str = ""


OUTPUTS = {
    "Sequential.save": Output(NET.save, lambda path: np.array_equal(nn.load(path).parameters, NET.parameters)),
    "Trainer.fit": Output(fit, lambda path: len(nn.Trainer.resume(path).history) == 1),
    "export_html": Output(lambda path, **options: nn.export_html(NET, path, **options), is_page),
    "export_c": Output(lambda path, **options: nn.export_c(NET, path, **options), is_c_file),
    "export_onnx": Output(lambda path, **options: nn.export_onnx(NET, path, **options), is_model),
    "History.to_csv": Output(HISTORY.to_csv, lambda path: path.read_text() == HISTORY.to_csv()),
    "write_idx": Output(
        lambda path, **options: nn.datasets.write_idx(path, X, **options),
        lambda path: np.array_equal(nn.datasets.read_idx(path), X),
    ),
    "write_idx, gzipped": Output(
        lambda path, **options: nn.datasets.write_idx(path, X, **options),
        lambda path: path.read_bytes()[:2] == b"\x1f\x8b" and np.array_equal(nn.datasets.read_idx(path), X),
        ".gz",
    ),
    "save_figure of the example": Output(
        save_figure, lambda path: matplotlib.image.imread(path, "png").shape == (100, 100, 4), ".png"
    ),
}
INSIDE = {"atomic", "writable", "write", "save_run", "Saver.__init__"}  # what the public functions call
needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None, reason="onnx is not installed: pip install 'numnet[onnx]'"
)
every_output = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_onnx if name == "export_onnx" else ()) for name in OUTPUTS]
)


def functions():
    """Yield each function of numnet: its name with its class, and its syntax."""
    for path in sorted(NUMNET.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef)):
                prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
                for function in node.body:
                    if isinstance(function, ast.FunctionDef):
                        yield f"{prefix}{function.name}", function


def test_the_table_has_every_function_that_writes_a_file():
    overwrite = {
        name
        for name, function in functions()
        if any(argument.arg == "overwrite" for argument in (*function.args.args, *function.args.kwonlyargs))
    }
    public = {name.partition(",")[0] for name in OUTPUTS if "example" not in name}
    assert overwrite == public | INSIDE
    assert {
        name
        for name, function in functions()
        if any(getattr(node, "id", "") == "atomic" for node in ast.walk(function))
    } <= overwrite


# Files that write in another way, and why they may.
ELSEWHERE = {
    "checks.py": "in an example of its documentation",
    "mapped.py": "in an example of its documentation",
    "plotting.py": "pictures, into memory",
    "datasets/download.py": "into the cache, or the folder that the user names for downloads",
    "datasets/__init__.py": "into the cache",
}


def test_no_file_is_written_in_another_way():
    write = re.compile(
        r"""write_text|write_bytes|tofile|savefig|np\.save|ZipFile\(.*"w"|os\.(replace|rename)|open\([^()]*["'][wax]"""
    )
    found = {
        path.relative_to(NUMNET).as_posix() for path in NUMNET.rglob("*.py") if write.search(path.read_text("utf-8"))
    }
    assert found == {"atomic.py", "npz.py", *ELSEWHERE}
    lines = (NUMNET / "npz.py").read_text("utf-8").splitlines()
    assert [line.strip() for line in lines if '"w"' in line] == [
        'with atomic(path, kind, overwrite) as file, zipfile.ZipFile(file, "w") as archive:',
        'with archive.open(f"{name}.npy", "w", force_zip64=True) as part:',
    ]


# Files that something is mapped from


@functools.cache
def own_file(name):
    """Return what a function writes into a new file; for `fit` the run before its first epoch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"own{OUTPUTS[name].ending}")
        if name == "Trainer.fit":
            run = trainer()
            run.progress = Progress(last=1, batch_size=64, samples=64)
            nn.checkpoint.save_run(run, path)
        else:
            OUTPUTS[name].write(path)
        return path.read_bytes()


def named(way, path):
    """Return the name by which a file is given, in some way."""
    folder = path.parent
    if way == "relative":
        return os.path.relpath(path)
    if way == "with dots":
        return folder / ".." / folder.name / path.name
    link = folder / f"other{path.suffix}"
    if way == "a hard link":
        link.hardlink_to(path)
    if way == "a link":
        link.symlink_to(path.name)
    if way == "a link to its folder":
        (folder / "folder").symlink_to(folder)
        link = folder / "folder" / path.name
    return link if "link" in way else os.fspath(path)


NAMES = ["absolute", "relative", "with dots", "a link", "a hard link", "a link to its folder"]


def buffer(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def network(path):
    """Return a network that got its weights from a file, and the array that is mapped from the file."""
    weights = np.memmap(path, np.uint8, "r")
    net = nn.Sequential(nn.Linear(1, len(weights)), seed=0)
    net.layers[0].weight = weights[None]
    return net, weights


HOLDERS = {
    "an array": lambda path: np.memmap(path, np.uint8, "r"),
    "an array to write to": lambda path: np.memmap(path, np.uint8, "r+"),
    "a copy on write": lambda path: np.memmap(path, np.uint8, "c"),
    "a view": lambda path: np.asarray(np.memmap(path, np.uint8, "r"))[None, ::-1].T,
    "a data set": lambda path: nn.datasets.Dataset(np.memmap(path, np.uint8, "r")[:1, None, None], np.zeros(1, int)),
    "a network's weights": network,
    "a buffer": buffer,
    "an array over a buffer": lambda path: np.frombuffer(buffer(path), np.uint8),
    "a slice of a buffer": lambda path: memoryview(buffer(path))[:1],
}
if not os.path.exists("/proc/self/maps"):  # without this list only NumPy's mapped arrays are known
    HOLDERS = {name: holder for name, holder in HOLDERS.items() if "buffer" not in name}


def state(folder):
    """Return what there is in a folder: the type, the permissions and the contents of all that is in it."""
    return {
        name: (path.lstat().st_mode, path.lstat().st_ino, path.is_file() and path.read_bytes())
        for name in os.listdir(folder)
        for path in [folder / name]
    }


def refused(folder, name, path, error=OSError, match=None, **options):
    """See a function refuse a path with an error that names the file, and change nothing; return the error."""
    before = state(folder)
    with pytest.raises(error, match=match) as caught:
        OUTPUTS[name].write(path, **options)
    assert state(folder) == before
    assert os.path.basename(os.path.realpath(path)) in str(caught.value)
    return caught.value


BROKEN_GZIP = b"\x1f\x8b\x08" + bytes(7) + b"\xff"  # with a block of a type that there is not
STARTS = [
    BROKEN_GZIP,
    BROKEN_GZIP[:4],
    b"PK\3\4",
    b"\0\0\x08\0",
    b"\0\0\x08\1",
    b"\x89PNG\r",
    b"<?xml",
    b"epoch,",
    b"<!doctype",
]
contents = (
    st.binary(min_size=1)
    | st.tuples(st.sampled_from(STARTS), st.binary()).map(b"".join)
    | st.sampled_from([name for name in OUTPUTS if name != "export_onnx" or not needs_onnx.args[0]]).map(own_file)
)


def asked(name):
    """Return the argument that lets a function replace other files, if it has such an argument."""
    return {} if "example" in name else {"overwrite": True}


@every_output
@given(holder=st.sampled_from(list(HOLDERS)), way=st.sampled_from(NAMES), content=contents, overwrite=st.booleans())
@in_folder
def test_a_file_that_something_is_mapped_from_is_never_replaced(
    name, holder, way, content, overwrite, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("mapped")
    path = folder / f"victim{OUTPUTS[name].ending}"
    path.write_bytes(content)
    held = HOLDERS[holder](path)
    given_path = named(way, path)
    refused(folder, name, given_path, FileExistsError, "mapped from the file", **asked(name) if overwrite else {})
    assert path.read_bytes() == content
    del held


@pytest.mark.parametrize("argument", ["train", "test"])
@pytest.mark.parametrize("place", [0, 1], ids=["inputs", "targets"])
@pytest.mark.parametrize("way", NAMES)
def test_a_checkpoint_never_replaces_the_data(argument, place, way, tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, (X, T)[place])
    data = [X, T]
    data[place] = np.load(path, mmap_mode="r")[:]
    error = refused(
        tmp_path, "Trainer.fit", named(way, path), FileExistsError, **{argument: tuple(data), "overwrite": True}
    )
    assert str(error).endswith(
        "data.npy cannot be replaced: an array of this program is mapped from the file. Name another file"
        if "hard" not in way
        else "Name another file"
    )


@every_output
def test_a_file_that_was_mapped_may_be_replaced(name, tmp_path):
    path = tmp_path / f"x{OUTPUTS[name].ending}"
    path.write_bytes(own_file(name))
    held = np.memmap(path, np.uint8, "r")
    refused(tmp_path, name, path)
    del held
    OUTPUTS[name].write(path)
    assert OUTPUTS[name].wrote(path)


# Files of other kinds


def is_idx(content):
    try:
        nn.datasets.read_idx(io.BytesIO(content))
        return True
    except nn.datasets.IdxError:
        return False


def is_figure(content):
    return content.startswith((b"\x89PNG\r", b"%PDF-", b"<?xml")) and b"Matplotlib v" in content


@every_output
@given(content=contents, way=st.sampled_from(NAMES))
@in_folder
def test_a_file_of_another_kind_is_replaced_only_if_asked(name, content, way, tmp_path_factory):
    if content in [own_file(same) for same in KINDS[name]] or ("idx" in name and is_idx(content)):
        return
    if "example" in name and is_figure(content):
        return
    folder = tmp_path_factory.mktemp("foreign")
    path = folder / f"victim{OUTPUTS[name].ending}"
    path.write_bytes(content)
    given_path = named(way, path)
    message = "is there already, and is no .*, or is damaged: name another file, or give overwrite=True$"
    refused(folder, name, given_path, FileExistsError, message)
    if "example" not in name:
        OUTPUTS[name].write(given_path, overwrite=True)  # which is what the message says
        assert OUTPUTS[name].wrote(Path(given_path))
        assert way == "a hard link" or OUTPUTS[name].wrote(path)


KINDS = {name: [same for same in OUTPUTS if same.partition(",")[0] == name.partition(",")[0]] for name in OUTPUTS}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
@every_output
@given(way=st.sampled_from(NAMES), mode=st.integers(0, 0o77), empty=st.booleans(), data=st.data())
@in_folder
def test_a_file_of_the_same_kind_is_replaced_and_its_permissions_are_kept(
    name, way, mode, empty, data, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("own")
    path = folder / f"old{OUTPUTS[name].ending}"
    path.write_bytes(b"" if empty else own_file(data.draw(st.sampled_from(KINDS[name]))))  # tempfile makes empty files
    path.chmod(0o600 | mode)
    given_path = named(way, path)
    there = sorted(os.listdir(folder))
    OUTPUTS[name].write(given_path)
    assert OUTPUTS[name].wrote(Path(given_path))
    assert stat.S_IMODE(os.stat(given_path).st_mode) == 0o600 | mode
    assert sorted(os.listdir(folder)) == there


@pytest.mark.slow
@every_output
@given(data=st.data())
@in_folder
def test_a_damaged_file_loses_nothing_more(name, data, tmp_path_factory):
    """A file that is cut short is refused, or can be recognized. A damaged checkpoint is refused in any case."""
    folder, whole = tmp_path_factory.mktemp("damaged"), own_file(name)
    path = folder / f"x{OUTPUTS[name].ending}"
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole) - 1))])
    if name in ("export_html", "export_c", "History.to_csv", "save_figure of the example"):
        try:
            OUTPUTS[name].write(path)
        except FileExistsError:
            return
        assert OUTPUTS[name].wrote(path)
    else:
        refused(folder, name, path, FileExistsError, "damaged")


@pytest.mark.slow
@every_output
@given(place=st.integers(0), change=st.integers(1, 255))
@in_folder
def test_a_file_with_a_changed_byte_is_refused_or_replaced(name, place, change, tmp_path_factory):
    folder, content = tmp_path_factory.mktemp("changed"), bytearray(own_file(name))
    content[place % len(content)] ^= change
    path = folder / f"x{OUTPUTS[name].ending}"
    path.write_bytes(content)
    try:
        OUTPUTS[name].write(path)
    except (FileExistsError, nn.CheckpointError):
        assert path.read_bytes() == content
    else:
        assert OUTPUTS[name].wrote(path)


@given(place=st.integers(0), change=st.integers(1, 255))
@in_folder
def test_a_damaged_checkpoint_is_never_replaced(place, change, tmp_path_factory):
    folder, content = tmp_path_factory.mktemp("changed"), bytearray(own_file("Trainer.fit"))
    content[place % len(content)] ^= change
    (folder / "run.npz").write_bytes(content)
    try:
        nn.Trainer.resume(folder / "run.npz")
    except nn.CheckpointError:
        refused(folder, "Trainer.fit", folder / "run.npz", (FileExistsError, nn.CheckpointError))


# Paths that cannot work


def a_folder(folder):
    (folder / "x").mkdir()
    return folder / "x"


def a_device(folder, minor=3):
    """Return a device of the test's own: if numnet is wrong, root loses no /dev/null."""
    if not hasattr(os, "mknod"):
        pytest.skip("the system has no devices in folders")
    with contextlib.suppress(PermissionError):  # who may not make one cannot replace one either
        os.mknod(folder / "x", 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        return folder / "x"
    return {3: "/dev/null", 5: "/dev/zero"}[minor]


def an_endless_device(folder):
    return a_device(folder, 5)


def a_fifo(folder):
    if not hasattr(os, "mkfifo"):
        pytest.skip("the system has no FIFOs")
    os.mkfifo(folder / "x")
    return folder / "x"


def a_socket(folder):
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("the system has no sockets in folders")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(folder / "x"))  # relative, as such a path must be short
    return folder / "x"


def a_read_only_file(folder):
    (folder / "x").write_bytes(b"")
    (folder / "x").chmod(0o444)
    return folder / "x"


def a_link_to_itself(folder):
    (folder / "x").symlink_to("x")
    return folder / "x"


def a_name_below_a_file(folder):
    (folder / "x").write_bytes(b"")
    return folder / "x" / "y"


IMPOSSIBLE = {
    a_folder: (IsADirectoryError, "cannot be written: it is a folder. Name a file in it$"),
    a_device: (OSError, "cannot be written: it is a device. Name a file$"),
    a_fifo: (OSError, "cannot be written: it is a FIFO. Name a file$"),
    a_socket: (OSError, "cannot be written: it is a socket. Name a file$"),
    a_read_only_file: (PermissionError, "cannot be replaced: it is read-only. Name another file, or make it writable$"),
    a_link_to_itself: (OSError, "Too many levels of symbolic links"),
    a_name_below_a_file: (NotADirectoryError, "cannot be written: .*x is a file, and no folder. Name another file$"),
}
SPELLED = {  # what is no path of pathlib's
    "new/": (IsADirectoryError, "'.*new/' cannot be written: it is the name of a folder. Name a file in it$"),
    "new/.": (IsADirectoryError, "it is the name of a folder"),
    "missing/..": (IsADirectoryError, "it is the name of a folder"),
    "": (FileNotFoundError, "a file without a name cannot be written: the path is ''. Name a file$"),
    "missing/x": (FileNotFoundError, "cannot be written: there is no folder .*missing. Make the folder first$"),
    "n" * 256: (OSError, "File name too long"),
}


@pytest.fixture
def at_once():
    """End a test that waits, as it would for the other end of a FIFO."""
    if not hasattr(signal, "SIGALRM"):  # Windows has no files that wait
        yield
        return

    def ended(*_):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, ended)
    signal.setitimer(signal.ITIMER_REAL, 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@every_output
@pytest.mark.parametrize("make", IMPOSSIBLE)
def test_a_path_that_cannot_work_is_refused_before_anything_is_done(name, make, tmp_path, at_once):
    path, (error, message) = make(tmp_path), IMPOSSIBLE[make]
    refused(tmp_path, name, path, error, message)
    refused(tmp_path, name, path, error, message, **asked(name))


@pytest.mark.parametrize("make", [a_device, a_fifo, a_socket, a_read_only_file])
def test_what_takes_the_place_of_a_checkpoint_meanwhile_is_not_replaced(make, tmp_path, at_once):
    error, message = IMPOSSIBLE[make]
    with pytest.raises(error, match=message):
        trainer().fit((X, T), 2, 64, progress=False, checkpoint=tmp_path / "x", callbacks=[lambda _: make(tmp_path)])
    assert os.listdir(tmp_path) == ["x"]


@every_output
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_a_folder_that_cannot_be_written_in_is_refused(name, there):
    with tempfile.TemporaryDirectory() as folder:  # other users may not enter pytest's folders
        path = Path(folder, f"x{OUTPUTS[name].ending}")
        if there:
            path.write_bytes(own_file(name))
            path.chmod(0o666)
        os.chmod(folder, 0o555)
        with an_ordinary_user():
            refused(Path(folder), name, path, PermissionError, f"Permission denied: '{path}'")
        os.chmod(folder, 0o700)


@every_output
@pytest.mark.parametrize("spelled", SPELLED, ids=lambda spelled: spelled[:10] or "nothing")
def test_a_name_that_cannot_work_is_refused_before_anything_is_done(name, spelled, tmp_path):
    error, message = SPELLED[spelled]
    with pytest.raises(error, match=message):
        OUTPUTS[name].write(spelled and f"{tmp_path}/{spelled}")
    assert os.listdir(tmp_path) == []


@every_output
def test_what_the_messages_advise_works(name, tmp_path):
    path = tmp_path / "x" / f"x{OUTPUTS[name].ending}"
    refused(tmp_path, name, path, FileNotFoundError, "Make the folder first$")
    path.parent.mkdir()
    path.write_bytes(b"")
    path.chmod(0o444)
    refused(tmp_path, name, path, PermissionError, "or make it writable$")
    path.chmod(0o644)
    OUTPUTS[name].write(path)
    assert OUTPUTS[name].wrote(path)


@every_output
def test_the_longest_name_can_be_written(name, tmp_path):
    ending = OUTPUTS[name].ending
    path = tmp_path / ("n" * (255 - len(ending)) + ending)
    OUTPUTS[name].write(path)
    assert OUTPUTS[name].wrote(path)
    assert os.listdir(tmp_path) == [path.name]


READERS = {
    "load": nn.load,
    "Trainer.resume": nn.Trainer.resume,
    "read_idx": nn.datasets.read_idx,
    "read_idx, mapped": lambda path: nn.datasets.read_idx(path, mmap_mode="r"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", [a_folder, a_device, a_fifo, a_socket, an_endless_device])
def test_what_is_no_file_is_not_read(reader, make, tmp_path, at_once):
    path = make(tmp_path)
    message = f"^{re.escape(os.fspath(path))} cannot be read: it is a (folder|FIFO|socket|device). Name a file"
    tracemalloc.start()
    try:
        with pytest.raises(IsADirectoryError if make is a_folder else OSError, match=message):
            READERS[reader](path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [a_device, a_fifo, a_socket])
def test_what_is_no_folder_is_not_loaded(make, tmp_path, at_once):
    path = make(tmp_path)
    with pytest.raises(NotADirectoryError, match=f"Not a directory: '{path}'"):
        nn.datasets.load_idx(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
def test_a_fifo_among_the_files_of_a_folder_is_passed_over(tmp_path, at_once):
    os.mkfifo(tmp_path / "train-images")
    with pytest.raises(nn.datasets.IdxError, match="has no files with names such as"):
        nn.datasets.load_idx(tmp_path)


# The user's home


@every_output
def test_a_tilde_is_the_users_home_in_all_that_writes(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = f"x{OUTPUTS[name].ending}"
    for path in (f"~/{file}", Path("~") / file):
        OUTPUTS[name].write(path)
        assert OUTPUTS[name].wrote(tmp_path / file)
        assert os.listdir(tmp_path) == [file]
        (tmp_path / file).unlink()


def test_a_tilde_is_the_users_home_in_all_that_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    files = {"load": "Sequential.save", "Trainer.resume": "Trainer.fit"}
    for reader, read in READERS.items():
        (tmp_path / "x").write_bytes(own_file(files.get(reader, "write_idx")))
        for path in ("~/x", Path("~/x")):
            read(path)
        with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path}/nothing")):
            read("~/nothing")
    for kind, array in ("images", X.reshape(64, 2, 2)), ("labels", T.astype(np.uint8)):
        nn.datasets.write_idx(f"~/{kind}", array)
    assert len(nn.datasets.load_idx("~")) == 64


def test_a_run_from_the_users_home_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fit("~/run.npz")
    again = nn.Trainer.resume("~/run.npz")
    again.history.clear()  # as if the run were behind its file
    again.fit((X, T), 1, 64, progress=False, checkpoint="~/run.npz")
    assert len(nn.Trainer.resume("~/run.npz").history) == 1
