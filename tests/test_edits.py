import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from labelvae import Category, ConditionalVAE, Continuous, LabelClassifier
from labelvae.losses.refinement import Refined
from labelvae.models import as_masks, confined, counterfactuals, soft_edge, with_residual
from labelvae.models.edits import blurred
from labelvae.photos.masking import keep_outside, read_mask
from labelvae.segmentation import UNet


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return ConditionalVAE((3, 16, 16), 4, latent_dim=6, encoder_widths=[8, 8])


@pytest.fixture
def images():
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def left_half():
    mask = torch.zeros(16, 16)
    mask[:, :8] = 1.0
    return mask


# the mask


def test_mask_0_returns_the_image_and_mask_1_the_counterfactual_bit_for_bit(vae, images):
    plain = vae.relabel(images, 2)
    assert torch.equal(vae.relabel(images, 2, mask=torch.zeros(16, 16)), images)
    assert torch.equal(vae.relabel(images, 2, mask=torch.ones(16, 16)), plain)
    half = vae.relabel(images, 2, mask=left_half())
    assert torch.equal(half[..., 8:], images[..., 8:])
    assert torch.equal(half[..., :8], plain[..., :8])


def test_a_soft_mask_mixes(vae, images):
    plain, mask = vae.relabel(images, 2), torch.full((5, 1, 16, 16), 0.25)
    torch.testing.assert_close(vae.relabel(images, 2, mask=mask), 0.25 * plain + 0.75 * images)


@pytest.mark.parametrize(
    "form",
    [
        lambda mask: mask,
        lambda mask: mask[None],
        lambda mask: mask[None, None],
        lambda mask: mask.expand(5, -1, -1),
        lambda mask: mask.expand(5, 1, -1, -1),
        lambda mask: mask.bool(),
        lambda mask: mask.long(),
        lambda mask: mask.byte(),
        lambda mask: (mask * 255).byte(),
        lambda mask: mask.numpy(),
        lambda mask: mask.bool().numpy(),
        lambda mask: mask.numpy().astype(np.uint8),
        lambda mask: Image.fromarray((mask.numpy() * 255).astype(np.uint8)),
        lambda mask: [Image.fromarray((mask.numpy() * 255).astype(np.uint8))] * 5,
        lambda mask: mask.half(),
        lambda mask: mask.double(),
    ],
)
def test_masks_in_every_form(vae, images, form):
    expected = vae.relabel(images, 1, mask=left_half())
    assert torch.equal(vae.relabel(images, 1, mask=form(left_half())), expected)


def test_each_image_has_its_own_mask(vae, images):
    masks = torch.zeros(5, 16, 16)
    masks[3] = 1.0
    made = vae.relabel(images, 1, mask=masks)
    assert torch.equal(made[:3], images[:3])
    assert torch.equal(made[3], vae.relabel(images, 1)[3])


@pytest.mark.parametrize(
    "mask",
    [
        torch.zeros(8, 8),
        torch.zeros(3, 16, 16),
        torch.zeros(5, 3, 16, 16),
        torch.full((16, 16), 1.5),
        torch.full((16, 16), -0.5),
        torch.full((16, 16), float("nan")),
        torch.full((16, 16), 2),
        torch.full((16, 16), -1),
        torch.zeros(0, 16, 16),
        "mask.png",
        7,
    ],
)
def test_bad_masks_are_refused(vae, images, mask):
    with pytest.raises(ValueError, match="mask: expected"):
        vae.relabel(images, 1, mask=mask)


def test_the_images_type_and_form_do_not_matter(vae, images):
    eight = (images * 255).byte()
    made = vae.relabel(eight.movedim(1, 3).numpy(), 1, mask=torch.zeros(16, 16))
    assert torch.equal((made * 255).round().byte(), eight)
    assert vae.relabel(images.double(), 1, mask=left_half()).dtype == torch.float32


def test_a_soft_edge_fades_inside_the_mask_alone():
    mask = left_half()[None, None]
    soft = soft_edge(mask, 1.0)
    assert torch.equal(soft[..., 8:], mask[..., 8:])
    torch.testing.assert_close(soft[..., :4], mask[..., :4])
    edge = soft[0, 0, 8, 4:8]
    assert bool((edge.diff() < 0).all())
    assert 0.0 < float(edge[-1]) < 0.5
    with pytest.raises(ValueError, match="width: expected"):
        soft_edge(mask, 0.0)


def test_the_blur_agrees_with_scipys():
    maps = torch.rand(2, 3, 12, 9, dtype=torch.float64)
    expected = ndimage.gaussian_filter(maps.numpy(), (0, 0, 1.5, 1.5), mode="nearest", radius=(0, 0, 5, 5))
    np.testing.assert_allclose(blurred(maps, 1.5).numpy(), expected, atol=1e-12)


