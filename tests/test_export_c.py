"""The C file that export_c writes: a compiler accepts the file, and the program computes what the network computes."""

import os
import re
import shutil
import subprocess

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import numnet as nn

from .devices import DEVICES
from .networks import exportable, not_exportable, trained_on_images

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
needs_c = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler: apt install gcc")

# Reads and writes numbers for one function after the other.
MAIN = """
#include <stdio.h>

#define RUN(real, forward, inputs, outputs, samples) \\
    for (int sample = 0; sample < samples; sample++) { \\
        real x[inputs], y[outputs]; \\
        if (fread(x, sizeof x, 1, stdin) != 1) \\
            return 1; \\
        forward(x, y); \\
        if (fwrite(y, sizeof y, 1, stdout) != 1) \\
            return 1; \\
    }

"""


def compiled(folder, *files, options=(), compiler="cc"):
    """Compile files with every warning an error, and return the program."""
    program = folder / "program"
    standard = "-std=c99" if compiler == "cc" else "-std=c++11"
    command = [compiler, standard, *STRICT, *options, *map(os.fspath, files), "-o", os.fspath(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return program


def prototype(path):
    """Return the line that the comment at the top of a C file says to copy."""
    (line,) = re.findall(r"^       (void \w+\(const \w+ \*x, \w+ \*y\);)$", path.read_text(), re.M)
    return line


def main(paths, nets, samples, included=False):
    """Return a main.c that calls the functions of some files, as the comments in the files say."""
    lines = [f'#include "{path.name}"' if included else prototype(path) for path in paths]
    runs = []
    for path, net in zip(paths, nets, strict=True):
        real, name = re.match(r"void (?=.*const (\w+))(\w+)", prototype(path)).groups()
        runs.append(f"    RUN({real}, {name}, {net.inputs}, {net.outputs}, {samples})")
    return "\n".join([*lines, MAIN, "int main(void)\n{", *runs, "    return 0;\n}", ""])


def run(program, nets, inputs):
    """Return the outputs of a program for the inputs of each network."""
    given = b"".join(x.astype(net.dtype).tobytes() for net, x in zip(nets, inputs, strict=True))
    done = subprocess.run([os.fspath(program)], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found, start = [], 0
    for net, x in zip(nets, inputs, strict=True):
        count = len(x) * net.outputs
        found.append(np.frombuffer(done.stdout, net.dtype, count, start).reshape(len(x), net.outputs))
        start += count * net.dtype.itemsize
    assert start == len(done.stdout)
    return found


def computed(folder, net, x, name="net.c", **options):
    """Return what the C program of a network computes."""
    nn.export_c(net, folder / name)
    (folder / "main.c").write_text(main([folder / name], [net], len(x)))
    (y,) = run(compiled(folder, folder / name, folder / "main.c", **options), [net], [x])
    return y


def close(y, expected, float32=1e-5, float64=1e-14):
    tolerance = float32 if expected.dtype == "float32" else float64
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance * max(1, abs(expected).max(initial=0)))


@pytest.fixture(scope="module")
def sanitizers(tmp_path_factory):
    """Return the options with which a program ends if it reads or writes what is not its own, if cc has them."""
    folder = tmp_path_factory.mktemp("sanitizers")
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    command = ["cc", *SANITIZERS, "main.c", "-o", "main"]
    return SANITIZERS if subprocess.run(command, cwd=folder, capture_output=True).returncode == 0 else []


def programs(examples):
    """Return a test of so many programs, each with several random networks."""

    @needs_c
    @settings(max_examples=examples)
    @given(nets=st.lists(exportable(), min_size=5, max_size=20), seed=st.integers(0, 2**32 - 1))
    def test(nets, seed, sanitizers, tmp_path_factory):
        folder, rng = tmp_path_factory.mktemp("programs"), np.random.default_rng(seed)
        inputs = [rng.normal(size=(3, net.inputs)) * rng.integers(2, size=net.inputs) for net in nets]
        paths = [folder / f"net{i}.c" for i in range(len(nets))]
        for net, path in zip(nets, paths, strict=True):
            nn.export_c(net, path)
        (folder / "main.c").write_text(main(paths, nets, 3, included=True))
        program = compiled(folder, folder / "main.c", options=sanitizers)
        for net, x, y in zip(nets, inputs, run(program, nets, inputs), strict=True):
            close(y, net(x.astype(net.dtype)))

    return test


test_every_network_is_computed = programs(3)
test_many_networks_are_computed = pytest.mark.slow(programs(50))


@needs_c
def test_images_have_the_outputs_of_the_network(largest, tmp_path):
    net, images = trained_on_images()
    x = images.astype(np.float32) / 255  # as the comment says
    y = computed(tmp_path, net, x, "images.c")
    largest("C, images", abs(y - net(images)).max())
    close(y, net(images))
    np.testing.assert_array_equal(y.argmax(axis=1), net.predict(images))


@needs_c
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Softmax, nn.Tanh, nn.ReLU])
def test_large_numbers_come_to_the_right_limits(kind, dtype, tmp_path):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), kind(), dtype=dtype)
    net.layers[0].weight = np.eye(3)
    large = np.finfo(dtype).max / 4
    x = np.array([[1e4, -1e4, 0], [large, -large, 88], [-large, -90, -88], [-large, -800, -700], [-20, 20, 5e-5]])
    x = x.astype(dtype)
    y = computed(tmp_path, net, x)
    np.testing.assert_allclose(y, net(x), rtol=8 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).tiny)


