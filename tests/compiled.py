"""The kernels' C++ on a CPU: ElementwiseKernel for the stand-in, made by the machine's own compiler."""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import strict

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
_C = {"f": "float", "d": "double", "B": "unsigned char", "l": "long", "q": "long long", "int64": "long long"}
_CTYPES = {"float": ctypes.c_float, "double": ctypes.c_double, "long long": ctypes.c_longlong}


class ElementwiseKernel:
    """As CuPy's, for arrays of one shape and numbers: `operation` for each i, arrays by index where they are raw."""

    def __init__(self, inputs, outputs, operation, name):
        self.inputs, self.operation = inputs.split(","), operation
        self.parameters = [text.split() for text in self.inputs + outputs.split(",")]

    def __call__(self, *values, size=None):
        outputs = values[len(self.inputs) :]
        if not outputs:
            outputs = (strict.ndarray(np.empty_like(values[0]._array)),)
        kinds = {"int64": "int64"}
        for (*_, kind, _), value in zip(self.parameters, (*values[: len(self.inputs)], *outputs), strict=True):
            if isinstance(value, strict.ndarray):
                assert value.flags.c_contiguous
                assert kinds.setdefault(kind, value.dtype.char) == value.dtype.char, "CuPy: Type is mismatched"
        size = outputs[0].size if size is None else size

        def compute(i):
            results = [output._array.copy() for output in outputs]
            arrays = [strict._host(value) for value in values[: len(self.inputs)]] + results
            types, declared, given, inside = [], [], [], []
            for (*raw, kind, name), array in zip(self.parameters, arrays, strict=True):
                c = _C[kinds[kind]]
                is_array = isinstance(array, np.ndarray)
                types.append(ctypes.c_void_p(array.ctypes.data) if is_array else _CTYPES[c](array))
                given.append(f"{c}* {name}" if raw else f"{c}* {name}_" if is_array else f"{c} {name}")
                inside.append(f"{c}& {name} = {name}_[i];" if is_array and not raw else "")
            declared = "".join(f"typedef {_C[char]} {kind};" for kind, char in kinds.items() if kind != "int64")
            body = f"for (long long i = 0; i < size; i++) {{ {''.join(inside)} {self.operation}; }}"
            _compiled(f'{declared} extern "C" void run(long long size, {", ".join(given)}) {{ {body} }}')(
                ctypes.c_longlong(size), *types
            )
            return results[i]

        done = [strict._done(functools.partial(compute, i), output) for i, output in enumerate(outputs)]
        return done[0]


@functools.cache
def _compiled(source):
    with tempfile.TemporaryDirectory() as folder:
        code, library = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        code.write_text(f"#include <cmath>\nusing std::exp;\n{source}\n")
        subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", library, code], check=True)
        return ctypes.CDLL(str(library)).run
