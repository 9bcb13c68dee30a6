"""Settings and fixtures for all tests."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

import numnet as nn

from .faults import fault, situation  # noqa: F401

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("default"), derandomize=True)
hypothesis.settings.register_profile("thorough", parent=hypothesis.settings.get_profile("default"), max_examples=2500)
hypothesis.settings.register_profile("quick", parent=hypothesis.settings.get_profile("ci"), max_examples=15)
# For mutate.py, which asks only whether a test fails.
phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
hypothesis.settings.register_profile("mutants", parent=hypothesis.settings.get_profile("quick"), phases=phases)

# A shell starts what runs in the background with Ctrl-C ignored, and processes pass that on.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run also the long searches and whole programs, at full depth")


def pytest_configure(config: pytest.Config) -> None:
    """Try fewer random cases without --slow; the profile that --hypothesis-profile names is loaded after this one."""
    name = "ci" if os.environ.get("CI") else "default"
    if not config.getoption("--slow"):
        hypothesis.settings.register_profile(f"{name}, brief", hypothesis.settings.get_profile(name), max_examples=20)
        name += ", brief"
    hypothesis.settings.load_profile(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow, and say so by the number of tests that are deselected."""
    if not config.getoption("--slow"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("slow")])
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


# Programs: one needs coverage, and finds mutants.py only if it is started by itself; one starts MPI if it is imported.
collect_ignore = ["mutate.py", "ranks.py"]
_largest: dict[str, float] = {}


@pytest.fixture(scope="session")
def largest() -> Callable[[str, float], None]:
    """Record a deviation; the largest under each name is printed at the end of the run."""

    def record(name: str, value: float) -> None:
        _largest[name] = max(value, _largest.get(name, 0.0))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _largest:
        terminalreporter.section("largest deviations")
    for name, value in _largest.items():
        terminalreporter.write_line(f"{name}: {value:.2g}")


@pytest.fixture(scope="session")
def mnist() -> Iterator[tuple[nn.datasets.Dataset, nn.datasets.Dataset]]:
    """The real MNIST, where its files are."""
    if not os.environ.get("NUMNET_DATA"):
        pytest.skip("NUMNET_DATA names no folder with MNIST's files")
    return nn.datasets.mnist(download=False)


def missing(what: str) -> None:
    """Skip for want of something, or fail where all of it should be."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what}: pip install selenium; apt install chromium-driver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, without a window."""
    try:
        from selenium import webdriver
    except ImportError:
        missing("Selenium is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")  # named, so that Selenium looks for none on the network
    if not program or not driver:
        missing("Chromium and its driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    quiet = ("quic", "background-networking", "component-update", "sync", "gpu")
    for option in ("headless", "no-sandbox", "no-first-run", *(f"disable-{name}" for name in quiet)):
        options.add_argument(f"--{option}")
    options.add_argument("--window-size=1000,800")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chrome:
        chrome.get("about:blank")
        yield chrome
