"""CelebA's files, and tables whose images stay in their files."""

import numpy as np
import pytest
import torch
from PIL import Image

from labelvae import Binary, ImageData
from labelvae.__main__ import main
from tests.test_attribute_runs import made_folder, refused

NAMES = ["Eyeglasses", "Male", "Smiling"]


def made_celeba(root, count=30):
    """Files in the form of CelebA's own: image n is as bright as n; every third person smiles, every second is male."""
    faces = root / "celeba" / "img_align_celeba"
    faces.mkdir(parents=True)
    lines, parts = [str(count), " ".join(NAMES) + " "], []
    for number in range(count):
        name = f"{number + 1:06d}.jpg"
        Image.fromarray(np.full((218, 178, 3), 5 * number, dtype=np.uint8)).save(faces / name, quality=100)
        signs = (-1, 1 if number % 2 else -1, 1 if number % 3 == 0 else -1)
        lines.append(f"{name} " + " ".join(f"{sign:2d}" for sign in signs))
        parts.append(f"{name} {0 if number < 20 else 1 if number < 24 else 2}")
    (root / "celeba" / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (root / "celeba" / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root


@pytest.mark.parametrize("memory_share", [0.5, 0.0])
def test_attributes_are_chosen_by_name_in_the_authors_splits(tmp_path, memory_share):
    chosen = {"Smiling": None, "Male": None}
    data = ImageData("celeba", made_celeba(tmp_path), attributes=chosen, memory_share=memory_share)
    assert dict(data.attributes) == {"Smiling": Binary(), "Male": Binary()}
    assert data.image_shape == (3, 64, 64)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 20, "validation": 4, "test": 6}
    for images, rows in data.loader("test", 4):
        number = (images.mean(dim=(1, 2, 3)) * 255 / 5).round()
        torch.testing.assert_close(rows, torch.stack([number % 3 == 0, number % 2 == 1], dim=1).float())
        assert number.min() >= 24


def test_all_attributes_are_taken_from_the_folder_itself(tmp_path):
    data = ImageData("celeba", made_celeba(tmp_path) / "celeba", image_size=32)
    assert list(data.attributes) == NAMES
    assert data.image_shape == (3, 32, 32)


def test_what_celeba_does_not_have_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"img_align_celeba|list_attr_celeba\.txt: no such file"):
        ImageData("celeba", tmp_path)
    root = made_celeba(tmp_path)
    with pytest.raises(ValueError, match="attributes: expected some of Eyeglasses, Male, Smiling, got 'smiling'"):
        ImageData("celeba", root, attributes={"smiling": None})
    table = root / "celeba" / "list_attr_celeba.txt"
    whole = table.read_text()
    for broken in (whole.replace("-1  1 -1", "-1  1", 1), whole.replace("-1", "no", 1), "3\n"):
        table.write_text(broken)
        with pytest.raises(ValueError, match=r"list_attr_celeba\.txt: expected a file and whole numbers in each line"):
            ImageData("celeba", root)
    table.write_text(whole)
    (root / "celeba" / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    with pytest.raises(ValueError, match=r"list_eval_partition\.txt: expected the 30 files"):
        ImageData("celeba", root)


def test_celeba_as_kaggle_has_it(tmp_path):
    wanted = ImageData("celeba", made_celeba(tmp_path))
    root = tmp_path / "celeba"
    faces = root / "img_align_celeba"
    faces.rename(root / "faces")
    faces.mkdir()
    (root / "faces").rename(faces / faces.name)
    for name, head in (
        ("list_attr_celeba", "image_id," + ",".join(NAMES)),
        ("list_eval_partition", "image_id,partition"),
    ):
        lines = (root / f"{name}.txt").read_text().splitlines()[2 * (name == "list_attr_celeba") :]
        (root / f"{name}.csv").write_text("\n".join([head, *(",".join(line.split()) for line in lines)]) + "\n")
        (root / f"{name}.txt").unlink()
    data = ImageData("celeba", root)
    assert list(data.attributes) == NAMES
    for split, images in data.splits.items():
        assert torch.equal(images.images, wanted.splits[split].images)
        assert torch.equal(images.labels, wanted.splits[split].labels)


def test_splits_of_celeba_without_images(tmp_path):
    parts = made_celeba(tmp_path) / "celeba" / "list_eval_partition.txt"
    names = [f"{number + 1:06d}.jpg" for number in range(30)]
    parts.write_text("".join(f"{name} 0\n" for name in names))
    assert {name: len(split) for name, split in ImageData("celeba", tmp_path).splits.items()} == {
        "train": 22,
        "validation": 2,
        "test": 6,
    }
    for split in (2, 3):
        parts.write_text("".join(f"{name} {split}\n" for name in names))
        with pytest.raises(ValueError, match=rf"list_eval_partition.txt: expected 0 for training .*, got {split}$"):
            ImageData("celeba", tmp_path)


def test_celeba_trains_with_one_command(tmp_path, capsys):
    root = made_celeba(tmp_path)
    words = ["train", "table", "--data.name=celeba", f"--data-dir={root}", "--data.image-size=16", "--fast-dev-run"]
    words += ["--guide.widths=[8,8]", "--judge.widths=[8,8]", "--vae.encoder-widths=[8,8]", "--vae.hidden-dim=16"]
    words += ["--vae.decoder-widths=[8,8]", "--vae.latent-dim=4", f"--out={tmp_path / 'out'}"]
    words += [f"--{name}.optimization.batch-size=8" for name in ("guide", "judge", "vae")]
    main([*words, '--data.attributes={"Smiling": null}'])
    run = tmp_path / "out" / "fast-dev-run"
    main(["evaluate", f"--model={run / 'vae'}", f"--judge={run / 'judge'}"])
    assert "Smiling" in capsys.readouterr().out
    assert "Smiling" in refused(capsys, *words, '--data.attributes={"Beard": null}', "--overwrite")


def test_a_table_that_does_not_fit_in_memory_stays_in_its_files(tmp_path):
    folder = made_folder(tmp_path / "images")
    held, streamed = (ImageData("table", folder, memory_share=share) for share in (0.5, 0.0))
    assert type(held.splits["train"]).__name__ == "ImageSet"
    assert type(streamed.splits["train"]).__name__ == "FileImages"
    assert held.fingerprint() == streamed.fingerprint()
    for name in ("train", "validation", "test"):
        both = [data.splits[name].load() for data in (held, streamed)]
        assert torch.equal(both[0].images, both[1].images)
        torch.testing.assert_close(both[0].labels, both[1].labels, equal_nan=True, rtol=0, atol=0)
    assert torch.cat([split.labels for split in streamed.splits.values()]).isnan().sum() == 1
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes() + b" ")
    assert ImageData("table", folder).fingerprint() != held.fingerprint()


