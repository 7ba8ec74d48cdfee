import datetime
import decimal
import enum
import math
import unicodedata

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from labelvae import AttributeClassifier, Binary, Category, ConditionalVAE, Continuous, ImageData
from labelvae.attributes.rows import Attributes
from labelvae.data.labelled_files import read_table_folder
from labelvae.data.tables import inferred_attributes, read_labels, table_rows
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
    with pytest.raises(ValueError, match="column digit: expected 9 values, one an image, got 8"):
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
        (HEAD, None, "got 1 line$"),
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
    with pytest.raises(ValueError, match="size: 30 different words in 30 rows, such as '0:05', are no classes"):
        inferred_attributes({"size": [f"{number}:05" for number in range(30)]})
    assert len(inferred_attributes({"few": [f"{number}:05" for number in range(8)]})["few"].names) == 8
    assert len(inferred_attributes({"many": [f"n{number}" for number in range(30)] * 5})["many"].names) == 30
    with pytest.raises(ValueError, match="column person: 400 different words in 800 rows"):
        inferred_attributes({"person": [f"p{number}" for number in range(400)] * 2})


COUNT = 24
FILES = [f"{place}.png" for place in range(COUNT)]
KINDS = ["cat" if place % 2 else "dog" for place in range(COUNT)]
SIZES = [place / 4 + 0.5 for place in range(COUNT)]


def table(files=FILES, kinds=KINDS, sizes=SIZES, head=("file", "kind", "size"), separator=",", end="\n"):
    lines = [head, *zip(files, kinds, sizes, strict=True)]
    return end.join(separator.join(map(str, line)) for line in lines) + end


