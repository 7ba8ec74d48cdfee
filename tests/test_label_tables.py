import math

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from labelvae import AttributeClassifier, Binary, Category, ConditionalVAE, Continuous, ImageData
from labelvae.attributes.rows import Attributes
from labelvae.data.tables import inferred_attributes, read_labels
from labelvae.evaluation.attribute_scores import attribute_scores, label_scores

HEAD = "file,kind,age,old\n"


def folder(tmp_path, text, count=6):
    for place in range(count):
        Image.fromarray(np.full((8, 8), 30 * place, dtype=np.uint8)).save(tmp_path / f"{place}.png")
    (tmp_path / "labels.csv").write_text(text)
    return tmp_path


def lines(count=6):
    return "".join(f"{place}.png,{'cat' if place % 2 else 'dog'},{place + 0.5},{place % 2}\n" for place in range(count))


def test_a_folder_with_a_table_is_read(tmp_path):
    data = ImageData.from_table(folder(tmp_path, HEAD + lines()), seed=1)
    assert dict(data.attributes) == {"kind": Category(["cat", "dog"]), "age": Continuous(0.5, 5.5), "old": Binary()}
    rows, shades = [], []
    for split in data.splits.values():
        rows.append(split.labels)
        shades.append(split.load().images[:, 0, 0, 0] / 30)
    rows, shades = torch.cat(rows), torch.cat(shades)
    assert len(rows) == 6
    torch.testing.assert_close(rows[:, 1], shades.float() + 0.5)
    assert torch.equal(rows[:, 0], 1 - rows[:, 2])
    images, labels = next(iter(data.loader("train")))
    assert images.shape[1:] == (1, 8, 8)
    assert labels.shape[1] == 3


def test_a_table_beside_tensors_is_read():
    images = torch.randint(255, (9, 1, 8, 8), dtype=torch.uint8)
    table = {"digit": [7, 8, 9] * 3, "slant": np.linspace(-0.5, 0.5, 9), "angle": list(range(0, 360, 40))}
    declared = {"digit": Category(["7", "8", "9"]), "angle": Continuous(0, 360, periodic=True)}
    for given in (table, pandas.DataFrame(table)):
        data = ImageData.from_table(images, given)
        assert dict(data.attributes)["digit"] == Category(["7", "8", "9"])
        assert dict(data.attributes)["slant"] == Continuous(-0.5, 0.5)
        some = ImageData.from_table(images, given, declared)
        assert list(some.attributes) == ["digit", "angle"]
        assert set(torch.cat([split.labels for split in some.splits.values()])[:, 0].tolist()) == {0.0, 1.0, 2.0}
    with pytest.raises(ValueError, match="table: expected 9 rows, one an image, got 8"):
        ImageData.from_table(images, {name: list(column)[:8] for name, column in table.items()})


def test_values_may_be_missing(tmp_path):
    (tmp_path / "labels.csv").write_text(HEAD + "a.png,cat,1.5,\nb.png,,2,1\nc.png,dog,nan,0\n")
    _, attributes, rows = read_labels(tmp_path / "labels.csv")
    assert rows.isnan().nonzero().tolist() == [[0, 2], [1, 0], [2, 1]]
    assert rows[2, 0] == 1
    assert attributes["age"] == Continuous(1.5, 2)


@pytest.mark.parametrize(
    ("text", "declared", "message"),
    [
        ("", None, "expected a line of names"),
        (HEAD, None, "got 1 lines"),
        ("name,kind\na,b\n", None, "expected the columns file"),
        ("file\na\n", None, "one an attribute"),
        ("file,a,a\nx,1,2\n", None, "'a' twice"),
        (HEAD + "a.png,cat,1\n", None, "row 2: expected 4 cells, got 3"),
        (HEAD + "a.png,cat,1,0\na.png,dog,2,1\n", None, "row 3, column file: 'a.png' is there twice, also in row 2"),
        (HEAD + "a.png,cat,1.5,0\nb.png,cat,2,1\n", None, "kind: expected at least two different values"),
        (HEAD + lines(), {"age": Continuous(0, 3)}, "row 5, column age: expected numbers from 0 to 3, got '3.5'"),
        (HEAD + lines(), {"kind": Category(["cat", "cow"])}, "row 2, column kind: expected one of cat, cow"),
        (HEAD + lines(), {"colour": Binary()}, "columns: expected colour, got kind, age, old; colour is missing"),
        (HEAD + lines() + "7.png,cat,1.5,1\n", None, "column file: there is no '7.png'"),
    ],
)
def test_bad_tables_are_refused_by_row_and_column(tmp_path, text, declared, message):
    with pytest.raises(ValueError, match=message):
        ImageData.from_table(folder(tmp_path, text), attributes=declared)


