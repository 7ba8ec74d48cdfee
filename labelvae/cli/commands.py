"""The commands of `labelvae`, one function each. The signature is the command line, and the docstring is its help.

Nothing here imports torch before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labelvae.cli.loading import check_images_of_run, data_of, images_of_run, load_classifier, load_model
from labelvae.cli.surroundings import check_place
from labelvae.data.settings import DataName


def run_evaluate(
    *,
    model: str,
    judge: str,
    guide: str | None = None,
    data: DataName | None = None,
    data_dir: Path | None = None,
    rounds: int = 1,
    out: Path | None = None,
    skip_unreadable: bool = False,
    refine: float | None = None,
) -> None:
    """Score a model on the held-out test images of its data.

    Without --data the images are those of the run that made the model, by the settings.yaml next to the model's folder.
    They are split as in the run, so that no image is scored that the model was trained on.

    Args:
        model: folder of a trained model, or its name.
        judge: folder of an independent classifier, or a file ending in .pt2 that torch.export.save wrote.
        guide: folder or file of the classifier in the loss, for the guide-judge gap.
        data: data set to score on. Images of a folder are brought to the model's size.
        data_dir: folder of the data set's files.
        rounds: wrong labels drawn for each test image.
        out: a .json file that the scores are also written to.
        skip_unreadable: leave out images of a folder that cannot be read.
        refine: also score counterfactuals that the guide refined by this radius; 0 for none. Without it, the radius
            saved with the model is used.
    """
    from labelvae.evaluation.evaluator import evaluate
    from labelvae.evaluation.scores import save_scores, scores_table
    from labelvae.evaluation.weaknesses import advice, say
    from labelvae.losses.refinement import refining
    from labelvae.models.hub import locate, part_of_run, saved_kind
    from labelvae.system.whole_files import user_path

    _check_file("out", out, ".json")
    vae, names = load_model(model)
    judge = part_of_run(judge, "judge")
    if vae.attributes is not None and (not names or saved_kind(locate(judge, "")) == "AttributeClassifier"):
        for name, given in (("guide", guide), ("rounds", rounds > 1), ("refine", refine)):
            if given:
                raise ValueError(f"{name}: is for models of one class, this one has {', '.join(vae.attributes)}")
        _evaluate_attributes(vae, model, judge, data, data_dir, out, skip_unreadable)
        return
    opinion = load_classifier("judge", judge, vae)
    adviser = load_classifier("guide", guide, vae) if guide else None
    images = images_of_run(model, vae, names, data, data_dir, skip_unreadable)
    real, test = images.loader("train"), images.loader("test")
    name, better = Path(model).name, refining(vae, model, refine)
    models = {name: vae} | ({} if better is vae else {f"{name}, refined": better})
    scores = [
        evaluate(each, test, opinion, real=real, guide=adviser, name=row, rounds=rounds) for row, each in models.items()
    ]
    print(scores_table(scores))
    if out is not None:
        save_scores(scores, user_path(out))
    say(advice(scores[-1]))


def _evaluate_attributes(
    vae: Any, model: str, judge: str, data: DataName | None, data_dir: Path | None, out: Path | None, skip: bool
) -> None:
    """Judge a model of several attributes on the held-out images of its table."""
    from dataclasses import asdict, replace

    from labelvae.data.image_data import ImageData
    from labelvae.data.settings import WITH_ATTRIBUTES
    from labelvae.evaluation.attribute_scores import evaluate_attributes
    from labelvae.evaluation.scores import save_scores, scores_table
    from labelvae.evaluation.weaknesses import advice, say
    from labelvae.models.attribute_classifier import AttributeClassifier
    from labelvae.models.hub import locate
    from labelvae.system.whole_files import user_path

    opinion = AttributeClassifier.from_pretrained(judge)
    path = locate(model, vae.kind).parent / "settings.yaml"
    how, where = data_of(path, data)
    if how.name not in WITH_ATTRIBUTES:
        raise ValueError(
            f"data: expected {' or '.join(WITH_ATTRIBUTES)} for a model of {', '.join(vae.attributes)}, got {how.name}"
        )
    how = replace(
        how,
        image_size=vae.image_shape[1:],
        skip_unreadable=how.skip_unreadable or skip,
        attributes=vae.attributes.plain(),
    )
    images = ImageData(data_dir=data_dir or where, **asdict(how))
    if data is None and data_dir is None:
        check_images_of_run(images, path, how.name, where)
    held = images.splits["test"].load()
    scores = [evaluate_attributes(vae, opinion, held.images.float() / 255.0, held.labels, Path(model).name)]
    print(scores_table(scores))
    if out is not None:
        save_scores(scores, user_path(out))
    say(advice(scores[0]))


def _check_file(name: str, path: Path | None, ending: str) -> None:
    """Refuse a file that cannot be written, that has another ending, or that is something else."""
    if path is None:
        return
    from labelvae.system.whole_files import user_path

    if path.suffix.lower() != ending:
        raise ValueError(f"{name}: expected a file ending in {ending}, got {path}")
    check_place(name, user_path(path))
    _refuse_other(name, user_path(path))


def _refuse_other(name: str, path: Path) -> None:
    """Refuse to write over a file that no earlier command of this kind made, and over the scores of a run."""
    if not path.exists():
        return
    if path.name == "scores.json" and (path.parent / "settings.yaml").exists():
        raise ValueError(f"{name}: {path} has the scores of a run, also of its references; give another name")
    text = path.read_text(encoding="utf-8", errors="replace")
    ours = _are_scores(text) if path.suffix.lower() == ".json" else "labelvae: runs compared" in text[:1000]
    if not ours:
        raise ValueError(f"{name}: {path} is a file that this command did not make; give another name")


def _are_scores(text: str) -> bool:
    """Return whether a JSON text is a list of scores, each with the name of what was scored."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(rows, list) and all(isinstance(row, dict) and "name" in row for row in rows)


