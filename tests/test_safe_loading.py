"""Files that would run code, break out or fill the memory: refused, by name, with nothing done."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from labelvae import ConditionalVAE, ImageData, LabelClassifier
from labelvae.data.labelled_files import read_folder
from labelvae.inputs.class_names import read_classes
from labelvae.models.finished_run import read_run
from labelvae.runs.experiment import Experiment
from labelvae.runs.presets import DIGITS
from labelvae.runs.run_folder import checked_checkpoint
from labelvae.training.tasks import ClassifierTraining

TRAIN_DIGITS = [sys.executable, "-m", "labelvae", "train", "digits"]


class Malicious:
    """Unpickled, it makes a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def mark(tmp_path):
    """The file that malicious code makes; the pickle is known to work."""
    path = tmp_path / "mark"
    pickle.loads(pickle.dumps(Malicious(path)))
    assert path.exists()
    path.unlink()
    return path


def pickles(mark):
    plain = pickle.dumps({"epoch": 0, "state_dict": Malicious(mark)})
    path = mark.with_name("zip.ckpt")
    torch.save({"epoch": 0, "state_dict": {}, "callbacks": Malicious(mark)}, path)
    return {"plain": plain, "zip": path.read_bytes()}


@pytest.mark.parametrize("kind", ["plain", "zip"])
def test_a_checkpoint_that_would_run_code_is_refused(mark, kind, tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(pickles(mark)[kind])
    task = ClassifierTraining(LabelClassifier((1, 8, 8), 3, widths=(8,)))
    with pytest.raises(ValueError, match=r"last\.ckpt: is no whole checkpoint"):
        checked_checkpoint(path, 1, task)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["plain", "zip"])
def test_weights_that_would_run_code_are_refused(mark, kind, tmp_path, vae):
    vae.save_pretrained(tmp_path / "vae")
    (tmp_path / "vae" / "model.safetensors").write_bytes(pickles(mark)[kind])
    with pytest.raises(ValueError, match="not a safetensors file"):
        ConditionalVAE.from_pretrained(tmp_path / "vae")
    assert not mark.exists()


def test_a_configuration_that_would_run_code_is_refused(mark, tmp_path, guide):
    guide.save_pretrained(tmp_path / "guide")
    save_file(guide.state_dict(), tmp_path / "guide" / "model.safetensors")
    (tmp_path / "guide" / "config.json").write_bytes(pickles(mark)["plain"])
    with pytest.raises(ValueError, match=r"config\.json: the configuration is not JSON"):
        LabelClassifier.from_pretrained(tmp_path / "guide")
    assert not mark.exists()