@needs_c
@pytest.mark.parametrize("legacy", [False, "1.13"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_constant_is_the_parameter_bit_for_bit(dtype, legacy, tmp_path):
    net = nn.Sequential(nn.Linear(99, 50), dtype=dtype)
    limits = np.finfo(dtype)
    bits = np.random.default_rng(0).bytes(net.parameters.nbytes)
    values = np.frombuffer(bits, dtype).copy()
    values[~np.isfinite(values)] = 0.1
    values[:8] = 0.0, -0.0, 1.0, -limits.max, limits.tiny, limits.smallest_subnormal, 16777216, 1e-5
    net.parameters = values
    with np.printoptions(legacy=legacy):  # it changes how a number becomes a text
        nn.export_c(net, tmp_path / "net.c")
    write = "".join(f"fwrite(net_{name}0, sizeof net_{name}0, 1, stdout) + " for name in ("weight", "bias"))
    code = f'#include <stdio.h>\n#include "net.c"\nint main(void) {{ return {write} 0 != 2; }}\n'
    (tmp_path / "main.c").write_text(code)
    done = subprocess.run([os.fspath(compiled(tmp_path, tmp_path / "main.c"))], capture_output=True, check=True)
    assert done.stdout == values.tobytes()


NAMES = {
    "digits.c": "digits",
    "my net-1.2.c": "my_net_1_2",
    "784-10.c": "net_784_10",
    "_Net.c": "net__Net",
    "größe.c": "gr__e",
    "float.c": "float",
    "main.c": "main",
    "exp.h": "exp",
    "NAME.c": "NAME",
    "REAL_F.c": "REAL_F",
    ".c": "net__c",
    '") ; \\.c': "net_______",
}


@needs_c
@pytest.mark.parametrize("file", NAMES)
def test_the_function_is_called_as_the_file(file, tmp_path):
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2), nn.Softmax(), seed=0)
    nn.export_c(net, tmp_path / file)
    text = (tmp_path / file).read_text("ascii")
    name = re.search(r"void (\w+)_forward\(", text)[1]
    assert name == NAMES[file]
    assert f"#define {name.upper()}_INPUTS 2\n#define {name.upper()}_OUTPUTS 2\n" in text
    (tmp_path / "x.c").write_text(text)  # no compiler knows what a file of any name is
    (tmp_path / "program.c").write_text(main([tmp_path / "x.c"], [net], 1))
    x = np.array([[0.5, -2.0]], np.float32)
    (y,) = run(compiled(tmp_path, tmp_path / "x.c", tmp_path / "program.c"), [net], [x])
    close(y, net(x))


@needs_c
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler: apt install g++")
def test_the_file_is_cpp_as_well(tmp_path):
    net = nn.Sequential(nn.ReLU(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2), seed=0)
    nn.export_c(net, tmp_path / "net.c")
    (tmp_path / "main.cpp").write_text(main([tmp_path / "net.c"], [net], 5, included=True))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    (y,) = run(compiled(tmp_path, tmp_path / "main.cpp", compiler="c++"), [net], [x])
    close(y, net(x))


@needs_c
def test_a_subclass_of_fixed_width_needs_no_linear_layer(tmp_path):
    fixed = type("Fixed", (nn.Sigmoid,), {"inputs": 3, "outputs": 3})
    net = nn.Sequential(fixed(), nn.Softmax())
    x = np.array([[0.5, -2.0, 3.0]], np.float32)
    close(computed(tmp_path, net, x), net(x))


def test_the_comment_has_the_sizes(tmp_path):
    layers = nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 30, False), nn.ReLU(), nn.Linear(30, 50), nn.Linear(50, 10)
    net = nn.Sequential(*layers, nn.Softmax(), seed=0)
    for dtype, size in (("float32", 4), ("float64", 8)):
        nn.export_c(net.astype(dtype), tmp_path / "net.c")
        comment = (tmp_path / "net.c").read_text().partition("*/")[0]
        assert max(map(len, comment.splitlines())) <= 120
        assert "Linear(20, 40), ReLU, Linear(40, 30), ReLU, Linear(30, 50), Linear(50, 10), Softmax" in comment
        constants, stack = re.search(
            r"constants have (\S+) bytes. The arrays on the stack have (\S+) bytes", comment
        ).groups()
        assert int(constants.replace(",", "")) == net.parameters.size * size
        assert int(stack.replace(",", "")) == (50 + 30) * size


