import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import numnet.atomic
from numnet.atomic import Kind, atomic, readable, writable

TEXT = Kind("text of this test", lambda file: file.read(3) in (b"old", b"new"))
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0  # Windows has no root
WAYS = [pytest.param(True, id="unnamed"), pytest.param(False, id="named")]


@pytest.fixture(params=WAYS)
def folder(request, tmp_path, monkeypatch):
    if not request.param:
        monkeypatch.setattr(numnet.atomic, "_open_unnamed", lambda folder: None)
    else:
        needs_unnamed_files(tmp_path)
    return tmp_path


def needs_unnamed_files(folder):
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError):
        pytest.skip("this file system has no files without a name")


def write(path, data=b"new", **options):
    with atomic(path, TEXT, **options) as file:
        file.write(data)


def open_files():
    """Return how many files this process has open, where the system tells."""
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


def refusing(real, times):
    """Return a function that refuses so many times, and then does what the real function does."""
    refusals = iter(range(times))

    def refuse(*arguments, **options):
        if next(refusals, None) is not None:
            raise PermissionError(1, "refused", os.fspath(arguments[0]))
        return real(*arguments, **options)

    return refuse


def test_an_error_about_another_file_keeps_its_name(folder):
    with pytest.raises(FileNotFoundError) as caught, atomic(folder / "x", TEXT):
        os.stat(folder / "other")
    assert caught.value.filename == str(folder / "other")
    assert os.listdir(folder) == []


def test_the_name_comes_with_the_end(folder):
    (folder / "x").write_bytes(b"old")
    with atomic(folder / "x", TEXT) as file:
        file.write(b"new")
        file.flush()
        assert (folder / "x").read_bytes() == b"old"
        written = os.fstat(file.fileno()).st_ino
    assert (folder / "x").read_bytes() == b"new"
    assert (folder / "x").stat().st_ino == written  # and no copy, which would take as much of the disk again
    assert os.listdir(folder) == ["x"]


def test_until_the_end_the_file_has_no_name_if_the_system_can_do_so(tmp_path):
    needs_unnamed_files(tmp_path)
    with atomic(tmp_path / "x", TEXT) as file:
        file.write(b"new")
        file.flush()
        assert os.listdir(tmp_path) == []
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_of_another_kind_is_replaced_only_if_somebody_says_so(folder):
    (folder / "x").write_bytes(b"other")
    for call in (write, lambda path: writable(path, TEXT)):
        with pytest.raises(
            FileExistsError, match="x is there already, and is no text of this test, or is damaged: name"
        ):
            call(folder / "x")
    assert (folder / "x").read_bytes() == b"other"
    write(folder / "x", overwrite=True)
    assert (folder / "x").read_bytes() == b"new"


def test_an_error_leaves_what_was_there(folder):
    (folder / "x").write_bytes(b"old")

    def interrupted():
        with atomic(folder / "x", TEXT) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (folder / "x").read_bytes() == b"old"
    assert os.listdir(folder) == ["x"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "𝄞" * 63, "x"], ids=["255", "127", "63", "1"])
def test_any_name_that_the_file_system_takes_can_be_written(folder, name):
    for data in (b"old", b"new"):
        write(folder / name, data)
        assert (folder / name).read_bytes() == data
    assert os.listdir(folder) == [name]


