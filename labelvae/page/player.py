"""What the page asks for, without the page: images to relabel, and what becomes of them.

`Player` answers many wishes with one forward pass. `Batcher` collects the wishes of everyone who waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from labelvae.inputs.checks import check_same_data
from labelvae.inputs.class_names import check_names
from labelvae.inputs.tensors import Images, as_images, label_weights
from labelvae.models.inference import evaluation_mode

if TYPE_CHECKING:
    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.vae import ConditionalVAE
    from labelvae.photos.found import Found
    from labelvae.photos.scans import Fit

MOST_PICTURES = 60
"""Pictures to pick from, at most."""

LEAST_FOR_STYLE, MOST_DIRECTIONS = 20, 3
"""Pictures needed for directions in which their styles differ, and how many of those are offered."""

MOST_AT_ONCE = 64
"""Wishes that one forward pass answers, at most."""

Asked = TypeVar("Asked")
Given = TypeVar("Given")


@dataclass(frozen=True)
class Subject:
    """An image to relabel, and where it is from.

    Attributes:
        image: what the model sees, `(C, H, W)` in [0, 1].
        own: index of the class that it was read as.
        said: what a person should know about the reading; may be empty.
        photo: the upright photograph that the image was found in, or None.
        found: where in the photograph, or None.
    """

    image: Tensor
    own: int
    said: str = ""
    photo: Image.Image | None = None
    found: Found | None = None


@dataclass(frozen=True)
class Wish:
    """What one person wants to see of an image.

    Attributes:
        image: `(C, H, W)` in [0, 1].
        own: the label of the image.
        labels: what it is shown as, weights over the classes `(R, K)`, a row an image.
        style: how far its code is moved along each direction of `Player.directions`, in standard deviations; the
            first ones may be given alone.
    """

    image: Tensor
    own: int
    labels: Tensor
    style: Sequence[float] = ()


@dataclass(frozen=True)
class Answer:
    """What becomes of an image.

    Attributes:
        images: the image under each row of labels, `(R, C, H, W)` in [0, 1].
        opinions: the judge's probability of each class for each of them; empty lists without a judge.
    """

    images: Tensor
    opinions: list[list[float]]


class Player:
    """Answers what the page asks.

    Args:
        vae: the model.
        class_names: name of each label.
        judge: a classifier, best an independent one; None leaves its opinion out.
        pictures: images to pick from, in a form of `Images`; None takes samples of the model, of every class.
        who: what the classifier is called on the page.

    Raises:
        ValueError: a judge of other images or classes; pictures of another size; another number of names; a model that
            shows no other label.
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        class_names: list[str],
        judge: LabelClassifier | None = None,
        pictures: Images | None = None,
        who: str = "judge",
    ) -> None:
        class_names = check_names("class_names", class_names, vae.num_classes)
        if judge is not None:
            check_same_data("judge", judge, vae)
        if not vae.decoder_sees_label:
            raise ValueError(
                f"model: a decoder with decoder_label={vae.decoder_label!r} shows no other label here; "
                "take another model, or `labelvae relabel`"
            )
        self.vae, self.class_names, self.judge, self.who = vae, class_names, judge, who
        if pictures is None:
            count = MOST_PICTURES // vae.num_classes + 1
            labels = torch.arange(vae.num_classes).repeat(count)[:MOST_PICTURES]
            pictures = vae.sample(labels, torch.Generator().manual_seed(0)).cpu()
        self.pictures = as_images(pictures, vae.image_shape, "pictures")[:MOST_PICTURES].cpu()
        self.guesses = self._guesses(self.pictures)
        self.directions = torch.zeros(0, vae.latent_dim)
        if len(self.pictures) >= LEAST_FOR_STYLE and vae.encoder_label == "none":
            self.directions = _directions(self.code(self.pictures, None).cpu())

    def code(self, images: Tensor, own: Tensor | None) -> Tensor:
        """Encode images `(B, C, H, W)` with their labels `(B,)` to posterior means `(B, D)`."""
        with evaluation_mode(self.vae) as vae:
            return vae.encode(images.to(self.vae.device), own).mean

    def guess(self, image: Tensor) -> int:
        """Return what the judge takes an image `(C, H, W)` for; 0 without one."""
        return self._guesses(image[None])[0]

    def opinions(self, images: Tensor) -> list[list[float]]:
        """Return the judge's probabilities of each class, for images `(B, C, H, W)`; empty lists without one."""
        if self.judge is None:
            return [[] for _ in images]
        with evaluation_mode(self.judge) as judge:
            probabilities: list[list[float]] = judge(images.to(self.judge.device)).softmax(dim=1).tolist()
        return probabilities

    def picked(self, index: int) -> Subject:
        """Return one of the pictures to pick from."""
        return Subject(self.pictures[index], self.guesses[index])

    def read(self, picture: Image.Image, fit: Fit, invert: bool = False) -> Subject:
        """Read a drawing or a photograph.

        Under `strokes` the digits in it are read by the guide, if there is one. Of several the surest is taken.

        Args:
            picture: of any size and mode.
            fit: how it comes into the model's frame.
            invert: swap dark and bright; `strokes` finds it out by itself.

        Raises:
            ValueError: what cannot be read, or is no digit.
        """
        if fit == "strokes" and self.judge is not None:
            return self._digit(picture)
        from labelvae.photos.scans import fit_scan

        image = fit_scan(picture, self.vae.image_shape, invert=invert, fit=fit)
        return Subject(image, self.guess(image))

    def _digit(self, picture: Image.Image) -> Subject:
        from labelvae.photos.reading import read_digits

        assert self.judge is not None
        with evaluation_mode(self.judge) as guide:
            read = read_digits(picture, guide, self.vae)
        best = max(read.readings, key=lambda one: one.confidence)
        name = self.class_names[best.label]
        if len(read.readings) == 1:
            said = f"Read as {name}, {best.confidence:.0%} sure."
        else:
            said = f"Of {len(read.readings)} digits the surest is shown: a {name}, {best.confidence:.0%} sure."
        return Subject(best.image, best.label, said, read.photo, best.found)

    def way(self, own: int, asked: int, share: float = 1.0) -> Tensor:
        """Return the label that lies on the way from one (share 0) to another (share 1), `(1, K)`."""
        first, last = (label_weights(label, self.vae.num_classes, 1) for label in (own, asked))
        return torch.lerp(first, last, float(share))

    def classes(self) -> Tensor:
        """Return the label of every class, `(K, K)`."""
        return torch.eye(self.vae.num_classes)

    def relabel(self, image: Tensor, own: int, asked: int, share: float = 1.0, style: Sequence[float] = ()) -> Tensor:
        """Return an image `(C, H, W)` on the way from its own label to the asked one."""
        return self.answer([Wish(image, own, self.way(own, asked, share), style)])[0].images[0]

    def every_class(self, image: Tensor, own: int, style: Sequence[float] = ()) -> Tensor:
        """Return an image `(C, H, W)` as every class, `(K, C, H, W)`."""
        return self.answer([Wish(image, own, self.classes(), style)])[0].images

    def answer(self, wishes: Sequence[Wish]) -> list[Answer]:
        """Answer wishes with one pass through each network, in their order."""
        code = self.code(torch.stack([wish.image for wish in wishes]), torch.tensor([wish.own for wish in wishes]))
        moves = torch.zeros(len(wishes), len(self.directions))
        for row, wish in zip(moves, wishes, strict=True):
            style = torch.tensor(tuple(wish.style)[: len(row)])
            row[: len(style)] = style
        code = code + (moves @ self.directions).to(code)
        counts = [len(wish.labels) for wish in wishes]
        with evaluation_mode(self.vae) as vae:
            rows = torch.cat([wish.labels for wish in wishes]).to(code.device)
            made = vae.decode(code.repeat_interleave(torch.tensor(counts, device=code.device), dim=0), rows).cpu()
        opinions, answers, start = self.opinions(made), [], 0
        for images in made.split(counts):
            answers.append(Answer(images, opinions[start : start + len(images)]))
            start += len(images)
        return answers

    def _guesses(self, images: Tensor) -> list[int]:
        return [likeliest(opinion) if opinion else 0 for opinion in self.opinions(images)]


