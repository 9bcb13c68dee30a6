"""Mutation testing: break numnet in some thousand ways, one at a time, and see whether a test fails each time.

    pip install -e '.[dev]' coverage
    NUMNET_DATA=... python tests/mutate.py --folder /tmp/mutants

works in copies of this repository and prints the score of each file, and each mutant that no test notices. If it is
stopped, the same command goes on. docs/development/testing.md says more; tests/mutants.py has the mistakes.
"""

import argparse
import contextlib
import gc
import importlib
import inspect
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter, defaultdict
from pathlib import Path

import coverage
import pytest
from mutants import mutants

ROOT = Path(__file__).parents[1]
SORTED = ROOT / "tests/survivors.md"  # by people: mistakes that change nothing, and mistakes without a test
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("numnet/**/*.py") if path.name != "plotting.py")
# Imported once, before numnet: what the tests need takes seconds to import, and a forked process has all of it.
LIBRARIES = [
    *("_hypothesis_pytestplugin", "hypothesis.extra.numpy", "matplotlib.pyplot", "requests", "tqdm.auto", "filelock"),
    *("threadpoolctl", "pandas", "scipy.special", "sklearn.datasets", "sympy", "torch", "nbformat", "IPython"),
]
OPTIONS = [
    *("-q", "--no-header", "--tb=no", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
    *("--hypothesis-profile=mutants", "-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider"),
    *("-p", "no:unraisableexception", "-p", "no:threadexception"),
]
# These compare pages with the source. They would notice a mistake by its text, whatever it does.
COMPARING = [
    *("--ignore=tests/test_docs.py", "--ignore=tests/test_derivations.py", "--ignore=tests/test_chinese.py"),
    "--deselect=tests/test_checks.py::test_each_refusal_is_among_these",
    "--deselect=tests/test_hints.py::test_each_remedy_is_followed",
    "--deselect=tests/test_hints.py::test_the_tests_elsewhere_are_there",
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


def prepare(folder):
    """Make this process one that tests a copy of the repository silently; return options for pytest."""
    os.chdir(folder / "main")
    sys.path[0] = str(folder / "main")
    os.environ.update(ENVIRONMENT, PYTHONPATH=sys.path[0], HOME=str(folder), PYTHONDONTWRITEBYTECODE="1")
    resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    return [*OPTIONS, *COMPARING, f"--basetemp={folder / 'temporary'}"]


def forked(folder, test):
    """Call a function in a process of its own, with a function that notes a text; return its status and its notes."""
    notes = folder / "notes.txt"
    notes.write_text("")
    pid = os.fork()
    if not pid:
        os.setsid()
        file = notes.open("a", buffering=1)
        try:
            os._exit(test(lambda text: file.write(f"{time.perf_counter()} {text}\n")))
        finally:
            os._exit(70)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what the tests have started
    noted = (line.split(" ", 2) for line in notes.read_text().splitlines())
    return status, [(float(at), what, test) for at, what, test in noted]


def run_tests(folder, files, wanted=None, measured=None, limited=False):
    """Run tests in a copy of the repository, in a process of their own; return its status and its notes.

    `wanted` has the tests in their order, and how long each takes; `measured` is a file for the lines that it reaches.
    If `limited`, the first test ends the process that fails or takes much longer.
    """

    def run(log):
        options = [*prepare(folder), *(["-x"] if limited else [])]
        sys.dont_write_bytecode = not measured
        lines = coverage.Coverage(measured, source=["numnet"], config_file=False) if measured else None
        if lines:
            lines.start()
        status = pytest.main([*options, *files], [Chosen(log, wanted, lines, limited)])
        if lines:
            lines.stop()
            lines.save()
        return status

    return forked(folder, run)


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

    def __init__(self, folder, explored, at_most, results):
        self.folder, self.seconds, self.at_most, self.results = folder, explored["seconds"], at_most, results
        self.reached = {
            path: {int(line): tests for line, tests in lines.items()} for path, lines in explored["reached"].items()
        }
        self.own, self.starting = {}, {}  # of each file, its own tests, and those of them that may start programs
        for path, lines in self.reached.items():
            near = f"{own_tests(path)}::", f"{path}::"
            self.own[path] = {test for test in self.seconds if test.startswith(near)}
            self.starting[path] = self.own[path].difference(*lines.values())
        self.noticed = defaultdict(Counter)  # of each function, the tests that noticed mutants; of each file, the kinds

    def tests_of(self, mutant):
        """Return the tests that may notice a mutant: those that noticed others, its file's own, one of each kind."""
        own, noticed = self.own[mutant.path], self.noticed[mutant.path, mutant.function]
        tests = {test for line, tests in self.reached[mutant.path].items() if line in mutant.lines for test in tests}
        tests = (tests or own) | self.starting[mutant.path]
        kinds, in_file, order = Counter(), Counter(), []
        for test in sorted(tests, key=lambda test: (self.seconds[test], test)):
            kind = test.split("[")[0]
            noticing = self.noticed[mutant.path][kind]
            file = test.split("::")[0]
            order.append((-noticed[test], test not in own, kinds[kind], -noticing, in_file[file], test))
            kinds[kind] += 1
            in_file[file] += kinds[kind] == 1  # so that each file of tests has its turn early
        wanted, left = {}, self.at_most
        for *_, test in sorted(order):
            if left > 0:  # the last one may take longer
                wanted[test] = self.seconds[test]
                left -= self.seconds[test] + OVERHEAD
        return wanted

    def run(self, mutant, test):
        """Put a mutant into its file, call a function with the tests to run, and note what came of them."""
        original, path = (self.folder / name / mutant.path for name in ("../original", "main"))
        began, noticed, wanted = time.perf_counter(), None, self.tests_of(mutant)
        path.write_bytes(mutant.of(original.read_bytes()))
        status, notes = test(wanted)
        if status not in (0, 5):
            noticed = notes[-1][2] if notes else "the import"
            self.noticed[mutant.path, mutant.function][noticed] += bool(notes)
            self.noticed[mutant.path][noticed.split("[")[0]] += 1
        shutil.copy2(original, path)
        end = {"key": mutant.key, "noticed": noticed, "passed": len(notes) // 2 - (status == 1), "late": status < 0}
        self.results.write(json.dumps({**end, "seconds": time.perf_counter() - began}) + "\n")

    def run_anew(self, mutant):
        """Run a mutant in a process that imports numnet with the mutant."""
        files = lambda wanted: sorted({test.split("::")[0] for test in wanted})  # noqa: E731
        self.run(mutant, lambda wanted: run_tests(self.folder, files(wanted), wanted, limited=True))


class Swapper(Chosen):
    """A plugin for pytest: collects all tests once, and runs each mutant that is within functions in a fork of that."""

    def __init__(self, worker, todo, parent):
        super().__init__(self.note, None, None, True)
        self.worker, self.todo, self.parent, self.left = worker, todo, parent, []
        self.log_of_the_fork, self.functions, self.called = None, defaultdict(list), set()

    def note(self, text):
        self.log_of_the_fork(text)
        self.failed = self.failed or text.startswith("failed")

    def import_all(self):
        """Import numnet, and remember the functions that the import calls: what they gave is not changed later."""
        sys.setprofile(lambda frame, event, _: self.called.add(frame.f_code) if event == "call" else None)
        for path in FILES:
            importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        importlib.import_module("tests.devices")
        importlib.import_module("numnet.backend").to([1.0], "gpu")  # what makes the device is called once only
        sys.setprofile(None)

    def pytest_runtestloop(self, session):
        self.items, self.wanted = {item.nodeid: item for item in session.items}, self.worker.seconds
        for part in gc.get_objects():
            if type(part) is types.FunctionType and "/main/numnet/" in part.__code__.co_filename:
                self.functions[part.__code__].append(part)
        for mutant in self.todo:
            if os.getppid() != self.parent:  # the run has been stopped
                break
            path = self.worker.folder / "main" / mutant.path
            source = (self.worker.folder / "../original" / mutant.path).read_bytes()
            old, new = (compile(text, path, "exec", dont_inherit=True) for text in (source, mutant.of(source)))
            pairs, anew = changed_codes(old, new)
            swaps = [(function, code) for a, code in pairs for function in self.functions[a]]
            if anew & {old, *self.called} or any(a.co_freevars != b.co_freevars for a, b in pairs) or not swaps:
                self.left.append(mutant)
                continue
            self.worker.run(mutant, lambda wanted, swaps=swaps: forked(self.worker.folder, self.test(wanted, swaps)))
        (self.worker.folder / "left.json").write_text(json.dumps([mutant.key for mutant in self.left]))
        return True

    def test(self, wanted, swaps):
        """Return a function that runs the tests with other code in some functions, and ends at the first that fails."""

        def run(log):
            self.log_of_the_fork, self.failed = log, False
            for function, code in swaps:
                function.__code__ = code
            items = [self.items[test] for test in wanted]
            for item, after in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                if self.failed:
                    return 1
            return 0

        return run


def changed_codes(old, new):
    """Return the pairs of code that differ, each with those around it, and the old ones that differ in themselves.

    The module stands for all that runs at the import, as the bodies of classes do.
    """
    pairs, themselves = [], set()

    def compare(a, b):
        inner = [[part for part in code.co_consts if isinstance(part, types.CodeType)] for code in (a, b)]
        function = a.co_flags & inspect.CO_OPTIMIZED
        if _own(a) != _own(b) or len(inner[0]) != len(inner[1]):
            themselves.add(a if function else old)
            differ = True
        else:
            differ = any([compare(x, y) for x, y in zip(*inner, strict=True)])
        if differ and function:
            pairs.append((a, b))
        return differ

    compare(old, new)
    return pairs, themselves


def _own(code):
    """Return what makes a code, without its lines and without the code in it."""
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    given = code.co_argcount, code.co_kwonlyargcount, code.co_flags
    constants = [repr(part) for part in code.co_consts if not isinstance(part, types.CodeType)]
    return code.co_code, code.co_exceptiontable, names, given, constants


def work(parent, folder, explored, at_most, todo, results):
    for path in FILES:  # a run that was stopped may have left a mutant
        shutil.copy2(folder / "../original" / path, folder / "main" / path)
    with open(results, "a", buffering=1) as file:
        worker = Worker(folder, explored, at_most, file)
        (folder / "left.json").unlink(missing_ok=True)
        here, pid = os.getpid(), os.fork()
        if not pid:
            options, swapper = prepare(folder), Swapper(worker, todo, here)
            swapper.import_all()
            sys.dont_write_bytecode = True
            pytest.main([*options, *sorted({test.split("::")[0] for test in worker.seconds})], [swapper])
            os._exit(0)
        os.waitpid(pid, 0)
        left = set(json.loads((folder / "left.json").read_text()))
        for mutant in todo:
            if mutant.key in left and os.getppid() == parent:
                worker.run_anew(mutant)


def read(results):
    """Return what is known of each mutant; a line that was cut off is none."""
    lines = results.read_text().splitlines() if results.exists() else []
    return {one["key"]: one for one in map(json.loads, (line for line in lines if line.endswith("}")))}


def changing_nothing():
    """Return the mistakes that change nothing that a caller can see: those in the first section of the page."""
    _, nothing, *_ = re.split("^## .*", SORTED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return set(re.findall(r"^    (numnet/.*)", nothing, re.MULTILINE))


def report(every, known):
    """Print the survivors by file and function, the score of each file, and the mutants that most tests let pass."""
    ended = [(mutant, known[mutant.key]) for mutant in every if mutant.key in known]
    print(f"{len(ended):,} of {len(every):,} mutants have been run")
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
    parser.add_argument("--seconds", type=float, default=10.0, help="of tests for a mutant that none of them notices")
    parser.add_argument("--tests", nargs="+", default=["tests", "numnet"], help="only these files of tests")
    parser.add_argument("--again", action="store_true", help="with the files as they are now, only what was not killed")
    parser.add_argument("--report", action="store_true", help="only print what is known so far")
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
    nothing = changing_nothing()
    unknown = nothing - {mutant.key for mutant in every} if only == ("",) else ()
    print(f"{len(nothing):,} mistakes change nothing and are left out", *sorted(unknown), sep="\n  is no mistake: ")
    every = [mutant for mutant in every if mutant.key.startswith(only) and mutant.key not in nothing]
    if arguments.report:
        report(every, known)
        return
    todo = [mutant for mutant in every if mutant.key not in known]
    random.Random(0).shuffle(todo)  # so that what a run has done when it is stopped is a sample
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