def prior(
    *,
    model: str,
    data: DataName | None = None,
    data_dir: Path | None = None,
    epochs: int = 20,
    skip_unreadable: bool = False,
) -> None:
    """Fit a prior to a trained model, from which it draws new images.

    The prior learns the codes of the training images: those of the run that made the model, by the settings.yaml next
    to the model's folder, or of --data. The model's files are written anew, with the same weights and the prior.

    Args:
        model: folder of a trained model, or of its run.
        data: data set whose training images are taken. Images of a folder are brought to the model's size.
        data_dir: folder of the data set's files.
        epochs: times that every image's code is seen.
        skip_unreadable: leave out images of a folder that cannot be read.
    """
    from labelvae.flows.fitting import fit_prior
    from labelvae.inputs.checks import check_count
    from labelvae.models.hub import locate
    from labelvae.system.whole_files import user_path

    check_count("epochs", epochs)
    vae, names = load_model(model)
    if not names:
        raise ValueError(f"model: expected a model of one class, got one of {', '.join(vae.attributes)}")
    folder = locate(model, vae.kind)
    if not user_path(model).exists():
        raise ValueError(f"model: expected a folder of your own, which is written to, got {model!r}; copy {folder}")
    check_place("model", folder, folder=True)
    vae.prior = fit_prior(
        vae, images_of_run(model, vae, names, data, data_dir, skip_unreadable).loader("train"), epochs
    )
    vae.save_pretrained(folder)
    print(f"the model with its prior: {folder}")


def compare(runs: list[Path], *, html: Path | None = None) -> None:
    """Print the scores of several runs, side by side.

    Args:
        runs: folders of finished runs.
        html: a file for scores and pictures, as one page that loads nothing from elsewhere.
    """
    from labelvae.models.finished_run import read_run
    from labelvae.runs.comparison import comparison_page, comparison_table
    from labelvae.system.whole_files import user_path, write_whole

    _check_file("html", html, ".html")
    found = [read_run(user_path(folder)) for folder in runs]
    print(comparison_table(found))
    if html is not None:
        write_whole(user_path(html), comparison_page(found))
        print(f"with pictures: {html}")


def export(out: Path, *, model: str) -> None:
    """Write a model's relabelling as a file for other programs.

    The file takes images and labels, and gives images, for any batch size.

    Args:
        out: a file ending in .onnx, or in .pt2 for torch.export.
        model: folder of a trained model, or its name.
    """
    from labelvae.models.export import export_onnx, export_program
    from labelvae.models.vae import ConditionalVAE
    from labelvae.system.whole_files import user_path

    out = user_path(out)
    if out.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"out: expected a file ending in .onnx or .pt2, got {out}")
    check_place("out", out)
    vae = ConditionalVAE.from_pretrained(model)
    (export_onnx if out.suffix == ".onnx" else export_program)(vae, out)
    print(f"relabelling of {model}: {out}")


def demo(
    *,
    model: str = "mnist",
    judge: str | None = None,
    images: Path | None = None,
    port: int = 7860,
    host: str = "127.0.0.1",
) -> None:
    """Serve a page: draw or upload an image, and see it relabelled.

    Nothing leaves this machine.

    Args:
        model: folder of a trained model, or the name of one that comes with the package: mnist, cifar10, scenes.
        judge: folder of an independent classifier, whose opinion is shown. Without it, the guide's is shown if there is
            one.
        images: a folder of images to pick from.
        port: port of the page; 0 takes a free one.
        host: address to listen on: this machine only, or 0.0.0.0 in a container. From other machines, the page asks for
            the token in the printed address.
    """
    from labelvae.page.server import serve

    serve(model, judge, images, port, host)
