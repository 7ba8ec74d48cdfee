"""Does relabelling help a rare class? MNIST with one class cut to 1 %, and a classifier trained three ways.

    python examples/rare_classes.py --data-dir DIR

`none` trains on what is left, `oversampling` repeats the rare images until the classes are balanced, and `relabelled`
fills up with images of the other classes relabelled as the rare one, by a model that saw the same few. Three seeds;
the accuracy on the rare class and on all, on the test images, as a table and under the output folder as JSON.
"""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from labelvae.cli.parser import run
from labelvae.runs.presets import MNIST_BRIEF
from labelvae.runs.settings import ClassifierSettings, Settings, VAESettings

RARE, SHARE, LEAST = 8, 0.01, 5  # the class, what is left of it, and how many images at least
SEEDS = (0, 1, 2)
How = TypeVar("How", ClassifierSettings, VAESettings)


def main(settings: Settings) -> None:
    """Every seed by itself; then means and deviations."""
    import json
    import statistics

    from labelvae.system.whole_files import write_whole

    results = [accuracies(settings, seed) for seed in SEEDS]
    print(f"\n{'':14}{'rare class':>18}{'all classes':>18}")
    for name in results[0]:
        figures = [[result[name][part] for result in results] for part in ("rare", "all")]
        cells = [f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" for values in figures]
        print(f"{name:14}{cells[0]:>18}{cells[1]:>18}")
    write_whole(settings.out / "rare_classes.json", json.dumps(results, indent=2) + "\n")


def accuracies(settings: Settings, seed: int) -> dict[str, dict[str, float]]:
    """Test accuracy of the three classifiers, on the rare class and on all."""
    from dataclasses import asdict

    import torch

    from labelvae.data.image_data import ImageData
    from labelvae.data.image_sets import ImageSet
    from labelvae.runs.experiment import Experiment
    from labelvae.training.loggers import close_logger

    settings = replace(settings, out=settings.out / f"seed{seed}", guide=seeded(settings.guide, 10 * seed + 1))
    settings = replace(settings, vae=seeded(settings.vae, 10 * seed + 3))
    data = ImageData(data_dir=settings.data_dir, **asdict(settings.data))
    generator = torch.Generator().manual_seed(seed)
    train = data.splits["train"].load()
    rare, common = ((train.labels == RARE).nonzero().flatten(), (train.labels != RARE).nonzero().flatten())
    rare = rare[torch.randperm(len(rare), generator=generator)][: max(LEAST, round(SHARE * len(rare)))]
    missing = len(common) // (data.num_classes - 1) - len(rare)
    few = train.subset(torch.cat([common, rare]))
    repeats = rare[torch.randint(len(rare), (missing,), generator=generator)]
    oversampled = train.subset(torch.cat([common, rare, repeats]))

    data.splits["train"] = oversampled  # the guide and the model, too, must see the rare class often enough
    experiment = Experiment(settings, data)
    guide = experiment.classifier("guide", settings.guide)
    model = experiment.vae("vae", settings.vae, guide, guide)  # no judge is needed: the test images are real
    some = train.subset(common[torch.randperm(len(common), generator=generator)[:missing]])
    relabelled = model.relabel(some.images.float() / 255.0, RARE, some.labels)
    images = torch.cat([few.images, (relabelled * 255.0).round().byte()])
    made = ImageSet(images, torch.cat([few.labels, torch.full_like(some.labels, RARE)]))

    results = {}
    for name, split in {"none": few, "oversampling": oversampled, "relabelled": made}.items():
        data.splits["train"] = split
        classifier = experiment.classifier(name, seeded(settings.judge, 10 * seed + 2))
        right, labels = [], []
        with torch.no_grad():
            for batch, truth in data.loader("test"):
                right.append(classifier(batch.to(classifier.device)).argmax(dim=1).cpu() == truth)
                labels.append(truth)
        correct, of_rare = torch.cat(right).float(), torch.cat(labels) == RARE
        results[name] = {"rare": float(correct[of_rare].mean()), "all": float(correct.mean())}
        print(f"seed {seed}, {name}: {results[name]}", flush=True)
    if experiment.logger is not None:
        flat = {f"{name}_{part}": value for name, result in results.items() for part, value in result.items()}
        close_logger(experiment.logger, flat, "nothing looked for", settings.out / "vae", settings.out.name)
    return results


def seeded(how: How, seed: int) -> How:
    """The same network from another seed."""
    return replace(how, optimization=replace(how.optimization, seed=seed))


if __name__ == "__main__":
    run(main, replace(MNIST_BRIEF, out=Path("runs/rare_classes")), __doc__)
