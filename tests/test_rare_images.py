"""The benchmark of rare classes: what is taken away, and what a classifier is given in its place."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from labelvae.data.differentiable_style import stroke_thickness
from labelvae.data.image_sets import ImageSet

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RARE = 2


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("rare_images")
    finally:
        sys.path.remove(str(BENCHMARKS))


def bars(count, seed):
    """Upright bars of three classes (their height) and of 2 to 6 pixels' width."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    for image, label, width in zip(images, labels, torch.randint(2, 7, (count,), generator=generator), strict=True):
        image[0, 4 : 10 + 5 * int(label), 10 : 10 + int(width)] = 200
    return ImageSet(images, labels)


class Recorded:
    """A model that answers white images, and remembers what it was asked."""

    def relabel(self, images, asked, own):
        self.images, self.asked, self.own = images, asked, own
        return torch.ones_like(images)


def test_a_share_of_the_class_is_left_and_all_of_the_others(benchmark):
    train, test = bars(300, 0), bars(60, 1)
    there = benchmark.lacking(None, train, test, RARE, 0.1, seed=0)
    kept = train.labels[there.kept]
    assert kept.bincount().tolist() == [100, 100, 10]
    assert len(there.kept.unique()) == len(there.kept)
    assert there.looked_at.equal(test.labels == RARE)
    fewest = benchmark.lacking(None, train, test, RARE, 0.001, seed=0)
    assert (train.labels[fewest.kept] == RARE).sum() == benchmark.LEAST
    other = benchmark.lacking(None, train, test, RARE, 0.1, seed=1)
    assert not there.kept.sort().values.equal(other.kept.sort().values)


def test_no_rare_image_is_red_where_red_is_lacking(benchmark):
    train, test = bars(300, 0), bars(60, 1)
    there = benchmark.lacking("red", train, test, RARE, 0.0, seed=0)
    left = there.train.subset(there.kept)

    def is_red(images):
        red, green, _ = images.float().sum(dim=(2, 3)).unbind(1)
        return red > green

    assert not is_red(left.images)[left.labels == RARE].any()
    assert 60 < is_red(left.images)[left.labels != RARE].sum() < 140
    assert is_red(there.test.images[there.looked_at]).all()
    assert (there.test.labels[there.looked_at] == RARE).all()
    some = benchmark.lacking("red", train, test, RARE, 0.1, seed=0)
    left = some.train.subset(some.kept)
    assert 3 <= is_red(left.images)[left.labels == RARE].sum() <= 7


def test_no_rare_image_is_thin_where_thin_is_lacking(benchmark):
    train, test = bars(300, 0), bars(60, 1)
    there = benchmark.lacking("thin", train, test, RARE, 0.0, seed=0)

    def widths(images):
        return stroke_thickness(images.float() / 255.0)

    every = widths(train.images[train.labels == RARE])
    left = train.subset(there.kept)
    assert widths(left.images)[left.labels == RARE].min() >= every.median()
    assert widths(test.images)[there.looked_at].max() < every.median()
    assert (left.labels != RARE).sum() == 200


def test_what_the_class_lacks_is_filled_up_to_what_it_had(benchmark):
    train = bars(300, 0)
    there = benchmark.lacking(None, train, bars(60, 1), RARE, 0.1, seed=0)
    left, model = train.subset(there.kept), Recorded()
    white = torch.full((1, 28, 28), 255, dtype=torch.uint8)

    def made(way):
        found = benchmark.training_set(way, there, model, seed=0)
        assert found.images[: len(left)].equal(left.images)
        assert found.labels[: len(left)].equal(left.labels)
        assert (found.labels[len(left) :] == RARE).all()
        return found.images[len(left) :]

    assert len(made("left")) == 0
    repeated = made("repeated")
    own = left.images[left.labels == RARE].flatten(1)
    assert len(repeated) == 90
    assert all((own == image.flatten()).all(dim=1).any() for image in repeated)
    relabelled = made("relabelled")
    assert len(relabelled) == 90
    assert (relabelled == white).all()
    assert model.asked == RARE
    assert (model.own != RARE).all()
    assert model.images.max() <= 1.0
    both = made("half and half")
    drawn = (both == white).flatten(1).all(dim=1)
    assert len(both) == 90
    assert drawn.sum() == 45


def test_by_hand_an_image_has_the_other_style(benchmark):
    train, test = bars(30, 0), bars(60, 1)
    there = benchmark.lacking("red", train, test, RARE, 0.0, seed=0)
    green = benchmark.coloured(train.images, torch.zeros(30, dtype=torch.bool))
    red = benchmark.coloured(train.images, torch.ones(30, dtype=torch.bool))
    found = benchmark.by_hand(green, "red", torch.Generator())
    assert (found.int() - red.int()).abs().max() <= 1
    grey = benchmark.uncoloured(torch.cat([red, green]))
    assert (grey - torch.cat([train.images, train.images])).abs().max() <= 1
    drawn = benchmark.recoloured(ImageSet(red, train.labels), seed=0)
    is_red = drawn.images[:, 0].sum(dim=(1, 2)) > drawn.images[:, 1].sum(dim=(1, 2))
    assert 5 < is_red.sum() < 25
    assert (drawn.images.int() - torch.where(is_red[:, None, None, None], red, green).int()).abs().max() <= 1
    assert len(benchmark.training_set("by hand", there, None, seed=0)) == 30
    thick = bars(30, 2).images
    torch.manual_seed(0)
    thin = benchmark.by_hand(thick, "thin", torch.Generator().manual_seed(0))
    assert stroke_thickness(thin / 255.0).mean() < stroke_thickness(thick / 255.0).mean() - 0.25


def test_rows_that_are_there_are_not_made_again(benchmark, monkeypatch, tmp_path, capsys):
    asked = []

    def measured(what, options, there, models):
        asked.append((what["way"], what["share"], what["seed"]))
        return {"rare": 0.25 * what["seed"], "all": 0.5, "images": 1, "seconds": 1.0}

    class Data:
        splits = {"train": bars(300, 0), "test": bars(60, 1)}  # noqa: RUF012

    monkeypatch.setattr(benchmark, "measured", measured)
    monkeypatch.setattr("labelvae.ImageData", lambda *_, **__: Data())
    words = ["rare_images.py", "--rare", "2", "--shares", "0.1", "--ways", "left", "repeated", "wise guide", "by hand"]
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "0", "--out", str(tmp_path)])
    benchmark.main()
    assert asked == [("left", 0.1, 0), ("repeated", 0.1, 0)]  # the others are of styles
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "0", "2", "--out", str(tmp_path)])
    capsys.readouterr()
    benchmark.main()
    assert asked[2:] == [("left", 0.1, 2), ("repeated", 0.1, 2)]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["way"], row["seed"]) for row in rows] == [(way, seed) for way, _, seed in asked]
    assert "| mnist | images | 0.1 | left | 0.250 ± 0.354 | 0.500 ± 0.000 | 2 |" in capsys.readouterr().out
