"""A page to play with a model: draw, upload or pick an image, and see it under other labels, with the judge's opinion.

Served on this machine only; the page asks no other for anything, fonts included (the `demo` extra).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labelvae.classes import read_classes
from labelvae.classifier import LabelClassifier
from labelvae.figures import grid, to_picture
from labelvae.hub import locate
from labelvae.inference import evaluation_mode
from labelvae.inputs import label_weights
from labelvae.picture_files import find_pictures
from labelvae.scans import Fit, fit_scan, read_scan
from labelvae.vae import ConditionalVAE

SHOWN = 320
"""Pixels that pictures on the page are enlarged to."""

MOST_PICTURES = 60
"""Pictures to pick from, at most."""

LEAST_FOR_STYLE, MOST_DIRECTIONS = 20, 3
"""Pictures needed for directions in which their styles differ, and how many of those are offered."""


class Player:
    """What the page asks for, without the page.

    Args:
        vae: the model.
        class_names: name of each label.
        judge: a classifier, best an independent one; None leaves its opinion out.
        pictures: images to pick from `(N, C, H, W)` in [0, 1]; None takes samples of the model, of every class.
        who: what the classifier is called on the page.

    Raises:
        ValueError: a judge of other images or classes.
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        class_names: list[str],
        judge: LabelClassifier | None = None,
        pictures: Tensor | None = None,
        who: str = "judge",
    ) -> None:
        if judge is not None and (judge.num_classes, judge.image_shape) != (vae.num_classes, vae.image_shape):
            raise ValueError(
                f"judge: knows {judge.num_classes} classes of images {judge.image_shape}, the model "
                f"{vae.num_classes} of {vae.image_shape}; give a judge for the same data"
            )
        if not vae.decoder_sees_label:
            raise ValueError(
                f"model: a decoder with decoder_label={vae.decoder_label!r} shows no other label here; "
                "take another model, or `labelvae relabel`"
            )
        self.vae, self.class_names, self.judge, self.who = vae, class_names, judge, who
        if pictures is None:
            count = MOST_PICTURES // vae.num_classes + 1
            labels = torch.arange(vae.num_classes).repeat(count)[:MOST_PICTURES]
            pictures = vae.sample(labels, torch.Generator().manual_seed(0))
        self.pictures = pictures[:MOST_PICTURES]
        self.directions = torch.zeros(0, vae.latent_dim)
        if len(self.pictures) >= LEAST_FOR_STYLE and vae.encoder_label == "none":
            self.directions = _directions(self.code(self.pictures, None))

    def code(self, images: Tensor, own: int | None) -> Tensor:
        """Posterior means `(B, D)` of images `(B, C, H, W)`."""
        with evaluation_mode(self.vae) as vae:
            return vae.encode(images.to(self.vae.device), own).mean

    def guess(self, image: Tensor) -> int:
        """What the judge takes an image `(C, H, W)` for; 0 without one."""
        return max(enumerate(self.opinions(image[None])[0]), key=lambda pair: pair[1])[0] if self.judge else 0

    def opinions(self, images: Tensor) -> list[list[float]]:
        """The judge's probabilities of each class, for images `(B, C, H, W)`; empty lists without one."""
        if self.judge is None:
            return [[] for _ in images]
        with evaluation_mode(self.judge) as judge:
            probabilities: list[list[float]] = judge(images.to(self.judge.device)).softmax(dim=1).tolist()
        return probabilities

    def relabel(self, image: Tensor, own: int, asked: int, share: float = 1.0, style: Sequence[float] = ()) -> Tensor:
        """An image `(C, H, W)` on the way from its own label (share 0) to another (share 1).

        Args:
            style: how far its code is moved along each direction in which the pictures differ most, in standard
                deviations; the first ones may be given alone.
        """
        return self._decode(image, own, [asked], share, style)[0]

    def every_class(self, image: Tensor, own: int, style: Sequence[float] = ()) -> Tensor:
        """An image `(C, H, W)` as every class, `(K, C, H, W)`."""
        return self._decode(image, own, list(range(self.vae.num_classes)), 1.0, style)

    def _decode(self, image: Tensor, own: int, asked: list[int], share: float, style: Sequence[float]) -> Tensor:
        code = self.code(image[None], own)
        for length, direction in zip(style, self.directions, strict=False):
            code = code + length * direction.to(code.device)
        first, last = (label_weights(labels, self.vae.num_classes, len(asked)) for labels in (own, asked))
        weights = torch.lerp(first, last, share)
        with evaluation_mode(self.vae) as vae:
            return vae.decode(code.expand(len(asked), -1), weights.to(code.device)).cpu()

    def every_class_picture(self, image: Tensor, own: int, style: Sequence[float] = ()) -> Image.Image:
        """The image as every class, each with its name and what the judge takes it for."""
        images = self.every_class(image, own, style)
        captions = []
        for label, opinion in enumerate(self.opinions(images)):
            judged = self.class_names[int(np.argmax(opinion))] if opinion else ""
            captions.append(self.class_names[label] + (f" ({judged})" if opinion else ""))
        rows = range(0, len(images), 5)
        return grid([list(images[row : row + 5]) for row in rows], [captions[row : row + 5] for row in rows])