def read(folder, text):
    """Read a table beside 24 images, each of its own grey; return the attributes and the rows in the images' order."""
    for place, name in enumerate(FILES):
        Image.fromarray(np.full((8, 8), 10 * place, dtype=np.uint8)).save(folder / name)
    (folder / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    data = ImageData.from_table(folder)
    rows = torch.cat([split.labels for split in data.splits.values()])
    greys = torch.cat([split.load().images[:, 0, 0, 0] for split in data.splits.values()])
    assert sorted(greys.tolist()) == [10 * place for place in range(COUNT)]
    return data.attributes, rows[greys.argsort()]


def index_columns(head, cells):
    """Return the table with columns in front, as pandas writes the index of a data frame."""
    return "\n".join(f"{cell},{line}" for cell, line in zip([head, *cells], table().splitlines(), strict=True)) + "\n"


def decimal_commas(values=SIZES):
    return [str(value).replace(".", ",") for value in values]


@pytest.mark.parametrize(
    "text",
    [
        table(separator=";", sizes=decimal_commas()),
        "sep=;\r\n" + table(separator=";", sizes=decimal_commas(), end="\r\n"),
        table(separator="\t"),
        table(separator="|"),
        table(separator=", ", files=[f'"{name}"' for name in FILES]),
        table(sizes=[f'"{size}"' for size in decimal_commas()]),
        table(end="\r"),
        b"\xef\xbb\xbf" + table(end="\r\n").encode(),
        table().encode("utf-16"),
        table(files=[name[:-4] for name in FILES]),
        table(files=[name.upper() for name in FILES]),
        table(files=[f"./{name}" for name in FILES]),
        table(files=[f"C:\\Users\\me\\photos\\{name}" for name in FILES]),
        table(head=(" File Name ", "kind", "size")),
        table(head=("image_id", "kind", "size")),
        table(separator=",,", head=("file", "kind", "size")).replace("\n", ",\n") + ",,,,,\n\n",
        table() + f"{FILES[3]},{KINDS[3]},{SIZES[3]}\n",
        "\n".join(f"{each},{line}" for each, line in zip(["", *range(COUNT)], table().splitlines(), strict=True)),
        "\n".join(f"{','.join([*line.split(',')[1:], line.split(',')[0]])}" for line in table().splitlines()),
        table(sizes=[f"{size:e}" for size in SIZES]),
        index_columns("Unnamed: 0", range(COUNT)),
        index_columns("Unnamed: 0.1,unnamed: 0", [f"{place},{place * 7 % 25}" for place in range(COUNT)]),
        index_columns("Unnamed: 0", [place * 7 % 25 for place in range(COUNT)]) + f"99,{table().splitlines()[3]}\n",
    ],
)
def test_tables_that_say_the_same_are_read_the_same(tmp_path, text):
    attributes, rows = read(tmp_path, text)
    assert dict(attributes) == {"kind": Category(["cat", "dog"]), "size": Continuous(0.5, 6.25)}
    expected = torch.tensor([[KINDS[place] == "dog", SIZES[place]] for place in range(COUNT)])
    torch.testing.assert_close(rows, expected)


@pytest.mark.parametrize(
    ("id_cells", "file_cells"),
    [
        ([place + 1 for place in range(COUNT)], [f"{COUNT - 1 - place}.png" for place in range(COUNT)]),
        (range(COUNT), range(COUNT - 1, -1, -1)),
    ],
)
def test_of_several_columns_of_files_the_likeliest_is_taken(tmp_path, id_cells, file_cells):
    rows = zip(["image_id", *id_cells], ["filename", *file_cells], ["size", *SIZES], strict=True)
    text = "\n".join(",".join(map(str, row)) for row in rows)
    with pytest.raises(ValueError, match="column image_id: only counts the rows; leave the column out, or declare it"):
        read(tmp_path, text)
    data = ImageData.from_table(tmp_path, attributes={"size": None})
    for split in data.splits.values():
        greys = split.load().images[:, 0, 0, 0] / 10
        torch.testing.assert_close(split.labels[:, 0], (COUNT - 1 - greys) / 4 + 0.5)


def test_an_index_of_a_data_frame_is_an_attribute_only_if_it_is_declared(tmp_path):
    (tmp_path / "labels.csv").write_text(index_columns("Unnamed: 0", [place * 7 % 25 for place in range(COUNT)]))
    assert list(read_labels(tmp_path / "labels.csv")[1]) == ["kind", "size"]
    for kind in (None, Continuous(0, 30)):
        assert list(read_labels(tmp_path / "labels.csv", {"Unnamed: 0": kind})[1]) == ["Unnamed: 0"]
    frame = pandas.DataFrame({"Unnamed: 0": [3, 1, 2, 0], "kind": ["cat", "dog"] * 2})
    assert list(ImageData.from_table(torch.zeros(4, 1, 8, 8), frame).attributes) == ["kind"]


def test_words_in_two_forms_of_the_same_letters_are_one_class(tmp_path):
    forms = [unicodedata.normalize(form, "caf\xe9") for form in ("NFC", "NFD")]
    (tmp_path / "labels.csv").write_text(table(kinds=[*forms, "bar"] * 8), encoding="utf-8")
    _, attributes, rows = read_labels(tmp_path / "labels.csv")
    assert attributes["kind"] == Category(["bar", "caf\xe9"])
    assert rows[:, 0].tolist() == [1, 1, 0] * 8


def test_files_in_another_form_of_the_same_letters_are_found(tmp_path):
    names = [unicodedata.normalize("NFC", f"\xe9{place}.png") for place in range(COUNT)]
    for name in names:
        Image.new("L", (8, 8)).save(tmp_path / unicodedata.normalize("NFD", name))
    (tmp_path / "labels.csv").write_text(table(files=names), encoding="utf-8")
    assert sum(len(split.labels) for split in ImageData.from_table(tmp_path).splits.values()) == COUNT


def test_decimal_commas_of_columns_that_are_left_out_or_are_names(tmp_path):
    lines = "".join(f"{place}.png;{('2,5', '3.5', '4,5')[place % 3]};{place / 4}\n" for place in range(9))
    (tmp_path / "labels.csv").write_text("file;lens;size\n" + lines)
    assert list(read_labels(tmp_path / "labels.csv", {"size": None})[1]) == ["size"]
    lenses = {"lens": Category(["2,5", "3.5", "4,5"])}
    assert read_labels(tmp_path / "labels.csv", lenses)[2][:3, 0].tolist() == [0, 1, 2]
    with pytest.raises(
        ValueError, match="row 3, column lens: expected a decimal comma as in '2,5' of row 2, got '3.5'"
    ):
        read_labels(tmp_path / "labels.csv")


def test_a_number_that_is_no_name_of_a_declared_class_is_no_index():
    with pytest.raises(ValueError, match="row 1, column stars: expected one of 1, 2, 3, got '0'"):
        table_rows({"stars": ["1", "0"]}, Attributes({"stars": Category(["1", "2", "3"])}))


def test_images_in_a_folder_below_are_found_by_their_names_alone(tmp_path):
    (tmp_path / "a b" / "c").mkdir(parents=True)
    for name in FILES:
        Image.new("L", (8, 8)).save(tmp_path / "a b" / "c" / name)
    for written in ("{}", "c/{}", "A B\\C\\{}", "a b/c/{}", f"{tmp_path.name}/a b/c/{{}}"):
        (tmp_path / "labels.csv").write_text(table(files=[written.format(name) for name in FILES]))
        assert len(ImageData.from_table(tmp_path).splits["train"].labels) > 10
    (tmp_path / "labels.csv").write_text(table(files=[f"other/{name}" for name in FILES]))
    with pytest.raises(ValueError, match="row 2, column file: there is no 'other/0.png' under .*, and 23 more are"):
        ImageData.from_table(tmp_path)
    Image.new("L", (8, 8)).save(tmp_path / "a b" / "7.png")
    (tmp_path / "labels.csv").write_text(table())
    with pytest.raises(ValueError, match="row 9, column file: '7.png' can be 'a b/7.png' or 'a b/c/7.png'; write its"):
        ImageData.from_table(tmp_path)


def test_two_names_for_one_image_are_refused(tmp_path):
    with pytest.raises(ValueError, match="row 26, column file: '3.png' is also the file of row 5"):
        read(tmp_path, table() + "3,cat,2.5\n")


def test_images_without_a_row_are_said(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "more.png")
    with pytest.warns(UserWarning, match="1 image has no row in the table and is left out, such as more"):
        read(tmp_path, table())


def test_rows_without_an_image_can_be_left_out(tmp_path):
    for name in FILES[:20]:
        Image.new("L", (8, 8)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text(table())
    with pytest.warns(UserWarning, match="4 rows without their image are left out, such as row 22"):
        source, _ = read_table_folder(tmp_path, skip_unreadable=True)
    torch.testing.assert_close(source.train.labels[:, 1], torch.tensor(SIZES[:20]))


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        (["-1", "1"], Binary(), 0),
        ([-1, 1], Binary(), 0),
        (["1.0", "0.0"], Binary(), 1),
        (["True", "False"], Binary(), 1),
        ([True, False], Binary(), 1),
        (["YES", "No"], Binary(), 1),
        (["nein", "ja"], Category(["ja", "nein"]), 1),
        (["+", "-"], Category(["+", "-"]), 0),
        (["-1", "0", "1"], Category(["-1", "0", "1"]), 0),
        (["2.0", "0.0", "1.0"], Category(["0", "1", "2"]), 2),
        (["012", "007"], Category(["007", "012"]), 1),
        (["10x", "5x"], Category(["5x", "10x"]), 1),
        (["1234567", "7654321"], Category(["1234567", "7654321"]), 0),
        (["35 %", "40.5 %"], Continuous(35, 40.5, "%"), 35),
        (["3.5 px", "7px"], Continuous(3.5, 7, "px"), 3.5),
        (["90°", "12.5°"], Continuous(12.5, 90, "°"), 90),
        (["1,5", "2,125"], Continuous(1.5, 2.125), 1.5),
        (["\u22122.5", "1.5"], Continuous(-2.5, 1.5), -2.5),
        (["0,125", "0,250"], Continuous(0.125, 0.25), 0.125),
    ],
)
def test_what_cells_mean(values, kind, first):
    attributes = inferred_attributes({"it": values})
    assert dict(attributes) == {"it": kind}
    assert float(table_rows({"it": values}, attributes)[0]) == pytest.approx(first)


