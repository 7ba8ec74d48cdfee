"""Names of classes: found as a user writes them, written to files and pictures whatever they are."""

import unicodedata

import pytest
import torch

from labelvae.inputs.class_names import (
    check_names,
    file_names,
    label_of,
    labels_of,
    printable,
    read_classes,
    write_classes,
)
from labelvae.visual.grids import grid

ODD = ["a\nb", "q\"uo'te", "100%", " lead", "😀", "x: y", "-minus", "#hash", "caf\udce9", "all", "कि", "\u2028"]


@pytest.mark.parametrize(
    ("word", "names", "label"),
    [
        ("0", ["cat", "dog"], 0),
        (" 2", ["1", "2", "3"], 1),
        ("2", ["10", "2", "1"], 1),
        ("\uff14", list("abcdefg"), 4),
        ("\uff14", ["4", "5"], 0),
        ("²", list("abcd"), 2),
        ("DOG", ["cat", "dog"], 1),
        (unicodedata.normalize("NFD", "Hündin"), ["Katze", "Hündin"], 1),
        ("0", ["zero", "1", "2"], 0),
    ],
)
def test_what_is_plain_is_taken(word, names, label):
    assert label_of(word, names) == label


@pytest.mark.parametrize(
    ("word", "names", "says"),
    [
        ("aB", ["ab", "AB"], "'aB' can be 'ab', 'AB'; write it as the class is called"),
        ("9", ["a", "b"], r"expected one of a, b \(or 0 to 1\), got '9'"),
        ("-1", ["a", "b"], "got '-1'"),
        ("9" * 5000, ["a", "b"], "expected one of"),
        ("", ["a", "b"], "got ''"),
    ],
)
def test_what_is_not_is_refused(word, names, says):
    with pytest.raises(ValueError, match=says):
        label_of(word, names)


def test_an_index_that_could_be_a_name_is_said():
    with pytest.warns(UserWarning, match="no class is called '0'; .* which is the class '1'"):
        assert label_of("0", ["1", "2", "3"]) == 0


def test_every_class():
    assert labels_of("all", ["a", "b"]) == labels_of("*", ["a", "b"]) == [0, 1]
    assert labels_of("all", ["all", "b"]) == [0]
    assert labels_of("*", ["all", "b"]) == [0, 1]


def test_file_names_are_different_and_can_be_told():
    signs = ["(", ")", "+", "-", "=", "!"]
    assert file_names(signs) == signs
    assert file_names(["कि", "कु", "का", "के"]) == ["कि", "कु", "का", "के"]
    assert file_names(["a", "A", "a/b", "a:b", ".hidden"]) == ["a", "A-2", "a_b", "a_b-2", "_hidden"]
    assert file_names(["caf\udce9", "th\udce9"]) == ["caf%E9", "th%E9"]
    long = file_names(["ü" * 200, "ü" * 199, "x"])
    assert len(set(long)) == 3
    assert all(len(name.encode()) < 100 for name in long)
    names = file_names(ODD)
    assert len({name.casefold() for name in names}) == len(ODD)
    assert not any(set(name) & set('/\\\n:*?"<>|') for name in names)


def test_any_names_are_read_back(tmp_path):
    write_classes(tmp_path, ODD)
    assert read_classes(tmp_path, len(ODD)) == ODD
    write_classes(tmp_path, ["Hündin", "के"])
    assert "Hündin" in (tmp_path / "classes.json").read_text(encoding="utf-8")


def test_any_names_are_drawn_in_one_line():
    image = torch.rand(1, 8, 8)
    sheet = grid([[image]] * len(ODD), [[name] for name in ODD], row_titles=ODD, column_titles=["\n\udcff"])
    assert sheet.height > 8 * len(ODD)
    assert all(printable(name).isprintable() for name in ODD)


def test_names_that_another_program_wrote_are_read(tmp_path):
    (tmp_path / "classes.json").write_bytes(b'\xef\xbb\xbf["cat", "dog"]')
    assert read_classes(tmp_path, 2) == ["cat", "dog"]


def test_names_that_cannot_be_read_are_said(tmp_path, monkeypatch):
    write_classes(tmp_path, ["cat", "dog"])

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(ValueError, match=r"classes\.json: cannot be read \(Permission denied\)"):
        read_classes(tmp_path, 2)


@pytest.mark.parametrize("sign", ["\u200b", "\ufeff", "\u2060"])
def test_signs_without_width_make_no_other_name(sign):
    assert label_of(f"dog{sign}", ["cat", "dog"]) == 1
    assert label_of("dog", [f"{sign}dog", "cat"]) == 0


@pytest.mark.parametrize(
    "names", [{1: "dog", 0: "cat"}, {"1": "dog", "0": "cat"}, {"dog": 1, "cat": 0}], ids=["int", "text", "by name"]
)
def test_names_in_a_dict_are_in_the_order_of_their_indices(names):
    assert check_names("class_names", names, 2) == ["cat", "dog"]


@pytest.mark.parametrize("names", [{0: "cat", 2: "dog"}, {"cat": 0, "dog": 0}, {0: 0, 1: 1}, {"cat": 0.5, "dog": 1}])
def test_names_in_a_dict_without_all_indices_are_refused(names):
    with pytest.raises(ValueError, match="class_names: expected a list of names such as"):
        check_names("class_names", names)