def test_a_segmenters_mask_confines_a_refined_model_too(vae, images):
    network = UNet(3, 2, (4, 8))
    mask = network.mask(images, 1)
    made = vae.relabel(images, 1, mask=mask)
    torch.testing.assert_close(made, torch.lerp(images, vae.relabel(images, 1), mask))
    refined = Refined(vae, LabelClassifier((3, 16, 16), 4, widths=(8, 8)), radius=0.5)
    assert torch.equal(refined.relabel(images, 1, mask=torch.zeros(16, 16)), images)
    assert torch.equal(refined.relabel(images, 1, mask=left_half())[..., :8], refined.relabel(images, 1)[..., :8])


# the residual


def test_an_image_relabelled_as_its_own_label_comes_back_bit_for_bit(vae, images):
    own = torch.tensor([0, 1, 2, 3, 0])
    assert torch.equal(vae.relabel(images, own, own, residual=True), images)
    asked = torch.tensor([0, 2, 2, 1, 0])
    made = vae.relabel(images, asked, own, residual=True, chunk_size=2)
    kept = asked == own
    assert torch.equal(made[kept], images[kept])
    assert not torch.equal(made[~kept], images[~kept])


def test_the_residual_stays_away_from_what_changes():
    """A bright square moves from the left to the right; a speck that the model does not draw is far from both."""
    reconstructed = torch.zeros(1, 1, 20, 20)
    changed = reconstructed.clone()
    reconstructed[..., 8:12, 3:6], changed[..., 8:12, 14:17] = 0.9, 0.9
    images = reconstructed.clone()
    images[..., 8:12, 3:6] = 1.0
    images[..., 1, 10] = 0.5
    made = with_residual(images, changed, reconstructed)
    assert float(made[0, 0, 1, 10]) == 0.5
    assert float(made[0, 0, 8:12, 3:6].max()) == 0.0  # no ghost of the square
    assert torch.equal(made[..., 8:12, 14:17], changed[..., 8:12, 14:17])


def test_the_residual_needs_the_own_labels(vae, images):
    with pytest.raises(ValueError, match="own_labels: expected what each image is"):
        vae.relabel(images, 1, residual=True)
    with pytest.raises(ValueError, match="residual: expected True or False"):
        vae.relabel(images, 1, 2, residual="yes")


def test_mask_and_residual_together(vae, images):
    both = vae.relabel(images, 1, 0, mask=left_half(), residual=True)
    assert torch.equal(both, confined(images, vae.relabel(images, 1, 0, residual=True), left_half()))


# several draws


def test_draws_are_those_of_the_posterior(vae, images):
    made = counterfactuals(vae, images, 1, draws=3, generator=torch.Generator().manual_seed(5))
    assert made.shape == (5, 3, 3, 16, 16)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        posterior = vae.eval().encode(images)
        expected = torch.stack([vae.decode(posterior.rsample(generator), 1) for _ in range(3)], dim=1)
    torch.testing.assert_close(made, expected)
    again = counterfactuals(vae, images, 1, draws=3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(made, again)
    assert float(made.var(dim=1).max()) > 0


def test_draws_of_a_mask_vary_inside_it_alone(vae, images):
    made = counterfactuals(vae, images, 1, draws=4, mask=left_half(), chunk_size=2)
    variance = made.var(dim=1)
    assert float(variance[..., 8:].max()) == 0.0
    assert float(variance[..., :8].min()) > 0.0
    assert torch.equal(made[:, 0, :, :, 8:], images[..., 8:])


def test_draws_as_the_own_label_with_the_residual_are_the_image(vae, images):
    made = counterfactuals(vae, images, 1, 1, draws=2, residual=True)
    assert torch.equal(made, images[:, None].expand_as(made))


@pytest.mark.parametrize("encoder_label", ["none", "onehot"])
def test_draws_of_attributes_keep_those_that_are_not_asked_for(encoder_label):
    kinds = {"object": Category(["cup", "duck"]), "angle": Continuous(0, 360, periodic=True)}
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 16, 16), attributes=kinds, encoder_label=encoder_label)
    images, own = torch.rand(3, 1, 16, 16), {"object": ["cup", "duck", "duck"], "angle": [10.0, 190.0, 350.0]}
    made = counterfactuals(vae, images, {"object": "duck"}, own, draws=2, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        posterior = vae.eval().encode(images, own if encoder_label == "onehot" else None)
        codes = [posterior.rsample(generator) for _ in range(2)]
        expected = [vae.decode(each, own | {"object": ["duck"] * 3}) for each in codes]
    torch.testing.assert_close(made, torch.stack(expected, dim=1))
    same = counterfactuals(vae, images, {"object": ["cup", "duck", "duck"]}, own, draws=2, residual=True)
    torch.testing.assert_close(same, images[:, None].expand_as(same))
    with pytest.raises(ValueError, match="own_labels: expected what each image is, to keep its angle"):
        counterfactuals(vae, images, {"object": "duck"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"draws": 0}, "draws: expected"),
        ({"generator": 3}, "generator: expected"),
        ({"mask": torch.zeros(3, 3)}, "mask: expected"),
        ({"residual": True}, "own_labels: expected"),
        ({"labels": 9}, "labels: expected"),
    ],
)
def test_bad_draws_are_refused(vae, images, arguments, says):
    with pytest.raises(ValueError, match=says):
        counterfactuals(vae, images, **{"labels": 1} | arguments)