@pytest.mark.parametrize(
    "word", ["", "NA", "n.a.", "-", "--", "NaN", "#N/A", "<NA>", "null", ".", "k.A.", None, math.nan]
)
def test_words_for_unknown(word):
    values = {"size": [1.5, word, 3], "kind": ["cat", "dog", word]}
    attributes = inferred_attributes(values)
    assert dict(attributes) == {"size": Continuous(1.5, 3), "kind": Category(["cat", "dog"])}
    assert table_rows(values, attributes).isnan().nonzero().tolist() == [[1, 0], [2, 1]]


def with_cell(value):
    return table(sizes=[value if place == 7 else size for place, size in enumerate(SIZES)])


def with_comma(value):
    sizes = [value if place == 7 else size for place, size in enumerate(decimal_commas())]
    return table(sizes=sizes, separator=";")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_cell("1.2.5"), "row 9, column size: expected a number as in most rows, got '1.2.5'; correct it"),
        (with_cell("unknown"), "row 9, column size: expected a number as in most rows, got 'unknown'"),
        (with_cell("<3"), "row 9, column size: expected a number as in most rows"),
        (with_cell("inf"), "row 9, column size: expected a number as in most rows"),
        (with_cell('"2,5"'), "row 9, column size: expected a decimal point as in '0.5' of row 2, got '2,5'"),
        (with_comma("ca. 4,2"), "row 9, column size: expected a number as in most rows, got 'ca. 4,2'"),
        (with_comma("n.a"), "row 9, column size: expected a number as in most rows, got 'n.a'"),
        (with_comma("<0,5"), "row 9, column size: expected a number as in most rows, got '<0,5'"),
        (with_comma("#DIV/0!"), "row 9, column size: expected a number as in most rows, got '#DIV/0!'"),
        (with_comma("4.2"), "row 9, column size: expected a decimal comma as in '0,5' of row 2, got '4.2'"),
        (
            table(kinds=["#REF!" if place == 7 else "cat" if place % 2 else "dog" for place in range(24)]),
            "row 9, column kind: '#REF!' is an error of a spreadsheet",
        ),
        (table(head=("file", "mask", "size"), kinds=[f"{each}.npy" for each in range(24)]), "24 different words"),
        (table(head=("file", "mask", "size"), kinds=[f"{each}_mask.png" for each in range(24)]), "mask: names image"),
        (
            table(sizes=[1_700_000_000 + 7 * each for each in range(24)]),
            "column size: numbers from 1700000000 to 1700000161 are too close together .* subtract 1700000000 from",
        ),
        (table().encode("utf-16-le"), "holds zero bytes, as UTF-16 without its first mark does; save it as CSV in UTF"),
        (with_cell("3.5 mm"), "row 9, column size: expected no unit as in row 2, got '3.5 mm'"),
        (with_cell("-999"), "row 9, column size: '-999' looks like a mark for an unknown value"),
        (
            table(sizes=[f"{each} mm" if each != 3 else "3 cm" for each in SIZES]),
            "row 12, column size: .* 'mm' .* '3 cm'",
        ),
        (table(sizes=[f'"{each},125"' for each in range(1, 25)]), "row 2, column size: '1,125' can be 1125 or 1.125"),
        (
            table(sizes=[f"1.00{each % 9},5" for each in range(24)], separator=";"),
            "row 2, column size: .*'1.000,5'",
        ),
        (
            "file;kind;size\n" + "".join(f"{place}.png;{1 + place % 3},5;1.{250 + place}\n" for place in range(24)),
            "row 2, column size: '1.250' can be 1250 or 1.250, as numbers of this table have decimal commas",
        ),
        (table(sizes=[f'"{each},000.5"' for each in range(1, 25)]), "row 2, column size: .* thousands, got '1,000.5'"),
        (table(head=("file", "kind", "id"), sizes=list(range(100, 124))), "column id: only counts the rows"),
        (
            table(head=("file", "kind", "Study ID"), sizes=[7919 * each % 5003 for each in range(24)]),
            "column Study ID: a number of its own for each image is no attribute; leave it out, or declare it",
        ),
        (table(kinds=["Cat", "cat", "dog", "dog"] * 6), "column kind: 'Cat' and 'cat' differ only in upper and lower"),
        (table(kinds=["New York", "New\xa0York", "Rome"] * 8), "column kind: .* differ only in how their letters are"),
        (table(head=("image", "kind", "photo")).replace(".png", ""), "one column of files, got image and photo"),
        (table(head=("image", "file", "size"), kinds=FILES), "one column of files, got image and file; take one away"),
        (table() + f"{FILES[3]},cow,9\n", "row 26, column file: '3.png' is there twice, also in row 5, with other"),
        (table(head=("file", "kind", "")), "row 1: expected a name for each column, got none for column 3"),
        (table(head=("", "kind", "size")), "expected the columns file, and one an attribute, got \\(no name\\), kind"),
        (table(kinds=["K\xe4se", "Milch"] * 12).encode("latin-1"), "text in UTF-8 .*; save it as CSV in UTF-8"),
        (table(kinds=['"cat' if place == 3 else "cat" for place in range(24)]), "row 5: .* quote that is not closed"),
    ],
)
def test_cells_that_can_mean_several_things_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_missing_values_of_a_data_frame():
    table = {
        "size": pandas.array([1.5, None, 3], dtype="Float64"),
        "lit": pandas.array([True, None, False], dtype="boolean"),
        "kind": pandas.Categorical(["a", None, "b"]),
        "name": pandas.array(["u", None, "v"], dtype="string"),
    }
    data = ImageData.from_table(torch.zeros(12, 1, 8, 8), pandas.concat([pandas.DataFrame(table)] * 4))
    expected = {"size": Continuous(1.5, 3), "lit": Binary(), "kind": Category(["a", "b"]), "name": Category(["u", "v"])}
    assert dict(data.attributes) == expected
    rows = torch.cat([split.labels for split in data.splits.values()])
    assert int(rows.isnan().all(dim=1).sum()) == 4
    assert int(rows.isnan().sum()) == 16


