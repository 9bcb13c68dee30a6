"""The model that export_onnx writes: what is in the file, and what ONNX Runtime computes, in Python and in Node.js."""

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import numnet as nn

from .devices import DEVICES
from .networks import exportable, not_exportable, trained_on_images

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'numnet[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install onnxruntime")

INPUTS = ["float32", "float64", "uint8"]
BATCHES = [0, 1, 5, 64]


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def computed(path, *batches):
    """Return what ONNX Runtime computes for some batches, one after the other."""
    model = session(path)
    return [model.run(["y"], {"x": x})[0] for x in batches]


def close(y, expected, float32=5e-6, float64=1e-14):
    tolerance = float32 if expected.dtype == "float32" else float64
    assert y.dtype == expected.dtype
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance * max(1, abs(expected).max(initial=0)))


def batches_of(net, input, rng):
    shapes = [(n, net.inputs or 4) for n in BATCHES]
    if input == "uint8":
        return [rng.integers(256, size=shape, dtype=np.uint8) for shape in shapes]
    return [rng.normal(size=shape).astype(input) for shape in shapes]


def activations():
    """Draw a network that takes any number of features."""
    kinds = st.lists(st.sampled_from([nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax]), min_size=1, max_size=3)
    return st.builds(
        lambda kinds, dtype: nn.Sequential(*(kind() for kind in kinds), dtype=dtype),
        kinds,
        st.sampled_from(["float32", "float64"]),
    )


@given(net=exportable() | activations(), input=st.sampled_from(INPUTS), seed=st.integers(0, 2**32 - 1))
def test_every_network_is_computed(net, input, seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "net.onnx"
    nn.export_onnx(net, path, input)
    onnx.checker.check_model(path, full_check=True)
    batches = batches_of(net, input, np.random.default_rng(seed))
    for x, y in zip(batches, computed(path, *batches), strict=True):
        close(y, net(x))


@pytest.mark.parametrize("input", INPUTS)
def test_images_have_the_outputs_of_the_network(input, largest, tmp_path):
    net, images = trained_on_images()
    x = images if input == "uint8" else (images / 255).astype(input)
    nn.export_onnx(net, tmp_path / "net.onnx", input)
    (y,) = computed(tmp_path / "net.onnx", x)
    largest("ONNX Runtime, images", abs(y - net(images)).max())
    close(y, net(images))
    np.testing.assert_array_equal(y.argmax(axis=1), net.predict(images))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Softmax, nn.Tanh, nn.ReLU])
def test_large_numbers_come_to_the_right_limits(kind, dtype, tmp_path):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), kind(), dtype=dtype)
    net.layers[0].weight = np.eye(3)
    large = np.finfo(dtype).max / 4
    x = np.array([[1e4, -1e4, 0], [large, -large, 88], [-large, -90, -88], [-20, 20, 5e-5]]).astype(dtype)
    nn.export_onnx(net, tmp_path / "net.onnx", dtype)
    (y,) = computed(tmp_path / "net.onnx", x)
    np.testing.assert_allclose(y, net(x), rtol=5e-6 if dtype == "float32" else 1e-14, atol=1e-7)


@pytest.mark.parametrize("device", DEVICES)
@given(net=exportable(), input=st.sampled_from(INPUTS))
def test_the_parameters_are_in_the_file_bit_for_bit_from_every_device(net, input, device, tmp_path_factory):
    path, before = tmp_path_factory.mktemp("models") / "net.onnx", net.parameters.tobytes()
    nn.export_onnx(net, path, input)
    same = path.read_bytes()
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in onnx.load(path).graph.initializer}
    if input == "uint8":
        assert arrays.pop("scale") == net.dtype.type(1 / 255)
    assert list(arrays) == [f"{name}{i}" for i, layer in enumerate(net.layers) for name in layer.parameters]
    assert b"".join(array.tobytes() for array in arrays.values()) == before
    nn.export_onnx(net.to(device), path, input)
    assert path.read_bytes() == same
    assert net.device == device.replace("stand-in", "gpu")


def test_older_programs_can_read_the_file(tmp_path):
    layers = nn.Linear(4, 3), nn.Sigmoid(), nn.Tanh(), nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Softmax()
    nn.export_onnx(nn.Sequential(*layers, dtype="float64"), tmp_path / "net.onnx", "uint8")
    model = onnx.load(tmp_path / "net.onnx")
    operators = {node.op_type for node in model.graph.node}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 13)]
    assert (model.ir_version, model.producer_name) == (7, "numnet")
    assert operators == {"Cast", "Mul", "Gemm", "MatMul", "Sigmoid", "Tanh", "Relu", "Softmax"}
    assert max(onnx.defs.get_schema(operator, 13).since_version for operator in operators) == 13


def test_each_value_in_the_model_is_named_after_what_gives_it(tmp_path):
    layers = nn.Linear(4, 3), nn.Sigmoid(), nn.Tanh(), nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Softmax()
    nn.export_onnx(nn.Sequential(*layers), tmp_path / "net.onnx", "uint8")
    graph = onnx.load(tmp_path / "net.onnx").graph
    names = ["converted", "scaled", "linear0", "sigmoid1", "tanh2", "linear3", "relu4", "y"]
    assert [node.name for node in graph.node] == [name for node in graph.node for name in node.output] == names
    assert [array.name for array in graph.initializer] == ["scale", "weight0", "bias0", "weight3"]
    assert graph.name == "numnet"


