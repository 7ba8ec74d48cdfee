"""Settings for a folder, by what its images are: photographs in colour, or any others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from labelvae.__main__ import main
from labelvae.data.image_data import ImageData
from labelvae.runs.building import check_networks, new_classifier, new_vae, vae_task
from labelvae.runs.photographs import are_photographs, folder_settings, photograph_settings
from labelvae.runs.presets import FOLDER

SIZES = [(8, 8), (8, 40), (16, 16), (31, 33), (32, 32), (48, 64), (64, 64), (96, 96), (128, 128), (200, 130)]


def hills(count=12, size=32, colour=True):
    """Sky and ground of random colours, with the grain of a camera: uint8 `(N, 3, H, W)`."""
    generator = torch.Generator().manual_seed(0)
    sky, ground = torch.rand(2, count, 3, 1, 1, generator=generator)
    high = (torch.arange(size) < size // 2)[:, None]
    images = torch.where(high, sky, ground) + 0.05 * torch.randn(count, 3, size, size, generator=generator)
    images = images if colour else images[:, :1].expand(-1, 3, -1, -1)
    return images.clamp(0, 1).mul(255).byte()


def strokes(count=12, ink=(255, 255, 255), paper=(0, 0, 0)):
    """Lines on an even ground, saved as JPEG in RGB."""
    pictures = []
    for place in range(count):
        picture = Image.new("RGB", (32, 32), paper)
        ImageDraw.Draw(picture).line((4 + place, 5, 24 - place, 28), fill=ink, width=3)
        pictures.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    return torch.stack(pictures)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (hills(), True),
        (hills(size=8), True),
        (hills(colour=False), False),  # grey, saved as RGB
        (hills()[:, :1], False),  # grey
        (strokes(), False),
        (strokes(ink=(200, 30, 30), paper=(255, 255, 240)), False),
        (hills().float().div(64).round().mul(64).byte().repeat_interleave(3, 3), False),  # flat, as of an icon
    ],
)
def test_photographs_have_colours_and_few_flat_areas(images, found):
    assert are_photographs(images) == found


@pytest.mark.parametrize("size", SIZES)
def test_settings_of_every_size_can_be_built_and_trained(size):
    shape = (3, *size)
    settings = photograph_settings(shape, 100)
    check_networks(settings, shape, 3)
    task = vae_task(settings.vae, new_vae(settings.vae, shape, 3), new_classifier(settings.guide, shape, 3)).train()
    terms = task.step(torch.rand(4, *shape), torch.tensor([0, 1, 2, 0]), 0.5)
    assert torch.isfinite(terms["total"])


def test_what_grows_with_the_size():
    small, large = (photograph_settings((3, side, side), 9000).vae for side in (32, 96))
    assert large.refine == pytest.approx(3 * small.refine)
    assert large.objective.label_weight == pytest.approx(3 * small.objective.label_weight)
    guides = [photograph_settings((3, side, side), 9000).guide.adversarial for side in (32, 64)]
    assert guides == pytest.approx([4 / 255, 2 / 255], abs=1e-4)
    assert large.objective.scale == pytest.approx(3**0.5 * small.objective.scale, abs=1e-3)


def test_few_images_are_trained_on_for_fewer_steps():
    steps = [photograph_settings((3, 64, 64), count).vae.optimization.least_steps for count in (60, 1250, 2500, 9**9)]
    assert steps == [1250, 1250, 2500, 5000]
    with pytest.raises(ValueError, match="count: expected an integer of at least 1, got 0"):
        photograph_settings((3, 64, 64), 0)


def folder_of(root, images):
    for place, image in enumerate(images):
        path = root / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return root


def test_the_images_of_a_folder_choose_its_settings(tmp_path):
    assert folder_settings(ImageData("folder", folder_of(tmp_path / "lines", strokes()))) is FOLDER
    found = folder_settings(ImageData("folder", folder_of(tmp_path / "hills", hills())))
    assert found == photograph_settings((3, 32, 32), 8)


@pytest.fixture
def trained(monkeypatch):
    seen = []
    monkeypatch.setattr("labelvae.runs.experiment.run_experiment", lambda *words: seen.append(words))
    return seen


def test_the_command_takes_the_settings_and_its_own_options(tmp_path, trained, capsys):
    where = [f"--data-dir={folder_of(tmp_path / 'hills', hills())}", f"--out={tmp_path / 'run'}"]
    main(["train", "folder", *where, "--vae.refine=0", "--vae.objective.label-weight=7"])
    settings, data = trained[0]
    expected = photograph_settings((3, 32, 32), 8)
    assert settings.vae == replace(
        expected.vae, refine=0.0, objective=replace(expected.vae.objective, label_weight=7.0)
    )
    assert settings.guide == expected.guide
    assert data.image_shape == (3, 32, 32)
    assert data.origin == (settings.data, settings.data_dir)
    assert "settings: for photographs in colour" in capsys.readouterr().out
    main(["train", "folder", f"--data-dir={folder_of(tmp_path / 'lines', strokes())}", f"--out={tmp_path / 'run'}"])
    assert trained[1][0].vae == FOLDER.vae
    assert "settings: for images that are no photographs in colour" in capsys.readouterr().out


def test_a_file_of_settings_counts_for_more_than_the_images(tmp_path, trained):
    where = [f"--data-dir={folder_of(tmp_path / 'hills', hills())}", f"--out={tmp_path / 'run'}"]
    (tmp_path / "settings.yaml").write_text("vae:\n  latent_dim: 5\n  spatial_latent: false\n")
    main(["train", "folder", f"--config={tmp_path / 'settings.yaml'}", *where])
    assert (trained[0][0].vae.latent_dim, trained[0][0].vae.spatial_latent) == (5, False)


def test_a_folder_that_is_missing_is_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "folder", f"--data-dir={tmp_path / 'none'}", f"--out={tmp_path / 'run'}"])
    assert stop.value.code == 2
    assert "no such folder" in capsys.readouterr().err
