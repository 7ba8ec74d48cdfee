from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelvae import ConditionalVAE, ImageData
from labelvae.inputs.conversions import image_bytes
from labelvae.inputs.tensors import as_images

GREY, COLOUR = (1, 8, 10), (3, 8, 10)
BYTES = np.random.default_rng(0).integers(0, 256, (3, *COLOUR), dtype=np.uint8)
WANTED = torch.from_numpy(BYTES).float() / 255
PICTURES = [Image.fromarray(each.transpose(1, 2, 0)) for each in BYTES]


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "images",
    [
        BYTES,
        torch.from_numpy(BYTES),
        BYTES.astype(np.float32) / 255,
        (BYTES.astype(np.float32) / 255).astype(">f4"),
        frozen(BYTES.copy()),
        BYTES[:, :, :, ::-1][:, :, :, ::-1],
        BYTES.transpose(0, 2, 3, 1),
        torch.from_numpy(BYTES).permute(0, 2, 3, 1),
        WANTED.to(memory_format=torch.channels_last),
        WANTED.to_sparse(),
        WANTED.clone().requires_grad_(),
        torch.nn.Parameter(WANTED.clone()),
        list(WANTED),
        tuple(BYTES),
        (each for each in BYTES),
        [each.transpose(1, 2, 0) for each in BYTES],
        [WANTED[0], BYTES[1], PICTURES[2]],
        PICTURES,
        WANTED.tolist(),
    ],
)
def test_images_in_every_plain_form(images):
    found = as_images(images, COLOUR)
    assert found.is_floating_point()
    assert type(found) in (torch.Tensor, torch.nn.Parameter)
    torch.testing.assert_close(found.detach().float(), WANTED)


@pytest.mark.parametrize(
    "image",
    [
        WANTED[0],
        BYTES[0],
        BYTES[0].transpose(1, 2, 0),
        PICTURES[0],
        WANTED[:1],
        [PICTURES[0]],
        PICTURES[0].convert("RGBA"),
    ],
)
def test_one_image_is_a_batch_of_one(image):
    torch.testing.assert_close(as_images(image, COLOUR), WANTED[:1])


@pytest.mark.parametrize(
    "image", [WANTED[0, 0], BYTES[0, 0], WANTED[0, :1], BYTES[0, 0, :, :, None], Image.fromarray(BYTES[0, 0])]
)
def test_one_grey_image(image):
    torch.testing.assert_close(as_images(image, GREY), WANTED[:1, :1])


def test_grey_images_without_channels_and_black_and_white():
    torch.testing.assert_close(as_images(BYTES[:, 0], GREY), WANTED[:, :1])
    assert torch.equal(as_images(WANTED[:, :1] > 0.5, GREY), (WANTED[:, :1] > 0.5).float())
    assert torch.equal(
        as_images(Image.fromarray(BYTES[0, 0] > 127), GREY), torch.from_numpy(BYTES[:1, :1] > 127).float()
    )


def test_axes_that_could_be_either_are_channels_first():
    images = torch.rand(2, 8, 8, 8)
    assert torch.equal(as_images(images, (8, 8, 8)), images)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (Image.new("RGB", (64, 48)), r"expected 8x10 pixels, got a picture of 48x64; labelvae.photos.fit_scan"),
        ([PICTURES[0], Image.new("RGB", (9, 9))], r"images\[1\]: expected 8x10 pixels"),
        (np.zeros((2, 28, 28, 3), np.uint8), "resize them to 8x10 pixels, or see labelvae.photos.fit_scan"),
        (np.zeros((2, 1, 8, 10), np.uint8), "this model knows 3 channels"),
        (BYTES.astype(np.uint16) * 256, "got torch.uint16; divide by the value of white"),
        (BYTES.astype(int), "got torch.int64; divide by the value of white"),
        (BYTES.astype(np.float32), "divide 8-bit values by 255"),
        (WANTED * 2 - 1, "undo any normalization"),
        (WANTED / 0, "NaN or infinity"),
        (BYTES.astype(complex), r"expected numbers, got complex128 \(3, 3, 8, 10\)"),
        (np.array(["a", None], object), "got a list of str"),
        (np.ma.masked_less(BYTES, 20), "masked"),
        (WANTED.to(torch.complex64), "got torch.complex64"),
        ("scan.png", r"read_scan\('scan.png', image_shape\) reads a file"),
        ([], "got an empty list"),
        (None, "got None"),
        ({"image": BYTES}, "got dict"),
        ([BYTES, BYTES], r"images\[0\]: expected one image, got uint8 \(3, 3, 8, 10\)"),
        ([[1.0], [1.0, 2.0]], "of one size"),
        (WANTED[:0], "at least one image"),
        (Image.new("I;16", (10, 8)), "mode I;16"),
        (torch.nested.nested_tensor([torch.rand(2), torch.rand(3)], layout=torch.jagged), "nested tensor"),
    ],
)
def test_what_has_no_plain_meaning_is_refused_in_words(images, says):
    with pytest.raises(ValueError, match=says) as error:
        as_images(images, COLOUR)
    assert len(str(error.value)) < 300


