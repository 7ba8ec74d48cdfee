"""What a run shows while it trains: counterfactuals of fixed images, their scores, and charts of the latent space."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor

from labelvae.evaluation.evaluator import evaluate
from labelvae.evaluation.style import style_statistics
from labelvae.inputs.class_names import printable
from labelvae.inputs.tensors import wrong_labels
from labelvae.models.classifier import LabelClassifier
from labelvae.models.inference import evaluation_mode
from labelvae.models.vae import ConditionalVAE
from labelvae.photos.picture_files import save_picture
from labelvae.training.loggers import log_picture, only_warned, shows_pictures
from labelvae.training.tasks import VAETraining
from labelvae.visual.charts import confusion, kl_bars, latent_by_label, latent_by_value
from labelvae.visual.contact_sheets import sheets


class Relabelled(Callback):
    """Relabel fixed images after each validation, judge the result, and draw it.

    The scores `relabel/...` (effectiveness overall and by class, style, realism, guide-judge gap) are those of
    `evaluate` on these images. So realism is high if the images are few. Pictures are logged as `samples/...`, the
    confusion of asked and judged labels as `relabel/confusion`, the latent space as `latent/...`.

    The judge only looks on. Nothing is chosen by its answers.

    Args:
        images: held-out images, `(N, C, H, W)` in [0, 1].
        labels: their labels, int64 `(N,)`.
        class_names: the name of each class.
        judge: an independent classifier. None leaves the scores out.
        path: the file of the latest picture of wrong labels.
        guide: the classifier in the loss, for the guide-judge gap. None leaves the gap out.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        class_names: list[str],
        judge: LabelClassifier | None,
        path: Path,
        guide: LabelClassifier | None = None,
    ) -> None:
        self.images, self.labels, self.class_names = images, labels, class_names
        self.asked = wrong_labels(labels, len(class_names), torch.Generator().manual_seed(0))
        self.judge, self.guide = judge, guide
        self.path = Path(path).absolute()
        self.style = style_statistics(images)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Relabel, judge, draw and log."""
        if not isinstance(pl_module, VAETraining) or trainer.sanity_checking:
            return
        vae, prefix = pl_module.vae, pl_module.prefix
        counterfactuals = vae.relabel(self.images, self.asked, self.labels)
        if self.judge is not None:
            agreed = float((_judged(self.judge, counterfactuals) == self.asked).float().mean())
            full = bool(trainer.loggers)  # all the scores and charts take about a second, so only where they are kept
            scores = self._scores(vae, self.judge) if full else {"effectiveness": agreed}
            pl_module.log(
                f"{prefix}relabel/effectiveness", scores.pop("effectiveness"), prog_bar=True, rank_zero_only=True
            )
            pl_module.log_dict(
                {f"{prefix}relabel/{name}": value for name, value in scores.items()}, rank_zero_only=True
            )
        if not trainer.is_global_zero:
            return
        pictures = sheets(vae, self.images, self.labels, self.class_names)
        save_picture(pictures["wrong_labels"], self.path)
        if any(shows_pictures(logger) for logger in trainer.loggers):
            named = {f"samples/{name}": picture for name, picture in pictures.items()}
            for name, picture in (named | self._charts(vae, counterfactuals)).items():
                log_picture(trainer.loggers, f"{prefix}{name}", picture, trainer.global_step)

    def _scores(self, vae: ConditionalVAE, judge: LabelClassifier) -> dict[str, float]:
        batch = [(self.images, self.labels)]
        scores = evaluate(vae, batch, judge, guide=self.guide, style=self._style, progress=False)
        names = ("effectiveness", "realism", "realism_by_class", "leakage", "psnr", "reversed_psnr")
        values = {name: float(getattr(scores, name)) for name in names}
        values |= {"gap": scores.guide_judge_gap} | {f"style_{name}": value for name, value in scores.style.items()}
        by_class = zip(self.class_names, scores.effectiveness_by_class, strict=True)
        values |= {f"effectiveness_{printable(name)}": value for name, value in by_class}
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _style(self, images: Tensor) -> dict[str, Tensor]:
        """Return the style of images. That of the watched images is known already."""
        return self.style if torch.equal(images, self.images) else style_statistics(images)

    def _charts(self, vae: ConditionalVAE, counterfactuals: Tensor) -> dict[str, Image.Image]:
        """Return charts of the latent space and of the judge's answers, by their names in the log.

        A chart that cannot be drawn is left out with a warning.
        """
        with evaluation_mode(vae) as model:
            posterior = model.encode(self.images.to(vae.device), self.labels)
        codes, (style, values) = posterior.mean.cpu(), list(self.style.items())[-1]
        kl = posterior.kl_per_dimension().mean(dim=0).cpu()
        drawings = {
            "latent/by_label": partial(latent_by_label, codes, self.labels, self.class_names),
            "latent/by_style": partial(latent_by_value, codes, values[:, 0], style),
            "latent/kl": partial(kl_bars, kl),
        }
        if self.judge is not None:
            judged = _judged(self.judge, counterfactuals)
            drawings["relabel/confusion"] = partial(confusion, self.asked, judged, self.class_names)
        charts = {}
        for name, drawing in drawings.items():
            with only_warned(name):
                charts[name] = drawing()
        return charts


def _judged(judge: LabelClassifier, images: Tensor) -> Tensor:
    """Return a judge's labels of images `(N, C, H, W)`, int64 `(N,)`."""
    with evaluation_mode(judge) as classifier:
        judged: Tensor = classifier(images.to(judge.device)).argmax(dim=1).cpu()
    return judged
