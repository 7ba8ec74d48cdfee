import inspect
from dataclasses import fields

import pytest

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.data.settings import Augmentation, DataSettings
from labelvae.losses.objective import Objective
from labelvae.runs import presets
from labelvae.runs.settings import ClassifierSettings, Settings, VAESettings
from labelvae.training.options import Optimization

PRESETS = [value for value in vars(presets).values() if isinstance(value, Settings)]


@pytest.mark.parametrize(
    ("settings", "model", "apart"),
    [
        (
            VAESettings,
            ConditionalVAE,
            {
                "discriminator_widths",
                "discriminator_learning_rate",
                "discriminator_sees_guide",
                "augmentation",
                "refine",
                "objective",
                "optimization",
            },
        ),
        (ClassifierSettings, LabelClassifier, {"label_smoothing", "augmentation", "optimization", "adversarial"}),
    ],
)
def test_settings_have_the_names_and_defaults_of_the_model(settings, model, apart):
    ours = {field.name: field.default for field in fields(settings) if field.name not in apart}
    theirs = {name: parameter.default for name, parameter in inspect.signature(model).parameters.items()}
    not_set = ("image_shape", "num_classes", "attributes", "encoder", "decoder")
    assert ours == {name: value for name, value in theirs.items() if name not in not_set}


@pytest.mark.parametrize("settings", PRESETS, ids=lambda settings: settings.data.name)
def test_in_every_preset_the_judge_is_independent(settings):
    guide, judge = settings.guide, settings.judge
    assert (guide.kind, guide.widths, guide.blocks) != (judge.kind, judge.widths, judge.blocks)
    assert guide.optimization.seed != judge.optimization.seed


def test_a_judge_like_the_guide_is_refused():
    same = ClassifierSettings(optimization=Optimization(seed=9))
    with pytest.raises(ValueError, match="judge: expected another architecture and another seed"):
        Settings(judge=same)
    with pytest.raises(ValueError, match="judge: expected another architecture and another seed"):
        Settings(judge=ClassifierSettings(kind="mlp", optimization=Optimization(seed=0)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Optimization(epochs=0), "epochs"),
        (lambda: Optimization(batch_size=1.5), "batch_size"),
        (lambda: Optimization(learning_rate=0), "learning_rate"),
        (lambda: Optimization(seed=-1), "seed"),
        (lambda: DataSettings(name="imagenet"), "name"),
        (lambda: DataSettings(test_share=0.5), "test_share"),
        (lambda: DataSettings(validation_share=0), "validation_share"),
        (lambda: Settings(accelerator="abacus"), "accelerator"),
        (lambda: Settings(rounds=0), "rounds"),
        (lambda: Settings(resume="yes"), "resume: expected True or False"),
        (lambda: Settings(guide=3), "guide: expected ClassifierSettings, got int"),
        (lambda: VAESettings(objective=3), "objective: expected Objective, got int"),
        (lambda: VAESettings(optimization=None), "optimization: expected Optimization, got NoneType"),
        (lambda: ClassifierSettings(augmentation={}), "augmentation: expected Augmentation, got dict"),
        (lambda: Objective(style_change=3), "style_change: expected Augmentation, got int"),
        (
            lambda: Objective(discriminator_augmentation=0.1),
            "discriminator_augmentation: expected Augmentation, got float",
        ),
        (lambda: Augmentation(blur=1e12), "blur: expected a finite number of at least 0 and of at most 100"),
        (lambda: Augmentation(rotation=1e300), "rotation"),
        (lambda: VAESettings(latent_dim=0), "latent_dim"),
        (lambda: ClassifierSettings(kind="forest"), "kind"),
        (lambda: ClassifierSettings(label_smoothing=1.5), "label_smoothing"),
        (lambda: ClassifierSettings(dropout=7), "dropout"),
        (lambda: ClassifierSettings(blocks=-1), "blocks"),
        (lambda: VAESettings(hidden_dim=-1), "hidden_dim"),
        (lambda: VAESettings(encoder_widths=(0,)), "encoder_widths"),
        (lambda: Optimization(batch_size=1), "batch_size"),
        (lambda: Optimization(average_decay=1.0), "average_decay: expected a finite number of at least 0 and below 1"),
        (lambda: Objective(perceptual_weight=-1.0), "perceptual_weight"),
        (
            lambda: Settings(
                guide=ClassifierSettings(kind="mlp"), vae=VAESettings(objective=Objective(perceptual_weight=1.0))
            ),
            "guide.kind: vae.objective.perceptual_weight compares the guide's maps",
        ),
        (lambda: DataSettings(name="folder", image_size=(-3, 16)), "image_size"),
        (lambda: DataSettings(name="folder", image_size=(16,)), "image_size"),
        (lambda: DataSettings(name="mnist", image_size=(16, 16)), "for a folder of images only"),
        (lambda: DataSettings(seed=1.5), "seed"),
    ],
)
def test_bad_settings_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
