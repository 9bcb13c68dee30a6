"""numnet.datasets.Dataset: images and their labels, and what people do with them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numnet as nn
from numnet.datasets import Dataset, digits, read_idx, write_idx


@given(count=st.integers(1, 20), shape=st.lists(st.integers(0, 4), max_size=3), dtype=st.sampled_from("bBhHiIqQ"))
def test_a_dataset_keeps_its_arrays(count: int, shape: list[int], dtype: str) -> None:
    images, labels = np.zeros((count, *shape), dtype=np.uint8), np.arange(count).astype(dtype)
    data = Dataset(images, labels, "some")
    assert data.images is images
    assert data.labels is labels
    assert len(data) == count
    kind = f"images of {' x '.join(map(str, shape))}" if len(shape) > 1 else f"samples of {[*shape, 1][0]} numbers"
    assert repr(data) == f"Dataset('some', {count} {kind}, {count} classes)"


def test_mapped_arrays_stay_mapped(tmp_path: Path) -> None:
    for name in "images", "labels":
        write_idx(tmp_path / name, np.zeros(3, np.uint8))
    images, labels = (read_idx(tmp_path / name, mmap_mode="r") for name in ("images", "labels"))
    data = Dataset(images, labels)
    assert data.images is images
    assert data.labels is labels


def test_a_dataset_without_a_name() -> None:
    assert repr(Dataset(np.zeros((2, 3)), np.array([4, 4]))) == "Dataset(2 samples of 3 numbers, 1 classes)"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 2, 2)), np.zeros(2, dtype=int), r"one label; got images \(3, 2, 2\) and labels \(2,\)"),
        (np.zeros(()), np.zeros(1, dtype=int), r"one label; got images \(\) and"),
        (np.zeros((3, 2)), np.zeros((3, 1), dtype=int), r"vector of integers.*shape \(3, 1\) and type int64"),
        (np.zeros((3, 2)), np.zeros(3), r"vector of integers.*type float64"),
        (
            np.zeros((3, 2)),
            np.zeros(3, dtype=bool),
            r"vector of integers.*type bool: Dataset.from_arrays\(images, labels\)",
        ),
        (np.zeros((3, 2)), np.array(3), r"vector of integers.*shape \(\) and type int64$"),
        (np.zeros((3, 2)), np.array([0, -2, 1]), "from 0 up; got -2"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "at least one image"),
        ([[1], [2]], np.zeros(2, dtype=int), "images must be an array, not list"),
        (np.zeros((2, 2)), [0, 1], "labels must be an array, not list"),
        (([1], [2]), np.zeros(2, dtype=int), "images must be an array, not tuple"),
    ],
)
def test_what_is_not_a_dataset_is_refused(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset(images, labels)


# Names of the classes


@pytest.mark.parametrize("names", [["cat", "dog"], ("cat", "dog", "owl"), np.array(["cat", "dog"])])
def test_names_of_classes_are_kept_as_a_tuple(names: Any) -> None:
    data = Dataset(np.zeros((2, 3)), np.array([0, 1]), "pets", classes=names)
    assert data.classes == tuple(names)
    assert {type(name) for name in data.classes} == {str}
    counted = "2 classes" if len(names) == 2 else "2 of 3 classes"
    assert repr(data) == f"Dataset('pets', 2 samples of 3 numbers, {counted})"
    assert Dataset(np.zeros((2, 3)), np.array([0, 1])).classes is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "dog"], "classes must name all labels from 0 to 2, got 2 names"),
        ([0, 1, 2], r"classes must be names, strings, got 0: write list\(map\(str, classes\)\)"),
        (["cat", "dog", 2], r"classes must be names, strings, got 2: write list\(map\(str, classes\)\)"),
        (["cat", "dog", "cat"], "classes must be different names, but 'cat' is there 2 times"),
        (np.array(["cat", "dog", "cat"]), "classes must be different names, but 'cat' is there 2 times"),
        ("cat", r"classes must be a sequence of names, got one string, 'cat': write \['cat', ...\]"),
        (np.str_("cat"), "classes must be a sequence of names, got one string, .*"),
        ([], "classes must name all labels from 0 to 2, got 0 names"),
    ],
)
def test_names_that_do_not_name_the_classes_are_refused(names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Dataset(np.zeros((2, 3)), np.array([0, 2]), classes=names)
    if len(names) == 0:
        with pytest.raises(ValueError, match=r"^classes must name all labels from 0 to 0, got 0 names$"):
            Dataset.from_arrays(np.zeros((2, 3)), [0, 2], classes=names)


def test_the_largest_label_of_a_byte_has_a_name() -> None:
    names = [str(i) for i in range(256)]
    assert Dataset(np.zeros((2, 3)), np.array([0, 255], np.uint8), classes=names).classes == tuple(names)
    with pytest.raises(ValueError, match="from 0 to 255, got 255 names"):
        Dataset(np.zeros((2, 3)), np.array([0, 255], np.uint8), classes=names[1:])


# Parts


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Draw a data set whose images are all different."""
    labels = draw(hnp.arrays(draw(st.sampled_from(["u1", "i4", "i8"])), st.integers(1, 60), elements=st.integers(0, 5)))
    images = np.arange(len(labels) * 6).reshape(len(labels), 2, 3)
    return Dataset(images, labels, "drawn", draw(st.sampled_from([None, list("abcdef")])))