class Batcher(Generic[Asked, Given]):
    """Answers everything that waits at once, on a thread of its own.

    Args:
        work: answers a list, in its order.
        most: answered at once, at most.
    """

    def __init__(self, work: Callable[[list[Asked]], Sequence[Given]], most: int = MOST_AT_ONCE) -> None:
        self._work, self._most = work, most
        self._waiting: queue.SimpleQueue[tuple[Asked, Future[Given]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="batcher", daemon=True).start()

    def ask(self, asked: Asked) -> Future[Given]:
        """Put something into the queue; the future holds its answer."""
        future: Future[Given] = Future()
        self._waiting.put((asked, future))
        return future

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < self._most and not self._waiting.empty():
                batch.append(self._waiting.get())
            batch = [(asked, future) for asked, future in batch if future.set_running_or_notify_cancel()]
            try:
                given = self._work([asked for asked, _ in batch]) if batch else []
                for (_, future), answer in zip(batch, given, strict=True):
                    future.set_result(answer)
            except Exception as error:  # the thread must outlive it
                for future in (future for _, future in batch if not future.done()):
                    future.set_exception(error)


def likeliest(opinion: Sequence[float]) -> int:
    """Return the index of the largest probability."""
    return max(range(len(opinion)), key=opinion.__getitem__)


def _directions(codes: Tensor) -> Tensor:
    """Return the first principal directions of codes `(N, D)`, each as long as their deviation along it, `(S, D)`."""
    centred = codes - codes.mean(dim=0)
    _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
    directions: Tensor = vectors[:MOST_DIRECTIONS] * values[:MOST_DIRECTIONS, None] / len(codes) ** 0.5
    return directions
