"""How one file becomes pixels: any number of bits, broken metadata, formats by what they hold."""

import io
import re
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from labelvae import ImageData
from labelvae.data.depth import Levels, common_levels
from labelvae.data.forms import Form, common_form, decode
from labelvae.data.orientation import orientation
from labelvae.data.pixels import open_image
from labelvae.photos.scans import fit_scan, read_scan

RNG = np.random.default_rng(0)


def tiff16(path, levels, photometric=1, maximum=None):
    """An uncompressed TIFF of 16-bit numbers, from the specification."""
    height, width = levels.shape[:2]
    count = 1 if levels.ndim == 2 else 3
    data = levels.astype("<u2").tobytes()
    head = b"" if count == 1 else struct.pack("<3H", 16, 16, 16) + b"\0\0"
    place = 8 + len(head) + len(data)
    tags = [(256, width), (257, height), (258, 16 if count == 1 else 8), (259, 1)]
    tags += [(262, photometric if count == 1 else 2), (273, 8 + len(head)), (277, count), (278, height)]
    tags += [(279, len(data))] + ([(281, maximum)] if maximum else [])
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, value)
        if tag in (273, 279)
        else struct.pack("<HHIHH", tag, 3, 3 if tag == 258 and count == 3 else 1, value, 0)
        for tag, value in tags
    )
    file = b"II*\0" + struct.pack("<I", place) + head + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(file)


