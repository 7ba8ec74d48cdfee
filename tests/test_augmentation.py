import shutil

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from labelvae import Augmentation, augment
from labelvae.data.augmentation import Change, _brightest, blurred, change, draw_change, noised
from labelvae.evaluation.style import slant, thickness


def test_nothing_changes_by_default(images):
    assert augment(images, Augmentation()) is images


@pytest.mark.parametrize(
    "how",
    [
        {"rotation": 20},
        {"scale": 0.3},
        {"sizes": (0.5, 2.0)},
        {"shear": 0.3},
        {"shift": 0.2},
        {"blur": 1},
        {"noise": 0.2},
        {"thickness": 0.7},
        {"strokes": (0.5, 2.0)},
    ],
)
def test_every_image_is_changed_on_its_own_and_stays_in_range(how):
    images = torch.rand(1, 1, 8, 8).expand(4, -1, -1, -1)
    out = augment(images, Augmentation(**how))
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
    moved = change(images, Change(maps, None), Augmentation())
    torch.testing.assert_close(moved[..., :-2], images[..., 2:])


def test_nearest_moves_pixels_without_mixing_them():
    images = torch.rand(8, 1, 8, 8)
    out = augment(images, Augmentation(shear=0.4, shift=0.1, interpolation="nearest"))
    assert all(torch.isin(out[i], images[i]).all() for i in range(8))


def test_changes_go_as_far_as_is_said():
    maps = draw_change(torch.zeros(1000, 1, 8, 8), Augmentation(shift=0.1, scale=0.2)).maps
    assert 0.19 < maps[:, :, 2].abs().max() <= 0.2, "of coordinates from -1 to 1"
    assert 0.19 < (maps[:, 0, 0] - 1).abs().max() <= 0.2
    deviations = noised(torch.zeros(300, 1, 32, 32), 0.3).flatten(1).std(dim=1)
    assert 0.28 < deviations.max() < 0.32


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
    drawn = draw_change(images, how)
    with torch.autocast("cpu", torch.bfloat16):
        half = change(images, drawn, how)
    torch.testing.assert_close(half, change(images, drawn, how), rtol=0, atol=0)


def test_blur_is_that_of_scipy():
    images, deviations = torch.rand(3, 2, 9, 12, dtype=torch.float64), torch.tensor([0.3, 0.7, 1.0])
    for image, made, deviation in zip(images, blurred(images, deviations, radius=2), deviations, strict=True):
        expected = gaussian_filter(image.numpy(), (0, float(deviation), float(deviation)), mode="nearest", radius=2)
        torch.testing.assert_close(made, torch.from_numpy(expected))


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_blur_compiles_in_channels_last_layout():
    images, deviations = torch.rand(4, 3, 8, 8), torch.tensor([0.1, 0.3, 0.5, 0.6])
    gradients = []
    for blur in (blurred, torch.compile(blurred)):
        seen = images.clone(memory_format=torch.channels_last).requires_grad_()
        blur(seen, deviations, 2).square().sum().backward()
        gradients.append(seen.grad)
    torch.testing.assert_close(*gradients)


def test_each_image_draws_its_own_blur(images):
    made = augment(images, Augmentation(blur=2.0))
    lost = (images.var(dim=(1, 2, 3)) - made.var(dim=(1, 2, 3))) / images.var(dim=(1, 2, 3))
    assert (lost > 0).all()
    assert lost.std() > 0.05


def test_the_same_change_moves_images_alike(images):
    how = Augmentation(rotation=20, shear=0.3, shift=0.1, scale=0.2)
    drawn = draw_change(images, how)
    both = change(torch.cat([images, 1.0 - images], dim=1), drawn, how)
    torch.testing.assert_close(both[:, 0] + both[:, 1], torch.ones(6, 8, 8))


@pytest.mark.parametrize("share", [-0.75, -0.25, 0.25, 0.75])
def test_strokes_grow_by_a_share_of_a_pixel_at_each_edge(share):
    images = torch.zeros(1, 1, 64, 64)
    images[:, :, 10:54, 29:35] = 1.0
    out = change(images, Change(None, torch.full((1, 1, 1, 1), share)), Augmentation())
    assert ((out >= 0) & (out <= 1)).all()
    assert out[0, 0, 32].sum().item() == pytest.approx(6 + 2 * share)


