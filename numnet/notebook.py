"""What a notebook shows: HTML without scripts or files, in the text colour of the page.

`in_notebook` says whether there is a notebook.
"""

from __future__ import annotations

import base64
import html
import math
import struct
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array

_ROWS = 20  # rows of a table at most
_SAMPLES = 10  # images of each class
_PIXELS = 64  # along a side of an image at most; the image is shown 28 pixels high
_WIDTH, _HEIGHT = 270, 110  # the size of a panel of curves, in pixels
# Colours that colour-blind readers tell apart, by M. Okabe and K. Ito: https://jfly.uni-koeln.de/color/
_LOOKS = {
    "test accuracy": 'stroke="#0072B2"',
    "training accuracy": 'stroke="#D55E00" stroke-dasharray="6 3"',
    "test cost": 'stroke="currentColor" stroke-dasharray="6 3 2 3"',
    "training cost": 'stroke="#009E73" stroke-dasharray="2 3"',
}


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and hasattr(get_ipython(), "kernel")


def history_text(history: Any) -> str:
    """Return a table with a line for each epoch, without the columns of accuracies or test costs that are nan."""
    formats = {"epoch": "d", "train_cost": ".4f", "train_accuracy": ".4f", "test_cost": ".4f", "test_accuracy": ".4f"}
    always = ("epoch", "train_cost")
    columns = [name for name in formats if name in always or not np.isnan(getattr(history, name)).all()] + ["seconds"]
    heads = [name.replace("_", " ") for name in columns]
    lines = ["  ".join(heads)]
    for epoch in history:
        cells = [format(getattr(epoch, name), formats.get(name, ".2f")) for name in columns]
        lines.append("  ".join(cell.rjust(len(head)) for cell, head in zip(cells, heads, strict=True)))
    return "\n".join(lines)