def png48(path, levels):
    """A PNG of 16-bit colours whose rows are filtered by the pixel before."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b""
    for row in levels.astype(">u2"):
        plain = np.frombuffer(row.tobytes(), np.uint8).astype(int)
        filtered = plain.copy()
        filtered[6:] -= plain[:-6]
        rows += b"\1" + (filtered % 256).astype(np.uint8).tobytes()
    head = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", ["tif", "png", "zero_is_white"])
def test_grey_of_many_bits_fills_the_range(tmp_path, bits, kind):
    levels = RNG.integers(0, 2**bits, (40, 50)).astype(np.uint16)
    levels[0, :2] = 0, 2**bits - 1
    path = tmp_path / "x.tif"
    if kind == "png":
        Image.fromarray(levels).save(path, format="PNG")
    else:
        tiff16(path, levels, photometric=0 if kind == "zero_is_white" else 1)
    form, broken = quietly(lambda: common_form([str(path)]))
    assert not broken
    expected = np.round(levels / (2**bits - 1) * 255).astype(int)
    expected = 255 - expected if kind == "zero_is_white" else expected
    found = decode(path, form)[0].numpy().astype(int)
    assert abs(found - expected).max() <= (1 if kind == "zero_is_white" else 0)
    assert len(np.unique(found)) > 200
    exact = read_scan(path, (1, 40, 50), levels=form.integers)[0].numpy()
    share = levels / (2**bits - 1)
    np.testing.assert_allclose(exact, 1 - share if kind == "zero_is_white" else share, atol=1e-6)


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


@pytest.mark.parametrize("write", [tiff16, png48])
def test_colours_of_twelve_bits_keep_them_all(tmp_path, write):
    levels = RNG.integers(0, 4096, (9, 11, 3))
    levels[0, 0, 0] = 4095
    write(tmp_path / "x.tif", levels)
    with pytest.warns(UserWarning, match="levels 0 to 4095 of these files become 0 to 255"):
        form, _ = common_form([str(tmp_path / "x.tif")])
    found = read_scan(tmp_path / "x.tif", (3, 9, 11), levels=form.integers).numpy()
    np.testing.assert_allclose(found, levels.transpose(2, 0, 1) / 4095, atol=1e-6)


def test_a_file_says_its_own_range(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 1023\n" + struct.pack(">2H", 1023, 512))
    found = decode(tmp_path / "x.pgm", Form("L", (1, 2)))
    assert found.flatten().tolist() == [255, 128]
    tiff16(tmp_path / "y.tif", np.full((8, 8), 300), maximum=4095)
    assert quietly(lambda: common_form([str(tmp_path / "y.tif")]))[0].integers == Levels(0.0, 4095.0)


def test_all_images_of_a_folder_are_scaled_alike(tmp_path):
    for name, top in (("a", 1000), ("b", 4095)):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.fromarray(np.full((8, 8), top, dtype=np.uint16)).save(tmp_path / name / f"{index}.png")
    with pytest.warns(UserWarning, match="levels 0 to 4095") as said:
        images = ImageData("folder", tmp_path).splits["train"].images
    assert len(said) == 1
    assert images.unique().tolist() == [62, 255]


@pytest.mark.parametrize(
    ("levels", "low", "high"),
    [
        (np.linspace(0, 1, 64), 0, 1),
        (np.linspace(0, 0.2, 64), 0, 1),
        (np.linspace(-5, 20, 64), -5, 20),
        (np.linspace(0, 1e-3, 64), 0, 1e-3),
        (np.linspace(0, 1e-30, 64), 0, 1e-30),
        (np.linspace(1000, 1003, 64), 1000, 1003),
        (np.full(64, 0.01), 0, 1),
    ],
)
def test_floating_point_images(tmp_path, levels, low, high):
    Image.fromarray(levels.reshape(8, 8).astype(np.float32)).save(tmp_path / "x.tif")
    form, _ = quietly(lambda: common_form([str(tmp_path / "x.tif")]))
    expected = np.round((levels.astype(np.float32) - low) / (high - low) * 255)
    assert abs(decode(tmp_path / "x.tif", form).flatten().numpy() - expected).max() <= 1
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "x.tif")
    assert "not finite" in common_form([str(tmp_path / "x.tif")])[1][0]


def test_the_common_range_holds_all():
    assert common_levels([(0, 100)], floats=False) == Levels(0.0, 255.0)
    assert common_levels([(3, 256), (0, 20)], floats=False) == Levels(0.0, 511.0)
    assert common_levels([(-3, 7)], floats=False) == Levels(-3, 7)
    assert common_levels([(30000, 30500)], floats=False) == Levels(30000, 30500)
    assert common_levels([(30000, 30500), (0, 0)], floats=False) == Levels(0.0, 32767.0)
    assert common_levels([(0, 1)], floats=False) == Levels(0.0, 255.0)
    assert common_levels([(4000, 4000)], floats=False) == Levels(0.0, 4095.0)
    assert Levels(5.0, 5.0).shares(np.array([5, 6])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "ending", "options"),
    [
        ("JPEG", "jfif", {}),
        ("GIF", "jpg", {}),
        ("PNG", "", {}),
        ("WEBP", "png", {}),
        ("BMP", "x", {}),
        ("TIFF", "png", {"compression": "tiff_lzw"}),
        ("PPM", "pnm", {}),
        ("MPO", "jpg", {"save_all": True, "append_images": [Image.new("RGB", (20, 16))]}),
    ],
)
def test_formats_are_told_by_what_the_file_holds(tmp_path, kind, ending, options):
    image = Image.new("RGB", (20, 16), (250, 10, 10))
    image.save(tmp_path / f"x.{ending}", format=kind, **options)
    form, broken = common_form([str(tmp_path / f"x.{ending}")])
    assert not broken
    assert form.image_shape == (3, 16, 20)
    assert abs(decode(tmp_path / f"x.{ending}", form)[:, 5, 5].int() - 10).tolist() == pytest.approx(
        [240, 0, 0], abs=12
    )


def test_pages_are_refused_and_animations_give_their_first_frame(tmp_path):
    frames = [Image.new("L", (8, 8), level) for level in (10, 200)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    assert "a TIFF of 2 pages; save each page" in common_form([str(tmp_path / "x.tif")])[1][0]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="the first frame is taken of 1 animated image"):
        form, _ = common_form([str(tmp_path / "x.png")])
    assert decode(tmp_path / "x.png", form).unique().tolist() == [10]


HEAD = b"Exif\0\0"
ENTRY = HEAD + b"II*\0\x08\0\0\0\x01\0\x12\x01"


@pytest.mark.parametrize(
    ("exif", "upright"),
    [
        (HEAD + HEAD + b"II*\0\x08\0\0\0\0\0", 1),
        (HEAD + b"ASCII\0\0\0no tiff here", 1),
        (HEAD + b"II*\0\x08\0\0\0\x05\0\x12\x01", 1),
        (HEAD, 1),
        (ENTRY + b"\x02\0\x02\0\0\0" + b"6\0\0\0" + bytes(4), 1),
        (ENTRY + b"\x03\0\x01\0\0\0" + b"\x09\0\0\0" + bytes(4), 1),
        (ENTRY + b"\x03\0\x01\0\0\0" + b"\0\0\0\0" + bytes(4), 1),
        (ENTRY + b"\x03\0\x02\0\0\0" + b"\x06\0\x06\0" + bytes(4), 1),
        (ENTRY + b"\x03\0\x01\0\0\0" + b"\x06\0\0\0" + bytes(4), 6),
    ],
)
def test_broken_metadata_is_no_orientation_and_no_word(tmp_path, exif, upright):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16)).save(buffer, "JPEG")
    whole = buffer.getvalue()
    path = tmp_path / "x.jpg"
    path.write_bytes(whole[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + whole[2:])
    with open_image(path) as image:
        assert orientation(image) == upright
    form, broken = common_form([str(path)])
    assert (form.size, broken) == ((16, 20) if upright == 1 else (20, 16), {})
    assert decode(path, form).shape == (3, *form.size)


@pytest.mark.parametrize(("size", "mode"), [((8, 4000), "L"), ((1, 1), "L"), ((9000, 5000), "RGB")])
def test_very_tall_very_small_and_very_large(tmp_path, size, mode):
    Image.new(mode, size, 100).save(tmp_path / "x.jpg")
    image = read_scan(tmp_path / "x.jpg", (1, 28, 28))
    assert image.shape == (1, 28, 28)
    assert 0 <= image.min() <= image.max() <= 1


def test_what_was_set_before_is_set_after(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    before = list(warnings.filters), Image.MAX_IMAGE_PIXELS

    def read():
        for _ in range(50):
            with open_image(tmp_path / "x.png") as image:
                image.load()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before


@pytest.mark.parametrize("mode", ["La", "PA", "RGBa", "HSV", "YCbCr", "LAB", "CMYK", "RGBX", "P", "RGBA"])
def test_pictures_of_every_mode_have_their_colour(mode):
    red = Image.new("RGB", (20, 20), (200, 30, 30))
    by = {"La": ["LA", "La"], "PA": ["P", "PA"], "RGBa": ["RGBA", "RGBa"]}.get(mode, [mode])
    for step in by:
        red = Image.new("LAB", red.size, (107, 191, 170)) if step == "LAB" else red.convert(step)
    colour = [81, 81, 81] if mode == "La" else [200, 30, 30]
    found = fit_scan(red, (3, 8, 8)).mean(dim=(1, 2)) * 255
    assert found.tolist() == pytest.approx(colour, abs=40 if mode == "LAB" else 3)


@pytest.mark.parametrize("name", ["x.tif", "x.png"])
def test_kinds_that_are_not_read_are_said(tmp_path, name):
    whole = io.BytesIO()
    Image.new("F", (8, 8)).save(whole, "TIFF")
    sixty_four = whole.getvalue().replace(
        struct.pack("<HHIHH", 258, 3, 1, 32, 0), struct.pack("<HHIHH", 258, 3, 1, 64, 0)
    )
    (tmp_path / name).write_bytes(sixty_four)
    assert "of a kind that is not read" in common_form([str(tmp_path / name)])[1][0]


UPRIGHT = {  # what a camera does to an upright image before it writes this orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_tiff_is_turned_upright_once(tmp_path, mode, compression):
    shape = (12, 9, 3) if mode == "RGB" else (12, 9)
    levels = RNG.integers(0, 256, shape).astype(np.uint8)
    upright = Image.fromarray(levels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(levels)
    path = str(tmp_path / "x.tif")
    for stated, turn in UPRIGHT.items():
        upright.transpose(turn).save(path, tiffinfo={274: stated}, compression=compression)
        form, broken = common_form([path])
        assert (form.size, broken) == ((12, 9), {})
        found = decode(path, form).numpy()
        np.testing.assert_array_equal(found.transpose(1, 2, 0).reshape(shape), levels, err_msg=str(stated))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_png_that_is_cut_off_or_damaged_is_never_half_read(tmp_path, share):
    path = tmp_path / "x.png"
    Image.fromarray(RNG.integers(0, 256, (90, 80, 3)).astype(np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="truncated"):
        decode(path, Form("RGB", (90, 80)))
    damaged = bytearray(whole)
    place = int(share * len(whole)) - 200
    damaged[place : place + 99] = bytes(99)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="broken"):
        decode(path, Form("RGB", (90, 80)))


def png16(path, levels, clear):
    """A PNG of 16-bit levels `(h, w)` or colours `(h, w, 3)`, one of which is transparent."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *levels.shape[1::-1], 16, 2 if levels.ndim == 3 else 0, 0, 0, 0))]
    chunks.append((b"tRNS", np.asarray(clear, ">u2").tobytes()))
    chunks.append((b"IDAT", zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels))))
    chunks.append((b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("colours", [False, True])
def test_a_transparent_level_of_sixteen_bits_is_white(tmp_path, colours):
    levels = RNG.integers(0, 60000, (9, 11, 3) if colours else (9, 11))
    png16(tmp_path / "x.png", levels, levels[4, 5])
    wanted = levels / 65535
    wanted[4, 5] = 1
    found = read_scan(tmp_path / "x.png", (3 if colours else 1, 9, 11), levels=Levels()).numpy()
    np.testing.assert_allclose(found.transpose(1, 2, 0).reshape(wanted.shape), wanted, atol=1e-5)


@pytest.mark.parametrize("write", [tiff16, png48])
def test_one_picture_of_sixteen_bit_colours_finds_its_own_range(tmp_path, write):
    levels = RNG.integers(0, 65536, (9, 11, 3))
    write(tmp_path / "x.tif", levels)
    found = read_scan(tmp_path / "x.tif", (3, 9, 11)).numpy()
    np.testing.assert_allclose(found, levels.transpose(2, 0, 1) / 65535, atol=1e-6)


def test_levels_of_eight_bits_with_a_sign_are_refused(tmp_path):
    Image.new("L", (8, 8), 200).save(tmp_path / "x.tif", tiffinfo={339: 2})
    assert "with a sign" in common_form([str(tmp_path / "x.tif")])[1][0]


@pytest.mark.parametrize("kind", [b"heic", b"heix", b"hevc", b"mif1"])
def test_a_picture_of_a_telephone_that_is_not_read_is_named(tmp_path, kind):
    (tmp_path / "x.jpg").write_bytes(struct.pack(">I", 24) + b"ftyp" + kind + bytes(400))
    assert common_form([str(tmp_path / "x.jpg")])[1][0] == (
        "a HEIC picture, as telephones write them, which is not read; save it as JPEG"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page or a drawing in XML"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture, which is not read; save it as PNG or JPEG"),
        (b"%PDF-1.7", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"PF\n2 2\n-1.0\n" + bytes(48), "a PFM picture in colour"),
        (b"PK\3\4", "an archive, no picture; unpack it first"),
        (bytes(128) + b"DICM", "a DICOM picture"),
        (b"II*\0\x08\0\0\0\0\0", "a TIFF that is broken or of a kind that is not read, .* 2 or more than 4 channels"),
        (b"no picture at all", "cannot identify image file"),
    ],
)
def test_what_a_file_is_instead_of_an_image_is_said(tmp_path, content, said):
    (tmp_path / "x.png").write_bytes(content)
    assert re.match(said, common_form([str(tmp_path / "x.png")])[1][0])
    with pytest.raises(ValueError, match=said):
        read_scan(io.BytesIO(content), (1, 8, 8))
