"""Mutation testing and branch coverage: pip install -e '.[dev]' mutmut pytest-cov; python tests/mutate.py [mutant ...].

Prints every mutant that no test notices, the score of each file, and the branches that no test takes; docs/testing.md
says more. What mutmut changes is a copy. It leaves decorated functions alone, so there `f = decorator(f)` follows them.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = ["layers", "costs", "network", "optimizers", "data", "run", "history", "training", "checkpoint", "npz"]
FILES = [*(f"numnet/{name}.py" for name in NAMES), "numnet/datasets/idx.py"]
# First the tests of the files themselves; then, for the mutants that are left, what is slower.
ROUNDS = [
    [
        *(f"tests/test_{name}.py" for name in (*NAMES[:7], "checkpoint", "gradcheck")),
        *("tests/datasets/test_idx.py", "numnet/network.py"),
        *("-k", "not (truncated or flipped or threads or every_grad)"),
    ],
    [
        *("tests/test_training.py", "tests/test_backend.py", "tests/test_resume.py", "tests/test_checks.py"),
        "-k",
        "test_training or test_checks or (test_backend and not missing and not cu)"
        " or (test_resume and not killed and not ctrl_c_at and not truncated and not threads and not disk)",
    ],
]
SURVIVED = (0, 33, None)  # mutmut's codes: the tests passed, there are none, it was not run


def undecorated(source):
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for node in sorted(functions, key=lambda node: -node.lineno):
        if node.decorator_list:
            name, decorator = node.name, ast.unparse(node.decorator_list[0])
            if decorator.endswith(".setter"):
                name = f"_set_{name}"
                lines[node.lineno - 1] = lines[node.lineno - 1].replace(f"def {node.name}", f"def {name}")
            lines.insert(node.end_lineno, f"{' ' * node.col_offset}{node.name} = {decorator}({name})")
            del lines[node.decorator_list[0].lineno - 1 : node.lineno - 1]
    return "\n".join(lines) + "\n"


def copy_to(folder):
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = (ROOT / name).read_bytes()
        (folder / name).write_bytes(undecorated(content.decode()).encode() if name in FILES else content)


def run_round(folder, tests, mutants):
    """Return mutmut's code for each mutant."""
    options = {
        "source_paths": ["numnet"],
        "only_mutate": FILES,
        "also_copy": ["README.md", "docs", "examples"],
        "pytest_add_cli_args": ["--hypothesis-profile=quick", "-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": tests,
    }
    table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    (folder / "pyproject.toml").write_text(f"{(ROOT / 'pyproject.toml').read_text()}\n[tool.mutmut]\n{table}\n")
    environment = {**os.environ, "CI": "true", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run(["mutmut", "run", "--max-children", "2", *mutants], cwd=folder, env=environment, check=True)
    found = [json.loads((folder / "mutants" / f"{path}.meta").read_text())["exit_code_by_key"] for path in FILES]
    return [{name: code for name, code in codes.items() if not mutants or code is not None} for codes in found]


def show(folder, path, name):
    """Print a mutant as the line that it changes, before and after."""
    text = subprocess.run(["mutmut", "show", name], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
    before, after = ([line[1:].strip() for line in re.findall(rf"^[{s}](?![{s}]{{2}}).*", text, re.M)] for s in "-+")
    lines = [line.strip() for line in (ROOT / path).read_text().splitlines()]
    places = [str(i) for i, line in enumerate(lines, 1) if line == before[0]]
    print(f"{path}:{' or '.join(places)} {name}", *(f"  - {line}" for line in before), sep="\n")
    print(*(f"  + {line}" for line in after), sep="\n", flush=True)


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    copy_to(folder)
    first = run_round(folder, ROUNDS[0], sys.argv[1:])
    left = [name for codes in first for name, code in codes.items() if code in SURVIVED]
    second = run_round(folder, ROUNDS[1], left) if left else [{} for _ in FILES]
    for path, after in zip(FILES, second, strict=True):
        for name, code in after.items():
            if name in left and code in SURVIVED:
                show(folder, path, name)
    for path, before, after in zip(FILES, first, second, strict=True):
        survived = sum(name in left and code in SURVIVED for name, code in after.items())
        if before:
            killed = len(before) - survived
            print(f"{path}: {killed} of {len(before)} mutants killed, {killed / len(before):.1%}")
    print(f"what mutmut has done is in {folder}")
    # A test with a trace function of its own ends coverage's, in Python before 3.12.
    coverage = ["pytest", "-q", "--cov", "--cov-report=term-missing", "-k", "not ctrl_c"]
    subprocess.run(coverage, cwd=ROOT, check=True)
