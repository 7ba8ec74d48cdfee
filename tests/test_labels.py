import enum
import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from labelvae import ConditionalVAE, ImageData
from labelvae.inputs.class_names import label_of
from labelvae.inputs.labels import label_tensor
from labelvae.inputs.tensors import label_weights

Y, K = [1, 2, 0, 2], 3
ROWS = torch.eye(K)[Y]


class Colour(enum.Enum):
    red = 1


class Column:
    """Like a column of a table: its index does not count."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        raise KeyError(key)

    def to_numpy(self):
        return self.values


@pytest.mark.parametrize(
    "labels",
    [
        Y,
        tuple(Y),
        (label for label in Y),
        torch.tensor(Y),
        torch.tensor(Y, dtype=torch.int16),
        *(np.array(Y, dtype) for dtype in ("u1", "u2", "u4", "u8", "i1", ">i8", "f4", "f8", ">f8", "O")),
        np.array(Y)[::-1][::-1],
        torch.tensor(Y).float(),
        torch.tensor(Y)[:, None],
        np.array(Y, float)[:, None],
        [torch.tensor(label) for label in Y],
        [np.int64(label) for label in Y],
        ["1", "2", "0", "2"],
        np.array(["1", "2", "0", "2"]),
        np.array(["1", "2", "0", "2"], object),
        [b"1", b"2", b"0", b"2"],
        ROWS,
        ROWS.long(),
        ROWS.bool(),
        ROWS.numpy().astype(int),
        ROWS.to_sparse(),
        list(ROWS),
        ROWS.tolist(),
        Column(Y),
        Column([1.0, 2.0, 0.0, 2.0]),
        Column(np.array(["1", "2", "0", "2"], object)),
    ],
)
def test_labels_in_every_plain_form(labels):
    assert torch.equal(label_weights(labels, K, 4), ROWS)


@pytest.mark.parametrize(
    "label", [2, 2.0, "2", b"2", np.int64(2), np.float32(2), np.array(2), torch.tensor(2), np.str_("2")]
)
def test_one_label_for_all(label):
    assert torch.equal(label_weights(label, K, 4), torch.tensor([[0.0, 0.0, 1.0]] * 4))


def test_weights_for_all_and_weights_of_few_bits():
    row = torch.tensor([0.5, 0.25, 0.25])
    for weights in (row, row[None], row[None].numpy(), row.tolist(), [row]):
        assert torch.equal(label_weights(weights, K, 4), row.expand(4, -1))
    vae = ConditionalVAE((1, 8, 8), K, latent_dim=4, encoder_widths=(4,))
    for weights in (row, row[None], row.numpy(), row.tolist()):
        assert len(vae.sample(weights)) == 1
    assert len(vae.sample([2.0, 0.0, 1.0])) == 3
    for dtype in (torch.float16, torch.bfloat16):
        blends = torch.randn(4, 10).softmax(dim=1)
        found = label_weights(blends.to(dtype), 10, 4)
        torch.testing.assert_close(found, blends, atol=4e-3, rtol=1e-2)
        torch.testing.assert_close(found.sum(dim=1), torch.ones(4))


def test_square_matrices_are_rows():
    """As many images as classes: a matrix is rows, a vector is indices, and what may be either is refused."""
    assert torch.equal(label_weights(torch.eye(3, dtype=torch.long), 3, 3), torch.eye(3))
    assert torch.equal(label_weights([2, 0, 1], 3, 3), torch.eye(3)[[2, 0, 1]])
    assert torch.equal(label_weights([2.0, 0.0, 1.0], 3, 3), torch.eye(3)[[2, 0, 1]])
    assert torch.equal(label_weights([0, 1, 0], 3, 3), torch.eye(3)[[0, 1, 0]])
    with pytest.raises(ValueError, match="may be 3 class indices or one row of weights"):
        label_weights([0.0, 1.0, 0.0], 3, 3)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (True, "torch.bool"),
        (np.bool_(True), "torch.bool"),
        ([True, False, True, False], "torch.bool"),
        (np.array([True, False, True, False]), "torch.bool"),
        (torch.tensor(True), "torch.bool"),
        (None, "got None"),
        (float("nan"), "whole class indices, got nan"),
        (np.array([1, 2, 0, np.nan]), "class indices or names, image 3 has none"),
        (torch.tensor([1.0, 2.0, math.nan, 0.0]), "image 2 has none"),
        (["0", None, "1", "2"], "image 1 has none"),
        (["0", "1", "2", math.nan], "image 3 has none"),
        (np.array(["0", None, "1", "2"], dtype=object), "image 1 has none"),
        (np.array(["0", "1", None, "2"], dtype=np.dtypes.StringDType(na_object=None)), "image 2 has none"),
        ([Colour.red] * 4, "got Colour.red; give its .name or its .value"),
        (np.array(["0", 1, "1", "2"], dtype=object), "several kinds"),
        (float("inf"), "class indices, got inf"),
        (1e30, "got 1"),
        (10**30, "from 0 to 2, got 1000"),
        ([0, 1, 2, 10**30], "from 0 to 2, got 1000"),
        (1.5, "got 1.5"),
        (-1, "got -1"),
        (3, "got 3"),
        (np.uint64(2**63), "got 9223372036854775808"),
        (1 + 2j, "class indices"),
        ([0, None, 1, 2], "image 1 has none"),
        ([0, 1], r"shape \(4,\), got \(2,\)"),
        ([[0, 1, 2, 0]], r"shape \(4, 3\), got \(1, 4\)"),
        (torch.zeros(4, 2, dtype=torch.long), r"shape \(4, 3\), got \(4, 2\)"),
        (torch.zeros(2, 2, 2), r"\(2, 2, 2\)"),
        (torch.ones(4, 3, dtype=torch.long), "sum to one"),
        (torch.zeros(4, 3, dtype=torch.bool), "sum to one"),
        (torch.arange(12.0).view(4, 3), r"softmax\(dim=1\) makes logits weights"),
        ("cat", "class_names of the model is not set"),
        (["1", 1.0, "2", "0"], "several kinds"),
        ({0, 1, 2, 3}, "got set"),
        ({"a": 1}, "got dict"),
        ([torch.tensor(1), torch.tensor([1, 2])], "one form"),
        ([[1], [1, 2]], "class indices"),
        (np.array(["2020-01-01"] * 4, "M8[D]"), "class indices"),
        (np.ma.masked_equal(Y, 0), "image 2 has none"),
    ],
)
def test_what_has_no_plain_meaning_is_refused_in_one_short_sentence(labels, says):
    with pytest.raises(ValueError, match=f"^asked: .*{says}") as error:
        label_weights(labels, K, 4, name="asked")
    assert len(str(error.value)) < 250
    assert "\n" not in str(error.value)


def test_tables():
    pandas = pytest.importorskip("pandas")
    table = pandas.Series([9, 9, *Y], name="label").iloc[2:]
    for column in (table, table.astype("category"), table.astype(str), table.astype("Int64"), table.astype(float)):
        assert torch.equal(label_weights(column, K, 4), ROWS)
    with pytest.raises(ValueError, match="labels"):
        label_weights(pandas.Series([1, 2, None, 0]), K, 4)


@pytest.fixture
def named(vae):
    vae.class_names = ["cat", "dog", "1"]
    return vae


def test_a_model_answers_to_its_class_names(named, images):
    assert torch.equal(named.relabel(images, "dog"), named.relabel(images, 1))
    assert torch.equal(named.relabel(images, ["dog", "cat"] * 3), named.relabel(images, [1, 0] * 3))
    assert torch.equal(named.relabel(images, "1"), named.relabel(images, 2))  # a name before an index
    with pytest.warns(UserWarning, match="no class is called '2'; it is taken as an index"):
        assert torch.equal(named.relabel(images, "2"), named.relabel(images, 2))
    assert torch.equal(named.reconstruct(images, np.array(["dog"] * 6)), named.reconstruct(images, 1))
    assert torch.equal(named.interpolate(images, "cat", "dog", 3), named.interpolate(images, 0, 1, 3))
    seeds = [torch.Generator().manual_seed(0) for _ in range(4)]
    assert torch.equal(named.sample(["cat", "dog"], seeds[0]), named.sample([0, 1], seeds[1]))
    assert torch.equal(named.sample("dog", seeds[2]), named.sample(1, seeds[3]))
    assert torch.equal(named.decode(torch.zeros(1, 4), "dog"), named.decode(torch.zeros(1, 4), 1))
    with pytest.raises(ValueError, match="^end: expected class indices or names, one of cat, dog, 1 .* got 'bird'$"):
        named.interpolate(images, "cat", "bird")


def test_class_names_are_saved_and_loaded(named, images, tmp_path):
    named.save_pretrained(tmp_path / "named")
    again = ConditionalVAE.from_pretrained(tmp_path / "named")
    assert again.class_names == ["cat", "dog", "1"]
    assert torch.equal(again.relabel(images, "dog"), named.relabel(images, "dog"))
    assert "class_names" not in (tmp_path / "named" / "config.json").read_text()
    named.class_names = None
    named.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "classes.json").exists()
    assert ConditionalVAE.from_pretrained(tmp_path / "plain").class_names is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a", "b"], "expected 3 names, one a class, got 2"),
        ("abc", "expected a list of names"),
        (["a", "a", "b"], "'a' twice"),
        ([0, "0", 1], "'0' twice"),
        ([None, "a", "b"], "names as text"),
        (5, "expected a list of names"),
    ],
)
def test_bad_class_names_are_refused(vae, names, says):
    with pytest.raises(ValueError, match=f"class_names: .*{says}"):
        vae.class_names = names
    assert vae.class_names is None


def test_names_of_a_data_set_that_are_numbers_are_names_before_they_are_indices():
    pixels = torch.tensor([8, 1] * 10, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    data = ImageData.from_tensors(pixels, ["8", "1"] * 10, [1, 8])
    for split in data.splits.values():
        assert torch.equal(split.labels, (split.images[:, 0, 0, 0] == 8).long())


@pytest.mark.parametrize(
    ("names", "word"), [(["1", "2", "3"], "0"), (["-1", "1"], "0"), (["01", "02"], "1"), (["0.5", "1.5"], "1")]
)
def test_text_is_no_index_if_the_classes_are_called_by_other_numbers(names, word):
    assert label_tensor(names, len(names), len(names), class_names=names).tolist() == list(range(len(names)))
    assert label_tensor(f" {names[1]}", len(names), 1, class_names=names).tolist() == [1]
    with pytest.raises(ValueError, match=f"or names, one of {names[0]}, .* .or an index as a number., got '{word}'"):
        label_tensor([word] * 4, len(names), 4, class_names=names)
    assert label_tensor([0, 1], len(names), 2, class_names=names).tolist() == [0, 1]


def test_text_labels_of_a_data_set_are_names_before_they_are_indices():
    train, test = ([(torch.rand(1, 8, 8), str(each)) for each in some] for some in ([1, 2, 3] * 10, [0, 1, 2]))
    with pytest.raises(ValueError, match="one of 1, 2, 3 .*, got '0'"):
        ImageData.from_datasets(train, test=test)
    with pytest.warns(UserWarning, match="it is taken as an index"):  # as on a command line
        assert label_of("0", ["1", "2", "3"]) == 0


class Exported:
    """An array of another library, which numpy may not read."""

    def __init__(self, values):
        self.values = values

    def __array__(self, *_, **__):
        raise KeyError("not here")

    def __dlpack__(self, **how):
        return self.values.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class Animal(str, enum.Enum):  # noqa: UP042  as text it is "Animal.CAT"
    CAT = "cat"
    DOG = "dog"


def test_arrays_of_other_libraries_and_members_of_an_enum():
    found = label_tensor(Exported(torch.tensor([2, 0])), 3, 2)
    assert found.tolist() == [2, 0]
    assert label_tensor([Animal.DOG, Animal.CAT], 2, 2, class_names=["cat", "dog"]).tolist() == [1, 0]


def test_columns_of_a_table_with_the_names_of_the_classes_count_by_name():
    pandas = pytest.importorskip("pandas")
    table = pandas.get_dummies(pandas.Series(["owl", "cat", "dog"]))  # columns in the order of the alphabet
    weights = label_tensor(table, 3, 3, class_names=["dog", "cat", "owl"])
    assert weights.argmax(dim=1).tolist() == [2, 1, 0]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_labels_whose_own_conversion_fails_are_refused():
    broken = type("Broken", (), {"__array__": Exported.__array__})()
    with pytest.raises(ValueError, match="labels: expected class indices, got Broken"):
        label_tensor(broken, 3, 2)
    nested = torch.nested.nested_tensor([torch.tensor([0]), torch.tensor([1, 2])])
    with pytest.raises(ValueError, match="labels: expected class indices, got a nested tensor"):
        label_tensor(nested, 3, 2)


def test_names_are_found_whatever_the_default_device():
    with torch.device("meta"):
        assert label_tensor(["dog", "cat"], 2, 2, class_names=["cat", "dog"]).tolist() == [1, 0]
        assert label_tensor("dog", 2, 1, class_names=["cat", "dog"]).tolist() == [1]


class Arrow:
    """A column of Arrow: its own conversion to an array refuses text and gaps."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter([ArrowScalar(value) for value in self.values])

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Needed to copy 1 chunks with 0 nulls, but zero_copy_only was True")

    def to_numpy(self):
        return self.__array__()

    def to_pylist(self):
        return self.values