@pytest.fixture
def squares():
    images = torch.zeros(400, 1, 40, 40)
    images[:, :, 15:25, 15:25] = 1.0
    return images


def test_sizes_are_drawn_evenly_over_their_logarithms(squares):
    sides = augment(squares, Augmentation(sizes=(0.5, 2.0))).sum(dim=(1, 2, 3)).sqrt() / 10
    assert 0.48 < sides.min() < 0.53
    assert 1.9 < sides.max() < 2.02
    assert 0.9 < sides.median() < 1.1, "of 1.25 where sizes themselves are drawn evenly"


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.5, 2.0])
def test_strokes_become_so_many_times_as_thick(factor):
    images = torch.zeros(2, 1, 40, 40)
    images[0, :, 5:35, 18:22] = 1.0
    images[1, :, 17:23, 5:35] = 1.0
    out = change(images, Change(None, None, torch.full((2, 1, 1, 1), factor)), Augmentation())
    assert ((out >= 0) & (out <= 1)).all()
    torch.testing.assert_close(thickness(out), factor * thickness(images), rtol=0.17, atol=0)


def test_a_thin_stroke_stays_where_thick_ones_shrink():
    images = torch.zeros(1, 1, 40, 40)
    images[:, :, 5:35, 8:16] = 1.0
    images[:, :, 5:35, 30:31] = 1.0
    out = change(images, Change(None, None, torch.full((1, 1, 1, 1), 0.4)), Augmentation())
    assert out[0, 0, 20, 8:16].sum() < 6
    assert out[0, 0, 20, 29:32].sum() > 0.2


def test_thin_strokes_are_no_paler():
    images = torch.zeros(1, 1, 40, 40)
    images[:, :, 5:35, 19:21] = 0.8
    out = change(images, Change(None, None, torch.full((1, 1, 1, 1), 0.5)), Augmentation())
    assert out.amax().item() == pytest.approx(0.8)


@pytest.mark.parametrize("how", [{"sizes": (0.5, 0.6)}, {"strokes": (1.8, 2.0)}, {"noise": 0.5}, {"blur": 3.0}])
def test_the_share_that_is_not_chosen_stays_as_it_is(squares, how):
    out = augment(squares, Augmentation(**how, share=0.3))
    kept = (out == squares).flatten(1).all(dim=1)
    assert 230 < kept.sum() < 330


def test_the_gradient_reaches_the_image(images):
    images.requires_grad_()
    augment(images, Augmentation(rotation=10, blur=1, noise=0.1)).sum().backward()
    assert images.grad.abs().sum() > 0
    images.grad = None
    augment(images, Augmentation(sizes=(0.8, 1.2), strokes=(0.5, 2.0))).sum().backward()
    assert 0 < images.grad.abs().max() < 50


@pytest.mark.parametrize(
    "arguments",
    [
        {"rotation": -1},
        {"noise": float("nan")},
        {"blur": -0.5},
        {"scale": 1.0},
        {"thickness": 1.0},
        {"flip": "yes"},
        {"interpolation": "cubic"},
        {"sizes": 0.5},
        {"sizes": (1.3, 0.6)},
        {"sizes": (0.0, 1.0)},
        {"sizes": "0.6"},
        {"strokes": (0.5, 1.0, 2.0)},
        {"strokes": (0.5, 9.0)},
        {"strokes": (0.5, float("nan"))},
        {"share": 1.5},
    ],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Augmentation(**arguments)


def test_the_brightest_of_nine_pixels_is_a_maximum_of_two_sides():
    images = torch.rand(3, 2, 9, 11)
    assert torch.equal(_brightest(images, 1), F.max_pool2d(images, 3, 1, 1))


@pytest.mark.parametrize("how", [None, {"rotation": 5}])
def test_changes_that_are_none_are_said(how):
    with pytest.raises(ValueError, match="how: expected Augmentation, got "):
        augment(torch.rand(2, 1, 8, 8), how)
