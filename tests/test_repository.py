"""What the repository says in two places and must be the same: versions of Python, NumPy and numnet, and commands."""

import configparser
import re
from pathlib import Path

import pytest

import numnet as nn

ROOT = Path(__file__).parent.parent
if not (ROOT / ".github").is_dir():
    pytest.skip("these tests are about a checkout, and this is none", allow_module_level=True)

SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
VERSIONS = re.findall(r"Python :: (3\.\d+)$", SETUP["metadata"]["classifiers"], re.MULTILINE)
WORKFLOWS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").iterdir()}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = "ruff check && ruff format --check && mypy"  # as CONTRIBUTING.md says


def cited(field):
    """Return a field of CITATION.cff, which is on a line of its own."""
    (value,) = re.findall(rf"^{field}: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    return value


def listed(name, text):
    """Return the texts in a list of YAML that is on one line."""
    (items,) = re.findall(rf"^ *{name}: \[(.*)\]", text, re.MULTILINE)
    return re.findall(r'"(.*?)"', items)


def test_numnet_has_one_version():
    assert SETUP["metadata"]["version"] == "attr: numnet.__version__"
    assert cited("version") == nn.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == nn.__version__


def test_the_citation_says_what_the_package_says():
    metadata = SETUP["metadata"]
    assert (cited("title"), cited("abstract")) == (metadata["name"], metadata["description"])
    assert (cited("license"), cited(" *- name")) == (metadata["license"], metadata["author"])
    keywords = re.findall("^  - (?!name:)(.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert ", ".join(keywords) == metadata["keywords"]


def test_every_version_of_python_that_the_package_claims_is_tested():
    assert listed("python", WORKFLOWS["tests.yml"]) == VERSIONS
    assert SETUP["options"]["python_requires"] == f">={VERSIONS[0]}"
    used = {version for text in WORKFLOWS.values() for version in re.findall(r'python-version: "(.*)"', text)}
    assert used <= set(VERSIONS)


def test_the_oldest_numpy_that_the_package_claims_is_tested():
    (oldest,) = re.findall(r"^numpy>=(.*)$", SETUP["options"]["install_requires"], re.MULTILINE)
    assert listed("numpy", WORKFLOWS["tests.yml"]) == ["numpy", f"numpy=={oldest}.*"]
    left_out = re.findall(r'- python: "(.*)"\n +numpy: "(.*)"', WORKFLOWS["tests.yml"])
    assert {numpy for _, numpy in left_out} == {f"numpy=={oldest}.*"}


def test_contributors_hooks_and_workflow_run_the_same_commands():
    assert COMMANDS in CONTRIBUTING
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall("entry: (.*)$", hooks, re.MULTILINE) == COMMANDS.split(" && ")
    steps = re.findall(r"- run: (.*)$", WORKFLOWS["tests.yml"], re.MULTILINE)
    for command in [*COMMANDS.split(" && "), "pytest", "pytest --slow", "pip install -e '.[dev]'"]:
        assert command in steps
        assert command in CONTRIBUTING
    documentation = "pip install -e '.[docs]' && sphinx-build -W docs build/html"
    assert documentation in CONTRIBUTING
    assert f"- run: {documentation}\n" in WORKFLOWS["docs.yml"]


def test_every_action_is_named_by_its_commit():
    """A tag can be moved to other code."""
    uses = [use for text in WORKFLOWS.values() for use in re.findall(r"uses: (.*)$", text, re.MULTILINE)]
    assert len(uses) > len(WORKFLOWS)
    for use in uses:
        assert re.fullmatch(r"\./\S+|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use


def test_only_the_job_that_publishes_may_do_more_than_read():
    for name, text in WORKFLOWS.items():
        assert re.search(r"^permissions:\n  contents: read\n\n", text, re.MULTILINE), name
    writes = [(name, line) for name, text in WORKFLOWS.items() for line in re.findall(r"[\w-]+: write", text)]
    assert writes == [("release.yml", "id-token: write")]
    published = WORKFLOWS["release.yml"].partition("\n  publish:\n")[2]
    assert "id-token: write" in published
    assert "run:" not in published  # no code of the repository beside that right


def test_the_files_for_contributors_name_only_files_that_exist():
    for name in ("CODE_OF_CONDUCT.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), (name, target)
    forms = [*(ROOT / ".github").rglob("*.md"), *(ROOT / ".github" / "ISSUE_TEMPLATE").iterdir()]
    assert len(forms) > 4
    for form in forms:
        for name in re.findall(r"\b[A-Z_]+\.md\b", form.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), (form.name, name)
