"""Settings for a folder, by what its images are: photographs in colour, strokes, or others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from labelvae.__main__ import main
from labelvae.data.image_data import ImageData
from labelvae.runs.folder_looks import are_photographs, are_strokes, folder_settings, kind_of
from labelvae.runs.photographs import photograph_settings
from labelvae.runs.presets import FOLDER, STROKES

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def hills(count=12, size=32, colour=True):
    """Sky and ground of random colours, with the grain of a camera: uint8 `(N, 3, H, W)`."""
    generator = torch.Generator().manual_seed(0)
    sky, ground = torch.rand(2, count, 3, 1, 1, generator=generator)
    high = (torch.arange(size) < size // 2)[:, None]
    images = torch.where(high, sky, ground) + 0.05 * torch.randn(count, 3, size, size, generator=generator)
    images = images if colour else images[:, :1].expand(-1, 3, -1, -1)
    return images.clamp(0, 1).mul(255).byte()


def strokes(ink=WHITE, paper=BLACK, mode="RGB", count=12):
    """Drawn bars and arcs, uint8 `(N, C, 28, 28)`."""
    generator, drawn = np.random.default_rng(0), []
    for _ in range(count):
        image = Image.new(mode, (28, 28), paper)
        pen = ImageDraw.Draw(image)
        for _ in range(2):
            pen.line([tuple(point) for point in generator.integers(5, 23, (2, 2))], ink, width=2)
        drawn.append(torch.from_numpy(np.array(image)).reshape(28, 28, -1).permute(2, 0, 1))
    return torch.stack(drawn)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (hills(), True),
        (hills(size=8), True),
        (hills(colour=False), False),  # grey, saved as RGB
        (hills()[:, :1], False),  # grey
        (strokes(), False),
        (strokes((200, 30, 30), (255, 255, 240)), False),
        (hills().float().div(64).round().mul(64).byte().repeat_interleave(3, 3), False),  # flat, as of an icon
    ],
)
def test_photographs_have_colours_and_few_flat_areas(images, found):
    assert are_photographs(images) == found


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (strokes(), True),
        (strokes((20, 20, 20), WHITE), True),
        (strokes((90, 90, 91), (240, 241, 239)), True),  # pencil
        (strokes(255, 0, "L"), True),
        (torch.cat([strokes(count=40), hills(1, 28)]), True),  # one photograph among strokes
        (strokes((250, 20, 20), WHITE), False),  # the classes may be told by their colours
        (hills(), False),
        (hills(colour=False), False),
        (torch.zeros(20, 1, 16, 16, dtype=torch.uint8), False),
        (torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8), False),
    ],
)
def test_strokes_are_grey_and_lie_on_an_even_ground(images, found):
    assert are_strokes(images) == found


def folder_of(root, images):
    for place, image in enumerate(images):
        path = root / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy().squeeze()).save(path)
    return root


def test_the_images_of_a_folder_choose_its_settings(tmp_path):
    found = folder_settings(ImageData("folder", folder_of(tmp_path / "hills", hills())))
    assert found == photograph_settings((3, 32, 32), 8)
    assert folder_settings(ImageData("folder", folder_of(tmp_path / "grey", hills(colour=False)))) is FOLDER


@pytest.mark.parametrize(
    ("images", "measured"),
    [(strokes(255, 0, "L"), True), (strokes(0, 255, "L"), False), (strokes(), False)],
    ids=["bright", "dark", "three channels"],
)
def test_the_style_of_strokes_is_held_where_it_can_be_measured(tmp_path, images, measured):
    data = ImageData("folder", folder_of(tmp_path, images))
    assert kind_of(data) == "strokes"
    objective = STROKES.vae.objective
    expected = replace(objective, style_weight=objective.style_weight if measured else 0.0)
    assert folder_settings(data) == replace(STROKES, vae=replace(STROKES.vae, objective=expected))


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
    assert trained[1][0].vae.objective.equivariance_weight == STROKES.vae.objective.equivariance_weight
    assert "settings: for strokes" in capsys.readouterr().out


def test_options_that_do_not_fit_the_settings_for_photographs_keep_those_for_any_images(tmp_path, trained, capsys):
    where = [f"--data-dir={folder_of(tmp_path / 'hills', hills())}", f"--out={tmp_path / 'run'}"]
    main(["train", "folder", *where, "--vae.latent-dim=7"])  # no multiple of 16 places
    assert trained[0][0].vae == replace(FOLDER.vae, latent_dim=7)
    assert "settings: for any images" in capsys.readouterr().out


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
