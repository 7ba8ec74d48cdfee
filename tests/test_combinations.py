"""Parts of the library together that were each right alone."""

import numpy as np
import pandas
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from labelvae import (
    AttributeClassifier,
    AttributeELBO,
    Binary,
    Category,
    ConditionalVAE,
    Continuous,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    VAETraining,
    evaluate,
)
from labelvae.cli.loading import images_of_run
from labelvae.data.table_text import read_text
from labelvae.data.tables import read_labels
from labelvae.inputs.conversions import image_bytes, image_tensor
from labelvae.losses.refinement import Refined
from labelvae.models import as_masks, counterfactuals, relabel_to_confidence
from labelvae.models.asked import Asked
from labelvae.models.export import exported
from labelvae.photos import read_scan
from labelvae.training.batches import take_names
from labelvae.training.callbacks import LastCheckpoint

SHAPE = (1, 8, 8)
TWO = {"object": Category(["cup", "duck"]), "width": Continuous(1, 5)}


@pytest.fixture
def images():
    return torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))


def made(*arguments, **others):
    """A small model whose normalizations tell labels apart."""
    torch.manual_seed(0)
    vae = ConditionalVAE(SHAPE, *arguments, encoder_widths=(8,), hidden_dim=16, latent_dim=4, **others)
    for name, weight in vae.named_parameters():
        if "scale_and_shift" in name:
            weight.data.normal_()
    return vae.eval()


@pytest.mark.parametrize("call", ["relabel", "counterfactuals"])
def test_the_residual_leaves_the_change_where_only_the_encoder_sees_the_label(images, call):
    vae = made(3, encoder_label="onehot", decoder_label="none")
    torch.nn.init.normal_(
        vae.encoder.head[-1].weight if hasattr(vae.encoder, "head") else next(vae.encoder.parameters())
    )

    def change(label):
        if call == "relabel":
            return vae.relabel(images, label, own_labels=0, residual=True)
        generator = torch.Generator().manual_seed(1)
        return counterfactuals(vae, images, label, 0, residual=True, draws=1, generator=generator)[:, 0]

    assert float((change(2) - images).abs().max()) > 1e-3
    torch.testing.assert_close(change(0), images, atol=1e-5, rtol=0)


def test_a_classifier_of_the_attributes_in_another_order_is_refused(images):
    vae = made(attributes={"lit": Binary(), "big": Binary()})
    other = AttributeClassifier(SHAPE, {"big": Binary(), "lit": Binary()})
    with pytest.raises(ValueError, match="own_labels: expected a classifier of the model's attributes lit, big"):
        vae.relabel(images, {"lit": 1}, own_labels=other)
    with pytest.raises(ValueError, match="guide: reads big, lit"):
        AttributeELBO(other).check_networks(vae)


@pytest.mark.parametrize("form", ["pictures", "arrays", "tensors", "picture"])
def test_a_mask_of_0_and_1_means_the_same_in_every_form(form):
    levels = np.eye(8, dtype=np.uint8)
    pictures = Image.fromarray(levels)
    forms = {"pictures": [pictures] * 4, "arrays": [levels] * 4, "picture": pictures}
    given = forms.get(form, [torch.from_numpy(levels).long()] * 4)
    expected = torch.eye(8).expand(1 if form == "picture" else 4, 1, 8, 8)
    assert torch.equal(as_masks(given, (4, 1, 8, 8)), expected)
    assert torch.equal(as_masks([255 * levels] * 4, (4, 1, 8, 8)), torch.eye(8).expand(4, 1, 8, 8))


def test_numbers_of_a_table_are_names_everywhere(images):
    table = {"stars": [1, 2] * 30, "width": [1.5 + place % 7 / 3 for place in range(60)]}
    data = ImageData.from_table(torch.rand(60, *SHAPE), table)
    vae = made(attributes=data.attributes)
    asked = [vae.relabel(images, {"stars": stars, "width": 2.0}) for stars in (1, "1", 2, "2")]
    assert torch.equal(asked[0], asked[1])
    assert torch.equal(asked[2], asked[3])
    assert not torch.equal(asked[0], asked[2])
    assert vae.relabel(torch.rand(60, *SHAPE), {"width": 2.0}, own_labels=table).shape == (60, *SHAPE)
    with pytest.raises(ValueError, match="stars: expected one of 1, 2, got 0"):
        vae.relabel(images, {"stars": 0, "width": 2.0})