def rows(data: Dataset) -> list[int]:
    """Return the places that the images of a drawn data set, or of a part of one, have in the whole."""
    return (data.images[:, 0, 0] // 6).tolist()


def is_part(part: Any, data: Dataset, chosen: Any) -> bool:
    """Whether a part has the chosen rows of a data set, with its name and classes."""
    return (
        isinstance(part, Dataset)
        and rows(part) == chosen.tolist()
        and np.array_equal(part.labels, data.labels[chosen])
        and (part.images.shape[1:], part.labels.dtype) == (data.images.shape[1:], data.labels.dtype)
        and (part.name, part.classes) == (data.name, data.classes)
    )


@given(data=datasets(), draw=st.data())
def test_slices_masks_and_arrays_of_integers_give_a_data_set(data: Dataset, draw: st.DataObject) -> None:
    n = len(data)
    index = draw.draw(
        st.slices(n)
        | hnp.arrays(bool, n)
        | hnp.arrays(np.intp, st.integers(1, 2 * n), elements=st.integers(-n, n - 1))
        | st.lists(st.integers(-n, n - 1), min_size=1)
    )
    chosen = np.arange(n)[index]
    if not len(chosen):
        with pytest.raises(ValueError, match=r"^a data set needs at least one image; got none$"):
            data[index]
        return
    part = data[index]
    assert is_part(part, data, chosen)
    assert np.shares_memory(part.images, data.images) == isinstance(index, slice)
    assert np.shares_memory(part.labels, data.labels) == isinstance(index, slice)


@given(data=datasets(), kind=st.sampled_from([int, np.uint8, np.array]))
def test_an_integer_and_iteration_give_an_image_with_its_label(data: Dataset, kind: Any) -> None:
    for i, (image, label) in enumerate(data):
        assert np.shares_memory(image, data.images[i])
        assert (image == data.images[i]).all()
        assert label == data.labels[i]
        for place in kind(i), i - len(data):
            image, label = data[place]
            assert np.shares_memory(image, data.images[i]) == (type(place) is not np.ndarray)
            assert (image == data.images[i]).all()
            assert label == data.labels[i]
    with pytest.raises(IndexError):
        data[len(data)]


class Pair(NamedTuple):
    """A tuple with names."""

    first: int
    second: int


@pytest.mark.parametrize("index", [(0, 1), (slice(None), slice(1, 2)), (Ellipsis, 0), Pair(0, 1)])
def test_a_second_index_is_refused(index: Any) -> None:
    with pytest.raises(IndexError, match=r"^a data set has one index, .* cut data\.images and make a Dataset"):
        digits()[0][index]


@pytest.mark.parametrize("index", ["a", 1.0, [True], np.ones(3, bool), np.ones((2, 2), int), None, True])
def test_what_numpy_does_not_take_for_an_index_of_rows_is_an_error(index: Any) -> None:
    with pytest.raises((IndexError, ValueError)):
        Dataset(np.zeros((2, 3)), np.array([0, 1]))[index]


def test_an_index_that_numpy_makes_no_array_of_is_named() -> None:
    with pytest.raises(ValueError, match=r"^index must be an array, but NumPy makes none of this set"):
        digits()[0][{0, 1}]


def test_iteration_notices_that_images_and_labels_are_no_longer_as_many() -> None:
    data = Dataset(np.zeros((2, 3)), np.array([0, 1]))
    data.labels = data.labels[:1]
    with pytest.raises(ValueError, match="zip"):
        list(data)


def test_a_data_set_does_not_become_an_array_or_a_pair() -> None:
    train, test = digits()
    with pytest.raises(ValueError, match=r"^a Dataset is not an array: give its images, data\.images, or"):
        np.asarray(train)
    with pytest.raises(ValueError, match="too many values"):
        _, _ = train
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1)).fit(train[:2], 1, 2, test=test[:2], progress=False)
    with pytest.raises(ValueError, match="a Dataset is not an array"):
        net(train)