def test_what_is_written_is_on_the_disk_before_its_name_and_the_name_before_the_end(folder, monkeypatch):
    """A power cut leaves the old file or the whole new file; and when the write has ended, the new file."""
    events, sync, replace, path = [], os.fsync, os.replace, folder / "x"
    path.write_bytes(b"old")

    def recorded_sync(descriptor):
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            events.append(("folder", (status.st_dev, status.st_ino), path.read_bytes()))
        else:
            events.append(("file", status.st_size, path.read_bytes()))
        sync(descriptor)

    def recorded_replace(source, target):
        assert file.closed  # Windows renames no file that is open
        replace(source, target)
        events.append(("name", os.fspath(target), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    open_before = open_files()
    with atomic(path, TEXT) as file:
        file.write(b"a new content")
    here = os.stat(folder)
    assert events == [
        ("file", len(b"a new content"), b"old"),
        ("name", str(path), b"a new content"),
        ("folder", (here.st_dev, here.st_ino), b"a new content"),
    ]
    assert open_files() == open_before


@pytest.mark.parametrize("call", ["open", "fsync"])
def test_a_system_that_cannot_sync_folders_writes_the_file_all_the_same(call, folder, monkeypatch):
    real = getattr(os, call)

    def refuse(thing, *arguments):
        if os.path.isdir(thing) if call == "open" else stat.S_ISDIR(os.fstat(thing).st_mode):
            raise OSError(22, "Invalid argument")
        return real(thing, *arguments)

    open_before = open_files()
    with atomic(folder / "x", TEXT) as file:
        file.write(b"new")
        file.flush()
        monkeypatch.setattr(os, call, refuse)
    monkeypatch.undo()
    assert open_files() == open_before
    assert (folder / "x").read_bytes() == b"new"
    assert os.listdir(folder) == ["x"]


def test_others_may_read_it_as_they_may_any_new_file(folder):
    (folder / "usual").write_bytes(b"")
    write(folder / "x")
    assert (folder / "x").stat().st_mode == (folder / "usual").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
@pytest.mark.parametrize("refused", [False, True], ids=["linked", "copied"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_the_permission_bits_are_those_of_the_file_that_is_replaced(folder, mode, refused, monkeypatch):
    def copied(file, copy, real=shutil.copyfileobj):
        assert stat.S_IMODE(os.fstat(copy.fileno()).st_mode) == mode
        real(file, copy)

    monkeypatch.setattr(os, "link", refusing(os.link, 99 * refused))
    monkeypatch.setattr(shutil, "copyfileobj", copied)
    (folder / "x").write_bytes(b"old")
    (folder / "x").chmod(mode)
    with atomic(folder / "x", TEXT) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode  # before there is anything to read in the file
        file.write(b"new")
    assert (folder / "x").read_bytes() == b"new"
    assert stat.S_IMODE((folder / "x").stat().st_mode) == mode


def test_a_system_without_owners_replaces_files_too(folder, monkeypatch):
    """On Windows, os has fchmod from Python 3.13 on, and no fchown."""
    monkeypatch.delattr(os, "fchown", raising=False)
    (folder / "x").write_bytes(b"old")
    write(folder / "x")
    assert (folder / "x").read_bytes() == b"new"


@pytest.mark.skipif(not IS_ROOT, reason="only root may give files away")
def test_the_owner_stays_the_owner(folder):
    (folder / "x").write_bytes(b"old")
    os.chown(folder / "x", 1234, 2345)
    write(folder / "x")
    assert ((folder / "x").stat().st_uid, (folder / "x").stat().st_gid) == (1234, 2345)


@pytest.mark.skipif(not IS_ROOT, reason="only root may become another user")
def test_who_may_not_give_a_file_away_keeps_its_group():
    with tempfile.TemporaryDirectory() as name:  # not in tmp_path, which nobody else may enter
        os.chmod(name, 0o777)
        path, groups = Path(name, "x"), os.getgroups()
        path.write_bytes(b"old")
        os.chown(path, 1234, 2345)
        path.chmod(0o664)
        os.setgroups([2345])  # a member of the group, but not the owner
        os.seteuid(5678)
        try:
            write(path)
        finally:
            os.seteuid(0)
            os.setgroups(groups)
        state = path.stat()
        assert (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (5678, 2345, 0o664)


def test_a_file_system_without_unnamed_files_takes_named_ones(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "open", refuse)
    assert numnet.atomic._open_unnamed(tmp_path) is None
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    assert numnet.atomic._open_unnamed(tmp_path) is None


def test_a_system_that_could_give_the_file_no_name_takes_named_ones(tmp_path, monkeypatch):
    needs_unnamed_files(tmp_path)
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/self/fd")
    assert numnet.atomic._open_unnamed(tmp_path) is None


@pytest.mark.parametrize("name", ["run.npz", "a name of more than sixteen letters.npz"])
def test_a_file_that_is_left_over_tells_by_its_name_what_it_was_to_be(name, tmp_path, monkeypatch):
    monkeypatch.setattr(numnet.atomic, "_open_unnamed", lambda folder: None)
    with atomic(tmp_path / name, TEXT):
        (left,) = os.listdir(tmp_path)
    assert re.fullmatch(rf"{re.escape(name[:16])}\.[0-9a-f]{{8}}\.tmp", left)


# Refused by the file system


@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
def test_a_file_that_cannot_be_linked_is_copied(folder, old, monkeypatch):
    data = b"new" + bytes(range(256)) * 1000
    if old:
        (folder / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "link", refusing(os.link, 99))
    write(folder / "x", data)
    assert (folder / "x").read_bytes() == data
    assert os.listdir(folder) == ["x"]


@pytest.mark.parametrize("times", [1, 9, 10])
def test_a_refused_rename_is_tried_again(folder, times, monkeypatch):
    monkeypatch.setattr(numnet.atomic.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(os, "replace", refusing(os.replace, times))
    write(folder / "x")
    assert (folder / "x").read_bytes() == b"new"
    assert os.listdir(folder) == ["x"]


def test_a_rename_that_is_refused_for_a_second_is_an_error_with_the_name_of_the_file(folder, monkeypatch):
    pauses = []
    monkeypatch.setattr(numnet.atomic.time, "sleep", pauses.append)
    monkeypatch.setattr(os, "replace", refusing(os.replace, 99))
    (folder / "x").write_bytes(b"old")
    with pytest.raises(PermissionError, match="refused") as caught:
        write(folder / "x")
    assert sum(pauses) == pytest.approx(1, abs=0.2)
    assert (caught.value.filename, caught.value.filename2) == (str(folder / "x"), None)
    assert (folder / "x").read_bytes() == b"old"
    assert os.listdir(folder) == ["x"]


def test_a_full_disk_is_an_error_with_the_name_of_the_file(folder):
    with pytest.raises(OSError, match="No space left on device") as caught, atomic(folder / "x", TEXT):
        raise OSError(28, "No space left on device")  # as a write does
    assert caught.value.filename == str(folder / "x")
    assert os.listdir(folder) == []


def test_a_copy_is_on_the_disk_before_its_name(folder, monkeypatch):
    monkeypatch.setattr(os, "link", refusing(os.link, 99))
    synced = []
    fsync = os.fsync

    def noted(descriptor):
        state = os.fstat(descriptor)
        synced.append((state.st_ino, stat.S_ISDIR(state.st_mode) or state.st_size, (folder / "x").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write(folder / "x")
    assert synced[-2:] == [((folder / "x").stat().st_ino, len(b"new"), False), (folder.stat().st_ino, True, True)]


# Refused before anything is changed


def test_a_path_that_may_be_written_is_returned_and_nothing_is_changed(folder):
    assert writable(folder / "x", TEXT) == folder / "x"
    assert os.listdir(folder) == []
    (folder / "x").write_bytes(b"old")
    (folder / "link").symlink_to("x")
    before = (folder / "x").stat()
    assert writable(folder / "link", TEXT) == folder / "x"
    after = (folder / "x").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, 3)
    assert sorted(os.listdir(folder)) == ["link", "x"]


@pytest.mark.parametrize("mode", [0o400, 0o444, 0o555])
def test_a_file_that_nobody_may_write_is_refused(folder, mode):
    (folder / "x").write_bytes(b"old")
    (folder / "x").chmod(mode)
    with pytest.raises(PermissionError, match=r"x cannot be replaced: it is read-only\. Name another file, or make it"):
        write(folder / "x")
    assert (folder / "x").read_bytes() == b"old"


def test_the_target_of_a_link_may_be_missing(folder):
    (folder / "link").symlink_to("x")
    write(folder / "link")
    assert (folder / "x").read_bytes() == b"new"
    assert (folder / "link").is_symlink()
    (folder / "lost").symlink_to("missing/x")
    with pytest.raises(FileNotFoundError, match=r"missing/x cannot be written: there is no folder .*/missing\. Make"):
        write(folder / "lost")


def test_a_file_in_the_place_of_the_folder_is_told(folder):
    (folder / "x").write_bytes(b"old")
    with pytest.raises(
        NotADirectoryError, match=r"y cannot be written: .*x is a file, and no folder\. Name another file"
    ):
        write(folder / "x" / "y")
    assert (folder / "x").read_bytes() == b"old"


@pytest.fixture
def kinds(folder, monkeypatch):
    """Return what is no regular file: its path, and the words for it."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("the system has no FIFOs")
    os.mkfifo(folder / "fifo")
    monkeypatch.chdir(folder)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    return {folder / "fifo": "a FIFO", folder / "socket": "a socket", Path(os.devnull): "a device"}


@pytest.mark.parametrize("done", ["read", "written"])
def test_what_is_no_regular_file_is_neither_read_nor_written(done, folder, kinds):
    call = readable if done == "read" else lambda path: writable(path, TEXT)
    for path, what in kinds.items():
        with pytest.raises(OSError, match=re.escape(f"{path} cannot be {done}: it is {what}. Name a file")):
            call(path)
    (folder / "below").mkdir()
    (folder / "link").symlink_to("below")
    for path in (folder / "below", folder / "link"):
        with pytest.raises(IsADirectoryError, match=rf"cannot be {done}: it is a folder\. Name a file in it$"):
            call(path)
    told = r"^a path must be a string or an os\.PathLike, got 3: give the name of a file, 'run\.npz'$"
    with pytest.raises(TypeError, match=told):
        call(3)


def test_a_tilde_is_the_users_home_and_a_link_is_the_file(folder, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    with pytest.raises(FileNotFoundError):
        readable("~/x")
    write("~/x")
    (folder / "link").symlink_to("x")
    assert readable("~/x") == str(folder / "x")
    assert readable(folder / "link") == str(folder / "link")
    assert sorted(os.listdir(folder)) == ["link", "x"]


def test_a_folder_in_which_nobody_can_write_is_told_before():
    path = Path(f"/proc/{os.getpid()}/x")
    if not path.parent.exists():
        pytest.skip("the system has no folder in which even root cannot write")
    with pytest.raises(OSError, match=re.escape(repr(str(path)))):
        writable(path, TEXT)


def test_links_in_a_circle_lead_to_no_file(folder):
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        write(folder / "one")
    assert sorted(os.listdir(folder)) == ["one", "two"]


def test_an_empty_file_is_of_every_kind(folder):
    (folder / "x").write_bytes(b"")
    write(folder / "x")
    assert (folder / "x").read_bytes() == b"new"


def test_a_file_that_others_write_meanwhile_is_read_whole(folder):
    """A reader always finds one of the two files, and never a part of one."""
    path, done, seen = folder / "x", threading.Event(), set()
    write(path, b"old" * 50_000)

    def read():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    started = time.monotonic()
    while time.monotonic() - started < 0.2:
        write(path, b"new" * 60_000)
        write(path, b"old" * 50_000)
    done.set()
    reader.join()
    assert seen <= {b"old" * 50_000, b"new" * 60_000}


KILLED = """
import os, signal, sys
from numnet.atomic import Kind, atomic
with atomic(sys.argv[1], Kind("text", lambda file: True)) as file:
    file.write(bytes(1000))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_nothing(tmp_path):
    needs_unnamed_files(tmp_path)
    result = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")])
    assert result.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == []
