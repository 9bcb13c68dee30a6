"""What a figure was measured on: the processor, the system, the versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np


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
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": f"{blas['name']} {blas['version']}",
        "versions": versions,
        "settings": {key: value for key, value in sorted(os.environ.items()) if key.startswith(settings)},
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