def test_cells_that_are_lists_are_refused():
    with pytest.raises(ValueError, match="row 1, column size: expected a number as in most rows"):
        inferred_attributes({"size": [1.5, [2], 3.5]})
    with pytest.raises(ValueError, match="row 1, column size: expected numbers from 0 to 9"):
        table_rows({"size": [1.5, [2], 3.5]}, Attributes({"size": Continuous(0, 9)}))


def test_minus_one_and_zero_are_not_both_no():
    with pytest.raises(ValueError, match="column lit: expected True or False .*, or -1 and 1, got both 0 and -1"):
        table_rows({"lit": [-1, 0, 1]}, Attributes({"lit": Binary()}))


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
    with pytest.raises(ValueError, match="judge: expected an AttributeClassifier, .* and a model of one class"):
        attribute_scores(ConditionalVAE((1, 8, 8), 3), Reads((1, 8, 8), kinds), images, rows)


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
PETS, AGES = ["cat", "dog"] * 3, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]


class ArrowTable:
    """A table of Arrow, whose columns have no names of their own and hold values that are none of Python."""

    column_names = ("kind", "age")
    columns = (PETS, AGES)

    def __getitem__(self, name):
        return type("ChunkedArray", (), {"to_pylist": lambda _: {"kind": PETS, "age": AGES}[name]})()


