import os
import signal
import subprocess
import sys

import pytest

import numnet.atomic
from numnet.atomic import atomic

WAYS = [pytest.param(True, id="unnamed"), pytest.param(False, id="named")]


@pytest.fixture(params=WAYS)
def folder(request, tmp_path, monkeypatch):
    if not request.param:
        monkeypatch.setattr(numnet.atomic, "_open_unnamed", lambda folder: None)
    elif numnet.atomic._open_unnamed(tmp_path) is None:
        pytest.skip("this file system has no files without a name")
    return tmp_path


def test_the_name_comes_with_the_end(folder):
    (folder / "x").write_bytes(b"old")
    with atomic(folder / "x") as file:
        file.write(b"new")
        file.flush()
        assert (folder / "x").read_bytes() == b"old"
    assert (folder / "x").read_bytes() == b"new"
    assert os.listdir(folder) == ["x"]


def test_an_error_leaves_what_was_there(folder):
    (folder / "x").write_bytes(b"old")

    def interrupted():
        with atomic(folder / "x") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (folder / "x").read_bytes() == b"old"
    assert os.listdir(folder) == ["x"]


def test_an_error_names_the_file_and_not_the_temporary_one(folder):
    path = folder / ("x" * 250)  # with the ending of the temporary file it is too long

    def write():
        with atomic(path) as file:
            file.write(b"new")

    with pytest.raises(OSError, match="File name too long") as caught:
        write()
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert os.listdir(folder) == []


def test_others_may_read_it_as_they_may_any_new_file(folder):
    (folder / "usual").write_bytes(b"")
    with atomic(folder / "x") as file:
        file.write(b"new")
    assert (folder / "x").stat().st_mode == (folder / "usual").stat().st_mode


def test_a_file_system_without_unnamed_files_takes_named_ones(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "open", refuse)
    assert numnet.atomic._open_unnamed(tmp_path) is None
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    assert numnet.atomic._open_unnamed(tmp_path) is None


KILLED = """
import os, signal, sys
from numnet.atomic import atomic
with atomic(sys.argv[1]) as file:
    file.write(bytes(1000))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_nothing(tmp_path):
    if numnet.atomic._open_unnamed(tmp_path) is None:
        pytest.skip("this file system has no files without a name")
    result = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")])
    assert result.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == []
