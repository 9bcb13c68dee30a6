"""Files of networks and runs with random changes; `python -m tests.fuzz_checkpoint` tries many more."""

import json
import random
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import numnet as nn
from numnet import npz

from . import fuzz_checkpoint
from .fuzz_checkpoint import as_header, as_text, header_of, unzipped, zipped


@pytest.fixture(scope="module")
def seeds():
    return fuzz_checkpoint.seeds()


@pytest.mark.slow
def test_files_of_all_versions_are_read(seeds, tmp_path):
    assert [fuzz_checkpoint.check(content, tmp_path) for content in seeds] == ["network"] * 4 + ["run"] * 9
    for content in seeds:
        fuzz_checkpoint.check_memory(content, tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 2**32))
def test_a_changed_file_is_refused_or_can_be_used(seeds, tmp_path, number):
    rng = random.Random(number)

    def flip(part):
        flipped = bytearray(part)
        for place in rng.choices(range(len(part)), k=2) if part else []:
            flipped[place] ^= 1 << rng.randrange(8)
        return bytes(flipped)

    content = fuzz_checkpoint.mutated(rng.choice(seeds), rng, flip)
    fuzz_checkpoint.check(content, tmp_path)
    fuzz_checkpoint.check_memory(content, tmp_path)


# What the fuzzer has found


@pytest.fixture
def run_file(seeds, tmp_path):
    (tmp_path / "run.npz").write_bytes(seeds[4])
    return tmp_path / "run.npz"


def test_what_are_no_characters_is_refused(run_file):
    parts = unzipped(run_file.read_bytes())
    header = json.dumps(header_of(parts)).replace("batch_size", "batch_xize")
    part = as_text(header).replace("x".encode("utf-32-le"), b"\xff\xff\xff\xff")
    run_file.write_bytes(zipped({**parts, "header.npy": part}))
    for read in nn.load, nn.Trainer.resume:
        with pytest.raises(nn.CheckpointError, match=r"is damaged \('utf-32-le' codec can't decode"):
            read(run_file)


def test_a_text_may_have_either_order_of_bytes(run_file):
    parts = unzipped(run_file.read_bytes())
    text = json.dumps(header_of(parts))
    part = as_text(text).replace(b"<U", b">U").replace(text.encode("utf-32-le"), text.encode("utf-32-be"))
    parameters = nn.load(run_file).parameters
    run_file.write_bytes(zipped({**parts, "header.npy": part}))
    assert nn.load(run_file).parameters.tolist() == parameters.tolist()


def test_a_part_that_claims_to_be_packed_into_more_takes_no_memory(run_file):
    content = bytearray(run_file.read_bytes())
    entry = content.index(b"PK\x01\x02") + 20
    content[entry : entry + 4] = (1 << 30).to_bytes(4, "little")
    run_file.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(nn.CheckpointError, match="packed, or claim to be longer than the file"):
            nn.load(run_file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_part_that_claims_to_be_longer_than_the_file_is_refused(run_file):
    content = run_file.read_bytes()
    for name in unzipped(content):
        entry = content.rindex(name.encode()) - 46
        assert content[entry : entry + 4] == b"PK\x01\x02"
        sizes = 2 * len(content).to_bytes(4, "little")
        run_file.write_bytes(content[: entry + 20] + sizes + content[entry + 28 :])
        with pytest.raises(nn.CheckpointError, match="packed, or claim to be longer than the file"):
            nn.load(run_file)


def test_a_cost_that_does_not_fit_the_layers_is_refused(run_file):
    parts = unzipped(run_file.read_bytes())
    header = header_of(parts)
    header["layers"].pop()
    run_file.write_bytes(zipped({**parts, "header.npy": as_header(header)}))
    with pytest.raises(nn.CheckpointError, match=r"is damaged \(CrossEntropy needs probabilities, but the last layer"):
        nn.Trainer.resume(run_file)


def test_a_file_is_not_blamed_if_the_memory_is_full(run_file, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate 3 GiB")

    monkeypatch.setattr(npz, "_arrays", full)
    with pytest.raises(MemoryError, match="Unable to allocate 3 GiB"):
        nn.load(run_file)