# Splitting


@given(data=datasets(), fraction=st.floats(0, 1, exclude_min=True, exclude_max=True), seed=st.integers(0, 2**32))
def test_a_split_is_complete_disjoint_in_order_and_has_the_shares(data: Dataset, fraction: float, seed: int) -> None:
    counts = np.bincount(data.labels, minlength=6)
    if counts.max() == 1:
        with pytest.raises(ValueError, match=r"^split: a class with one image cannot be split"):
            data.split(fraction, seed)
        return
    parts = data.split(fraction, seed)
    assert sorted(rows(parts[0]) + rows(parts[1])) == list(range(len(data)))
    for part, share, again in zip(parts, (1 - fraction, fraction), data.split(fraction, seed), strict=True):
        assert is_part(part, data, np.sort(rows(part)))
        assert rows(again) == rows(part)
        of_class = np.bincount(part.labels, minlength=6)
        assert (np.abs(of_class - share * counts) <= 1 + 1e-9).all()
        assert (of_class[counts > 1] > 0).all()
    assert (np.bincount(parts[0].labels, minlength=6)[counts == 1] == 1).all()


def test_a_split_has_its_share_of_the_whole_and_is_random() -> None:
    labels = np.repeat(np.arange(100), 14)
    data = Dataset(np.arange(1400), labels)
    first, second = data.split(0.1, seed=0)
    assert (len(first), len(second)) == (1260, 140)  # where 0.1 of each class, rounded, would be 100 in all
    assert rows_of(data.split(0.1, seed=1)[1]) != rows_of(second)
    chosen = np.concatenate([data.split(0.1, seed)[1].images % 14 for seed in range(50)])
    assert np.bincount(chosen, minlength=14) == pytest.approx(500, abs=5 * np.sqrt(500))  # every place in a class


def test_a_seed_gives_the_same_parts_with_every_version_and_on_every_machine() -> None:
    data = Dataset(np.arange(50), np.arange(50) % 2)
    assert rows_of(data.split(0.2, seed=0)[1]) == [1, 2, 3, 4, 11, 18, 23, 34, 36, 47]


def rows_of(data: Dataset) -> list[int]:
    """Return the images, which are numbers here."""
    return data.images.tolist()


@pytest.mark.parametrize("fraction", [0, 1, 1.0, 20, -0.1, np.nan, "0.2", None, True])
def test_a_fraction_that_is_none_is_refused(fraction: Any) -> None:
    with pytest.raises(ValueError, match=r"^split: fraction must be a number between 0 and 1, .*, got"):
        digits()[0].split(fraction, seed=0)


def test_a_seed_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^seed must be a whole number"):
        digits()[0].split(0.2, seed="0")  # type: ignore[arg-type]


# Whatever NumPy takes


def pandas() -> Any:
    return pytest.importorskip("pandas")


values = st.one_of(
    st.lists(st.integers(-5, 12), min_size=1, max_size=30),
    st.lists(st.integers(-5, 12).map(float), min_size=1, max_size=30),
    st.lists(st.text("abü 0", max_size=3), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=1, max_size=30),
)
FORMS: dict[str, Any] = {
    "a list": list,
    "an array": np.array,
    "a column": lambda t: np.array(t)[:, None],
    "objects": lambda t: np.array(t, dtype=object),
    "a Series": lambda t: pandas().Series(t, index=np.arange(len(t))[::-1]),
    "a table of one column": lambda t: pandas().DataFrame({"t": t}),
    "categories": lambda t: pandas().Series(t, dtype="category"),
}


def written(value: Any) -> str:
    """Return a label as it is written."""
    return str(int(value)) if isinstance(value, float) else str(value)


