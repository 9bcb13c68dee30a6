"""Networks as estimators of scikit-learn, for its pipelines, searches and cross-validation.

This module is imported only when it is asked for: ``from numnet.sklearn import NetClassifier, NetRegressor``. It needs
scikit-learn 1.4 or later, ``pip install 'numnet[sklearn]'``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from . import checks
from .costs import Cost, CrossEntropy, Quadratic
from .layers import Layer, Linear, ReLU, Sigmoid, Softmax, Tanh
from .network import Sequential
from .optimizers import SGD
from .starts import glorot
from .training import Trainer

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError("numnet.sklearn needs scikit-learn 1.4 or later: pip install 'numnet[sklearn]'") from error

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator: Any, *data: Any, **options: Any) -> Any:
        """Return checked data."""
        return estimator._validate_data(*data, **options)


__all__ = ["NetClassifier", "NetRegressor"]

Array = npt.NDArray[Any]

_ACTIVATIONS: dict[str, type[Layer]] = {"logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}
_DTYPES = (np.float64, np.float32, np.uint8)  # numbers of other kinds become float64


class _Net(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor have in common."""

    _default_cost: type[Cost]
    _score: Callable[..., float]  # of targets, predictions and weights, for early stopping

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        lr: Any = 0.03,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        cost: Cost | None = None,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: float = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        dtype: str | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes, self.activation = hidden_layer_sizes, activation
        self.lr, self.momentum, self.nesterov = lr, momentum, nesterov
        self.weight_decay, self.clip_norm, self.cost = weight_decay, clip_norm, cost
        self.batch_size, self.max_iter, self.tol = batch_size, max_iter, tol
        self.n_iter_no_change, self.early_stopping = n_iter_no_change, early_stopping
        self.validation_fraction, self.warm_start = validation_fraction, warm_start
        self.random_state, self.dtype, self.verbose = random_state, dtype, verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train a new network, or with `warm_start` go on with the network of the last call.

        If an error or Ctrl-C ends the call, the estimator is what it was before.

        Parameters
        ----------
        X : array_like of shape (n, features)
            Dense. Bytes (uint8) are intensities from 0 to 255.
        y : array_like of shape (n,) or (n, outputs)
        sample_weight : array_like of shape (n,), optional
            How much each sample counts, at least 0. If all samples are in one batch, a weight of 2 is the same as the
            sample given twice, and a weight of 0 the same as no sample.

        Returns
        -------
        self
        """
        before = vars(self).copy()
        try:
            return self._fit(X, y, sample_weight)
        except BaseException:  # the estimator must not be left with some attributes of each call
            self.__dict__ = before
            raise

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        self._check_options()
        again = self.warm_start and hasattr(self, "net_")
        X, t, weight = self._checked(X, y, sample_weight, first=not again)
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=3)
        trainer = self._trainer(copy.deepcopy(self.net_) if again else self._network(X, t, seeds[0]), seeds[1])
        one_batch = len(X) <= self._batch_size(len(X))
        copy_of = _copies(X, t, seeds[2]) if one_batch or self.early_stopping else np.arange(len(X))
        if one_batch:  # the gradient of the whole is the same from distinct samples with weights
            _, first = np.unique(copy_of, return_index=True)
            X, t, weight, copy_of = X[first], t[first], np.bincount(copy_of, weight), np.arange(len(first))
        held: Any = slice(0)  # the samples for validation
        rest: Any = slice(None)
        if self.early_stopping:
            held = _held_out(copy_of, self._strata(t), weight, self.validation_fraction)
            rest = ~held
        scores: list[float] = []
        best: list[Array] = []

        def stop_in_time(trainer: Trainer) -> None:
            values = [-cost for cost in trainer.history.train_cost]
            if self.early_stopping:
                decided = self._decided(*_forward(trainer.net, X[held]))
                scores.append(self._score(t[held], decided, sample_weight=weight[held]))
                values = scores
                if scores[-1] == max(scores):  # of equal epochs the last, which has learned more of the rest
                    best[:] = [trainer.net.parameters.copy()]
            if _is_stale(values, self.n_iter_no_change, self.tol):
                raise StopIteration

        self._train(trainer, X[rest], t[rest], weight[rest], self.max_iter, [stop_in_time])
        if best:
            trainer.net.parameters = best[0]
        self.validation_scores_ = scores if self.early_stopping else None
        self.best_validation_score_ = max(scores) if self.early_stopping else None
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        self._check_options()
        again = hasattr(self, "net_")
        X, t, weight = self._checked(X, y, sample_weight, first=not again, partial=True)
        if not again:
            seeds = check_random_state(self.random_state).randint(2**31 - 1, size=2)
        trainer = self.trainer_ if again else self._trainer(self._network(X, t, seeds[0]), seeds[1])
        self._train(trainer, X, t, weight, 1, [])
        return self

    def _check_options(self) -> None:
        """Refuse options that no other part of numnet refuses."""
        name = type(self).__name__
        checks.whole_numbers(name, max_iter=self.max_iter)
        if self.n_iter_no_change != math.inf:
            checks.whole_numbers(name, n_iter_no_change=self.n_iter_no_change)
        if self.batch_size != "auto":
            checks.whole_numbers(name, batch_size=self.batch_size)
        checks.booleans(name, early_stopping=self.early_stopping, warm_start=self.warm_start)
        if not checks.is_finite(self.tol):
            raise ValueError(f"{name}: tol must be a finite number, got {self.tol!r}")
        if not (checks.is_finite(self.validation_fraction) and 0 < self.validation_fraction < 1):
            raise ValueError(f"{name}: validation_fraction must be between 0 and 1, got {self.validation_fraction!r}")
        if not isinstance(self.activation, str) or self.activation not in _ACTIVATIONS:
            names = ", ".join(_ACTIVATIONS)
            raise ValueError(f"{name}: activation must be one of {names}, got {self.activation!r}")

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, first: bool, partial: bool = False
    ) -> tuple[Array, Array, Array]:
        """Return inputs, targets and weights without the samples of weight 0."""
        X, y = validate_data(self, X, y, dtype=_DTYPES, multi_output=True, reset=first)
        if first:
            self._bytes = X.dtype == np.uint8
        self._same_kind(X)
        weight = np.ones(len(X)) if sample_weight is None else checks.sample_weight(sample_weight, len(X))
        kept = slice(None) if sample_weight is None else weight > 0
        X, t = X[kept], self._targets(y[kept], first, partial)
        weight = self._class_weighted(weight[kept], t)
        if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
            raise ValueError(
                f"{type(self).__name__}: with class_weight, the weights of the samples must be finite, at least 0, and "
                f"not all zero, but they range from {weight.min():g} to {weight.max():g}"
            )
        kept = slice(None) if weight.all() else weight > 0  # a mask would copy all data
        return X[kept], t[kept], weight[kept]

    def _same_kind(self, X: Array) -> None:
        """Refuse bytes where the network learned from other numbers, and the other way round."""
        name = type(self).__name__
        if X.dtype == np.uint8 and not self._bytes:
            raise ValueError(
                f"X: this {name} learned from floats, but X has bytes, which numnet scales by 1/255: give "
                "np.asarray(X, float), or X / 255 if the floats were intensities from 0 to 1"
            )
        if X.dtype != np.uint8 and self._bytes and (X.min() < 0 or X.max() > 1):
            raise ValueError(
                f"X: this {name} learned from bytes, which numnet scales to 0 to 1, but X is {X.dtype} from "
                f"{X.min():g} to {X.max():g}: give np.asarray(X, np.uint8), or X / 255"
            )

    def _network(self, X: Array, t: Array, seed: int) -> Sequential:
        outputs, last = self._last(t)
        with checks.named(f"{type(self).__name__}: hidden_layer_sizes"):
            sizes = [X.shape[1], *np.atleast_1d(self.hidden_layer_sizes).tolist(), outputs]
            linear = [Linear(inputs, outputs, start=glorot) for inputs, outputs in pairwise(sizes)]
        hidden = [layer for one in linear[:-1] for layer in (one, _ACTIVATIONS[self.activation]())]
        dtype = self.dtype or ("float32" if self._bytes else X.dtype)
        return Sequential(*hidden, linear[-1], *last, seed=int(seed), dtype=dtype)

    def _trainer(self, net: Sequential, seed: int) -> Trainer:
        sgd = SGD(self.lr, self.momentum, self.nesterov, self.weight_decay, self.clip_norm)
        return Trainer(net, self._default_cost() if self.cost is None else self.cost, sgd, seed=int(seed))

    def _batch_size(self, n: int) -> int:
        return min(200, n) if self.batch_size == "auto" else int(self.batch_size)

    def _train(self, trainer: Trainer, X: Array, t: Array, weight: Array, epochs: int, callbacks: Any) -> None:
        trainer.fit(
            (X, t),
            epochs,
            self._batch_size(len(X)),
            callbacks=callbacks,
            progress=bool(self.verbose),
            sample_weight=None if (weight == weight[0]).all() else weight,
        )
        self.net_, self.trainer_ = trainer.net, trainer
        self.n_iter_, self.loss_curve_ = len(trainer.history), trainer.history.train_cost

    def _class_weighted(self, weight: Array, t: Array) -> Array:
        return weight

    def _strata(self, t: Array) -> Array:
        """Return the class of each sample if a validation set is to have the classes in equal shares, and 0 if not."""
        return np.zeros(len(t), int)

    def _outputs(self, X: Any) -> tuple[Array, Array]:
        check_is_fitted(self, "net_")
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        self._same_kind(X)
        more_precise = X.dtype == np.float64 and self.net_.dtype == np.float32
        return _forward(self.net_.astype(np.float64) if more_precise else self.net_, X)

    def _repr_html_inner(self) -> str:
        html = str(super()._repr_html_inner())
        return html + self.net_._repr_html_() if hasattr(self, "net_") else html

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**options)
        return {**bundle, "text/html": self._repr_html_inner()} if "text/html" in bundle else bundle


class NetClassifier(ClassifierMixin, _Net):  # type: ignore[misc]
    """A network that classifies, as an estimator of scikit-learn.

    The network ends in a softmax for three or more classes, in one sigmoid for two classes, and in a sigmoid for each
    label if y is a matrix of 0 and 1 (multilabel).

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default (100,)
        Units of each hidden layer; () for none. The weights start as `numnet.starts.glorot` draws them.
    activation : {"relu", "tanh", "logistic"}
        Of the hidden layers.
    lr : float or callable, default 0.03
    momentum : float, default 0.9
    nesterov : bool, default True
    weight_decay : float, default 0.0
        Options of `numnet.SGD`. The decay d adds d w to the gradient of a weight w. The ``alpha`` of scikit-learn's
        ``MLPClassifier`` is another number, since scikit-learn divides it by the size of the batch.
    clip_norm : float or None, default 1.0
        As for `numnet.SGD`. With this limit, training seldom diverges if features or targets are large.
    cost : Cost, optional
        By default the cross-entropy; for `NetRegressor` the quadratic cost.
    class_weight : dict, "balanced" or None
        A factor for each class, by which the weights of its samples are multiplied. "balanced" gives all classes the
        same sum of weights. Not for several labels.
    batch_size : int or "auto"
        "auto" is 200, or the number of samples if this is less.
    max_iter : int, default 200
        Epochs at most.
    tol : float, default 1e-4
    n_iter_no_change : int or numpy.inf, default 10
        Training stops if the best of the last `n_iter_no_change` epochs is not better by `tol` than the best epoch
        before them. Compared are the training costs or, with `early_stopping`, the scores on the validation samples.
        There is no warning if training has not stopped by itself after `max_iter` epochs.
    early_stopping : bool, default False
        Hold out validation samples, and keep the parameters after the epoch with the best score. The score is the
        accuracy, with the weights of samples and classes; for `NetRegressor` it is R2. All copies of a sample are
        held out or none. Each class keeps a sample for training. `partial_fit` holds out nothing.
    validation_fraction : float, default 0.1
        How much is held out, of each class (not so for several labels); two distinct samples at least.
    warm_start : bool, default False
        Whether `fit` goes on with the parameters of the last call.
    random_state : int, RandomState or None
    dtype : {"float32", "float64"} or None
        Of the network. None means float64 if X is float64, and float32 if X is float32 or bytes. Predictions for
        float64 are computed in float64 in any case.
    verbose : bool, default False
        Show numnet's bar, on a terminal or in a notebook.

    Attributes
    ----------
    net_ : Sequential
    trainer_ : Trainer
        Of the last call of `fit`, and of the calls of `partial_fit` after it.
    classes_ : ndarray of shape (classes,)
    n_iter_ : int
        Epochs that `trainer_` has trained.
    loss_curve_ : list of float
        The training cost of each of them.
    validation_scores_, best_validation_score_ : list of float, float
        With `early_stopping`, otherwise None.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    X that is uint8 is taken as intensities from 0 to 255, and scaled by 1/255, as everywhere in numnet. A model that
    learned from uint8 refuses other numbers beyond 0 to 1, and a model that learned from other numbers refuses uint8.
    Sparse X is refused. A change of `hidden_layer_sizes`, `activation` or `dtype` takes effect in a `fit` without
    `warm_start`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import cross_val_score
    >>> from numnet.sklearn import NetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = NetClassifier(max_iter=20, random_state=0)
    >>> bool(cross_val_score(model, X / 16, y, cv=2).mean() > 0.9)
    True
    """

    _default_cost = CrossEntropy
    _score = staticmethod(accuracy_score)

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        lr: Any = 0.03,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        cost: Cost | None = None,
        class_weight: Any = None,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: float = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        dtype: str | None = None,
        verbose: bool = False,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in ("self", "class_weight", "__class__")}
        super().__init__(**options)
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train for one epoch on these samples, and go on from the last call.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. The weights count within one call, since each call divides them by their mean.
        classes : array_like
            All classes that there will be; needed for the first call.

        Returns
        -------
        self
        """
        if not hasattr(self, "net_"):
            if classes is None or not np.size(classes):
                raise ValueError(
                    "classes must be passed on the first call to partial_fit: give classes=np.unique(y), if y has all "
                    "of them"
                )
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(f"partial_fit: classes must be those of the first call, {self.classes_}, got {classes!r}")
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """Return the class of each sample; for several labels a row of 0 and 1 for each sample."""
        decided = self._decided(*self._outputs(X))
        return decided if self._kind == "multilabel" else self.classes_[decided]

    def decision_function(self, X: Any) -> Array:
        """Return the inputs z of the last layer: of shape (n,) for two classes, else a column for each class."""
        z, _ = self._outputs(X)
        return z[:, 0] if self._kind == "binary" else z

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class or label, of shape (n, classes)."""
        _, y = self._outputs(X)
        return np.hstack([1 - y, y]) if self._kind == "binary" else y

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the probabilities, finite also for a probability that is rounded to 0."""
        z, _ = self._outputs(X)
        if self._kind == "multiclass":
            z = z - z.max(axis=1, keepdims=True)
            return z - np.log(np.exp(z).sum(axis=1, keepdims=True))  # type: ignore[no-any-return]
        return -np.logaddexp(0, np.hstack([z, -z]) if self._kind == "binary" else -z)  # type: ignore[no-any-return]

    def _decided(self, z: Array, y: Array) -> Array:
        if self._kind == "multiclass":
            return z.argmax(axis=1)  # type: ignore[no-any-return]
        return ((z[:, 0] if self._kind == "binary" else z) > 0).astype(int)

    def _targets(self, y: Array, first: bool, partial: bool) -> Array:
        """Return the number of each sample's class, or for several labels the rows of 0 and 1."""
        name = type(self).__name__
        check_classification_targets(y)
        if type_of_target(y) == "multiclass-multioutput":
            raise ValueError(
                f"{name}: y must have one class for each sample, or columns of 0 and 1, but y is "
                "multiclass-multioutput: give MultiOutputClassifier(NetClassifier()), of sklearn.multioutput"
            )
        several = type_of_target(y) == "multilabel-indicator"
        if not several:
            y = column_or_1d(y, warn=True)
        elif not isinstance(y, np.ndarray):  # sparse labels
            y = y.toarray()
        if first:
            if not partial:
                self.classes_ = np.arange(y.shape[1]) if several else np.unique(y)
            self._kind = "multilabel" if several else "binary" if len(self.classes_) == 2 else "multiclass"
        if several != (self._kind == "multilabel") or (several and y.shape[1] != len(self.classes_)):
            labels = f"{len(self.classes_)} columns of 0 and 1"
            as_before = labels if self._kind == "multilabel" else "one class for each sample"
            raise ValueError(f"{name}: y must have {as_before}, as on the first call")
        if several:
            return y
        if len(self.classes_) < 2:
            raise ValueError(
                f"{name} needs samples of two classes or more, got one class, {self.classes_.tolist()[0]!r}"
            )
        new = np.setdiff1d(y, self.classes_)
        if len(new):
            raise ValueError(f"{name}: y has classes that the first call had not, {new}: give them to the first call")
        return np.searchsorted(self.classes_, y)

    def _last(self, t: Array) -> tuple[int, list[Layer]]:
        if self._kind == "multiclass":
            return len(self.classes_), [Softmax()]
        return (1 if t.ndim == 1 else t.shape[1]), [Sigmoid()]

    def _strata(self, t: Array) -> Array:
        return t if t.ndim == 1 else super()._strata(t)

    def _class_weighted(self, weight: Array, t: Array) -> Array:
        if self.class_weight is None:
            return weight
        if t.ndim == 2:
            raise ValueError(
                f"{type(self).__name__}: class_weight is for samples of one class each, and these have several labels: "
                "give sample_weight to fit"
            )
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            return weight / np.bincount(t, weight)[t]
        return weight * compute_sample_weight(self.class_weight, self.classes_[t])  # type: ignore[no-any-return]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, bool]:  # before scikit-learn 1.6
        return {"multilabel": True}


