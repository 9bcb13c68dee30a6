"""The package as a user meets it: its import, its README."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numnet as nn

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_import_loads_nothing_heavy():
    heavy = ["matplotlib", "requests", "tqdm", "cupy", "http.client", "ssl"]
    code = f"import sys, numnet; print(*[name for name in {heavy} if name in sys.modules]); numnet.plotting.report"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_every_public_name_exists_and_says_what_it_is():
    for name in nn.__all__:
        assert getattr(nn, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nn.nothing


@pytest.mark.parametrize("block", BLOCKS)
def test_readme(block, tmp_path, monkeypatch, request, capsys):
    if "mnist()" in block:
        request.getfixturevalue("mnist")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    exec(block, {})
    assert re.search(r"^0\.9[12]\d+\n\[7 2 1 0 4\]|relative error|test accuracy 0\.9", capsys.readouterr().out)


def test_performance_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (README.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(block, {})


def test_readme_names_only_files_that_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README.read_text(encoding="utf-8")):
        assert os.path.exists(README.parent / target), target