@pytest.mark.parametrize(
    "table",
    [
        {"kind": iter(PETS), "age": tuple(AGES)},
        {"kind": np.array(PETS)[:, None], "age": [decimal.Decimal(str(age)) for age in AGES]},
        {"kind": [enum.Enum("Kind", "cat dog")[kind] for kind in PETS], "age": torch.tensor(AGES)},
        [{"kind": kind, "age": age} for kind, age in zip(PETS, AGES, strict=True)],
        pandas.DataFrame({"kind": PETS, "age": AGES}).to_records(index=False),
        ArrowTable(),
    ],
    ids=lambda table: type(table).__name__,
)
def test_tables_in_any_form(table):
    data = ImageData.from_table(PIXELS, table)
    assert data.attributes["kind"].names == ("cat", "dog")
    assert (data.attributes["age"].low, data.attributes["age"].high) == (0.5, 5.5)
    rows = torch.cat([split.labels for split in data.splits.values()])
    assert torch.equal(rows[rows[:, 1].argsort()], torch.tensor([[0.0, 1.0] * 3, AGES]).T)


def test_dates_and_intervals_are_words():
    days = [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)] * 3
    assert ImageData.from_table(PIXELS, {"day": days}).attributes["day"].names == ("2020-01-01", "2021-01-01")
    parts = pandas.DataFrame({"size": pandas.cut(AGES, [0, 3, 6])})
    assert ImageData.from_table(PIXELS, parts).attributes["size"].names == ("(0, 3]", "(3, 6]")