def test_every_use_of_a_model_takes_them():
    vae = ConditionalVAE(GREY, 3, latent_dim=4, encoder_widths=(4,))
    images = torch.from_numpy(BYTES[:, :1]).float() / 255
    for use in (
        lambda x: vae.relabel(x, 1),
        lambda x: vae.reconstruct(x, [0, 1, 2]),
        lambda x: vae.interpolate(x, 0, 2, 3),
    ):
        assert torch.equal(use(BYTES[:, :1]), use(images))
        assert torch.equal(use(list(BYTES[:, 0])), use(images))
    assert vae.relabel(Image.fromarray(BYTES[0, 0]), 1).shape == (1, *GREY)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x.numpy(),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x.float() / 255,
        lambda x: (x.float() / 255).numpy(),
        list,
        lambda x: [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in x],
    ],
)
def test_a_data_set_keeps_the_bytes_whatever_they_come_in(form):
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (30, *COLOUR), dtype=np.uint8))
    assert torch.equal(image_bytes(form(pixels)), pixels)
    names = np.array(["cat", "dog"])
    data = ImageData.from_tensors(form(pixels), ["cat", "dog"] * 15, names)
    expected = ImageData.from_tensors(pixels, torch.arange(30) % 2, ["cat", "dog"])
    assert data.image_shape == COLOUR
    assert data.class_names == ["cat", "dog"]
    assert data.fingerprint() == expected.fingerprint()


def test_a_data_set_of_grey_images_without_channels():
    pixels = torch.randint(0, 256, (30, 8, 10), dtype=torch.uint8)
    for labels in (
        torch.arange(30) % 2,
        np.arange(30) % 2,
        (torch.arange(30) % 2).tolist(),
        np.eye(2)[np.arange(30) % 2],
    ):
        assert ImageData.from_tensors(pixels, labels, ["0", "1"]).image_shape == GREY
    for names in ("ab", ["a", "a"], [1.5, 2], None):
        with pytest.raises(ValueError, match="class_names"):
            ImageData.from_tensors(pixels, torch.arange(30) % 2, names)
    assert ImageData.from_tensors(pixels, torch.arange(30) % 2, [3, 8]).class_names == ["3", "8"]


def test_floats_of_eight_bits():
    images = torch.full((2, *GREY), 0.5)
    assert torch.equal(as_images(images.to(torch.float8_e4m3fn), GREY), images)


class Lazy:
    """An array of a file: it has no values before it is asked for them."""

    shape, dtype = BYTES.shape, BYTES.dtype

    def __array__(self, dtype=None, copy=None):
        return BYTES


class Frame(Lazy):
    """A table of pixels, whose iterator yields the names of its columns."""

    def __iter__(self):
        return iter(["pixel 0", "pixel 1"])


def objects(images):
    array = np.empty(len(images), dtype=object)
    for place, image in enumerate(images):
        array[place] = image
    return array


@pytest.mark.parametrize("images", [Lazy(), Frame(), objects(PICTURES), objects(BYTES)], ids=lambda one: str(type(one)))
def test_arrays_of_other_libraries_and_of_objects(images):
    assert torch.equal(image_bytes(images), torch.from_numpy(BYTES))
    assert torch.equal(as_images(images, COLOUR), WANTED)


@pytest.mark.parametrize("files", [["a.png", "b.png"], np.array(["a.png"], dtype=object), [b"a"], [Path("a.png")]])
def test_files_are_no_images(files):
    with pytest.raises(
        ValueError, match=r"^images: expected images as arrays or pictures, got .*; PIL.Image.open reads"
    ):
        image_bytes(files)
    with pytest.raises(
        ValueError, match=r"^images: expected a tensor, an array, a picture or a list of them, got a list"
    ):
        as_images(files, COLOUR)
    with pytest.raises(ValueError, match=r"got a list of str; labelvae.photos.read_scan\('a.png', image_shape\) reads"):
        as_images(["a.png"], COLOUR)


def test_pictures_and_arrays_in_one_list():
    picture = Image.fromarray(BYTES[0, 0])
    for mixed in ([BYTES[1, :1], picture], [picture, BYTES[1, :1]]):
        assert image_bytes(mixed).sum() == int(BYTES[0, 0].sum()) + int(BYTES[1, 0].sum())
    assert torch.equal(image_bytes([BYTES[1], PICTURES[0]]), torch.from_numpy(BYTES[[1, 0]]))
