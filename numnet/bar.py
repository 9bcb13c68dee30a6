"""The bar that shows how far a training has come."""

from __future__ import annotations

import math
import sys
import warnings

from .notebook import in_notebook
from .run import Run


class Bar:
    """Follows a run that has begun; a bar of the batches, with the last epoch's cost and test accuracy or test cost."""

    def __init__(self, run: Run) -> None:
        from tqdm import TqdmWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TqdmWarning)  # without ipywidgets a bar of characters does as well
            from tqdm.auto import tqdm

        progress = run.progress
        batches = math.ceil(progress.samples / progress.batch_size)
        # Without the batches a second, epoch, cost and test accuracy fit on a line of 80 columns.
        bar = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        total = (progress.last - len(run.history)) * batches - math.ceil(progress.done / progress.batch_size)
        self._bar = tqdm(total=total, bar_format=bar)

    def after_block(self, run: Run, batches: int) -> None:
        self._bar.update(batches)

    def after_epoch(self, run: Run) -> None:
        epoch = run.history[-1]
        classes = not math.isnan(epoch.test_accuracy)
        name, value = ("test", epoch.test_accuracy) if classes else ("test cost", epoch.test_cost)
        shown = {} if math.isnan(value) else {name: f"{value:.4f}"}
        self._bar.set_postfix({"epoch": epoch.epoch, "cost": f"{epoch.train_cost:.4f}", **shown})

    def close(self) -> None:
        self._bar.close()


def visible() -> bool:
    """Return whether somebody can see a bar: on a terminal, or in a notebook."""
    return (sys.stderr is not None and sys.stderr.isatty()) or in_notebook()