def test_files_of_celeba_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"list_attr_celeba\.txt: no such file or folder"):
        ImageData("celeba", tmp_path / ("x" * 300))
    root = made_celeba(tmp_path) / "celeba"
    (root / "list_attr_celeba.txt").unlink()
    (root / "list_attr_celeba.txt").mkdir()
    with pytest.raises(ValueError, match=r"list_attr_celeba\.txt: this list cannot be read \(Is a directory\)$"):
        ImageData("celeba", root)

    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(ValueError, match=r"celeba: this folder cannot be read \(Permission denied\)$"):
        ImageData("celeba", root)


def test_celeba_in_png_and_attributes_in_any_form(tmp_path):
    wanted = ImageData("celeba", made_celeba(tmp_path), attributes={"Male": None, "Smiling": None})
    for path in (tmp_path / "celeba" / "img_align_celeba").iterdir():
        with Image.open(path) as image:
            image.save(path.with_suffix(".png"))
        path.unlink()
    for asked in ({"Smiling", "Male"}, ["Male", "Smiling", "Male"]):
        data = ImageData("celeba", tmp_path, attributes=asked)
        assert list(data.attributes) == ["Male", "Smiling"]
        assert torch.equal(data.splits["test"].images, wanted.splits["test"].images)
        assert torch.equal(data.splits["test"].labels, wanted.splits["test"].labels)
    assert list(ImageData("celeba", tmp_path, attributes="Smiling").attributes) == ["Smiling"]