def test_rows_may_be_lists():
    kinds = {"kind": Category(["cat", "dog"]), "age": Continuous(0, 9)}
    rows = [[place % 2, age] for place, age in enumerate(AGES)]
    for given in (rows, list(map(tuple, rows)), np.array(rows)):
        found = torch.cat([split.labels for split in ImageData.from_table(PIXELS, given, kinds).splits.values()])
        assert torch.equal(found[found[:, 1].argsort()], torch.tensor([[0.0, 1.0] * 3, AGES]).T)
    with pytest.raises(ValueError, match="attributes: expected what each column of the table is"):
        ImageData.from_table(PIXELS, rows)


def test_a_column_of_splits_is_said():
    columns = {"split": ["train", "train", "Val", "train", "test", "train"], "age": AGES}
    with pytest.warns(
        UserWarning, match="column split: Val, test, train are names of splits, but are taken for an attr"
    ):
        ImageData.from_table(PIXELS, columns)
    assert list(ImageData.from_table(PIXELS, columns, {"age": None}).attributes) == ["age"]
    for name, values in (("is_valid", [True, False] * 3), ("Fold", [1, 2, 3] * 2)):
        with pytest.warns(UserWarning, match=f"column {name}: seems to say the splits, but is taken for an attribute"):
            ImageData.from_table(PIXELS, {name: values, "age": AGES})


def test_a_table_that_cannot_be_read_is_not_said_to_be_in_other_letters(tmp_path):
    with pytest.raises(ValueError, match=r"this table cannot be read \(Is a directory\)$"):
        read_labels(tmp_path)


def test_an_image_with_another_ending_is_said(tmp_path):
    text = HEAD + lines() + "3.jpg,cat,1.5,1\n"
    with pytest.raises(ValueError, match=r"there is no '3.jpg' under .*; there is '3.png'$"):
        ImageData.from_table(folder(tmp_path, text))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (None, "table: expected a dict from names to values, a data frame, or a list of dicts, got None"),
        ("labels.csv", "got 'labels.csv'; pandas.read_csv reads a file"),
        (PETS, "got list"),
        ({"kind": "cat"}, "column kind: expected 6 values, one an image, got 'cat'"),
        ({"age": torch.tensor(1.0)}, "column age: expected 6 values, one an image, got 1.0"),
        ({"kind": PETS, "age": AGES[:2]}, "column age: expected 6 values, one an image, got 2"),
        ({1: PETS, "1": PETS}, "table: expected different columns, got '1' twice"),
        (pandas.DataFrame([[kind, kind] for kind in PETS], columns=["a", "a"]), "different columns, got 'a' twice"),
        ({"age": [*AGES[:5], math.inf]}, "row 5, column age: expected a finite number, got infinity"),
        (type("LazyFrame", (), {"collect": None, "columns": ["a"]})(), "got LazyFrame; its collect"),
    ],
)
def test_tables_that_are_none(table, says):
    with pytest.raises(ValueError, match=says):
        ImageData.from_table(PIXELS, table)


def test_infinity_is_no_value_of_a_declared_column():
    with pytest.raises(ValueError, match="row 0, column age: expected one of 1, 2, got inf"):
        ImageData.from_table(PIXELS, {"age": [math.inf, 1, 2, 1, 2, 1]}, {"age": Category(["1", "2"])})


def test_a_table_under_another_name(tmp_path):
    folder(tmp_path, HEAD + lines())
    assert list(ImageData.from_table(tmp_path / "labels.csv").attributes) == ["kind", "age", "old"]
    (tmp_path / "labels.csv").rename(tmp_path / "marks.CSV")
    with pytest.raises(ValueError, match=r"labels.csv: no such file; .*; if it is marks.CSV, give .*marks.CSV"):
        ImageData.from_table(tmp_path)
    assert len(ImageData("table", tmp_path / "marks.CSV").splits["train"]) == 4


