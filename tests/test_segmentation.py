import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchmetrics.functional.segmentation import dice_score

from labelvae.segmentation import (
    MaskedImages,
    SegmentationScores,
    SegmentationTraining,
    UNet,
    dice_loss,
    learning_curves,
    pixel_cross_entropy,
    pixel_loss,
    read_masked_folder,
    read_pets,
    segmentation_grid,
    segmentation_scores,
)
from labelvae.segmentation.training import cropped, mirrored
from labelvae.training.callbacks import LastCheckpoint

ROOT = Path(__file__).parent.parent


def disks(count=24, side=32, seed=0):
    """A bright disk on a dark ground, noisy; the mask is the disk."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    images, masks = [], []
    for _ in range(count):
        y, x = rng.uniform(10, side - 10, 2)
        mask = (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(4, 8) ** 2
        image = 60 + 120 * mask[..., None] + rng.normal(0, 20, (side, side, 3))
        images.append(image.clip(0, 255).astype(np.uint8))
        masks.append(mask.astype(np.uint8))
    return np.stack(images), np.stack(masks)


def masked(count=24, side=32):
    images, masks = disks(count, side)
    return MaskedImages(torch.from_numpy(images).movedim(3, 1), torch.from_numpy(masks), ["ground", "disk"])


def write_folder(root, images, masks, name="masks", scale=255):
    (root / "images").mkdir(parents=True)
    (root / name).mkdir(parents=True)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(image).save(root / "images" / f"{index:03}.png")
        Image.fromarray(mask * np.uint8(scale)).save(root / name / f"{index:03}.png")


# the network


@pytest.mark.parametrize("downsampling", ["max", "strided"])
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (9, 8), (1, 1)])
def test_every_size_has_a_class_for_every_pixel(downsampling, upsampling, size):
    network = UNet(3, 4, (4, 6, 8), downsampling, upsampling)
    assert network(torch.rand(2, 3, *size)).shape == (2, 4, *size)


def test_both_ways_down_have_as_many_weights():
    counts = {way: sum(each.numel() for each in UNet(downsampling=way).parameters()) for way in ("max", "strided")}
    assert counts["max"] == counts["strided"]


def test_every_weight_has_a_gradient():
    network = UNet(1, 3, (4, 8, 8))
    pixel_cross_entropy(network(torch.rand(2, 1, 16, 16)), torch.randint(0, 3, (2, 16, 16))).mean().backward()
    without = [name for name, each in network.named_parameters() if each.grad is None or not each.grad.abs().sum()]
    assert not without


def test_it_comes_back_from_its_folder(tmp_path):
    network = UNet(1, 3, (4, 8), "strided", "nearest")
    network.class_names = ["a", "b", "c"]
    network.save_pretrained(tmp_path)
    loaded = UNet.from_pretrained(tmp_path)
    images = torch.rand(3, 1, 16, 16)
    assert torch.equal(loaded.segment(images), network.segment(images))
    assert loaded.class_names == ["a", "b", "c"]


def test_the_mask_is_the_probability_of_some_classes():
    network = UNet(1, 3, (4, 8))
    network.class_names = ["ground", "cell", "border"]
    images = torch.rand(3, 1, 16, 16)
    shares = network(images).softmax(dim=1)
    torch.testing.assert_close(network.mask(images, "cell"), shares[:, 1:2])
    torch.testing.assert_close(network.mask(images, ["cell", 2], chunk_size=2), shares[:, 1:].sum(1, keepdim=True))
    torch.testing.assert_close(network.mask(images, [0, 1, 2]), torch.ones(3, 1, 16, 16))
    assert network.segment(images).dtype == torch.int64


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"channels": 0}, "channels: expected"),
        ({"num_classes": 1}, "num_classes: expected"),
        ({"widths": ()}, "widths: expected"),
        ({"downsampling": "pool"}, "downsampling: expected one of max, strided"),
        ({"upsampling": "bilinear"}, "upsampling: expected one of transposed, nearest"),
        ({"blocks": 0}, "blocks: expected"),
    ],
)
def test_bad_networks_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        UNet(**arguments)


@pytest.mark.parametrize("images", [torch.rand(2, 1, 8, 8), torch.rand(0, 3, 8, 8), torch.rand(2, 3, 8, 0), None, "a"])
def test_bad_images_are_refused(images):
    for call in (UNet(widths=(4,)), UNet(widths=(4,)).segment):
        with pytest.raises(ValueError, match=r"images: expected shape \(B, 3, H, W\)"):
            call(images)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda images: images * 255, r"expected values in \[0, 1\], got values from"),
        (lambda images: images * float("nan"), "got NaN or infinity"),
        (lambda images: images.to("meta"), "expected values, got a tensor of the meta device"),
        (lambda images: [images[0], images[0, :, :4]], r"images\[1\]: expected shape"),
    ],
)
def test_images_out_of_range_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        UNet(widths=(4,)).segment(change(torch.rand(2, 3, 8, 8)))


def test_images_in_the_forms_that_people_have_them():
    network, levels = UNet(widths=(4, 8)), torch.randint(0, 256, (2, 3, 9, 7), dtype=torch.uint8)
    expected, across = network.segment(levels), levels.movedim(1, 3).numpy()
    pictures = [Image.fromarray(each) for each in across]
    for images in (levels.numpy(), across, pictures, levels.numpy() / 255.0, list(levels)):
        assert torch.equal(network.segment(images), expected)
    for one in (levels[0], pictures[0]):
        assert torch.equal(network.segment(one), expected[:1])
    masks = torch.ones(2, 9, 7, dtype=torch.long)
    assert segmentation_scores(network, [(levels.numpy(), masks.numpy())]) == segmentation_scores(
        network, [(levels, masks)]
    )
    with pytest.raises(ValueError, match="batches: expected at least one batch of images and masks"):
        segmentation_scores(network, [])


def test_it_is_exported_for_any_number_of_images():
    network, images = UNet(1, 2, (4, 8)).eval(), torch.rand(3, 1, 8, 8)
    program = torch.export.export(network, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}})
    torch.testing.assert_close(program.module()(images[:1]), network(images[:1]))


def test_classes_of_other_types():
    network, images = UNet(1, 3, (4,)), torch.rand(1, 1, 8, 8)
    expected = network.mask(images, [1, 2])
    for classes in (np.array([1, 2]), torch.tensor([1, 2]), (np.int64(1), torch.tensor(2)), range(1, 3)):
        assert torch.equal(network.mask(images, classes), expected)
    assert torch.equal(network.mask(images, np.int64(2)), network.mask(images, 2))


def test_unknown_classes_are_refused():
    network = UNet(widths=(4,))
    for classes in (7, "cell", [], None, 1.0, True, [None]):
        with pytest.raises(ValueError, match=r"class|label"):
            network.mask(torch.rand(1, 3, 8, 8), classes)


# the losses


def test_cross_entropy_in_nats_per_image():
    logits, masks = torch.zeros(2, 4, 3, 5), torch.randint(0, 4, (2, 3, 5))
    torch.testing.assert_close(pixel_cross_entropy(logits, masks), torch.full((2,), 15 * np.log(4.0)).float())


def test_dice_of_a_case_made_by_hand():
    """Two pixels, two classes, certain of the first class at both; the second pixel is of the second class."""
    logits = torch.tensor([[[[100.0, 100.0]], [[0.0, 0.0]]]])
    masks = torch.tensor([[[0, 1]]])
    # class 0: 2 * 1 / (2 + 1); class 1: 0 / (0 + 1)
    torch.testing.assert_close(dice_loss(logits, masks, smooth=0.0), torch.tensor([1.0 - (2 / 3 + 0) / 2]))
    # with one pixel of smoothing: 3 / 4 and 1 / 2
    torch.testing.assert_close(dice_loss(logits, masks), torch.tensor([1.0 - (3 / 4 + 1 / 2) / 2]))


def test_dice_of_the_truth_and_of_its_opposite():
    masks = torch.randint(0, 2, (3, 8, 8))
    right = 200.0 * torch.nn.functional.one_hot(masks, 2).movedim(3, 1).float()
    torch.testing.assert_close(dice_loss(right, masks), torch.zeros(3))
    torch.testing.assert_close(dice_loss(-right, masks, smooth=0.0), torch.ones(3))


def test_dice_agrees_with_torchmetrics_where_the_network_is_certain():
    torch.manual_seed(0)
    masks, found = torch.randint(0, 3, (2, 4, 9, 9))
    logits = 200.0 * torch.nn.functional.one_hot(found, 3).movedim(3, 1).float()
    expected = dice_score(found, masks, 3, average="macro", input_format="index")
    torch.testing.assert_close(1.0 - dice_loss(logits, masks, smooth=0.0), expected)


@pytest.mark.parametrize("loss", ["cross-entropy", "dice"])
@pytest.mark.parametrize(
    "masks", [torch.zeros(2, 4, 5).long(), torch.zeros(2, 4, 4), torch.full((2, 4, 4), 3), torch.full((2, 4, 4), -1)]
)
def test_bad_masks_are_refused(loss, masks):
    with pytest.raises(ValueError, match="masks: expected"):
        pixel_loss(loss, torch.rand(2, 3, 4, 4), masks)


# the scores


def test_scores_agree_with_torchmetrics():
    torch.manual_seed(0)
    masks, found = torch.randint(0, 3, (2, 6, 9, 9))
    counts = torch.zeros(3, 3, dtype=torch.long)
    counts.index_put_((masks.flatten(), found.flatten()), torch.tensor(1), accumulate=True)
    scores = SegmentationScores.from_confusion(counts)
    iou = multiclass_jaccard_index(found, masks, 3, average="none")
    torch.testing.assert_close(torch.tensor(scores.iou), iou)
    assert scores.mean_iou == pytest.approx(float(multiclass_jaccard_index(found, masks, 3, average="macro")))
    assert scores.pixel_accuracy == pytest.approx(float((masks == found).float().mean()))
    together = dice_score(found.reshape(1, -1), masks.reshape(1, -1), 3, average="none", input_format="index")
    torch.testing.assert_close(torch.tensor(scores.dice), together[0])


def test_a_class_that_nobody_has_counts_for_nothing():
    scores = SegmentationScores.from_confusion(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert scores.mean_iou == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert scores.to_dict()["iou"][2] is None
    assert "NaN" not in json.dumps(scores.to_dict())


def test_scores_of_batches_are_those_of_all_pixels():
    data, network = masked(7), UNet(3, 2, (4, 8))
    once = segmentation_scores(network, data.loader(7))
    assert segmentation_scores(network, data.loader(2)) == once
    found = network.segment(data.images.float() / 255.0)
    assert once.pixel_accuracy == pytest.approx(float((found == data.masks).float().mean()))
    with pytest.raises(ValueError, match="batches: expected at least one"):
        segmentation_scores(network, [])
    with pytest.raises(ValueError, match=r"masks: expected classes in \[0, 2\)"):
        segmentation_scores(network, [(torch.rand(1, 3, 8, 8), torch.full((1, 8, 8), 2))])


# the training


def fit(task, data, held_out=None, **options):
    options = {"max_epochs": 8, "gradient_clip_val": 0} | options
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, **options)
    trainer.fit(task, data.loader(4, shuffle=True), held_out.loader(8) if held_out else None)


@pytest.mark.parametrize("loss", ["cross-entropy", "dice"])
@pytest.mark.parametrize("ways", [("max", "transposed"), ("strided", "nearest")])
def test_it_learns_disks(loss, ways):
    torch.manual_seed(0)
    train, test = masked(40).split(0.25)
    network = UNet(3, 2, (8, 16), *ways)
    task = SegmentationTraining(network, loss, learning_rate=1e-2, turn=True, crop=24)
    fit(task, train, test)
    scores = segmentation_scores(network, test.loader())
    assert scores.mean_iou > 0.85
    assert task.history[-1]["train_loss"] < task.history[0]["train_loss"]
    assert len(task.history) == 8
    assert task.history[-1]["pixel_accuracy"] == pytest.approx(scores.pixel_accuracy, abs=1e-5)


def test_8_bit_images_are_those_in_0_to_1():
    network, data = UNet(3, 2, (4, 8)), masked(4)
    images, masks = data.images[:4], data.masks[:4]
    assert images.dtype == torch.uint8
    assert torch.equal(network.segment(images), network.segment(images.float() / 255.0))
    assert segmentation_scores(network, [(images, masks)]) == segmentation_scores(network, [(images / 255.0, masks)])
    with pytest.raises(ValueError, match="masks: expected integers of shape"):
        segmentation_scores(network, [(images, masks.float())])


def test_a_validation_before_the_training_is_not_in_its_history():
    task, data = SegmentationTraining(UNet(3, 2, (4, 8)), learning_rate=1e-12, flip=False), masked(8)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        num_sanity_val_steps=0, gradient_clip_val=0,
    )  # fmt: skip
    other = DataLoader([(torch.rand(2, 3, 32, 32), torch.ones(2, 32, 32, dtype=torch.long))], None)
    trainer.validate(task, other, verbose=False)
    trainer.fit(task, data.loader(4), data.loader(4))
    assert task.history[0]["loss"] == pytest.approx(task.history[0]["train_loss"], rel=0.05)


def test_a_training_without_an_end_is_refused():
    with pytest.raises(ValueError, match="max_steps: the learning rate's schedule needs to know when"):
        fit(SegmentationTraining(UNet(3, 2, (4, 8))), masked(8), masked(8), max_epochs=-1)


def test_a_network_is_trained_as_other_programs_train():
    data, options = masked(4), {"max_epochs": 1, "num_sanity_val_steps": 0, "gradient_clip_val": 0}
    network = UNet(3, 2, (4, 8)).eval()
    images, masks = data.images / 255.0, data.masks
    dicts = DataLoader([{"image": images, "mask": masks}, {"images": images, "masks": masks, "name": "a"}], None)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    task = SegmentationTraining(network)
    Trainer(**quiet, **options).fit(task, dicts, [dicts, DataLoader([(images, masks, "more")], None)])
    assert len(task.history) == 1
    assert network.training
    nothing = Trainer(**quiet, **options, limit_train_batches=0)
    nothing.fit(task, dicts, dicts)
    assert nothing.global_step == 0
    network.requires_grad_(False)
    with pytest.raises(ValueError, match="weights: all are frozen"):
        Trainer(**quiet, **options).fit(task, dicts, dicts)
    with pytest.raises(ValueError, match="batch: expected a dict with one of the keys"):
        Trainer(**quiet, **options).fit(task, DataLoader([{"image": images}], None), dicts)


def test_masks_are_mirrored_and_cropped_with_their_images():
    images = torch.rand(16, 1, 12, 12)
    masks = (images[:, 0] * 1000).long()
    for part in (mirrored(images, masks, left_right=True, turn=True), cropped(images, masks, 8)):
        assert torch.equal((part[0][:, 0] * 1000).long(), part[1])
    made = mirrored(images, masks, left_right=True, turn=False)[0]
    kept = [bool(torch.equal(new, old)) for new, old in zip(made, images, strict=True)]
    assert 0 < sum(kept) < 16
    with pytest.raises(ValueError, match="crop: expected at most the shorter side of the images, 12, got 13"):
        cropped(images, masks, 13)


def test_a_loss_that_is_no_number_stops_the_training():
    network = UNet(3, 2, (4, 4))
    with torch.no_grad():
        network.enter.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="loss is not finite"):
        fit(SegmentationTraining(network), masked(4), masked(4), max_epochs=1)


class Stop(Callback):
    """Stops a training in the middle of its second epoch, as a killed process would."""

    def on_train_batch_end(self, trainer, task, *_):
        if trainer.current_epoch == 1:
            raise RuntimeError("stopped")


def task_of(**changes):
    torch.manual_seed(0)
    arguments = {"loss": "dice", "turn": True, "crop": 16} | changes
    return SegmentationTraining(UNet(3, 2, (4, 4)), **arguments)


def fit_to(path, task, epochs, *callbacks):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=epochs, callbacks=[LastCheckpoint(path), *callbacks], num_sanity_val_steps=0, **quiet)
    loader = masked(12).loader(4, shuffle=True, seed=3)
    trainer.fit(task, loader, masked(4).loader(), ckpt_path=path if path.is_file() else None, weights_only=True)
    assert loader.sampler.epoch >= epochs - 1  # Lightning has told it the epochs
    return task


def test_a_stopped_training_goes_on_as_if_it_had_never_stopped(tmp_path):
    whole = fit_to(tmp_path / "whole.ckpt", task_of(), 3)
    with pytest.raises(RuntimeError, match="stopped"):
        fit_to(tmp_path / "parts.ckpt", task_of(), 3, Stop())
    parts = fit_to(tmp_path / "parts.ckpt", task_of(), 3)
    assert len(parts.history) == 3
    assert parts.history == whole.history
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], weight, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "cross-entropy"}, "loss: expected 'dice', with which the checkpoint was made, got 'cross-entropy'"),
        ({"crop": None}, "crop: expected 16"),
        ({"learning_rate": 0.1}, "learning_rate: expected 0.002"),
        ({"network": UNet(3, 2, (4, 4), "strided")}, "network: expected .*'max'"),
    ],
)
def test_a_checkpoint_goes_on_with_its_own_settings_alone(tmp_path, changes, says):
    path = tmp_path / "last.ckpt"
    fit_to(path, task_of(), 1)
    network = changes.pop("network", UNet(3, 2, (4, 4)))
    other = SegmentationTraining(network, **({"loss": "dice", "turn": True, "crop": 16} | changes))
    with pytest.raises(ValueError, match=says):
        fit_to(path, other, 2)


def test_the_order_depends_on_the_seed_and_the_epoch():
    data = masked(12)
    loader = data.loader(5, shuffle=True, seed=1)
    first, second = (torch.cat([images for images, _ in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    again = data.loader(5, shuffle=True, seed=1)
    again.sampler.set_epoch(1)
    assert torch.equal(torch.cat([images for images, _ in again]), second)
    other = data.loader(5, shuffle=True, seed=2)
    assert not torch.equal(torch.cat([images for images, _ in other]), first)
    as_they_are = data.images.float() / 255.0
    assert torch.equal(torch.cat([images for images, _ in data.loader(5)]), as_they_are)
    assert torch.equal(first.flatten(1).sum(1).sort().values, as_they_are.flatten(1).sum(1).sort().values)


def test_a_fingerprint_is_of_images_masks_and_names():
    data = masked(3)
    masks = data.masks.clone()
    masks[0, 0, 0] = 1
    others = [
        replace(data, images=data.images.flip(0)),
        replace(data, masks=masks),
        replace(data, class_names=["a", "b"]),
        data.subset(torch.arange(2)),
    ]
    assert len({data.fingerprint(), *(each.fingerprint() for each in others)}) == 5
    assert data.fingerprint() == masked(3).fingerprint()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"network": torch.nn.Identity()}, "network: expected UNet"),
        ({"loss": "mse"}, "loss: expected one of"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"crop": 2}, "crop"),
    ],
)
def test_bad_trainings_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        SegmentationTraining(**{"network": UNet(widths=(4,))} | arguments)


# the data


@pytest.mark.parametrize("name", ["masks", "trimaps", "labels", "annotations", "annotations/trimaps"])
def test_a_folder_of_images_and_masks(tmp_path, name):
    images, masks = disks(3)
    write_folder(tmp_path, images, masks, name)
    data = read_masked_folder(tmp_path, class_names=["ground", "disk"])
    assert torch.equal(data.images, torch.from_numpy(images).movedim(3, 1))
    assert torch.equal(data.masks, torch.from_numpy(masks))
    assert list(data.class_names) == ["ground", "disk"]
    image, mask = data[1]
    assert image.max() <= 1.0
    assert mask.dtype == torch.int64


def test_masks_as_people_have_them(tmp_path):
    images, masks = disks(5)
    write_folder(tmp_path, images, masks, scale=1)
    palette = Image.fromarray(masks[0])
    palette.putpalette([200, 10, 10, 3, 250, 40])
    palette.save(tmp_path / "masks" / "000.png")
    Image.fromarray(np.stack([masks[1]] * 3, axis=2)).save(tmp_path / "masks" / "001.png")
    (tmp_path / "masks" / "002.png").unlink()
    Image.fromarray(masks[2]).save(tmp_path / "masks" / "002.bmp")
    (tmp_path / "masks" / "Thumbs.db").write_text("litter")
    data = read_masked_folder(tmp_path)
    assert torch.equal(data.masks, torch.from_numpy(masks))


def test_images_and_masks_are_scaled_alike(tmp_path):
    images, masks = disks(2, side=48)
    write_folder(tmp_path, images, masks)
    data = read_masked_folder(tmp_path, size=(24, 12))
    assert data.images.shape == (2, 3, 24, 12)
    assert data.masks.shape == (2, 24, 12)
    bright = data.images.float().mean(dim=1) > 120
    assert float((bright == data.masks.bool()).float().mean()) > 0.9


def spoil(kind, root, images, masks):
    write_folder(root, images, masks)
    file = root / "masks" / "001.png"
    if kind == "missing":
        file.unlink()
    elif kind == "size":
        Image.fromarray(masks[1][:20]).save(file)
    elif kind == "colours":
        Image.fromarray(images[1]).save(file)
    elif kind == "broken":
        file.write_bytes(file.read_bytes()[:60])
    elif kind == "sizes":
        for folder, array in (("images", images), ("masks", masks)):
            Image.fromarray(array[1][:20]).save(root / folder / "001.png")
    elif kind == "empty":
        for path in (root / "images").iterdir():
            path.unlink()
    elif kind == "lossy":
        Image.fromarray(images[1][..., 0]).save(file)
    elif kind == "one":
        for path in (root / "masks").iterdir():
            Image.fromarray(masks[0] * 0).save(path)
    elif kind == "folders":
        (root / "images").rename(root / "pictures")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "expected a mask in masks for every image, got 1 images without a mask, the first is 001.png"),
        ("size", "001.png: expected a mask as large as 001.png, 32x32, got 32x20"),
        ("colours", "expected a mask of grey levels or palette indices, got mode RGB"),
        ("broken", "001.png: not an image that can be read"),
        ("sizes", r"size: expected images of one size, got 32x32 and 20x32; pass size=\(H, W\)"),
        ("empty", "got no image"),
        ("lossy", "masks: expected at most 64 different values"),
        ("one", "masks: expected at least two classes, got the value 0 alone"),
        ("folders", "expected the folders images and masks"),
    ],
)
def test_bad_folders_are_refused_in_words(tmp_path, kind, says):
    spoil(kind, tmp_path, *disks(3))
    with pytest.raises(ValueError, match=says):
        read_masked_folder(tmp_path)


def test_names_of_another_number_are_refused(tmp_path):
    write_folder(tmp_path, *disks(2))
    with pytest.raises(ValueError, match=r"class_names: expected 2 names, for the values \[0, 255\], got 3"):
        read_masked_folder(tmp_path, class_names=["a", "b", "c"])


def test_bad_tensors_are_refused():
    images, masks = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 8, 8, dtype=torch.uint8)
    for bad, says in (
        ((images.float(), masks), "images"),
        ((images, masks[:1]), "masks"),
        ((images, masks + 2), "classes in"),
    ):
        with pytest.raises(ValueError, match=says):
            MaskedImages(*bad, ["a", "b"])


def test_parts_share_no_image_and_leave_none():
    data = masked(20)
    parts = data.split(0.2, 0.1)
    assert [len(part) for part in parts] == [14, 4, 2]
    together = torch.cat([part.images for part in parts]).flatten(1).long().sum(1).sort().values
    assert torch.equal(together, data.images.flatten(1).long().sum(1).sort().values)
    with pytest.raises(ValueError, match="shares: expected parts"):
        data.split(0.001)


def test_the_seed_decides_the_order():
    data = masked(12)
    orders = [[float(images.sum()) for images, _ in data.loader(4, shuffle=True, seed=seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_oxford_pets_in_their_own_format(tmp_path):
    root = tmp_path / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, names in (("trainval", ["Abyssinian_1", "beagle_2"]), ("test", ["pug_3"])):
        lines = [f"{name} {number} 1 {number}" for number, name in enumerate(names, 1)]
        (root / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        for name in names:
            Image.fromarray(rng.integers(0, 255, (50, 40, 3), dtype=np.uint8)).save(root / "images" / f"{name}.jpg")
            trimap = np.full((50, 40), 2, dtype=np.uint8)
            trimap[10:40, 10:30], trimap[15:35, 15:25] = 3, 1
            Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
    train, test = read_pets(tmp_path, size=(50, 40))
    assert (len(train), len(test)) == (2, 1)
    assert list(train.class_names) == ["pet", "background", "border"]
    counts = torch.bincount(test.masks.flatten().long()).tolist()
    assert counts == [200, 2000 - 600, 400]
    with pytest.raises(ValueError, match="no Oxford-IIIT Pet files there"):
        read_pets(tmp_path / "elsewhere")


# pictures and scripts


def test_pictures():
    data = masked(3)
    images = data.images.float() / 255.0
    sheet = segmentation_grid(images, data.masks, {"found": data.masks.long(), "none": data.masks * 0})
    assert sheet.width > sheet.height
    histories = {"a": [{"loss": 2.0}, {"loss": 1.0}], "b": [{"loss": 3.0}, {"loss": 2.5}]}
    drawn = np.asarray(learning_curves(histories, "loss", "loss"))
    assert drawn.std() > 0


def test_curves_have_the_names_that_they_are_given():
    history = [{"loss": 2.0}, {"loss": 1.0}]

    def drawn(*names):
        return np.asarray(learning_curves(dict.fromkeys(names, history), "loss", r"in $\frac$"))

    assert drawn(r"$\frac$ of", "$5 to $10").std() > 0  # no mathematics
    assert (drawn("_a") != drawn("_b")).any()  # in the legend


def run_script(script, *words, cwd):
    command = [sys.executable, str(ROOT / script), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_example_segments_a_folder(tmp_path):
    write_folder(tmp_path / "data", *disks(12))
    result = run_script(
        "examples/segmentation.py", "--data-dir=data", "--size=32", "--fast-dev-run", "--out=out", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    made = tmp_path / "out" / "fast-dev-run"
    assert set(json.loads((made / "scores.json").read_text())) == {
        "pixel_accuracy",
        "mean_iou",
        "iou",
        "dice",
    }
    assert (made / "segmentation.png").is_file()
    assert UNet.from_pretrained(made / "unet").class_names == ["0", "255"]
    result = run_script("examples/segmentation.py", "--data-dir=nothing", cwd=tmp_path)
    assert result.returncode == 2
    assert "nothing: expected the folders images and masks" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_example_goes_on_where_it_was(tmp_path):
    write_folder(tmp_path / "data", *disks(12))

    def run(*words):
        return run_script("examples/segmentation.py", "--data-dir=data", "--size=16", "--out=out", *words, cwd=tmp_path)

    assert run("--epochs=1").returncode == 0
    scores = (tmp_path / "out" / "scores.json").read_text()
    for words, says in [
        (["--epochs=2"], "out: out holds a run already; --resume goes on with it"),
        (["--epochs=2", "--resume", "--seed=1"], "resume: seed is 1, but the run in"),
        (["--epochs=2", "--resume", "--loss=dice"], "loss: expected 'cross-entropy'"),
    ]:
        result = run(*words)
        assert result.returncode == 2
        assert says in result.stderr
        assert "Traceback" not in result.stderr
        assert (tmp_path / "out" / "scores.json").read_text() == scores
    result = run("--epochs=2", "--resume")
    assert result.returncode == 0, result.stderr
    assert "Restor" in result.stderr
    result = run("--epochs=1", "--resume")
    assert result.returncode == 2
    assert "has 2 epochs already" in result.stderr


def test_the_benchmark_makes_one_table(tmp_path):
    write_folder(tmp_path / "data", *disks(40))
    words = ["--data-dir=data", "--epochs=1", "--widths", "4", "4", "--out=out", "--seeds=2"]
    result = run_script("benchmarks/unets.py", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert len(rows) == 8
    text = (tmp_path / "out" / "table.md").read_text()
    assert text.count("\n") == 6
    assert "±" in text
    assert (tmp_path / "out" / "curves.png").is_file()
    assert (tmp_path / "out" / "pictures.png").is_file()
    (tmp_path / "out" / "rows.json").write_text(json.dumps(rows[:7]))  # as if it was stopped before the last one
    result = run_script("benchmarks/unets.py", *words, cwd=tmp_path)
    assert "out: out holds a run already" in result.stderr
    result = run_script("benchmarks/unets.py", *words, "--resume", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert [row["dice"] for row in again] == [row["dice"] for row in rows]