class ArrowScalar:
    """One value of Arrow."""

    def __init__(self, value):
        self.value = value

    def as_py(self):
        return self.value


class ArrowTable:
    """A table of Arrow: its columns are arrays without names."""

    def __init__(self, **columns):
        self.values = columns

    @property
    def column_names(self):
        return list(self.values)

    @property
    def columns(self):
        return [Arrow(column) for column in self.values.values()]

    def __len__(self):
        return len(next(iter(self.values.values())))

    def __array__(self, dtype=None, copy=None):
        return np.array(list(self.values.values())).T

    def to_pylist(self):
        return [dict(zip(self.values, row, strict=True)) for row in zip(*self.values.values(), strict=True)]


ANIMALS = ["cat", "dog", "owl"]


@pytest.mark.parametrize(
    "labels",
    [
        Arrow(["cat", "owl", "dog"]),
        Arrow([0, 2, 1]),
        list(Arrow(["cat", "owl", "dog"])),
        ArrowTable(label=["cat", "owl", "dog"]),
        ArrowTable(owl=[0, 1, 0], cat=[1, 0, 0], dog=[0, 0, 1]),
        csr_matrix(np.eye(3)[[0, 2, 1]]),
        np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], None], dtype=object)[:3],
        [Decimal(0), Decimal(2), Decimal(1)],
        np.array(["cat", "owl", "dog"], dtype=np.dtypes.StringDType()),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_columns_of_other_libraries(labels):
    assert label_weights(labels, 3, 3, class_names=ANIMALS).argmax(dim=1).tolist() == [0, 2, 1]


def test_values_of_arrow_that_are_missing_are_said():
    assert label_weights(ArrowScalar("dog"), 3, 1, class_names=ANIMALS).tolist() == [[0.0, 1.0, 0.0]]
    for missing in (Arrow(["cat", None, "dog"]), list(Arrow([0, None, 1]))):
        with pytest.raises(ValueError, match=r"^labels: .* image 1 has none \(None, NaN or masked\); leave"):
            label_weights(missing, 3, 3, class_names=ANIMALS)