def history_html(history: Any) -> str:
    """Return the curves and the table of a run. The table of a long run has the first and the last epochs."""
    if not len(history):
        return "<p>History: no epochs yet</p>"
    columns = {
        "training cost": ("train_cost", _cost),
        "training accuracy": ("train_accuracy", _share),
        "test cost": ("test_cost", _cost),
        "test accuracy": ("test_accuracy", _share),
    }
    values = {name: getattr(history, field) for name, (field, _) in columns.items()}
    shown = [name for name in columns if np.isfinite(values[name]).any()]
    head = ("epoch", *shown, "seconds")
    ends = [*history[: _ROWS // 2], *history[-_ROWS // 2 :]] if len(history) > _ROWS else history
    rows = []
    for e in ends:
        cells = [written(getattr(e, field)) for field, written in (columns[name] for name in shown)]
        rows.append((f"{e.epoch}", *cells, f"{e.seconds:.2f}"))
    if len(history) > _ROWS:
        rows.insert(_ROWS // 2, ("⋮",) * len(head))
    panels = [{name: values[name] for name in _LOOKS if name.endswith(kind)} for kind in ("accuracy", "cost")]
    return "".join(_panel(history.epoch, curves) for curves in panels) + table(head, rows)


def dataset_html(data: Any) -> str:
    """Return a table of the classes: how many images each class has, and its first images."""
    labels, images = backend.to(data.labels, "cpu"), data.images
    classes, counts = np.unique(labels, return_counts=True)
    pictures = len(images.shape) == 3 and images.dtype.kind in "buif" and 0 not in images.shape
    step = math.ceil(max(1, *images.shape[1:]) / _PIXELS)  # whole photographs would make the notebook's file large
    rows = []
    for label, count in list(zip(classes, counts, strict=True))[:_ROWS]:
        name = f"{label}" if data.classes is None else data.classes[label]
        shown = html.escape(name if name == f"{label}" else f"{label} {name}")
        row = [shown, f"{count:,}"]
        if pictures:
            first = images[np.flatnonzero(labels == label)[:_SAMPLES]][:, ::step, ::step]
            row.append(_strip(backend.to(first, "cpu"), f"images of class {shown}"))
        rows.append(row)
    if len(classes) > _ROWS:
        rows.append([f"and {len(classes) - _ROWS:,} more"])
    head = ("class", "images", "the first of them")[: 2 + pictures]
    return f"<p>{html.escape(repr(data))}</p>{table(head, rows)}"


def network_text(net: Any) -> str:
    """Return a line for each layer of a network: its number, name, shapes and parameters."""
    rows = _layers(net)
    w = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"  {i:>{w[0]}}  {name:<{w[1]}}  {a:>{w[2]}} -> {b:<{w[3]}}  {n:>{w[4]}}" for i, name, a, b, n in rows]
    return "\n".join(["Sequential(", *(line.rstrip() for line in lines), f")  {_total(net)}"])


def trainer_text(trainer: Any) -> str:
    """Return the layers' widths, the cost, the optimizer and the number of epochs of a trainer, on one line."""
    widths = ["?" if width is None else str(width) for width in trainer.net.widths]
    sizes = " -> ".join(width for i, width in enumerate(widths) if i == 0 or width != widths[i - 1])
    text = f"{sizes}, {trainer.cost!r}, {trainer.optimizer!r}, {len(trainer.history)} epochs"
    if trainer.found_trained:
        text += ", of a network that was trained before: net.initialize(seed) and then a new Trainer start over"
    return f"Trainer({text})"


def network_html(net: Any) -> str:
    """Return the layers of a network as a table."""
    rows = [(i, html.escape(name), f"(n, {a}) → (n, {b})", n.partition(" ")[0]) for i, name, a, b, n in _layers(net)]
    return f"{table(('', 'layer', 'shapes', 'parameters'), rows)}<p>Sequential: {_total(net)}</p>"


def _layers(net: Any) -> list[tuple[str, str, str, str, str]]:
    widths = ["?" if width is None else str(width) for width in net.widths]
    counts = [sum(a.size for a in layer.parameters.values()) for layer in net.layers]
    return [
        (str(i), repr(layer), widths[i], widths[i + 1], f"{count:,} parameters" if count else "")
        for i, (layer, count) in enumerate(zip(net.layers, counts, strict=True))
    ]


def _total(net: Any) -> str:
    place = ", on the GPU" if net.device == "gpu" else ""
    return f"{net.parameters.size:,} parameters, {net.dtype.name}{place}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are HTML."""
    lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _share(value: float) -> str:
    return f"{value:.2%}".replace("%", " %") if math.isfinite(value) else ""


def _cost(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _panel(epochs: Sequence[int], curves: dict[str, list[float]]) -> str:
    """Return an SVG of curves over epochs, with their lowest and highest value; an empty text if no value is finite."""
    curves = {name: values for name, values in curves.items() if np.isfinite(values).any()}
    if not curves:
        return ""
    finite = [value for values in curves.values() for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    left, top, right, bottom = 58, 40, _WIDTH - 12, _HEIGHT + 20
    parts = []
    for i, (name, values) in enumerate(curves.items()):
        points = [
            (_pixel(epoch, epochs[0], epochs[-1], left, right), _pixel(value, low, high, bottom, top))
            for epoch, value in zip(epochs, values, strict=True)
            if math.isfinite(value)
        ]
        shown = points[:: max(len(points) // _WIDTH, 1)]  # nobody sees more than one point for each pixel
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in shown)
        look = f'fill="none" stroke-width="2" {_LOOKS[name]}'
        if len(points) == 1:
            parts.append(
                f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" {look} style="stroke-dasharray: none"/>'
            )
        parts.append(f'<polyline points="{path}" {look}/>')
        line = 12 + 15 * i  # the height of this entry of the legend
        parts.append(f'<path d="M{left} {line - 4}h26" {look}/><text x="{left + 32}" y="{line}">{name}</text>')
    written = _share if "accuracy" in next(iter(curves)) else _cost
    for y, value in [(bottom, low), (top, high)] if high > low else [((top + bottom) / 2, low)]:
        text = written(value)
        parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{text}</text>')
        parts.append(f'<path d="M{left} {y}H{right}" stroke="currentColor" stroke-opacity="0.25"/>')
    span = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
    parts.append(f'<text x="{(left + right) / 2:.0f}" y="{bottom + 18}" text-anchor="middle">{span}</text>')
    says = ", ".join(f"{name} {written(values[-1]) or 'nan'}" for name, values in curves.items())
    return (
        f'<svg role="img" aria-label="{says} after epoch {epochs[-1]}" width="{_WIDTH}" height="{_HEIGHT + 46}" '
        f'font-family="sans-serif" font-size="12" fill="currentColor">{"".join(parts)}</svg>'
    )


def _pixel(value: float, low: float, high: float, start: int, end: int) -> float:
    """Return the pixel of a value, if low is at the pixel start and high at the pixel end."""
    return start + (end - start) * ((value - low) / (high - low) if high > low else 0.5)


def _strip(images: Array, says: str) -> str:
    """Return images side by side, dark on light, as an HTML image."""
    strip = np.concatenate(images, axis=1)
    if strip.dtype != np.uint8:
        strip = np.nan_to_num(strip.astype(np.float64), posinf=0, neginf=0)
        low, high = strip.min(), strip.max()
        strip = (255 * (strip - low) / ((high - low) or 1)).astype(np.uint8)
    height, width = strip.shape
    data = base64.b64encode(_png(255 - strip)).decode()
    size = f'width="{round(width * 28 / height)}" height="28" style="image-rendering: pixelated"'
    return f'<img alt="{says}" {size} src="data:image/png;base64,{data}"/>'


def _png(grey: npt.NDArray[np.uint8]) -> bytes:
    """Return an image as a PNG file, by https://www.w3.org/TR/png-3. Each row begins with 0, which means no filter."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = grey.shape
    rows = np.pad(grey, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
