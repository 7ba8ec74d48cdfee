import pytest
import torch

from labelvae import Augmentation, augment
from labelvae.augmentation import draw_warp, warp
from labelvae.style import slant


def test_nothing_changes_by_default(images):
    assert augment(images, Augmentation()) is images


@pytest.mark.parametrize("change", [{"rotation": 20}, {"scale": 0.3}, {"shear": 0.3}, {"shift": 0.2}, {"noise": 0.2}])
def test_every_image_is_changed_on_its_own_and_stays_in_range(change):
    images = torch.rand(1, 1, 8, 8).expand(4, -1, -1, -1)
    out = augment(images, Augmentation(**change))
    assert ((out >= 0) & (out <= 1)).all()
    for i in range(4):
        assert not torch.allclose(out[i], images[i], atol=1e-3)
        assert not torch.allclose(out[i], out[i - 1], atol=1e-3)


def test_flip_mirrors_about_half_of_the_images():
    images = torch.rand(400, 1, 8, 8)
    out = augment(images, Augmentation(flip=True, interpolation="nearest"))
    kept = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(-1)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 120 < mirrored.sum() < 280


def test_a_known_shift_moves_whole_pixels():
    images = torch.rand(1, 1, 8, 8)
    maps = torch.tensor([[[1.0, 0.0, 2 * 2 / 8], [0.0, 1.0, 0.0]]])
    moved = warp(images, maps, Augmentation())
    torch.testing.assert_close(moved[..., :-2], images[..., 2:])


def test_nearest_moves_pixels_without_mixing_them():
    images = torch.rand(8, 1, 8, 8)
    out = augment(images, Augmentation(shear=0.4, shift=0.1, interpolation="nearest"))
    assert all(torch.isin(out[i], images[i]).all() for i in range(8))


@pytest.mark.parametrize("size", [(64, 64), (64, 128), (128, 64)])
def test_rotation_and_shear_are_in_pixels_on_any_shape(size):
    height, width = size
    images = torch.zeros(200, 1, *size)
    images[:, :, height // 2 - 20 : height // 2 + 20, width // 2 - 2 : width // 2 + 2] = 1.0
    leans = torch.rad2deg(slant(augment(images, Augmentation(rotation=20))))
    assert 15 < leans.abs().max() < 22
    shears = torch.tan(slant(augment(images, Augmentation(shear=0.4))))
    assert 0.3 < shears.abs().max() < 0.42


def test_warping_is_exact_under_bfloat16():
    images = torch.rand(2, 1, 128, 128)
    how = Augmentation(rotation=10, shift=0.1)
    maps = draw_warp(images, how)
    with torch.autocast("cpu", torch.bfloat16):
        half = warp(images, maps, how)
    torch.testing.assert_close(half, warp(images, maps, how), rtol=0, atol=0)


def test_the_same_maps_move_images_alike(images):
    how = Augmentation(rotation=20, shear=0.3, shift=0.1, scale=0.2)
    maps = draw_warp(images, how)
    both = warp(torch.cat([images, 1.0 - images], dim=1), maps, how)
    torch.testing.assert_close(both[:, 0] + both[:, 1], torch.ones(6, 8, 8))


def test_the_gradient_reaches_the_image(images):
    images.requires_grad_()
    augment(images, Augmentation(rotation=10, noise=0.1)).sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "arguments",
    [{"rotation": -1}, {"noise": float("nan")}, {"scale": 1.0}, {"flip": "yes"}, {"interpolation": "cubic"}],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Augmentation(**arguments)
