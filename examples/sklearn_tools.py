"""Use scikit-learn's tools on networks of numnet: pipeline, search, cross-validation, calibration, importance, bagging.

All networks learn from 1,797 digits of 8 x 8 pixels. The program needs ``pip install 'numnet[sklearn]'``.
"""

from __future__ import annotations

import sys

import numpy as np
from mnist_softmax import run
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from numnet import Quadratic
from numnet.sklearn import NetClassifier


def main() -> int:
    """Show each tool with its result, and return the exit status."""
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)

    model = make_pipeline(MinMaxScaler(), NetClassifier((32,), max_iter=30, random_state=0))
    model.fit(x_train, y_train)
    print(f"Pipeline: test accuracy {model.score(x_test, y_test):.3f}")

    grid = {"netclassifier__lr": [0.003, 0.03], "netclassifier__hidden_layer_sizes": [(), (32,)]}
    one, two = (GridSearchCV(model, grid, cv=3, n_jobs=jobs).fit(x_train, y_train) for jobs in (1, 2))
    same = bool((one.cv_results_["mean_test_score"] == two.cv_results_["mean_test_score"]).all())
    best = {name.partition("__")[2]: value for name, value in one.best_params_.items()}
    print(f"GridSearchCV: best {best}, accuracy {one.best_score_:.3f}")
    print(f"  the same with two processes: {same}")

    scores = cross_val_score(model, x_train, y_train, cv=5)
    print(f"cross_val_score: {np.round(scores, 3)}, mean {scores.mean():.3f}")

    unsure = make_pipeline(MinMaxScaler(), NetClassifier((32,), cost=Quadratic(), max_iter=10, random_state=0))
    before = log_loss(y_test, unsure.fit(x_train, y_train).predict_proba(x_test))
    calibrated = CalibratedClassifierCV(unsure, cv=3).fit(x_train, y_train)
    after = log_loss(y_test, calibrated.predict_proba(x_test))
    print(f"CalibratedClassifierCV: log loss {after:.3f} on the test digits, and {before:.3f} without it")

    importance = permutation_importance(model, x_test, y_test, n_repeats=5, random_state=0)
    print("permutation_importance: how much accuracy each pixel is worth, in %")
    for row in (100 * importance.importances_mean).reshape(8, 8):
        print("  " + " ".join(f"{max(value, 0):4.1f}" for value in row))

    bagging = BaggingClassifier(model, n_estimators=10, random_state=0).fit(x_train, y_train)
    print(f"BaggingClassifier: test accuracy {bagging.score(x_test, y_test):.3f} with ten networks")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