BEFORE_THE_FUNCTIONS = """\
/* A network as one function in C99, written by export_c of numnet.

   The layers: Tanh, Linear(2, 9), ReLU, Linear(9, 1), Sigmoid.

       void small_forward(const double *x, double *y);

   computes the 1 outputs y of the network for one sample x of 2 numbers. The arrays x and y must
   not overlap. Give x as in training. If the network was trained on images of bytes, divide each byte by 255.

   Compile this file with your program, with -lm if your linker needs it. Copy the line above into the file that calls
   the function (in C++ after extern "C"). Or #include this file there, and do not compile it by itself.

   The constants have 288 bytes. The arrays on the stack have 88 bytes.
   The function allocates nothing and keeps nothing, so several threads may call it at once. */

#include <math.h>

#define SMALL_INPUTS 2
#define SMALL_OUTPUTS 1

void small_forward(const double *x, double *y);

static const double small_weight1[18] = {
    -1.e+00, -7.5e-01, -5.e-01, -2.5e-01, 0.e+00, 2.5e-01, 5.e-01, 7.5e-01,
    1.e+00, 1.25e+00, 1.5e+00, 1.75e+00, 2.e+00, 2.25e+00, 2.5e+00, 2.75e+00,
    3.e+00, 3.25e+00,
};

static const double small_bias1[9] = {
    3.5e+00, 3.75e+00, 4.e+00, 4.25e+00, 4.5e+00, 4.75e+00, 5.e+00, 5.25e+00,
    5.5e+00,
};

static const double small_weight3[9] = {
    5.75e+00, 6.e+00, 6.25e+00, 6.5e+00, 6.75e+00, 7.e+00, 7.25e+00, 7.5e+00,
    7.75e+00,
};

"""
AFTER_THE_FUNCTIONS = """
void small_forward(const double *x, double *y)
{
    double a[2];
    double b[9];

    for (int j = 0; j < 2; j++)
        a[j] = x[j];
    small_tanh(a, 2);
    small_linear(a, 2, small_weight1, small_bias1, 9, b);
    small_relu(b, 9);
    small_linear(b, 9, small_weight3, 0, 1, y);
    small_sigmoid(y, 1);
}
"""


def test_the_file_of_a_small_network(tmp_path):
    layers = nn.Tanh(), nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 1, bias=False), nn.Sigmoid()
    net = nn.Sequential(*layers, dtype="float64")
    net.parameters = np.arange(net.parameters.size) / 4 - 1
    nn.export_c(net, tmp_path / "small.c")
    text = (tmp_path / "small.c").read_text()
    assert text[: len(BEFORE_THE_FUNCTIONS)] == BEFORE_THE_FUNCTIONS
    assert text[-len(AFTER_THE_FUNCTIONS) :] == AFTER_THE_FUNCTIONS
    functions = re.findall(r"(?<=\n\n)(?:/\*.*\*/\n)?static void small_(\w+)\(.*\n{\n", text)
    assert functions == ["linear", "sigmoid", "tanh", "relu"]


@given(net=exportable())
def test_the_c_function_has_the_networks_sizes_and_those_of_its_arrays(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("sizes") / "net.c"
    nn.export_c(net, path)
    text = path.read_text()
    assert f"#define NET_INPUTS {net.inputs}\n#define NET_OUTPUTS {net.outputs}\n" in text
    assert f"computes the {net.outputs} outputs y of the network for one sample x of {net.inputs} numbers." in text
    arrays = dict(re.findall(r"^    \w+ ([ab])\[(\d+)\];$", text, re.MULTILINE))
    stack = sum(map(int, arrays.values())) * net.dtype.itemsize
    assert f"The arrays on the stack have {stack:,} bytes." in text


@pytest.mark.parametrize("device", DEVICES)
@given(net=exportable())
def test_a_network_on_a_gpu_has_the_same_file(net, device, tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    (folder / "there").mkdir()
    nn.export_c(net, folder / "net.c")
    nn.export_c(net.to(device), folder / "there" / "net.c")
    assert (folder / "there" / "net.c").read_bytes() == (folder / "net.c").read_bytes()
    assert net.device == device.replace("stand-in", "gpu")


UNKNOWN = "the network takes any number: begin it with a Linear, Linear(784, ...) say"


@pytest.mark.parametrize("message", [*not_exportable(), UNKNOWN])
def test_what_c_cannot_compute_is_refused_before_anything_is_written(message, tmp_path):
    path = tmp_path / "net.c"
    path.write_text("as it was")
    net = not_exportable().get(message) or nn.Sequential(nn.ReLU(), nn.Softmax())
    with pytest.raises(ValueError, match=f"^export_c: .*{re.escape(message)}"):
        nn.export_c(net, path)
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["net.c"]
