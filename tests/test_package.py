"""The package as a user meets it: its import, its README. And which module imports which."""

import ast
import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numnet as nn

README = Path(__file__).parent.parent / "README.md"
FOLDER = Path(nn.__file__).parent
FILES = {  # by the name of the module
    ".".join(file.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__"): file
    for file in FOLDER.rglob("*.py")
}


def test_import_loads_nothing_heavy():
    heavy = ["matplotlib", "requests", "tqdm", "cupy", "onnx", "torch", "scipy", "http.client", "ssl"]
    code = f"import sys, numnet; print(*[name for name in {heavy} if name in sys.modules]); numnet.plotting.report"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_every_public_name_exists_and_says_what_it_is():
    for name in nn.__all__:
        assert getattr(nn, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nn.nothing


def imports(module):
    """Return the modules of numnet that a module imports anywhere: in functions and for types, too."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names = (f"{source}.{alias.name}" for alias in node.names)
            yield from (name if name in FILES else source for name in names if {name, source} & FILES.keys())


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: set(imports(module)) for module in FILES}
    assert {"numnet.gpu", "numnet.checks"} <= graph["numnet.backend"]
    assert {"numnet.backend", "numnet.plotting", "numnet.datasets"} <= graph["numnet"]
    assert {"numnet.datasets.dataset", "numnet.datasets.idx"} <= graph["numnet.datasets"]
    assert "numnet.notebook" in graph["numnet.datasets.dataset"]
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_one_file_names_cupy():
    named = [module for module, file in FILES.items() if re.search(r"\bcupy\b", file.read_text(encoding="utf-8"))]
    assert named == ["numnet.gpu"]


def test_one_file_imports_mpi4py():
    named = [module for module, file in FILES.items() if "import MPI" in file.read_text(encoding="utf-8")]
    assert named == ["numnet.parallel"]


def test_one_file_imports_onnx():
    named = [module for module, file in FILES.items() if re.search(r"import onnx$", file.read_text("utf-8"), re.M)]
    assert named == ["numnet.export_onnx"]


def test_the_readme_shows_what_its_ten_lines_print(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    (shown,) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(shown[0], {})
    assert capsys.readouterr().out == shown[1]
    assert sorted(os.listdir()) == ["draw.html", "report.png"]


def test_the_readme_and_the_page_on_programs_show_the_same_output():
    programs = (README.parent / "docs" / "programs.md").read_text(encoding="utf-8")
    for page in (README, README.with_name("README.zh-CN.md")):
        (shown,) = re.findall(r"```text\n(The most confident.*?)\ntest accuracy", page.read_text("utf-8"), re.DOTALL)
        assert shown in programs


def test_the_readme_is_short():
    for page in (README, README.with_name("README.zh-CN.md")):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 120


def test_the_script_that_can_be_cut_off_goes_on(tmp_path, monkeypatch):
    page = (README.parent / "docs" / "interrupted.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    whole, again = {}, {}
    monkeypatch.chdir(tmp_path)
    exec(script, whole)
    os.remove("run.npz")

    def cut_off(trainer, *results):
        if len(trainer.history) == 25:
            raise KeyboardInterrupt
        return record(trainer, *results)

    record = nn.Trainer.record
    with monkeypatch.context() as patch:
        patch.setattr(nn.Trainer, "record", cut_off)
        with pytest.raises(KeyboardInterrupt):
            exec(script, {})
    assert 0 < len(nn.Trainer.resume("run.npz").history) < 25
    exec(script, again)
    assert "net" not in again  # which a run that begins anew has
    assert len(again["trainer"].history) == 30
    np.testing.assert_array_equal(again["trainer"].net.parameters, whole["net"].parameters)
    assert len(nn.Trainer.resume("run.npz").fit(whole["train"], epochs=2, batch_size=64)) == 32


def test_performance_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (README.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(block, {})


def test_readme_names_only_files_that_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        assert os.path.exists(README.parent / path), target
        headings = re.findall(r"^#+ (.*)", (README.parent / path).read_text(encoding="utf-8"), re.M) if heading else []
        assert heading in ["", *(re.sub(r"[^a-z -]", "", text.lower()).replace(" ", "-") for text in headings)], target


def test_what_is_loaded_on_first_use_is_a_part_of_the_package():
    assert nn.__getattr__("plotting") is sys.modules["numnet.plotting"]
    for name, hint in (("Adam", ": numnet has one optimizer, nn.SGD(lr=...)"), ("nothing", "")):
        with pytest.raises(AttributeError) as raised:
            nn.__getattr__(name)
        assert str(raised.value) == f"module 'numnet' has no attribute {name!r}{hint}"


def test_sklearn_is_a_part_of_the_package_though_not_in_its_list():
    pytest.importorskip("sklearn")
    assert nn.__getattr__("sklearn") is sys.modules["numnet.sklearn"]
    assert "sklearn" not in nn.__all__


def test_the_changelog_begins_with_this_version():
    headings = re.findall("^## (.*)", (README.parent / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0].split()[0] == nn.__version__