@pytest.mark.parametrize("encoder_label", ["none", "onehot"])
def test_own_values_that_are_needed_must_be_known(images, encoder_label):
    vae = made(attributes=TWO, encoder_label=encoder_label)
    asked, partly = {"object": "duck", "width": 2}, {"object": "cup"}
    for call in (
        lambda: vae.reconstruct(images, partly),
        lambda: vae.relabel(images, asked, partly, residual=True),
        lambda: counterfactuals(vae, images, asked, partly, residual=True),
    ):
        with pytest.raises(ValueError, match="width"):
            call()
    if encoder_label == "onehot":
        with pytest.raises(ValueError, match="own_labels: .*width"):
            vae.relabel(images, asked, partly)
    vae.relabel(images, asked, partly | {"width": 1.5}, residual=True)


def test_features_of_a_network_in_training_mode_are_refused_and_nothing_changes():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )

    def before_the_last(images):
        return network[:4](images)

    with pytest.raises(ValueError, match=r"features: .*call the network's \.eval\(\) first"):
        LabelClassifier.wrap(network, SHAPE, 3, features=before_the_last)
    assert int(network[1].num_batches_tracked) == 0
    assert torch.equal(network[1].running_mean, torch.zeros(4))
    network.eval()
    assert LabelClassifier.wrap(network, SHAPE, 3, features=before_the_last).feature_dim == 4


def test_a_changed_setting_of_a_layer_makes_the_decoder_ones_own(tmp_path):
    vae = made(3)
    convolution = next(each for each in vae.decoder.modules() if isinstance(each, nn.Conv2d))
    convolution.padding_mode = "circular"
    assert set(vae.own_parts()) == {"decoder"}
    vae.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="decoder"):
        ConditionalVAE.from_pretrained(tmp_path)


class Encoder(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.module = inner  # a name that wrappers use too

    def forward(self, images, label=None):
        seen = self.module(images.flatten(1)[:, :3] if label is None else label)
        return torch.cat([seen, seen], dim=1)


class Decoder(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, codes, label):
        return (codes.sum(dim=1, keepdim=True) + self.inner(label).sum(dim=1, keepdim=True))[..., None, None].expand(
            -1, 1, 8, 8
        )


def test_own_parts_that_share_a_layer_are_saved_and_loaded(tmp_path, images):
    def parts():
        shared = nn.Linear(3, 4)
        return {"encoder": Encoder(shared), "decoder": Decoder(shared)}

    vae = ConditionalVAE(SHAPE, 3, latent_dim=4, encoder_label="onehot", **parts()).eval()
    vae.save_pretrained(tmp_path)
    again = ConditionalVAE.from_pretrained(tmp_path, **parts())
    assert torch.equal(again.relabel(images, 1, 0), vae.relabel(images, 1, 0))
    with pytest.raises(ValueError, match="labels: this encoder sees the label of the image, got None"):
        vae.relabel(images, 1)


@pytest.mark.filterwarnings("ignore:confidence")
def test_models_in_float64(images):
    guide = LabelClassifier(SHAPE, 3, widths=(4,)).double()
    found = relabel_to_confidence(made(3).double(), guide, images, 1, 0.5)
    assert found.shape == images.shape
    own = ConditionalVAE(SHAPE, 3, latent_dim=4, decoder=Decoder(nn.Linear(3, 4))).double()
    assert own.relabel(images, 1).dtype == torch.float64
    program = exported(made(3).double()).module()
    torch.testing.assert_close(program(images, torch.tensor([0, 1, 2, 0])), made(3).relabel(images, [0, 1, 2, 0]))


def test_a_data_frame_asks_as_a_dict_does(images):
    vae, own = made(attributes=TWO), {"object": ["cup", "duck"] * 2, "width": [1.0, 2.0, 3.0, 4.0]}
    asked = {"width": [2.0, 2.0, 5.0, 5.0]}
    assert torch.equal(vae.relabel(images, pandas.DataFrame(asked), own), vae.relabel(images, asked, own))


def test_a_reader_of_the_only_category(images):
    kinds = {"digit": Category(3)}
    vae, reader = made(attributes=kinds), AttributeClassifier(SHAPE, kinds)
    expected = vae.relabel(images, {"digit": 2}, own_labels=reader, residual=True)
    assert torch.equal(vae.relabel(images, 2, own_labels=reader, residual=True), expected)


def test_a_counted_category_takes_the_names_of_its_data(images):
    vae, guide = made(attributes={"pet": Category(3)}), LabelClassifier(SHAPE, 3, widths=(4,))
    data = ImageData.from_tensors(torch.rand(30, *SHAPE), torch.arange(30) % 3, ["cat", "dog", "bird"])
    for network in (vae, guide):
        take_names(network, data)
    assert vae.class_names == guide.class_names == ["cat", "dog", "bird"]
    assert torch.equal(vae.relabel(images, "dog"), vae.relabel(images, {"pet": 1}))
    assert Refined(vae, guide, 0.5).relabel(images, "dog").shape == images.shape
    counted = LabelClassifier(SHAPE, 3, widths=(4,))
    counted.class_names = ["0", "1", "2"]  # chosen
    take_names(counted, data)
    assert counted.class_names == ["0", "1", "2"]


def test_a_refined_model_carries_the_residual_and_wants_a_gradient(images):
    class Detached(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :3].detach()

    vae, guide = made(3), LabelClassifier(SHAPE, 3, widths=(4,))
    with pytest.raises(ValueError, match="guide: expected a network whose logits have a gradient"):
        Refined(vae, LabelClassifier.wrap(Detached(), SHAPE, 3), 1.0)
    same = Refined(vae, guide, 0.0).relabel(images, 1, 0, residual=True)
    assert torch.equal(same, vae.relabel(images, 1, 0, residual=True))


def test_a_style_with_other_statistics_in_each_batch_is_refused(images):
    judge, labels = LabelClassifier(SHAPE, 3, widths=(4,)), torch.tensor([0, 1, 2, 0])
    batches = [(images, labels), (images[:2] * 0.5, labels[:2])]
    for style in (
        lambda x: {"bright" if len(x) == 4 else "dark": x.flatten(1)},
        lambda x: {"a": x.flatten(1)[:, : len(x)]},
    ):
        with pytest.raises(ValueError, match="style: expected .* statistics as of the first images, got"):
            evaluate(made(3), batches, judge, style=style, progress=False)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"shuffle": True, "drop_last": True}, {"drop_last": True}])
