"""Mutation testing: break numnet in about ten thousand ways, one at a time, and see whether a test fails each time.

    pip install -e '.[dev]' coverage
    NUMNET_DATA=... python tests/mutate.py --folder /tmp/mutants

works in copies of this repository and prints the score of each file, and each mutant that no test notices. If it is
stopped, the same command goes on. docs/testing.md says more; tests/mutants.py has the mistakes.
"""

import argparse
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import coverage
import pytest
from mutants import mutants

ROOT = Path(__file__).parents[1]
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("numnet/**/*.py") if path.name != "plotting.py")
# Imported once, before numnet: what the tests need takes seconds to import, and a forked process has all of it.
LIBRARIES = [
    *("_hypothesis_pytestplugin", "hypothesis.extra.numpy", "matplotlib.pyplot", "requests", "tqdm.auto", "filelock"),
    *("threadpoolctl", "pandas", "scipy.special", "sklearn.datasets", "sympy", "torch", "nbformat", "IPython"),
]
OPTIONS = [
    *("-q", "--no-header", "--tb=no", "--hypothesis-profile=quick", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
    *("-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider"),
    *("-p", "no:unraisableexception", "-p", "no:threadexception"),
]
OVERHEAD = 0.01  # seconds that each test takes beside its own time
ENVIRONMENT = {
    **{"CI": "true", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    **{"PYTHONHASHSEED": "0", "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"},
}
ORIGINAL = 1_000_000_000  # the time of change of files without a mutant, so that what Python has compiled of them holds


class Chosen:
    """A plugin for pytest: runs the tests that are wanted, in their order, and notes when each begins and ends."""

    def __init__(self, log, wanted, measured, limited):
        self.log, self.wanted, self.measured, self.limited = log, wanted, measured, limited

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        if self.wanted is not None:
            order = {test: i for i, test in enumerate(self.wanted)}
            items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        if self.measured:
            self.measured.switch_context(item.nodeid)
        if self.limited:  # a mutant can turn a loop into an endless one
            seconds = self.wanted[item.nodeid]
            signal.setitimer(signal.ITIMER_PROF, 3 + 5 * seconds)
            signal.setitimer(signal.ITIMER_REAL, 60 + 30 * seconds)
        self.log(f"begin {item.nodeid}")
        traced = sys.gettrace()
        try:
            return (yield)
        finally:
            sys.settrace(traced)  # some tests have trace functions of their own
            self.log(f"end {item.nodeid}")

    def pytest_runtest_logreport(self, report):
        if not report.passed:
            self.log(f"{report.outcome} {report.nodeid}")


def run_tests(folder, files, wanted=None, measured=None, limited=False):
    """Run tests in a copy of the repository, in a process of their own; return its status and its notes.

    `wanted` has the tests in their order, and how long each takes; `measured` is a file for the lines that it reaches.
    If `limited`, the first test ends the process that fails or takes much longer.
    """
    notes = folder / "notes.txt"
    notes.write_text("")
    pid = os.fork()
    if not pid:
        os.setsid()
        os.chdir(folder / "main")
        sys.path[0] = str(folder / "main")
        sys.dont_write_bytecode = not measured
        os.environ.update(ENVIRONMENT, PYTHONPATH=sys.path[0], HOME=str(folder), PYTHONDONTWRITEBYTECODE="1")
        resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
        nothing, file = os.open(os.devnull, os.O_WRONLY), notes.open("a", buffering=1)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        lines = coverage.Coverage(measured, source=["numnet"], config_file=False) if measured else None
        if lines:
            lines.start()
        options = [*OPTIONS, *(["-x"] if limited else []), f"--basetemp={folder / 'temporary'}"]
        plugin = Chosen(lambda text: file.write(f"{time.perf_counter()} {text}\n"), wanted, lines, limited)
        status = pytest.main([*options, *files], [plugin])
        if lines:
            lines.stop()
            lines.save()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what the tests have started
    noted = (line.split(" ", 2) for line in notes.read_text().splitlines())
    return status, [(float(at), what, test) for at, what, test in noted]


def explore(folder, tests):
    """Run all tests twice; return the seconds that each takes, and the tests that reach each line of each file."""
    first = _passed(run_tests(folder, tests, measured=folder / "coverage")[1])
    # Again, the quick ones first: mutants are run like this, and a test may depend on what ran before.
    seconds = _passed(run_tests(folder, tests, dict(sorted(first.items(), key=lambda item: item[1])))[1])
    print("left out, because they do not always pass:", *sorted(first.keys() - seconds), sep="\n  ", flush=True)
    measured, reached = coverage.CoverageData(folder / "coverage"), {}
    measured.read()
    for path in FILES:
        lines = measured.contexts_by_lineno(str(folder / "main" / path))
        reached[path] = {line: [test for test in found if test in seconds] for line, found in lines.items()}
    return {"seconds": seconds, "reached": reached}


def _passed(notes):
    """Return the seconds of each test that passed."""
    began = {test: at for at, what, test in notes if what == "begin"}
    other = {test for _, what, test in notes if what in ("failed", "skipped")}
    return {test: at - began[test] for at, what, test in notes if what == "end" and test not in other}


def copied(folder):
    """Copy the repository without what git ignores."""
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
            os.utime(folder / name, (ORIGINAL, ORIGINAL))


def own_tests(path):
    """Return the file of tests that has the name of a file of numnet."""
    path = Path(path).relative_to("numnet")
    name = (path.parent.name or "package") if path.stem == "__init__" else path.stem
    return str("tests" / path.parent / f"test_{name}.py")


class Worker:
    """Runs mutants in a copy of its own."""

    def __init__(self, folder, explored, at_most):
        self.folder, self.seconds, self.at_most = folder, explored["seconds"], at_most
        self.reached = {
            path: {int(line): tests for line, tests in lines.items()} for path, lines in explored["reached"].items()
        }
        self.killers = defaultdict(Counter)  # of each function, the tests that have noticed a mutant of it

    def tests_of(self, mutant):
        """Yield the tests that may notice a mutant: the file's own and those that noticed others, then the rest."""
        own = own_tests(mutant.path)
        tests = {test for line, tests in self.reached[mutant.path].items() if line in mutant.lines for test in tests}
        tests = tests or {test for test in self.seconds if test.startswith((f"{own}::", f"{mutant.path}::"))}
        killers = self.killers[mutant.path, mutant.function]
        files = {own, mutant.path, *(test.split("::")[0] for test in killers)}
        near = {test for test in tests if test.split("::")[0] in files}
        left = self.at_most
        for group in (near, tests - near):
            wanted = {}
            for test in sorted(group, key=lambda test: (-killers[test], self.seconds[test], test)):
                if left > 0:  # the last one may take longer
                    wanted[test] = self.seconds[test]
                    left -= self.seconds[test] + OVERHEAD
            if wanted:
                yield wanted

    def run(self, mutant):
        """Return how a mutant ended: the test that noticed it or None, how many tests it passed, and the seconds."""
        original, path = (self.folder / name / mutant.path for name in ("../original", "main"))
        source, began, passed, noticed = original.read_bytes(), time.perf_counter(), 0, None
        path.write_bytes(source[: mutant.start] + mutant.new.encode() + source[mutant.stop :])
        for wanted in self.tests_of(mutant):
            status, notes = run_tests(
                self.folder, sorted({test.split("::")[0] for test in wanted}), wanted, limited=True
            )
            passed += len(notes) // 2 - (status == 1)
            if status not in (0, 5):
                noticed = notes[-1][2] if notes else "the import"
                self.killers[mutant.path, mutant.function][noticed] += bool(notes)
                break
        shutil.copy2(original, path)
        seconds = time.perf_counter() - began
        return {"key": mutant.key, "noticed": noticed, "passed": passed, "late": status < 0, "seconds": seconds}


def work(parent, folder, explored, at_most, todo, results):
    for path in FILES:  # a run that was stopped may have left a mutant
        shutil.copy2(folder / "../original" / path, folder / "main" / path)
    worker = Worker(folder, explored, at_most)
    with open(results, "a", buffering=1) as file:
        for mutant in todo:
            if os.getppid() != parent:  # the run has been stopped
                break
            file.write(json.dumps(worker.run(mutant)) + "\n")


def read(results):
    """Return what is known of each mutant; a line that was cut off is none."""
    lines = results.read_text().splitlines() if results.exists() else []
    return {one["key"]: one for one in map(json.loads, (line for line in lines if line.endswith("}")))}


def report(every, known):
    """Print the survivors by file and function, the score of each file, and the mutants that most tests let pass."""
    ended = [(mutant, known[mutant.key]) for mutant in every]
    for mutant, end in ended:
        if not end["noticed"]:
            print(f"{mutant.path}:{mutant.line} {mutant.key.removeprefix(f'{mutant.path}:')}")
    for path in [*FILES, ""]:
        found = [end for mutant, end in ended if mutant.path.startswith(path)]
        if found:
            killed, late = sum(bool(end["noticed"]) for end in found), sum(end["late"] for end in found)
            print(f"{path or 'together'}: {killed} of {len(found)} killed, {killed / len(found):.1%}, {late} by time")
    print("the hardest, each with the number of tests that passed before one failed:")
    killed = sorted((item for item in ended if item[1]["noticed"]), key=lambda item: -item[1]["passed"])
    for mutant, end in killed[:10]:
        print(f"{end['passed']}: {mutant.key}, line {mutant.line}, noticed by {end['noticed']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("only", nargs="*", help="files, or beginnings such as numnet/costs.py:Quadratic")
    parser.add_argument("--folder", type=Path, help="where to work; a run that was stopped goes on there")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="of tests for a mutant that none of them notices")
    parser.add_argument("--tests", nargs="+", default=["tests", "numnet"], help="only these files of tests")
    parser.add_argument("--again", action="store_true", help="with the files as they are now, only what was not killed")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    results, explored = folder / "results.jsonl", folder / "explored.json"
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # a process that is forked does not look at all these objects again
    known = read(results)
    if arguments.again or not explored.exists():
        known = {key: end for key, end in known.items() if end["noticed"]}
        for old in [folder / "original", *folder.glob("[0-9]*")]:
            shutil.rmtree(old, ignore_errors=True)
        copied(folder / "original")
        shutil.copytree(folder / "original", folder / "0/main")
        explored.write_text(json.dumps(explore(folder / "0", arguments.tests)))
    only = tuple(arguments.only) or ("",)
    files = [path for path in FILES if path.startswith(only) or any(part.startswith(path) for part in only)]
    every = [m for path in files for m in mutants(path, (folder / "original" / path).read_text())]
    every = [mutant for mutant in every if mutant.key.startswith(only)]
    todo = [mutant for mutant in every if mutant.key not in known]
    results.write_text("".join(json.dumps(end) + "\n" for end in known.values()))
    workers = []
    for i in range(arguments.processes):
        if not (folder / str(i)).exists():
            shutil.copytree(folder / "0/main", folder / str(i) / "main")
        share = (
            os.getpid(),
            folder / str(i),
            json.loads(explored.read_text()),
            arguments.seconds,
            todo[i :: arguments.processes],
            results,
        )
        workers.append(multiprocessing.get_context("fork").Process(target=work, args=share))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    report(every, read(results))


if __name__ == "__main__":
    main()