class NetRegressor(RegressorMixin, _Net):  # type: ignore[misc]
    """A network that predicts numbers, as an estimator of scikit-learn.

    The network ends in a linear layer, with an output for each column of y.

    Parameters
    ----------
    hidden_layer_sizes, activation, lr, momentum, nesterov, weight_decay, clip_norm, cost, batch_size, max_iter, tol,\
    n_iter_no_change, early_stopping, validation_fraction, warm_start, random_state, dtype, verbose
        As for `NetClassifier`. `tol` is absolute, as it is for scikit-learn's ``MLPRegressor``: if the targets are
        small, 1e-3 say, so are the costs, and training stops too soon. With the default `clip_norm`, large targets are
        learned slowly. In both cases standardize the targets, as
        ``sklearn.compose.TransformedTargetRegressor(NetRegressor(), transformer=StandardScaler())`` does.

    Attributes
    ----------
    net_, trainer_, n_iter_, loss_curve_, validation_scores_, best_validation_score_, n_features_in_, feature_names_in_
        As for `NetClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler, scale
    >>> from numnet.sklearn import NetRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NetRegressor(max_iter=20, random_state=0))
    >>> bool(model.fit(X, scale(y)).score(X, scale(y)) > 0.5)
    True
    """

    _default_cost = Quadratic
    _score = staticmethod(r2_score)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch on these samples, and go on from the last call.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. The weights count within one call, since each call divides them by their mean.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """Return the numbers, of the shape of the y that `fit` was given."""
        return self._decided(*self._outputs(X))

    def _decided(self, z: Array, y: Array) -> Array:
        return y[:, 0] if self._column else y

    def _targets(self, y: Array, first: bool, partial: bool) -> Array:
        if first:
            self._column = y.ndim == 1
        return y.astype(np.float64, copy=False)

    def _last(self, t: Array) -> tuple[int, list[Layer]]:
        return (1 if t.ndim == 1 else t.shape[1]), []

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self) -> dict[str, bool]:  # before scikit-learn 1.6
        return {"multioutput": True}