def test_a_loader_that_shuffles_gives_the_same_split_every_time(options):
    shades = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(100, 1, 8, 8).contiguous()
    pairs = TensorDataset(shades, torch.arange(100) % 2)
    expected = ImageData.from_datasets(DataLoader(pairs, 32)).splits["test"].images
    for seed in (0, 1):
        torch.manual_seed(seed)
        data = ImageData.from_datasets(DataLoader(pairs, 32, **options))
        assert torch.equal(data.splits["test"].images, expected)
        assert sum(map(len, data.splits.values())) == 100


def test_a_grey_picture_in_front_takes_no_colours():
    red, grey = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("L", (8, 8), 3)
    assert torch.equal(image_bytes([grey, red]), image_bytes([red, grey]).flip(0))
    assert image_bytes([grey, grey]).shape == (2, 1, 8, 8)


def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path):
    (tmp_path / "labels.csv").write_text('file,kind\na,cat\nb,"dog\nc,cat\n')
    with pytest.raises(ValueError, match="look for a quote that is not closed"):
        read_text(tmp_path / "labels.csv")


def training(guide_seed):
    torch.manual_seed(guide_seed)
    guide = LabelClassifier(SHAPE, 3, widths=(4,))
    return VAETraining(ConditionalVAE(SHAPE, 3, encoder_widths=(8,), hidden_dim=16, latent_dim=4), GuidedELBO(guide))