@pytest.mark.parametrize("form", FORMS)
@given(t=values)
def test_the_class_of_a_label_is_its_value(form: str, t: list[Any]) -> None:
    data = Dataset.from_arrays(np.zeros((len(t), 2)), FORMS[form](t), "some")
    assert data.classes is not None
    assert [data.classes[label] for label in data.labels] == [written(value) for value in t]
    assert data.classes == tuple(written(value) for value in sorted(set(t)))
    assert data.name == "some"
    if set(t) == set(range(len(set(t)))):
        assert data.labels.tolist() == t


@given(t=values, draw=st.data())
def test_classes_give_other_data_the_same_labels(t: list[Any], draw: st.DataObject) -> None:
    data = Dataset.from_arrays(np.zeros((len(t), 2)), t)
    some = draw.draw(st.lists(st.sampled_from(range(len(t))), min_size=1))
    part = Dataset.from_arrays(np.zeros((len(some), 2)), [t[i] for i in some], classes=data.classes)
    assert part.classes == data.classes
    assert part.labels.tolist() == data.labels[some].tolist()


@given(labels=st.lists(st.integers(0, 4), min_size=1), kind=st.sampled_from([int, np.uint8, float, bool, object]))
def test_one_hot_rows(labels: list[int], kind: Any) -> None:
    rows = np.eye(5)[labels].astype(kind)
    x = np.zeros((len(labels), 2))
    data = Dataset.from_arrays(x, rows)
    assert data.labels.tolist() == labels
    assert data.classes == ("0", "1", "2", "3", "4")
    assert Dataset.from_arrays(x, rows, classes=list("abcde")).classes == ("a", "b", "c", "d", "e")
    table = pandas().DataFrame(rows, columns=list("vwxyz"))
    assert Dataset.from_arrays(x, table).classes == ("v", "w", "x", "y", "z")


def test_names_given_for_labels_that_count() -> None:
    for t in ([0, 1, 0], [0.0, 1.0, 0.0], [False, True, False]):
        data = Dataset.from_arrays(np.zeros((3, 2)), t, classes=["no", "yes", "unknown"])
        assert data.labels.tolist() == [0, 1, 0]
        assert data.classes == ("no", "yes", "unknown")


def test_arrays_are_not_copied_unless_numpy_must() -> None:
    images, labels = np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 1, 0], np.uint8)
    for images_type, labels_type in zip("?bBhHefd", "bBhHiIqQ", strict=True):
        x, t = images.astype(images_type), labels.astype(labels_type)
        data = Dataset.from_arrays(x, t)
        assert data.images is x
        assert np.shares_memory(data.labels, t)
    table = pandas().DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    assert np.shares_memory(Dataset.from_arrays(table, [0, 1]).images, table.to_numpy())


def test_a_table_of_columns_of_several_types() -> None:
    table = pandas().DataFrame({"a": [1, 2], "b": [True, False], "c": [0.5, 0.25]})
    table["d"] = pandas().array([7, 8], "Int64")
    data = Dataset.from_arrays(table, pandas().Series(["no", "yes"]))
    np.testing.assert_array_equal(data.images, [[1, 1, 0.5, 7], [2, 0, 0.25, 8]])
    assert data.images.dtype == np.float64
    assert Dataset.from_arrays(table["c"], [0, 1]).images.tolist() == [[0.5], [0.25]]


def test_objects_that_are_numbers_become_numbers_of_the_same_shape() -> None:
    images = np.arange(12).reshape(2, 2, 3)
    data = Dataset.from_arrays(images.astype(object), [0, 1])
    np.testing.assert_array_equal(data.images, images)
    assert data.images.dtype == np.float64


def test_bytes_and_numpys_strings_are_strings() -> None:
    kinds = [
        "S",
        "U",
        *([np.dtypes.StringDType()] if hasattr(np.dtypes, "StringDType") else []),
    ]  # the last since NumPy 2
    for t in (np.array(["no", "yes"], kind) for kind in kinds):
        assert Dataset.from_arrays(np.zeros((2, 2)), t).classes == ("no", "yes")


X = np.zeros((4, 2))