def sizes(values):
    return [
        (value.name, *(size.dim_value or size.dim_param for size in value.type.tensor_type.shape.dim))
        for value in values
    ]


def test_the_shapes_are_in_the_file(tmp_path):
    nn.export_onnx(nn.Sequential(nn.Linear(784, 10), nn.Softmax()), tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert sizes([*graph.input, *graph.output]) == [("x", "n", 784), ("y", "n", 10)]
    nn.export_onnx(nn.Sequential(nn.Tanh()), tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert sizes([*graph.input, *graph.output]) == [("x", "n", "features"), ("y", "n", "features")]


@pytest.mark.parametrize("message", not_exportable())
def test_what_the_model_cannot_compute_is_refused_before_anything_is_written(message, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_text("as it was")
    with pytest.raises(ValueError, match=f"^export_onnx: .*{re.escape(message)}"):
        nn.export_onnx(not_exportable()[message], path)
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["net.onnx"]


def test_a_number_that_is_finite_in_the_dtype_of_the_network_is_written(tmp_path):
    net = nn.Sequential(nn.Linear(1, 1), dtype="float64")
    net.parameters = [1e300, -1e300]
    nn.export_onnx(net, tmp_path / "net.onnx", "float64")
    close(*computed(tmp_path / "net.onnx", np.array([[0.5]])), np.array([[-5e299]]))


@pytest.mark.parametrize("input", ["float16", "uint16", np.uint8, None])
def test_another_input_is_refused(input, tmp_path):
    message = f"export_onnx: input must be one of float32, float64, uint8, got {input!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nn.export_onnx(nn.Sequential(nn.Linear(1, 1)), tmp_path / "net.onnx", input)
    assert os.listdir(tmp_path) == []


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"^export_onnx needs the package onnx: pip install 'numnet\[onnx\]'$"):
        nn.export_onnx(nn.Sequential(nn.Linear(1, 1)), tmp_path / "net.onnx")
    assert os.listdir(tmp_path) == []


def test_a_model_of_another_program_is_not_replaced(tmp_path):
    net, path = nn.Sequential(nn.Linear(1, 1), seed=0), tmp_path / "net.onnx"
    nn.export_onnx(net, path)
    model = onnx.load(path)
    model.producer_name = "others"  # as long as numnet
    onnx.save(model, path)
    theirs = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"is no ONNX model of numnet, .* give overwrite=True$"):
        nn.export_onnx(net, path)
    assert path.read_bytes() == theirs
    nn.export_onnx(net, path, overwrite=True)
    nn.export_onnx(net, path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_damaged_model_is_not_replaced(share, tmp_path):
    net, path = nn.Sequential(nn.Linear(3, 2), seed=0), tmp_path / "net.onnx"
    nn.export_onnx(net, path)
    whole = path.read_bytes()
    for damaged in (whole[: int(share * len(whole))], whole[:-20] + bytes(20)):
        path.write_bytes(damaged)
        with pytest.raises(FileExistsError, match=r"is no ONNX model of numnet, .* give overwrite=True$"):
            nn.export_onnx(net, path)
        assert path.read_bytes() == damaged
    nn.export_onnx(net, path, overwrite=True)
    assert path.read_bytes() == whole


def test_the_example_runs(tmp_path, monkeypatch):
    """The example is skipped among the other examples, since onnx may be missing there."""
    monkeypatch.chdir(tmp_path)
    source = nn.export_onnx.__doc__.replace("# doctest: +SKIP", "")
    example = doctest.DocTestParser().get_doctest(source, {}, "export_onnx", None, 0)
    assert len(example.examples) == 9
    assert doctest.DocTestRunner().run(example).failed == 0


NODE = """
const ort = require(process.argv[2]), fs = require("fs");
(async () => {
  const [model, file, samples, pixels] = process.argv.slice(3);
  const session = await ort.InferenceSession.create(model);
  const x = new ort.Tensor("uint8", new Uint8Array(fs.readFileSync(file)), [Number(samples), Number(pixels)]);
  const { y } = await session.run({ x });
  console.log(JSON.stringify({ dims: y.dims, data: Array.from(y.data) }));
})();
"""


def missing(what, remedy):
    """Skip for want of something, or fail where all of it should be."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what}: {remedy}")


@pytest.mark.slow
def test_node_computes_the_same(tmp_path):
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("Node.js is not installed", "apt install nodejs npm")
    install = "npm install --global --ignore-scripts onnxruntime-node"  # its script loads a library for GPUs
    root = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=True).stdout.strip()
    package = Path(root) / "onnxruntime-node"
    if not package.is_dir():
        missing("onnxruntime-node is not installed", install)
    net, images = trained_on_images()
    nn.export_onnx(net, tmp_path / "net.onnx", "uint8")
    (tmp_path / "run.js").write_text(NODE)
    (tmp_path / "images").write_bytes(images.tobytes())
    command = ["node", "run.js", os.fspath(package), "net.onnx", "images", *map(str, images.shape)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    y = json.loads(done.stdout)
    close(np.array(y["data"], np.float32).reshape(y["dims"]), net(images))