def _forward(net: Sequential, X: Array) -> tuple[Array, Array]:
    """Return the inputs and the outputs of the last layer."""
    parts = [net.infer(X[part], part.start) for part in checks.parts(len(X), *net.widths)]
    z, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return z, y


def _is_stale(values: list[float], epochs: float, tol: float) -> bool:
    """Return whether the best of the last epochs is not better by `tol` than the best before them."""
    if len(values) <= epochs:
        return False
    return max(values[-int(epochs) :]) < max(values[: -int(epochs)]) + tol


def _copies(X: Array, t: Array, seed: int) -> Array:
    """Return a number for each sample, the same for copies of a sample.

    The numbers are 0, 1, ... in a random order, which depends on the seed and the distinct samples, but not on how many
    copies there are, nor on the order of the samples.
    """
    key = int(seed).to_bytes(8, "little")
    digests = (blake2b(x.tobytes() + y.tobytes(), digest_size=8, key=key).digest() for x, y in zip(X, t, strict=True))
    copy_of: Array = np.unique(np.frombuffer(b"".join(digests), np.uint64), return_inverse=True)[1]
    return copy_of


def _held_out(copy_of: Array, strata: Array, weight: Array, fraction: float) -> Array:
    """Return which samples are for validation: about a fraction of each class, and all copies of a sample or none.

    Each class keeps a sample for training.
    """
    _, first = np.unique(copy_of, return_index=True)
    strata, weights = strata[first], np.bincount(copy_of, weight)
    place = np.empty(len(first))  # of a sample among those of its class, from 0 to 1
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        total = np.cumsum(weights[rows])
        place[rows] = (total - weights[rows] / 2) / total[-1]
        place[rows[-1]] = np.inf
    order = np.argsort(place, kind="stable")
    chosen = order[: max(2, 1 + np.searchsorted(np.cumsum(weights[order]), fraction * weights.sum()))]
    if len(chosen) < 2 or not np.isfinite(place[chosen]).all():
        raise ValueError(
            f"early_stopping needs two distinct samples for validation and then one of each class for training, got "
            f"{len(first)} distinct samples of {len(np.unique(strata))} classes, and validation_fraction={fraction}: "
            "give more samples, another validation_fraction, or early_stopping=False"
        )
    return np.isin(copy_of, chosen)