def test_a_table_without_a_line_of_names(tmp_path):
    with pytest.raises(ValueError, match="got 0.png, dog, 0.5, 0; the first line names the columns"):
        ImageData.from_table(folder(tmp_path, lines()))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\3\4", "a spreadsheet's own file or an archive; save the table in it as CSV"),
        (b"\x1f\x8b\x08", "an archive; unpack it first"),
        (b"PAR1", "a table of Parquet or Arrow; save it as CSV"),
        (b'{"file": "0.png", "kind": "cat"}\n', r"JSON; save it as CSV: pandas.read_json\(path, lines=True\)"),
    ],
)
def test_what_a_file_is_instead_of_a_table_is_said(tmp_path, content, said):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"labels.csv: expected a table as text, got {said}"):
        ImageData.from_table(tmp_path)


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_column_of_images_is_found_by_its_cells(tmp_path, separator):
    attributes, rows = read(tmp_path, table(head=("Image Index", "kind", "size"), separator=separator))
    assert list(attributes) == ["kind", "size"]
    assert rows[:, 1].tolist() == SIZES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table(head=("id", "kind", "size")).replace(".png", ""), "; rename the column that names the images to file$"),
        (table(head=("mask", "kind", "size")), "expected the columns file, .*, got mask, kind, size"),
        ("# made by hand\n" + table(), "row 1: expected a line of names such as file,kind, got '# made by hand'"),
        (table(separator=" "), "; separate the cells of a row by commas$"),
        (table(files=[f"{place}.jpg" for place in range(COUNT)]), "there is no '0.jpg' under .*; there is '0.png'$"),
        (table(files=[f"00{place}" for place in range(COUNT)]), "there is no '000' under .*; there is '0.png'$"),
        (table(sizes=[f"{place} 500" for place in range(1, 25)]), "row 2, column size: .* thousands, got '1 500'"),
        (table(sizes=[f"{place}'500" for place in range(1, 25)]), 'row 2, column size: .* thousands, got "1\'500"'),
        (table(kinds=["x", ""] * 12), "column kind: .*, got 'x' or nothing; write yes and no, or leave the column out"),
    ],
)
def test_what_to_do_about_a_table_is_said(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["cat", "dog", "cat|dog"], r"column kind: 'cat\|dog' is taken for a class of its own; if it names several"),
        (["cat", "dog", "cat; cow"], "column kind: 'cat; cow' is taken for a class of its own"),
        (["['cat']", "['dog']", "[]"], r"column kind: \"\['cat'\]\" is taken for a class of its own"),
        (["None", "crack", "dent"], "column kind: 'None' is taken for an unknown value; if it is a class, declare the"),
        (["NA", "DE", "FR"], "column kind: 'NA' is taken for an unknown value"),
    ],
)
def test_a_category_that_may_mean_something_else_is_said(tmp_path, kinds, said):
    with pytest.warns(UserWarning, match=said):
        read(tmp_path, table(kinds=kinds * 8))
    with pytest.warns(UserWarning, match=said):
        ImageData.from_table(PIXELS, {"kind": kinds * 2})
    read(tmp_path, table(kinds=['"dog, brown"', '"cat, white"'] * 12))
    names = sorted(set(kinds))
    assert ImageData.from_table(PIXELS, {"kind": kinds * 2}, {"kind": Category(names)}).attributes["kind"].entries == 3


def test_columns_of_lists_and_sets(tmp_path):
    lists = {"parts": [["cat"], ["cat", "dog"]] * 3, "age": AGES}
    with pytest.raises(ValueError, match="row 0, column parts: expected one value, got list; give each part a column"):
        ImageData.from_table(PIXELS, lists)
    assert list(ImageData.from_table(PIXELS, lists, {"age": None}).attributes) == ["age"]
    with pytest.raises(ValueError, match="column age: expected 6 values, one an image, got set"):
        ImageData.from_table(PIXELS, {"age": set(AGES)})


def test_a_table_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"marks\.csv: no such file; expected a table"):
        ImageData("table", tmp_path / "marks.csv")