@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        (X, [1.5, 2, 3, 4], "t must be classes, but label 0 is 1.5, no whole number: for a regression give the pair "),
        (X, [1, 2, np.nan, 4], "t must be classes, but label 2 is nan, no whole number: leave out samples without"),
        (X, [1, 2, np.inf, 4], "t must be classes, but label 2 is inf, no whole number"),
        (X, ["a", "b", np.nan, "b"], "label 2 is nan: labels must be all whole numbers or all strings. Leave out"),
        (X, ["a", "b", None, "b"], "label 2 is None: labels must be all"),
        (X, ["a", "b", 3, "b"], "label 2 is 3: labels must be all"),
        (X, ("a", "b", "b", 3), "label 3 is 3: labels must be all"),
        (X, [1, 2, "3", 4], "label 2 is '3': labels must be all"),
        (X, np.array([1, np.nan, 2, 3], object), "label 1 is nan: labels must be all"),
        (X, np.zeros(4, "M8[D]"), r"labels must be whole numbers or strings, got dtype datetime64\[D\]"),
        (X, np.zeros((4, 1, 1)), r"t must be one label or one row for each sample, got shape \(4, 1, 1\)"),
        (X, np.full((4, 2), 0.5), r"t of shape \(4, 2\) must be one-hot rows, .*, but row 0 is \[0.5, 0.5\]: for sev"),
        (X, [[1, 0], [0, 1], [1, 1], [1, 0]], r"t of shape .*, but row 2 is \[1, 1\]"),
        (X, [[1, 0], [0, 0], [0, 1], [1, 0]], r"t of shape .*, but row 1 is \[0, 0\]"),
        (X, [[1, 5], [0, 1], [0, 1], [1, 0]], r"t of shape .*, but row 0 is \[1, 5\]"),
        (X, [[1, 0], [0, 1], [1, 5], [2, 0]], r"t of shape .*, but row 2 is \[1, 5\]"),
        (
            X,
            np.full((4, 50), 0.5),
            r"t of shape .*, but row 0 is \[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, \.\.\.\]: for several",
        ),
        (X, np.full((4, 2), "a"), r"t of shape \(4, 2\) must be one-hot rows, got dtype <U1$"),
        (
            X,
            np.full((4, 2), "1"),
            r"t of shape \(4, 2\) must be one-hot rows, got dtype <U1: give np.asarray\(t, float\)$",
        ),
        (X, 3, "t must have a row for each sample, got int"),
        ({"a": [1]}, [0], r"x must be an array, but NumPy makes none of this dict \(it is no array\)"),
        ([[1, 2], [3]], [0, 1], r"x must be an array, but NumPy makes none of this list \(its entries have different"),
        ([[1, 2], [3, "a"]], [0, 1], "x must be numbers, but column 1 holds 'a': make numbers of this column first"),
        ([["1", "2"], ["3", "4"]], [0, 1], "x must be numbers, but column 0 holds '1'"),
        ([[1.0, None]], [0], "x must be numbers, but column 1 holds None"),
        (X + 1j, [0] * 4, "x must be numbers, but column 0 holds 1j"),
        (digits()[0], [0], "x: a Dataset is not an array: give its images"),
    ],
)
def test_what_has_no_classes_is_refused(x: Any, t: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^from_arrays: {message}"):
        Dataset.from_arrays(x, t)


def test_what_has_no_classes_is_named_by_its_column() -> None:
    table = pandas().DataFrame(
        {"age": [3, 4], "town": ["Bern", "Oslo"], "price": [0.5, 1.0], "kind": ["a", None], "day": [1, 2]}
    )
    table["day"] = pandas().to_datetime(table["day"])
    for x, t, message in (
        (table[["age", "town"]], table["age"], "x must be numbers, but column 'town' holds 'Bern'"),
        (table["town"], table["age"], "x must be numbers, but column 'town' holds 'Bern'"),
        (table[["age", "day"]], table["age"], r"x must be numbers, but column 'day' holds Timestamp"),
        (table[["age"]], table["price"], "t must be classes, but label 0 in column 'price' is 0.5"),
        (table[["age"]], table[["price"]], "t must be classes, but label 0 in column 'price' is 0.5"),
        (table[["age"]], table["kind"], "label 1 in column 'kind' is (nan|None)"),
        (table[["age"]], table["price"].rename(0), "t must be classes, but label 0 in column 0 is 0.5"),
    ):
        with pytest.raises(ValueError, match=f"^from_arrays: {message}"):
            Dataset.from_arrays(x, t)


def test_many_numbers_are_taken_for_measurements() -> None:
    x = np.zeros((442, 3))
    t = np.random.default_rng(0).permutation(np.arange(442) % 214 * 3.0)
    with pytest.raises(ValueError, match=r"^from_arrays: t has 214 different numbers, from 0 to 639: for a regression"):
        Dataset.from_arrays(x, t)
    for classes in t.astype(str), np.unique(t, return_inverse=True)[1]:
        assert repr(Dataset.from_arrays(x, classes)) == "Dataset(442 samples of 3 numbers, 214 classes)"
    assert repr(Dataset.from_arrays(x[:200], np.arange(1, 201))) == "Dataset(200 samples of 3 numbers, 200 classes)"
    for kind in "HilQfd":
        with pytest.raises(ValueError, match="t has 201 different numbers, from 1 to 201"):
            Dataset.from_arrays(x[:201], np.arange(1, 202).astype(kind))


@pytest.mark.parametrize(
    ("t", "message"),
    [
        ([1, 2, 3], "t has labels from 1 to 3, but the classes are 3 names: give all names"),
        ([-1, 0, 1], "t has labels from -1 to 1, but the classes are 3 names"),
        (["a", "d", "a"], "t has the label 'd', but the classes are 3 names: give all names"),
        ([[1, 0], [0, 1], [1, 0]], "t has 2 columns, but there are 3 classes"),
    ],
)
def test_labels_that_the_names_do_not_name_are_refused(t: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^from_arrays: {message}"):
        Dataset.from_arrays(np.zeros((3, 2)), t, classes=["a", "b", "c"])


def test_unequal_lengths_and_nothing_are_refused_as_by_the_constructor() -> None:
    with pytest.raises(ValueError, match=r"^each image needs one label; got images \(3, 2\) and labels \(2,\)$"):
        Dataset.from_arrays(np.zeros((3, 2)), [0, 1])
    with pytest.raises(ValueError, match=r"^a data set needs at least one image; got none$"):
        Dataset.from_arrays(np.zeros((0, 2)), [])
    with pytest.raises(ValueError, match=r"^a data set needs at least one image; got none$"):
        Dataset.from_arrays(np.zeros((0, 2)), np.array([], object))


def test_pandas_objects_are_taken_by_place() -> None:
    table, labels = pandas().DataFrame({"a": [5.0, 6.0]}, index=[1, 0]), pandas().Series([0, 1], index=[1, 0])
    data = Dataset(table, labels)
    assert [(image.tolist(), label) for image, label in data] == [([5.0], 0), ([6.0], 1)]
    assert np.shares_memory(data.labels, labels.to_numpy())


def test_a_table_from_the_first_line_to_the_accuracy() -> None:
    rng = np.random.default_rng(0)
    table = pandas().DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    table["kind"] = np.where(table["a"] + table["b"] > 0, "over", "under")
    data = Dataset.from_arrays(table[["a", "b"]], table["kind"], "toy")
    train, test = data.split(0.25, seed=0)
    net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(), seed=0)
    history = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(1.0), seed=0).fit(train, 20, 10, test=test, progress=False)
    assert history.test_accuracy[-1] > 0.95
    assert data.classes == ("over", "under")


def test_missing_values_are_named_by_row_and_column():
    table = pandas().DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, np.nan]})
    with pytest.raises(ValueError, match="column 'b' of row 2 is nan: leave out rows with missing values"):
        Dataset.from_arrays(table, [0, 1, 1])
    with pytest.raises(ValueError, match="column 0 of row 1 is inf"):
        Dataset.from_arrays([[0.0], [np.inf]], [0, 1])
    with pytest.raises(ValueError, match="column 1 of row 0 is nan"):
        Dataset.from_arrays([[0.0, np.nan], [np.inf, 0.0], [0.0, np.nan]], [0, 1, 1])
    with pytest.raises(ValueError, match="column 1 is nan in every row: leave the column out"):
        Dataset.from_arrays([[0.0, np.nan], [1.0, np.nan]], [0, 1])
    with pytest.raises(ValueError, match="column 1 of row 0 is inf"):
        Dataset.from_arrays([[0.0, np.inf], [1.0, np.inf]], [0, 1])
    with pytest.raises(ValueError, match="column 1 of row 0 is nan"):
        Dataset.from_arrays([[0.0, np.nan]], [0])