def trainer(*callbacks, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(callbacks=list(callbacks), num_sanity_val_steps=0, limit_val_batches=0, **quiet, **options)


def test_a_checkpoint_brings_its_guide_back_for_good(tmp_path):
    loader = DataLoader(TensorDataset(torch.rand(8, *SHAPE), torch.arange(8) % 3), 4)
    first = training(7)
    trainer(LastCheckpoint(tmp_path / "r.ckpt"), max_epochs=1).fit(first, loader, loader)
    again = training(99)
    more = trainer(LastCheckpoint(tmp_path / "s.ckpt"), max_epochs=2)
    more.fit(again, loader, loader, ckpt_path=tmp_path / "r.ckpt", weights_only=True)
    for ours, theirs in zip(again.loss.guide.parameters(), first.loss.guide.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_last_epoch_is_kept_whatever_ends_the_training(tmp_path):
    loader = DataLoader(TensorDataset(torch.rand(12, *SHAPE), torch.arange(12) % 3), 4)
    trainer(LastCheckpoint(tmp_path / "m.ckpt", 5), max_steps=7).fit(training(7), loader, loader)
    assert (tmp_path / "m.ckpt").is_file()


def test_a_folder_that_has_changed_since_the_training_is_said(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "imgs" / label).mkdir(parents=True)
        for place in range(20):
            shade = Image.fromarray(np.full((8, 8), 10 * place + (label == "b"), dtype=np.uint8))
            shade.save(tmp_path / "imgs" / label / f"{place:03}.png")
    data = ImageData("folder", tmp_path / "imgs")
    vae = ConditionalVAE(SHAPE, 2, encoder_widths=(8,), hidden_dim=16, latent_dim=4)
    vae.class_names = data.class_names
    vae.save_pretrained(tmp_path / "run" / "vae")
    settings = f"# images: fingerprint {data.fingerprint()}\ndata_dir: {tmp_path / 'imgs'}\ndata:\n  name: folder\n"
    (tmp_path / "run" / "settings.yaml").write_text(settings)
    arguments = (str(tmp_path / "run" / "vae"), vae, data.class_names, None, None, False)
    images_of_run(*arguments)
    shade.save(tmp_path / "imgs" / "b" / "000a.png")
    with pytest.warns(UserWarning, match="the test images may include training images"):
        images_of_run(*arguments)


def test_a_declared_class_may_have_the_name_of_nothing(tmp_path):
    (tmp_path / "labels.csv").write_text("file,glasses\na,none\nb,sun\nc,\nd,None\n")
    for kind in (Category(["none", "sun"]), {"kind": "category", "names": ["none", "sun"]}):
        _, _, rows = read_labels(tmp_path / "labels.csv", {"glasses": kind})
        assert rows[:, 0].nan_to_num(9.0).tolist() == [0.0, 1.0, 9.0, 0.0]
    table = {"glasses": ["none", "sun"] * 30, "width": [1.5 + place % 7 / 3 for place in range(60)]}
    kinds = {"glasses": Category(["none", "sun"]), "width": None}
    data = ImageData.from_table(torch.rand(60, *SHAPE), table, attributes=kinds)
    assert not any(split.labels.isnan().any() for split in data.splits.values())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_means_what_its_file_means(tmp_path, channels):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.putpixel((2, 1), (0, 0, 0, 255))
    turned = Image.new("L", (8, 8))
    turned.putpixel((7, 0), 255)
    turned.getexif()[274] = 6
    palette = Image.new("P", (8, 8))
    palette.info["transparency"] = 0
    clear.save(tmp_path / "clear.png")
    turned.save(tmp_path / "turned.png", exif=turned.getexif())
    palette.save(tmp_path / "palette.png", transparency=0)
    for file in tmp_path.glob("*.png"):
        expected = read_scan(file, (channels, 8, 8), fit="crop").reshape(1, channels, 8, 8)
        torch.testing.assert_close(image_tensor(Image.open(file), (channels, 8, 8)), expected, atol=0.01, rtol=0)


def test_pictures_on_their_side_are_turned_before_their_size_is_read():
    turned = Image.new("L", (12, 8))
    turned.getexif()[274] = 6
    assert image_bytes([turned, Image.new("L", (8, 12))]).shape == (2, 1, 12, 8)


def test_what_a_guide_reads_of_numbered_classes_is_a_class_and_no_name():
    kinds = {"stars": Category(["1", "2", "3"]), "lit": Binary()}
    vae, guide = made(attributes=kinds), AttributeClassifier(SHAPE, kinds, widths=(4,))
    images = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))
    rows = guide.rows(images)
    for own, expected in (({}, rows), ({"stars": "3"}, rows.clone().index_fill(1, torch.tensor([0]), 2.0))):
        asked = rows.clone().index_fill(1, torch.tensor([1]), 1.0)
        asked[:, 0] = expected[:, 0]
        found = Asked(vae, [{"lit": True}], own, guide).relabel(images, 0)
        torch.testing.assert_close(found, vae.relabel(images, asked, expected))
