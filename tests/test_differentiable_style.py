import pytest
import torch
from drawn import stroke
from torch.nn import functional as F

from labelvae.data.differentiable_style import stroke_slant, stroke_thickness, style_of, window_colours
from labelvae.evaluation.style import layout, slant, thickness


def test_thickness_follows_the_width():
    widths = 2.0 + 4.0 * torch.rand(40)
    images = torch.cat([stroke(float(w), float(a)) for w, a in zip(widths, 60 * torch.rand(40) - 30, strict=True)])
    measured = stroke_thickness(images)
    assert torch.corrcoef(torch.stack([widths, measured]))[0, 1] > 0.98
    assert torch.corrcoef(torch.stack([thickness(images).float(), measured]))[0, 1] > 0.98


def test_thickness_does_not_depend_on_the_brightness():
    image = stroke(4, 10)
    assert stroke_thickness(0.3 * image).item() == pytest.approx(stroke_thickness(image).item(), rel=0.02)


@pytest.mark.parametrize("size", [28, 64])
def test_slant_follows_that_of_the_second_moments(size):
    angles = 70.0 * torch.rand(30) - 35.0
    images = torch.cat([stroke(size / 12, float(angle), size, 0.6 * size) for angle in angles])
    both = torch.stack([torch.tan(slant(images)).float(), stroke_slant(images)])
    assert torch.corrcoef(both)[0, 1] > 0.98


def test_slant_of_an_image_and_of_its_mirror_image():
    image = stroke(3, 20, 28, 16)
    assert stroke_slant(image).item() > 0.1
    torch.testing.assert_close(stroke_slant(image.flip(-1)), -stroke_slant(image), atol=1e-3, rtol=0)


def test_windows_of_a_quarter_hold_the_layout():
    images = torch.rand(2, 3, 32, 40)
    colours = window_colours(images).view(2, 3, 7, 7)
    torch.testing.assert_close(colours[..., ::2, ::2].flatten(1), layout(images).float())
    torch.testing.assert_close(colours[0, 1, 0, 1], images[0, 1, :8, 5:15].mean())


@pytest.mark.parametrize(("shape", "statistics"), [((1, 28, 28), 2), ((3, 8, 8), 147), ((2, 9, 15), 2 * 49)])
def test_style_is_of_strokes_or_of_colours(shape, statistics):
    assert style_of(torch.rand(4, *shape)).shape == (4, statistics)


@pytest.mark.parametrize("estimate", [stroke_thickness, stroke_slant])
def test_estimates_have_gradients_and_are_finite_on_empty_images(estimate):
    images = torch.cat([stroke(3, 20, 28, 16), torch.zeros(1, 1, 28, 28)]).requires_grad_()
    values = estimate(images)
    assert torch.isfinite(values).all()
    values.sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad[0].abs().max() > 0


def test_a_step_against_the_gradient_makes_strokes_thinner():
    image = F.avg_pool2d(stroke(6, 0), 3, 1, 1).requires_grad_()
    stroke_thickness(image).sum().backward()
    thinner = (image - 0.5 * image.grad / image.grad.abs().max()).clamp(0, 1).detach()
    assert thickness(thinner).item() < thickness(image.detach()).item()
