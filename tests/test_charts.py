"""Charts of any number of classes, whatever their names; a chart that cannot be drawn does not end a training."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from labelvae import GuidedELBO, VAETraining
from labelvae.training import dashboard
from labelvae.training.dashboard import Relabelled
from labelvae.visual import charts
from labelvae.visual.charts import confusion, kl_bars, latent_by_label, latent_by_value
from labelvae.visual.letters import chart_text

ODD = ["$5_to_$10", "caf\udce9", "猫"]
SHOWN = [r"\$5_to_\$10", r"caf\xe9", r"\u732b"]


@pytest.fixture
def figures(monkeypatch):
    """The figures behind the charts that are drawn."""
    drawn, rasterized = [], charts.rasterized
    monkeypatch.setattr(charts, "rasterized", lambda figure: drawn.append(figure) or rasterized(figure))
    return drawn


def said(labels):
    return [label.get_text() for label in labels]


def test_names_are_drawn_as_they_are(figures):
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    confusion(labels, labels, ODD)
    latent_by_label(torch.randn(6, 3), labels, ODD)
    axes = figures[0].axes[0]
    assert said(axes.get_xticklabels()) == said(axes.get_yticklabels()) == SHOWN
    assert said(figures[1].axes[0].get_legend().get_texts()) == SHOWN


@pytest.mark.parametrize("letter", ["x", "$", "猫"])
def test_long_names_leave_room_for_the_chart(letter, figures):
    labels = torch.arange(3)
    confusion(labels, labels, [letter * 80, letter * 81, letter])  # matplotlib warns where no room is left
    assert all(len(name.replace("\\$", "$")) <= 24 for name in said(figures[0].axes[0].get_xticklabels()))


def test_names_that_begin_alike_stay_different():
    names = [f"Plantae_Tracheophyta_Rosa_{kind}" for kind in ("canina", "gallica", "rugosa")]
    assert len({chart_text(name) for name in names}) == 3
    assert {len(chart_text(name)) for name in names} == {24}


@pytest.mark.parametrize(("classes", "named", "side"), [(3, 3, 500), (10, 10, 600), (35, 35, 1600), (200, 34, 1600)])
def test_the_chart_of_confusion_does_not_grow_without_end(classes, named, side, figures):
    labels = torch.arange(classes)
    picture = confusion(labels, labels, [f"class {label}" for label in range(classes)])
    axes = figures[0].axes[0]
    assert picture.size == (side, side)
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == named
    for label in axes.get_yticklabels():
        assert label.get_text() == f"class {round(label.get_position()[1])}"
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(one.y0 >= other.y1 for one, other in pairwise(boxes))
    assert len(axes.texts) == (classes if classes <= 20 else 0)


@pytest.fixture
def logged(tmp_path, vae, guide, images, labels, monkeypatch):
    """What a training of one epoch logs, from a chart that fails, or None, to the pictures by name."""

    def run(failing=None):
        pictures = {}

        def fails(*_):
            raise RuntimeError("no chart today")

        def keep(_, name, picture, __):
            pictures[name] = picture

        monkeypatch.setattr(dashboard, "shows_pictures", lambda _: True)
        monkeypatch.setattr(dashboard, "log_picture", keep)
        if failing:
            monkeypatch.setattr(dashboard, failing, fails)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            logger=CSVLogger(tmp_path),
            callbacks=[Relabelled(images, labels, ODD, guide, tmp_path / "progress.png")],
        )
        batches = DataLoader(TensorDataset(images, labels), batch_size=len(images))
        trainer.fit(VAETraining(vae, GuidedELBO(guide)), batches, batches)
        return pictures

    return run


def test_a_training_logs_classes_of_any_name(logged, tmp_path):
    assert {"relabel/confusion", "latent/by_label"} <= set(logged())
    (table,) = tmp_path.rglob("metrics.csv")
    assert r"relabel/effectiveness_caf\xe9" in table.read_text(encoding="utf-8")


def test_a_chart_that_cannot_be_drawn_does_not_end_a_training(logged):
    with pytest.warns(UserWarning, match="log: latent/kl could not be logged .no chart today.; the run goes on"):
        pictures = logged("kl_bars")
    assert "latent/kl" not in pictures
    assert {"relabel/confusion", "latent/by_label", "samples/wrong_labels"} <= set(pictures)


def test_small_integers_do_not_overflow_in_a_confusion():
    asked = torch.tensor([19, 20, 24])
    names = [f"class {label}" for label in range(25)]
    wanted = confusion(asked, asked, names).tobytes()
    assert confusion(asked.byte(), asked.byte(), names).tobytes() == wanted
    assert confusion(asked.numpy(), [names[label] for label in asked], names).tobytes() == wanted


def test_charts_are_drawn_of_arrays_halves_and_gradients():
    codes = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    labels = torch.arange(9) % 3
    wanted = latent_by_label(codes, labels, ["a", "b", "c"]).tobytes()
    for form in (codes.numpy(), codes.bfloat16(), codes.clone().requires_grad_()):
        assert latent_by_label(form, labels.numpy(), np.array(["a", "b", "c"])).tobytes() == wanted
    wanted = latent_by_value(codes, codes[:, 0], "ink").tobytes()
    assert latent_by_value(codes, codes[:, 0].bfloat16().requires_grad_(), "ink").tobytes() == wanted
    wanted = kl_bars(codes[0]).tobytes()
    assert kl_bars(codes[0].bfloat16().requires_grad_()).tobytes() == kl_bars(codes[0].numpy()).tobytes() == wanted


CODES = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: confusion(torch.tensor([0]), torch.tensor([2]), ["a", "b"]), "judged: expected class indices from 0"),
        (lambda: confusion(torch.tensor([0, 1]), torch.tensor([0]), ["a", "b"]), "judged: expected one class index"),
        (lambda: latent_by_label(CODES / 0, [0, 0, 1], ["a", "b"]), "codes: expected finite numbers"),
        (lambda: latent_by_label(CODES[:0], [], ["a", "b"]), "codes: expected finite numbers"),
        (lambda: latent_by_label(CODES, [0, 0, 2], ["a", "b"]), "labels: expected class indices from 0 to 1, got 2"),
        (lambda: latent_by_value(CODES, [1.0], "ink"), "values: expected 3, one for each code, got 1"),
        (lambda: kl_bars(CODES), "kl: expected numbers of shape"),
    ],
)
def test_what_cannot_be_charted_is_said(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()