def test_forms_of_masks_alone():
    assert as_masks(np.eye(16, dtype=bool), (5, 3, 16, 16)).sum() == 16


# the command


def run(*words):
    from labelvae.__main__ import main

    main([str(word) for word in words])


@pytest.fixture
def picture(tmp_path):
    """A smooth picture in colour, wider than high, and a mask of its left."""
    rows, columns = np.mgrid[:48, :64]
    pixels = np.stack([rows * 4, columns * 3, 255 - columns * 2], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[8:40, 12:36] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path, pixels, mask


@pytest.fixture
def model(tmp_path, vae):
    vae.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_command_changes_a_picture_inside_the_mask_alone(picture, model):
    folder, pixels, mask = picture
    run("relabel", "--model", model, "--to", 1, folder / "photo.png", folder / "plain.png")
    run("relabel", "--model", model, "--to", 1, f"--mask={folder / 'mask.png'}", folder / "photo.png", folder / "m.png")
    plain, made = (np.asarray(Image.open(folder / name)) for name in ("plain.png", "m.png"))
    assert np.array_equal(made[mask == 0], pixels[mask == 0])
    assert np.array_equal(made[16:32, 18:30], plain[16:32, 18:30])
    assert not np.array_equal(made, plain)


@pytest.mark.parametrize("orientation", [1, 3])
def test_what_is_transparent_in_a_mask_does_not_change(picture, orientation):
    folder, _, mask = picture
    strokes = Image.new("RGBA", (64, 48), (255, 255, 255, 0))
    strokes.putalpha(Image.fromarray(mask if orientation == 1 else mask[::-1, ::-1].copy()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    strokes.save(folder / "strokes.png", exif=exif)
    made = read_mask(folder / "strokes.png", folder / "photo.png")
    assert np.array_equal(np.asarray(made), np.asarray(read_mask(folder / "mask.png", folder / "photo.png")))


@pytest.mark.parametrize("ground", ["black", (255, 255, 255, 0)])
def test_a_mask_that_changes_nothing_is_refused(picture, ground):
    folder, _, _ = picture
    Image.new("RGBA", (64, 48), ground).save(folder / "mask.png")
    with pytest.raises(ValueError, match=r"mask: .*mask.png: expected bright pixels .* got only black or transparent"):
        read_mask(folder / "mask.png", folder / "photo.png")
    Image.new("RGBA", (64, 48), "white").save(folder / "mask.png")
    assert np.asarray(read_mask(folder / "mask.png", folder / "photo.png")).min() == 255, "everywhere"


@pytest.mark.parametrize("kind", ["size", "none", "sheet", "enlarge", "broken"])
def test_the_command_refuses_masks_in_words(picture, model, capsys, kind):
    folder, _, mask = picture
    path, words, to, says = folder / "mask.png", [], 1, "mask: "
    if kind == "size":
        Image.fromarray(mask[:20]).save(path)
        says = "mask: expected the size of photo.png, 64x48, got 64x20"
    elif kind == "none":
        path = folder / "nothing.png"
    elif kind == "broken":
        path.write_bytes(path.read_bytes()[:50])
    elif kind == "sheet":
        to = "all"
    else:
        words = ["--enlarge=2"]
    with pytest.raises(SystemExit) as stopped:
        run("relabel", "--model", model, "--to", to, f"--mask={path}", *words, folder / "photo.png", folder / "m.png")
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
    assert not (folder / "m.png").exists()


def test_a_result_keeps_its_own_profile_inside_a_mask(picture):
    folder, _, _ = picture
    Image.new("CMYK", (64, 48)).save(folder / "photo.jpg", icc_profile=b"of four inks")
    result = Image.new("RGB", (64, 48))
    mask = read_mask(folder / "mask.png", folder / "photo.jpg")
    assert "icc_profile" not in keep_outside(folder / "photo.jpg", result, mask).info
    result.info["icc_profile"] = b"of three colours"
    assert keep_outside(folder / "photo.jpg", result, mask).info == {"icc_profile": b"of three colours"}


def test_a_mask_with_its_channel_last_is_a_mask(vae, images):
    mask = torch.rand(vae.image_shape[1:])
    expected = vae.relabel(images, 1, mask=mask)
    assert torch.equal(vae.relabel(images, 1, mask=mask[..., None].numpy()), expected)
    each = mask[None, ..., None].expand(len(images), -1, -1, -1)
    assert torch.equal(vae.relabel(images, 1, mask=each), expected)