def test_settings_that_would_run_code_are_refused(mark, tmp_path):
    code = f"!!python/object/apply:os.system ['touch {mark}']\n"
    for path, words in (("evil.yaml", ["--config=evil.yaml"]), ("out/settings.yaml", ["--out=out", "--resume"])):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"rounds: {code}")
        command = [*TRAIN_DIGITS, *words, "--wandb=disabled"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
        assert not mark.exists()


def test_broken_settings_are_named(tmp_path):
    (tmp_path / "settings.yaml").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.yaml is broken"):
        Experiment(replace(DIGITS, out=tmp_path, resume=True, wandb="disabled"), ImageData("digits"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 50_000, " " * 2**21, "1" * 10_000])
def test_configurations_that_fill_the_reader_are_refused(text, tmp_path, vae):
    vae.save_pretrained(tmp_path)
    save_file(vae.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        ConditionalVAE.from_pretrained(tmp_path)


def test_a_header_of_weights_that_claims_more_than_there_is(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match="truncated, or not a safetensors file"):
        ConditionalVAE.from_pretrained(tmp_path)


# Folders of images.


@pytest.fixture
def folder(tmp_path):
    """Two classes of three small images each."""
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (12, 10), (40 * index, 50 + place, 200)).save(tmp_path / "images" / name / f"{index}.png")
    return tmp_path / "images"


def bomb(path, side=60_000):
    """A PNG of some kilobytes whose header asks for 3,600 million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [60_000, 10_000])
def test_a_decompression_bomb_is_refused_by_name(folder, side):
    """The smaller one is as large as a photo may be, but its pixels are not there."""
    bomb(folder / "cat" / "bomb.png", side)
    said = "decompression bomb" if side == 60_000 else "truncated"
    with pytest.raises(ValueError, match=rf"1 image cannot be read: .*bomb\.png .*{said}"):
        read_folder(folder, None)


def test_programs_are_not_started_by_images(folder):
    (folder / "cat" / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(ValueError, match=r"script\.png .*cannot identify"):
        read_folder(folder, None)


def test_a_wrong_extension_is_read_by_what_is_inside(folder):
    Image.new("RGB", (12, 10), (255, 0, 0)).save(folder / "cat" / "real.bmp")
    (folder / "cat" / "real.bmp").rename(folder / "cat" / "wrong.jpg")
    assert len(read_folder(folder, None).train) == 7
    (folder / "cat" / "text.png").write_text("no image at all")
    with pytest.raises(ValueError, match=r"1 image cannot be read: .*text\.png"):
        read_folder(folder, None)


def test_files_that_are_passed_over_are_said(folder):
    (folder / "cat" / "movie.mp4").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"movie\.mp4: 1 such is passed over, it is no image"):
        read_folder(folder, None)


def test_links_in_a_circle_and_to_nothing_are_named(folder):
    (folder / "cat" / "round.png").symlink_to(folder / "cat" / "round.png")
    (folder / "dog" / "lost.png").symlink_to(folder / "nothing.png")
    with pytest.raises(ValueError, match=r"2 images cannot be read: .*round\.png \(no file.*lost\.png \(no file"):
        read_folder(folder, None)


def test_a_folder_that_contains_itself_ends(folder):
    (folder / "self").symlink_to(folder)
    with pytest.raises(ValueError, match="'self' has no images"):
        read_folder(folder, None)


def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "cat" / "pipe.png")
    os.mkfifo(folder / "cat" / "pipe")
    (folder / "dog" / "folder.png").mkdir()
    with (
        pytest.warns(UserWarning, match="pipe: 1 such is passed over"),
        pytest.raises(ValueError, match=r"1 image cannot be read: .*pipe\.png"),
    ):
        read_folder(folder, None)


@pytest.mark.parametrize(
    ("values", "found"), [((0, 131_071), (0, 255)), ((-1000, 3000), (0, 255)), ((0, 200), (0, 200))]
)
@pytest.mark.filterwarnings("ignore:.*levels")
def test_thirty_two_bits_are_scaled_by_the_range_of_all(tmp_path, values, found):
    """Neither clipped at 16 bits nor blackened."""
    for name, value in zip("ab", values, strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((10, 12), value, dtype=np.int32)).save(tmp_path / name / "deep.tif")
    assert tuple(int(image.max()) for image in read_folder(tmp_path, None).train.images) == found


def test_sixteen_bits_of_a_portable_graymap(tmp_path):
    for name, comment in (("a", b""), ("b", b"# b\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "grey.pgm").write_bytes(
            b"P5 " + comment + b"10 12 65535 " + (40_000).to_bytes(2, "big") * 120
        )
    assert (read_folder(tmp_path, None).train.images == round(40_000 / 257)).all()


def test_files_nested_without_end_are_refused_in_words(tmp_path):
    deep = "[" * 100_000
    (tmp_path / "scores.json").write_text(deep)
    with pytest.raises(ValueError, match="is not JSON"):
        read_run(tmp_path)
    (tmp_path / "classes.json").write_text(deep)
    with pytest.raises(ValueError, match=r"classes\.json"):
        read_classes(tmp_path, 3)


def test_colours_survive_every_mode(tmp_path):
    """Pure red, however it is stored."""
    for name, side in (("a", 10), ("b", 11)):
        red = Image.new("RGB", (12, side), (255, 0, 0))
        (tmp_path / name).mkdir()
        red.save(tmp_path / name / "rgb.png")
        red.convert("P").save(tmp_path / name / "palette.png")
        red.convert("RGBA").save(tmp_path / name / "rgba.png")
        red.convert("CMYK").save(tmp_path / name / "cmyk.tif")
    images = read_folder(tmp_path, None).train.images
    assert len(images) == 8
    assert (images[:, 0] == 255).all()
    assert (images[:, 1:] == 0).all()


def test_more_images_than_memory_are_refused(folder):
    with pytest.raises(ValueError, match=r"image_size: an image of 10000000x10000000 needs 300,000 GB of memory"):
        read_folder(folder, (10**7, 10**7))
    with pytest.raises(ValueError, match=r"image_size\[0\]: expected an integer of at most 65,536"):
        ImageData("folder", folder, image_size=(10**7, 10**7))