def _directions(codes: Tensor) -> Tensor:
    """The first principal directions of codes `(N, D)`, each as long as their deviation along it, `(S, D)`."""
    centred = codes - codes.mean(dim=0)
    _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
    directions: Tensor = vectors[:MOST_DIRECTIONS] * values[:MOST_DIRECTIONS, None] / len(codes) ** 0.5
    return directions


def build(player: Player) -> Any:  # noqa: PLR0915  a page is a list of its parts
    """The page, a `gradio.Blocks`, not yet served.

    Raises:
        ValueError: gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio as gr
    except ImportError as error:
        raise ValueError(f"demo: needs the extra of that name ({error}); pip install 'labelvae[demo]'") from error
    names, shape = player.class_names, player.vae.image_shape
    choices = [(name, label) for label, name in enumerate(names)]
    grey = shape[0] == 1

    def seen(picture: Image.Image | None, invert: bool, fit: Fit) -> tuple[Any, Any]:
        if picture is None:
            return gr.skip(), gr.skip()
        try:
            image = fit_scan(picture, shape, invert=invert, fit=fit)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return image.numpy(), player.guess(image)

    def drawn(sketch: dict[str, Any] | None) -> tuple[Any, Any]:
        canvas = sketch["composite"] if sketch else None
        if canvas is None or canvas.getextrema()[-1][1] == 0:  # all of it transparent
            return gr.skip(), gr.skip()
        return seen(canvas, grey, "strokes" if grey else "pad")

    def picked(choice: Any) -> tuple[Any, Any]:
        image = player.pictures[choice.index]
        return image.numpy(), player.guess(image)

    picked.__annotations__["choice"] = gr.SelectData  # by which gradio knows what to pass

    def show(image: np.ndarray, own: int, asked: int, share: float, *style: float) -> tuple[Any, ...]:
        pixels = torch.from_numpy(image)
        result = player.relabel(pixels, own, asked, share, style)
        opinion = dict(zip(names, player.opinions(result[None])[0], strict=False)) or None
        every = player.every_class_picture(pixels, own, style)
        return to_picture(pixels, SHOWN), to_picture(result, SHOWN), opinion, every

    first = player.pictures[0]
    with gr.Blocks(title="labelvae", analytics_enabled=False) as page:
        gr.Markdown("# labelvae\nAn image and a label in; the image *as that label, in its own style* out.")
        image = gr.State(first.numpy())
        with gr.Row():
            with gr.Column():
                with gr.Tab("Pick"):
                    thumbnails = [to_picture(picture) for picture in player.pictures]
                    gallery = gr.Gallery(
                        thumbnails,
                        columns=10,
                        height=240,
                        allow_preview=False,
                        show_label=False,
                        format="png",
                        elem_id="pick",
                    )
                with gr.Tab("Draw"):
                    sketch = gr.Sketchpad(
                        type="pil", label="Draw, dark on bright", canvas_size=(280, 280), layers=False
                    )
                    use = gr.Button("Use the drawing", elem_id="use")
                with gr.Tab("Upload"):
                    upload = gr.Image(type="pil", sources=["upload", "clipboard"], image_mode=None, label="Any image")
                    fits = [fit for fit in get_args(Fit) if grey or fit != "strokes"]
                    fit = gr.Radio(fits, value=fits[-1] if grey else "pad", label="Fitted into the frame")
                    invert = gr.Checkbox(grey, label="Swap dark and bright")
                own = gr.Dropdown(choices, value=player.guess(first), label="It is", elem_id="own")
                asked = gr.Radio(choices, value=len(names) - 1, label="Show it as", elem_id="asked")
                share = gr.Slider(0, 1, 1, step=0.05, label="On the way from its own label to that one")
                ranks = ("most", "second most", "third most")[: len(player.directions)]
                style = [gr.Slider(-3, 3, 0, step=0.1, label=f"Style, where images differ {rank}") for rank in ranks]
            with gr.Column():
                shown: dict[str, Any] = {
                    "format": "png",
                    "interactive": False,
                    "show_label": False,
                    "buttons": ["download"],
                }
                with gr.Row():
                    with gr.Column(min_width=160):
                        gr.Markdown("The model sees")
                        before = gr.Image(elem_id="before", **shown)
                    with gr.Column(min_width=160):
                        gr.Markdown("Relabelled")
                        after = gr.Image(elem_id="after", **shown)
                opinion = gr.Label(
                    num_top_classes=3, label=f"The {player.who}'s opinion", visible=player.judge is not None
                )
                gr.Markdown("As every class" + (f" (and what the {player.who} takes it for)" if player.judge else ""))
                every = gr.Image(elem_id="every", **shown)
        inputs, outputs = [image, own, asked, share, *style], [before, after, opinion, every]
        page.load(show, inputs, outputs, api_name="show", show_progress="hidden")
        for control in inputs[1:]:
            control.input(show, inputs, outputs, api_name=False, show_progress="hidden")
        sources = [
            gallery.select(picked, None, [image, own], api_name=False),
            use.click(drawn, [sketch], [image, own], api_name=False),
            upload.upload(seen, [upload, invert, fit], [image, own], api_name=False),
            fit.input(seen, [upload, invert, fit], [image, own], api_name=False),
            invert.input(seen, [upload, invert, fit], [image, own], api_name=False),
        ]
        for source in sources:
            source.success(show, inputs, outputs, api_name=False, show_progress="hidden")
    return page


def launch(page: Any, port: int) -> None:
    """Serves the page on this machine only, until it is stopped.

    Raises:
        ValueError: a port that is taken.
    """
    import gradio as gr

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=port,
            theme=theme,
            share=False,
            ssr_mode=False,
            quiet=True,
            footer_links=[],
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise ValueError(f"port: {port} cannot be used ({error}); choose another with --port") from error
    print(f"the page is at {address}; Ctrl-C stops it", flush=True)
    page.block_thread()


def serve(model: str, judge: str | None, images: Path | None, port: int) -> None:
    """Loads everything and serves the page until it is stopped.

    Without a judge the guide that lies beside the model, if there is one, gives its opinion, under that name.

    Raises:
        ValueError: models or images that cannot be read; a port that is taken.
    """
    vae = ConditionalVAE.from_pretrained(model)
    folder = locate(model, vae.kind)
    names, guide = read_classes(folder, vae.num_classes), folder.parent / "guide"
    asked = judge or (guide if (guide / "model.safetensors").is_file() else None)
    opinion = LabelClassifier.from_pretrained(asked) if asked else None
    pictures = None
    if images is not None:
        files = find_pictures([str(images)]).paths[:MOST_PICTURES]
        pictures = torch.stack([read_scan(file, vae.image_shape) for file in files])
    launch(build(Player(vae, names, opinion, pictures, "judge" if judge else "guide")), port)
