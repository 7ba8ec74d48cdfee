import io

import numpy as np
import pytest
import torch
from PIL import Image

from labelvae.data.pixels import open_image, plain
from labelvae.photos.scans import fit_scan, read_scan


def test_the_models_own_size_keeps_its_pixels():
    levels = np.random.default_rng(0).integers(0, 256, (12, 9), dtype=np.uint8)
    for fit in ("pad", "crop"):
        image = fit_scan(Image.fromarray(levels), (1, 12, 9), fit=fit)
        torch.testing.assert_close(image[0], torch.from_numpy(levels).float() / 255, rtol=0, atol=1e-7)
    inverted = fit_scan(Image.fromarray(levels), (1, 12, 9), invert=True)
    torch.testing.assert_close(inverted[0], 1 - torch.from_numpy(levels).float() / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_any_mode_and_size(mode, channels, fit):
    picture = Image.new("L", (50, 31), 200)
    picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    image = fit_scan(picture, (channels, 16, 20), fit=fit)
    assert image.shape == (channels, 16, 20)
    expected = 1.0 if mode == "1" else 200 / 255
    if mode != "1":  # dithered
        torch.testing.assert_close(image, torch.full_like(image, expected), rtol=0, atol=0.02)


def test_padding_keeps_all_and_takes_the_colour_of_the_edge():
    picture = Image.new("RGB", (40, 20), (10, 200, 30))
    picture.paste((255, 0, 0), (10, 8, 30, 12))
    padded = fit_scan(picture, (3, 20, 20))
    torch.testing.assert_close(padded[:, 0, 0] * 255, torch.tensor([10.0, 200.0, 30.0]), rtol=0, atol=1.0)
    assert (padded[0] > 0.5).sum() == 10 * 2
    cropped = fit_scan(picture, (3, 20, 20), fit="crop")
    assert (cropped[0] > 0.5).sum() == 20 * 4


def test_transparent_is_white():
    assert fit_scan(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (1, 8, 8)).min() == 1.0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_bright_strokes_on_nothing_are_laid_on_black(mode):
    """A model of colours, dark strokes and a cut-out sheet keep the white."""
    drawn = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    drawn.paste((255, 255, 255, 255), (18, 8, 22, 32))
    drawn = drawn.quantize() if mode == "P" else drawn.convert(mode)
    image = fit_scan(drawn, (1, 40, 40))
    assert image[0, 20, 20] == 1
    assert image[0, 0, 0] == 0
    assert fit_scan(drawn, (3, 40, 40)).min() == 1
    dark = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    dark.paste((0, 0, 0, 255), (18, 8, 22, 32))
    sheet = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    sheet.paste((240, 240, 240, 255), (4, 4, 36, 36))
    assert [float(fit_scan(each, (1, 40, 40))[0, 0, 0]) for each in (dark, sheet)] == [1, 1]


@pytest.mark.parametrize("size", [(300, 200), (90, 400)])
def test_strokes_are_found_scaled_and_centred(size):
    """A dark bar in a corner of grey, noisy paper."""
    width, height = size
    levels = np.random.default_rng(0).normal(215, 4, (height, width))
    levels[20:60, 50:60] = 40
    image = fit_scan(Image.fromarray(levels.clip(0, 255).astype(np.uint8)), (1, 28, 28), invert=True, fit="strokes")
    assert image.min() == 0
    assert image.max() == 1
    rows, columns = (image[0] > 0.5).any(1).sum(), (image[0] > 0.5).any(0).sum()
    assert (int(rows), int(columns)) == (20, 5)
    place = (image[0] * torch.arange(28.0)).sum() / image.sum(), (image[0].T * torch.arange(28.0)).sum() / image.sum()
    assert abs(place[0] - 13.5) <= 0.6
    assert abs(place[1] - 13.5) <= 0.6
    assert image[0, :, :8].sum() == 0


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="found no digit"):
        fit_scan(Image.new("L", (30, 30), 255), (1, 28, 28), fit="strokes")
    with pytest.raises(ValueError, match="strokes is for models of grey images"):
        fit_scan(Image.new("L", (30, 30)), (3, 28, 28), fit="strokes")
    with pytest.raises(ValueError, match="the model's images have 2"):
        fit_scan(Image.new("L", (30, 30)), (2, 28, 28))
    (tmp_path / "x.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ValueError, match=r"x\.png: cannot be read as an image"):
        read_scan(tmp_path / "x.png", (1, 8, 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_tensors_and_open_files_are_pictures_too(channels, tmp_path, monkeypatch):
    levels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    levels = levels if channels == 3 else levels[:, :, 0]
    Image.fromarray(levels).save(tmp_path / "x.png")
    expected = fit_scan(Image.fromarray(levels), (channels, 16, 16))
    first = torch.from_numpy(levels if channels == 3 else levels[:, :, None]).permute(2, 0, 1)
    for picture in (levels, torch.from_numpy(levels), first, first.float() / 255, levels[::-1][::-1]):
        torch.testing.assert_close(fit_scan(picture, (channels, 16, 16)), expected, rtol=0, atol=0)
    monkeypatch.setenv("HOME", str(tmp_path))
    with open(tmp_path / "x.png", "rb") as file:
        for path in ("~/x.png", file, io.BytesIO((tmp_path / "x.png").read_bytes())):
            torch.testing.assert_close(read_scan(path, (channels, 16, 16)), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("x.png", "picture: expected a picture, got 'x.png'; read_scan"),
        (None, "picture: expected a picture, or an array"),
        (np.zeros((2, 1, 8, 8), np.uint8), "picture: expected a picture, or an array"),
        (np.zeros((9, 9, 2), np.uint8), "picture: expected 1, 3 or 4 channels"),
        (np.zeros((0, 9), np.uint8), "picture: expected 1, 3 or 4 channels"),
        (np.full((9, 9), 7.0), r"picture: expected values in \[0, 1\] or 8-bit integers"),
        (np.zeros((9, 9), np.uint16), "picture: expected floats"),
    ],
)
def test_what_is_no_picture_is_refused(picture, message):
    with pytest.raises(ValueError, match=message):
        fit_scan(picture, (1, 8, 8))


def test_files_that_cannot_be_read_are_refused():
    closed = Image.new("L", (9, 9))
    closed.close()
    with pytest.raises(ValueError, match="picture: cannot be read"):
        fit_scan(closed, (1, 8, 8))
    with pytest.raises(ValueError, match="file: cannot be read"):
        read_scan(io.BytesIO(b"nothing"), (1, 8, 8))
    with pytest.raises(ValueError, match="path: expected the path of a file"):
        read_scan(3, (1, 8, 8))
    with pytest.raises(ValueError, match="image_shape: expected three integers"):
        read_scan("x.png", 28)


def test_what_was_turned_upright_is_not_turned_again(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), "white").save(tmp_path / "x.jpg", exif=exif)
    with open_image(tmp_path / "x.jpg") as image:
        (once,) = plain(image, "RGB")
        (twice,) = plain(once, "RGB")
    assert once.size == twice.size == (40, 60)