def test_a_folder_without_a_table_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"labels.csv: no such file"):
        ImageData.from_table(tmp_path)


def test_whole_numbers_are_classes_up_to_a_limit():
    kinds = inferred_attributes({"few": [3, 1, 2, 3], "many": list(range(100)), "word": ["1", "x"], "flag": [1, 0]})
    assert kinds["few"] == Category(["1", "2", "3"])
    assert kinds["many"] == Continuous(0, 99)
    assert kinds["word"] == Category(["1", "x"])
    assert kinds["flag"] == Binary()


def test_words_that_are_all_different_are_no_classes():
    with pytest.raises(ValueError, match="size: 30 different words in 30 rows, such as '0,5', are no classes"):
        inferred_attributes({"size": [f"{number},5" for number in range(30)]})
    assert len(inferred_attributes({"few": [f"{number},5" for number in range(8)]})["few"].names) == 8
    assert len(inferred_attributes({"many": [f"n{number}" for number in range(30)] * 2})["many"].names) == 30


def test_scores_of_rows():
    attributes = Attributes({"kind": Category(3), "angle": Continuous(0, 360, periodic=True), "on": Binary()})
    truth = torch.tensor([[0, 359, 1], [0, 10, 0], [0, 20, math.nan], [1, 30, 1.0]])
    found = torch.tensor([[0, 1, 1], [0, 10, 1], [1, 20, 0], [1, 30, 1.0]])
    scores = label_scores(attributes, found, truth)
    assert scores["kind"] == pytest.approx(
        {"accuracy": 0.75, "balanced_accuracy": (2 / 3 + 1) / 2, "f1": (4 / 5 + 2 / 3) / 2}
    )
    assert scores["angle"]["mean_absolute_error"] == scores["angle"]["mean_error"] == pytest.approx(0.5)
    assert scores["on"] == pytest.approx({"accuracy": 2 / 3, "balanced_accuracy": 0.5, "f1": 4 / 5})


def test_a_model_that_does_what_is_asked_scores_so():
    kinds = {"lit": Binary(), "shade": Continuous(0, 1)}

    class Draws(ConditionalVAE):
        def relabel(self, images, labels, own_labels=None, chunk_size=1024):
            rows = self.attributes.rows(labels)
            made = torch.zeros(len(rows), 1, 8, 8)
            made[:, :, 0], made[:, :, 1:] = rows[:, 0, None, None], rows[:, 1, None, None, None]
            return made

    class Reads(AttributeClassifier):
        def rows(self, images, chunk_size=1024):
            return torch.stack([images[:, 0, 0, 0], images[:, 0, 1, 0]], dim=1)

    images, rows = torch.rand(20, 1, 8, 8), torch.rand(20, 2).round(decimals=1)
    rows[:, 0] = rows[:, 0].round()
    scores = attribute_scores(Draws((1, 8, 8), attributes=kinds), Reads((1, 8, 8), kinds), images, rows)
    assert scores["lit"]["accuracy"] == scores["lit"]["kept_accuracy"] == 1
    assert scores["shade"]["mean_absolute_error"] == scores["shade"]["kept_mean_absolute_error"] == 0
    assert scores["shade"]["correlation"] == pytest.approx(1)
    with pytest.raises(ValueError, match="judge: reads lit"):
        attribute_scores(ConditionalVAE((1, 8, 8), 3), Reads((1, 8, 8), kinds), images, rows)
