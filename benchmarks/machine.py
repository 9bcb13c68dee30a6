"""What a figure was measured on: the processor, the system, the versions."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

# Set by some systems for all of their processors alike, they keep OpenBLAS from suiting itself to this one.
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
REMOVED = "NUMNET_BENCHMARKS_REMOVED"


def start_without_overrides() -> None:
    """Start this program anew, before anything is measured, where variables override what OpenBLAS finds out itself."""
    overrides = {name: os.environ.pop(name) for name in OVERRIDES if name in os.environ}
    if overrides:
        print(f"without {overrides}: NumPy chooses for this processor, as the others do", flush=True)
        os.environ[REMOVED] = json.dumps(overrides)
        os.execv(sys.executable, [sys.executable, *sys.argv])


def describe(packages: Iterable[str]) -> dict[str, Any]:
    """Return the date, the machine and the versions; packages that are not installed are left out."""
    versions = {}
    for package in ["numnet", "numpy", *packages]:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    settings = ("OPENBLAS", "OMP", "MKL", "XLA", "BLIS")
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": f"{blas['name']} {blas['version']}",
        "versions": versions,
        "settings": {key: value for key, value in sorted(os.environ.items()) if key.startswith(settings)},
        "removed settings": json.loads(os.environ.get(REMOVED, "{}")),
    }


def print_machine(machine: dict[str, Any]) -> None:
    """Print it in three lines."""
    print(f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['system']}")
    print(f"Python {machine['python']}, {', '.join(f'{name} {v}' for name, v in machine['versions'].items())}")
    print(f"BLAS {machine['blas']}; settings: {machine['settings'] or 'none'}", flush=True)


def _processor() -> str:
    """Return the name of the processor and the widest vectors that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    vectors = next((f", {name}" for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return f"{fields.get('model name', platform.machine())}{vectors}"
