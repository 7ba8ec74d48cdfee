"""The page without a browser: the player, what is sent, the server."""

import base64
import io
import json
import os
import re
import secrets
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from page_server import served
from PIL import Image, ImageDraw

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.inputs.class_names import write_classes
from labelvae.page import server as demo
from labelvae.page.html import result_html, said_html
from labelvae.page.player import Answer, Batcher, Player, Subject, Wish
from labelvae.page.uploads import open_drawing, open_upload

NAMES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)
    with torch.no_grad():
        vae.decoder.hidden.weight.mul_(20)  # so that labels and codes are seen
    return vae, LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8)


@pytest.fixture(scope="module")
def player(models):
    vae, judge = models
    return Player(vae, NAMES, judge, torch.rand(25, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_the_player_relabels_as_the_model_does(models, player):
    vae, _ = models
    image = player.pictures[3]
    torch.testing.assert_close(player.relabel(image, 2, 7), vae.relabel(image[None], 7)[0])
    torch.testing.assert_close(player.relabel(image, 2, 7, share=0.0), vae.relabel(image[None], 2)[0])
    way = vae.interpolate(image[None], 2, 7, steps=5)[0]
    torch.testing.assert_close(player.relabel(image, 2, 7, share=0.25), way[1])
    torch.testing.assert_close(player.every_class(image, 2)[4], vae.relabel(image[None], 4)[0])


def test_an_encoder_that_sees_the_label_is_told_each_images_own():
    torch.manual_seed(1)
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16, encoder_label="onehot")
    player = Player(vae, ["a", "b", "c"])
    images = torch.rand(2, 1, 8, 8)
    answers = player.answer([Wish(images[0], 1, player.classes()), Wish(images[1], 2, player.way(2, 0))])
    torch.testing.assert_close(answers[0].images, vae.relabel(images[:1].expand(3, -1, -1, -1), [0, 1, 2], 1))
    torch.testing.assert_close(answers[1].images, vae.relabel(images[1:], 0, 2))


def test_the_player_takes_pictures_in_any_plain_form(models):
    bright = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    assert Player(models[0], NAMES, None, bright.numpy()).pictures.equal(torch.ones(3, 1, 8, 8))
    with pytest.raises(ValueError, match="pictures: expected shape"):
        Player(models[0], NAMES, None, torch.rand(3, 1, 9, 9))
    with pytest.raises(ValueError, match="class_names: expected 10 names, one a class, got 2"):
        Player(models[0], NAMES[:2])


def test_many_wishes_are_answered_as_each_alone(player):
    wishes = [
        Wish(
            player.pictures[index], index % 10, player.way(index % 10, 7, 0.5) if index % 2 else player.classes(), style
        )
        for index, style in enumerate([(), (1.0,), (0.0, -2.0, 1.0), (0.5, 0.5)])
    ]
    for wish, answer in zip(wishes, player.answer(wishes), strict=True):
        (alone,) = player.answer([wish])
        torch.testing.assert_close(answer.images, alone.images)
        torch.testing.assert_close(torch.tensor(answer.opinions), torch.tensor(alone.opinions))
        assert len(answer.images) == len(answer.opinions) == len(wish.labels)


def test_the_style_sliders_move_along_the_first_directions(player):
    codes = player.code(player.pictures, None)
    lengths = player.directions.norm(dim=1)
    assert len(lengths) == 3
    deviations = (codes @ (player.directions / lengths[:, None]).T).std(dim=0, correction=0)
    torch.testing.assert_close(lengths, deviations)
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)
    other = torch.randn(4)
    assert (codes @ other / other.norm()).std(correction=0) < deviations[0]
    image = player.pictures[0]
    moved = [player.relabel(image, 2, 7, style=style) for style in ((), (2.0,), (0.0, 2.0), (0.0, 0.0, 2.0))]
    assert all(not torch.equal(moved[i], moved[j]) for i in range(4) for j in range(i))


def test_the_judges_opinion(models, player):
    _, judge = models
    expected = judge.eval()(player.pictures[:1]).softmax(1)[0]
    torch.testing.assert_close(torch.tensor(player.opinions(player.pictures[:1])[0]), expected)
    assert player.guess(player.pictures[0]) == player.guesses[0] == int(expected.argmax())


def test_without_a_judge_and_pictures(models):
    player = Player(models[0], NAMES)
    assert len(player.pictures) == 60
    assert player.opinions(player.pictures[:2]) == [[], []]
    assert player.guess(player.pictures[0]) == 0


def test_a_judge_of_other_images_is_refused(models):
    with pytest.raises(ValueError, match="give one for the same data"):
        Player(models[0], NAMES, LabelClassifier((3, 8, 8), 10))


def test_a_model_that_shows_no_other_label_is_refused():
    with pytest.raises(ValueError, match="decoder_label='none' shows no other label here"):
        Player(ConditionalVAE((1, 8, 8), 10, decoder_label="none"), NAMES)


def test_everyone_who_waits_is_answered_at_once_and_gets_their_own_answer():
    sizes, gate = [], threading.Event()

    def work(numbers):
        gate.wait(300)
        sizes.append(len(numbers))
        if any(number < 0 for number in numbers):
            raise ValueError("negative")
        return [10 * number for number in numbers]

    batcher = Batcher(work, most=8)
    first = batcher.ask(0)
    while not batcher._waiting.empty():
        time.sleep(0.001)
    futures = [batcher.ask(number) for number in range(1, 20)]
    futures[4].cancel()
    gate.set()
    assert first.result(30) == 0
    assert [future.result(30) for number, future in enumerate(futures) if number != 4] == [
        10 * (number + 1) for number in range(19) if number != 4
    ]
    assert sizes[0] == 1
    assert max(sizes) == 8
    with pytest.raises(ValueError, match="negative"):
        batcher.ask(-1).result(30)
    assert batcher.ask(3).result(30) == 30  # it goes on


# What people send ----------------------------------------------------------------------------------------------------


def as_file(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    file.seek(0)
    return file


def address_of(picture):
    return "data:image/png;base64," + base64.b64encode(as_file(picture).getvalue()).decode()


def huge_png(width, height):
    """The head of a PNG of that size, and hardly anything else."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100)))]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_all_kinds_are_read_and_made_small(mode):
    grey = Image.new("L", (2400, 600), 200)
    ImageDraw.Draw(grey).rectangle((0, 0, 1199, 599), fill=40)
    if mode in ("I;16", "F"):
        levels = np.asarray(grey)
        picture = Image.fromarray(levels.astype(np.uint16) * 257 if mode == "I;16" else levels.astype(np.float32) / 255)
    else:
        picture = grey.convert(mode)
    read = open_upload(as_file(picture, "TIFF" if mode in ("CMYK", "F") else "PNG"))
    assert (read.mode, read.size) == ("RGB", (1600, 400))
    left, right = (np.asarray(read)[:, columns].mean() for columns in (slice(0, 750), slice(850, None)))
    assert (left < 60 and right > 180) or (mode in ("1", "I;16", "F") and left < right - 100)


def test_a_photograph_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    read = open_upload(as_file(Image.new("RGB", (4000, 3000), "white"), "JPEG", exif=exif))
    assert read.size == (1200, 1600)


@pytest.mark.parametrize("size", [(1, 1), (20000, 1), (1, 3000)])
def test_pictures_of_odd_sizes(size):
    assert max(open_upload(as_file(Image.new("RGB", size, "white"))).size) <= 1600


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (io.BytesIO(b""), "cannot be read: an empty file"),
        (io.BytesIO(b"hello " * 100), "no picture that can be read"),
        (io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"), "no picture that can be read"),
        (huge_png(100, 100), "broken"),
        (huge_png(12000, 9000), "108 megapixels; at most 50"),
        (huge_png(60000, 60000), "cannot be read: 60000x60000 pixels are more than"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused_in_words(file, words):
    with pytest.raises(ValueError, match=words) as refused:
        open_upload(file)
    assert str(refused.value).endswith(".")
    assert "BytesIO" not in str(refused.value)


@pytest.mark.parametrize(("size", "words"), [(41 * 2**20, "41 MB"), (int(40.3 * 2**20), r"40\.3 MB")])
def test_a_file_of_too_many_bytes_is_refused_unread(tmp_path, size, words):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(size)
    with pytest.raises(ValueError, match=f"This file has {words}; at most 40 MB"):
        open_upload(str(path))


def test_what_a_picture_is_refused_for_is_said(tmp_path):
    telephone, pages = tmp_path / "x.heic", tmp_path / "pages.tif"
    telephone.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    Image.new("L", (8, 8)).save(pages, save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    for path, words in ((telephone, "a HEIC picture"), (pages, "a TIFF of 2 pages; save each page")):
        with pytest.raises(ValueError, match=rf"This picture cannot be read: {words}.*\.$"):
            open_upload(str(path))


def test_the_pixels_of_a_large_jpeg_are_counted_as_in_its_file():
    picture = as_file(Image.new("L", (9000, 6000), 255), "JPEG")
    with pytest.raises(ValueError, match="54 megapixels; at most 50"):
        open_upload(picture)
    with pytest.raises(ValueError, match="drawing cannot be read"):
        open_drawing("data:image/png;base64," + base64.b64encode(picture.getvalue()).decode())


def test_drawings():
    assert open_drawing(address_of(Image.new("RGBA", (280, 280)))) is None
    drawn = Image.new("RGBA", (280, 280))
    ImageDraw.Draw(drawn).line([(140, 30), (140, 250)], fill=(0, 0, 0, 255), width=20)
    read = open_drawing(address_of(drawn))
    assert read.getpixel((140, 100)) == (0, 0, 0)
    assert read.getpixel((10, 10)) == (255, 255, 255)
    assert open_drawing(address_of(drawn.resize((3200, 800)))).size == (1600, 400)
    for wrong in (
        None,
        "",
        "https://example.org/x.png",
        "data:image/png;base64,????",
        "data:image/png;base64,aGVsbG8=",
    ):
        with pytest.raises(ValueError, match="drawing"):
            open_drawing(wrong)


def test_names_of_classes_are_text_on_the_page(player):
    names = ["<b>bold</b>", "${alert(1)}", "'\"", "new\nline", *NAMES[4:]]
    every = Answer(player.every_class(player.pictures[0], 0), player.opinions(player.pictures[:10]))
    html = result_html(
        Subject(player.pictures[0], 0), every.images[1], every.opinions[1], every, names[0], names, "judge"
    )
    assert "<b>" not in html
    assert "&lt;b&gt;bold" in html
    assert html.count("<figure") == 12
    assert said_html("<i>") == '<p class="told">&lt;i&gt;</p>'
    assert said_html("") == ""
    assert said_html("Read as caf\udce9.") == '<p class="told">Read as caf\\xe9.</p>'


# The server ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def served_with(monkeypatch):
    """What `serve` puts on the page, without serving it."""
    from labelvae.page import blocks as page

    players = []
    monkeypatch.setattr(page, "build", players.append)
    monkeypatch.setattr(demo, "launch", lambda *_: None)
    return players


def test_without_a_judge_the_guide_beside_the_model_gives_its_opinion(models, tmp_path, served_with):
    pytest.importorskip("gradio")
    models[0].save_pretrained(tmp_path / "vae")
    demo.serve(str(tmp_path / "vae"), None, None, 0)
    models[1].save_pretrained(tmp_path / "guide")
    demo.serve(str(tmp_path / "vae"), None, None, 0)
    alone, advised = served_with
    assert alone.judge is None
    assert advised.judge is not None
    assert advised.who == "guide"


def test_pictures_of_a_folder_are_offered(models, tmp_path, served_with):
    pytest.importorskip("gradio")
    models[0].save_pretrained(tmp_path / "vae")
    (tmp_path / "images").mkdir()
    for level in (0, 255):
        Image.new("L", (8, 8), level).save(tmp_path / "images" / f"{level}.png")
    demo.serve(str(tmp_path / "vae"), None, tmp_path / "images", 0)
    assert served_with[0].pictures.mean(dim=(1, 2, 3)).tolist() == [0.0, 1.0]


def test_the_old_names_are_found():
    assert demo.Player is Player
    assert callable(demo.build)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = demo.nothing


def test_what_is_loaded_is_said_before_it_is_loaded():
    code = (
        "import builtins, sys\n"
        "from labelvae.page.server import serve\n"
        "def first(text, **_):\n"
        "    sys.stdout.write(text); raise SystemExit(3 if {'torch', 'gradio'} & set(sys.modules) else 0)\n"
        "builtins.print = first\n"
        "serve('mnist', None, None, 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "loading" in result.stdout


def test_a_port_that_is_taken_and_a_host_that_is_not_ours_are_refused_at_once():
    with demo._listening("127.0.0.1", 0) as listener, pytest.raises(ValueError, match="choose another with --port"):
        demo.serve("mnist", None, None, listener.getsockname()[1])
    with pytest.raises(ValueError, match="host: 192.0.2.1"):
        demo.serve("mnist", None, None, 0, "192.0.2.1")


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("models")
    for name, model in zip(("vae", "judge"), models, strict=True):
        model.save_pretrained(folder / name)
    return folder


def asked(address, path="/", headers=None, body=None):
    """Status, headers and text of an answer."""
    parts = urlsplit(address)
    with closing(HTTPConnection(parts.hostname, parts.port, timeout=300)) as connection:
        connection.request("POST" if body else "GET", path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def sent(address, headers=None):
    """A file, sent as browsers send it; its path on the server."""
    lines = [
        "--line",
        'Content-Disposition: form-data; name="files"; filename="private.png"',
        "",
        "secret",
        "--line--",
        "",
    ]
    kind = {"Content-Type": "multipart/form-data; boundary=line", **(headers or {})}
    status, _, text = asked(address, "/gradio_api/upload", kind, "\r\n".join(lines).encode())
    assert status == 200, text
    return json.loads(text)[0]


def test_parts_of_what_was_sent_are_deleted_after_a_while(monkeypatch):
    monkeypatch.setattr(demo, "STORED", 0.05)
    with demo._own_folder():
        broken_off, new = (Path(tempfile.mkdtemp()) / name for name in ("part", "new"))
        for path in (broken_off, new):
            path.touch()
        os.utime(new, (time.time() + 3600,) * 2)
        for _ in range(3000):
            if not broken_off.exists():
                break
            time.sleep(0.01)
        assert not broken_off.exists()
        assert new.exists()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:7860", 200),
        ("evil.example", 403),
        ("evil.example:7860", 403),
        ("127.0.0.1.evil.example", 403),
        ("[::2]:7860", 403),
        ("", 403),
    ],
)
def test_another_name_that_means_this_machine_is_refused(host, status):
    testing = pytest.importorskip("starlette.testclient")
    from starlette.responses import PlainTextResponse

    client = testing.TestClient(demo.OwnNameAsked(PlainTextResponse("the page")))
    answer = client.get("/config", headers={"Host": host})
    assert answer.status_code == status
    assert answer.text == ("the page" if status == 200 else "Open the address that was printed at the start.")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_nothing_that_was_sent_stays_when_the_page_stops(models, tmp_path, how):
    pytest.importorskip("gradio")
    models[0].save_pretrained(tmp_path / "vae")
    write_classes(tmp_path / "vae", ["caf\udce9", *NAMES[1:]])  # bytes that are no UTF-8
    with served(tmp_path, f"--model={tmp_path / 'vae'}") as server:
        path = sent(server.address)
        assert Path(path).read_text() == "secret"
        (private,) = (tmp_path / "tmp").glob("labelvae-page-*")
        assert path.startswith(str(private))
        assert stat.S_IMODE(os.stat(private).st_mode) == 0o700
        assert asked(server.address, "/config", {"Host": "evil.example"})[0] == 403
        status, _, html = asked(server.address)
        assert status == 200
        assert "Picture 1, caf\\\\xe9" in html
        assert not [url for url in re.findall(r"(?:src|href)=\"(https?://[^\"]+)\"", html) if server.address not in url]
        theme = asked(server.address, "/theme.css")[2]
        assert "url(http" not in theme
        assert "@import" not in theme
        assert server.stop(how) == (130 if how == signal.SIGINT else 143)
        assert "Traceback" not in server.printed
    assert list((tmp_path / "tmp").iterdir()) == []


def test_elsewhere_than_on_this_machine_a_token_is_asked_for(folder, tmp_path):
    with served(tmp_path, f"--model={folder / 'vae'}", "--host=0.0.0.0") as server:
        assert "warning: whoever reaches this machine" in server.printed
        token = server.address.partition("?token=")[2]
        assert len(token) > 20
        for path in ("/", "/config", "/gradio_api/info", "/theme.css", f"/?token={token[:-1]}", "/?token="):
            status, _, text = asked(server.address, path)
            assert (status, text) == (403, "Open the address with the token that was printed at the start.")
        name = f"{demo.COOKIE}-{urlsplit(server.address).port}"
        assert asked(server.address, "/config", {"Cookie": f"{name}=x{token}"})[0] == 403
        status, headers, _ = asked(server.address, f"/?token={token}")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert cookie.startswith(f"{name}={token};")
        both = f"{demo.COOKIE}-1=other; {cookie.partition(';')[0]}"  # of another page on this machine too
        assert asked(server.address, "/config", {"Cookie": both})[0] == 200
        mapped = {"Host": "machine:9001"}  # a port that leads to the one in a container
        _, headers, _ = asked(server.address, f"/?token={token}", mapped)
        assert headers["set-cookie"].startswith(f"{demo.COOKIE}-9001={token};")
        there = {**mapped, "Cookie": f"{demo.COOKIE}-9001={token}; {demo.COOKIE}-9002=other"}
        assert asked(server.address, "/config", there)[0] == 200


def test_a_port_that_is_taken_is_said_in_plain_words():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port: another program is at {port} already; choose another with --port"):
            demo.serve("mnist", None, None, port)


def question(address, pick=0, asked=0, visit="0" * 32, shown=None, own=0, share=1.0, headers=None, **others):
    """Status and answer of the route that the browser asks, and what it shows after."""
    values = {"source": "Pick", "pick": pick, "fit": "pad", "invert": False, "asked": asked, "own": own, "share": share}
    values = [*{**values, **others}.values(), 0.0, 0.0, 0.0]
    body = json.dumps({"visit": visit, "shown": shown, "values": values})
    status, _, text = asked_of(address, body, headers)
    return status, json.loads(text) if status == 200 else text


def asked_of(address, body, headers=None):
    return asked(address, "/show", {"Content-Type": "application/json", **(headers or {})}, body)


def shown_after(answer):
    found = re.search(
        r'<figure id="after"><img src="data:image/png;base64,([^"]+)" alt="the image as (\d)"', answer["html"]
    )
    levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("L"), dtype=np.float32) / 255
    return int(found[2]), levels


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    with served(
        tmp_path_factory.mktemp("page"), f"--model={folder / 'vae'}", f"--judge={folder / 'judge'}", "--host=0.0.0.0"
    ) as server:
        address, _, token = server.address.partition("?token=")
        server.address = address
        server.cookie = {"Cookie": f"{demo.COOKIE}-{urlsplit(address).port}={token}"}
        yield server
        assert "Traceback" not in server.printed


def test_the_route_wants_the_token_too(page):
    for headers in ({}, {"Cookie": page.cookie["Cookie"] + "x"}):
        assert question(page.address, headers=headers) == (
            403,
            "Open the address with the token that was printed at the start.",
        )
    status, answer = question(page.address, asked=3, headers=page.cookie)
    assert (status, shown_after(answer)[0]) == (200, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "Steal"}, "source: expected one of Pick, Draw, Upload, got 'Steal'"),
        ({"pick": 60}, "pick: expected one of 0 to 59, got 60"),
        ({"pick": -1}, "pick: expected one of 0 to 59, got -1"),
        ({"pick": True}, "pick: expected one of 0 to 59, got True"),
        ({"pick": [0]}, "pick: expected one of 0 to 59, got list"),
        ({"fit": "none"}, "fit: expected one of strokes, pad, crop"),
        ({"invert": 1}, "invert: expected one of False, True, got 1"),
        ({"asked": 10}, "asked: expected one of 0 to 9, got 10"),
        ({"own": 1.5}, "own: expected one of 0 to 9, got 1.5"),
        ({"share": True}, "share: expected a number from 0 to 1, got True"),
        ({"share": float("nan")}, "share: expected a number from 0 to 1, got nan"),
        ({"share": "1"}, "share: expected a number from 0 to 1, got '1'"),
        ({"more": 4.0}, "values: expected 10, got 11"),
        ({"visit": "../../etc"}, "visit: expected 32 hexadecimal digits"),
        ({"visit": 3}, "visit: expected 32 hexadecimal digits"),
        ({"shown": 3}, "shown: expected text or null, got 3"),
    ],
)
def test_values_that_no_control_has_are_refused_in_words(page, change, says):
    status, text = question(page.address, headers=page.cookie, **change)
    assert status == 400
    assert text.startswith(says)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{", "application/json", 400),
        ("[" * 5000, "application/json", 400),
        ("[]", "application/json", 400),
        ("[]", "Application/JSON; charset=utf-8", 400),
        ('{"values": 3}', "application/json", 400),
        (b"\xff\xfe{", "application/json", 400),
        ("{}", "text/plain", 415),  # all that a form of another site can send
        (" " * 70_000, "application/json", 413),
    ],
)
def test_what_is_no_question_is_refused_in_words(page, body, kind, status):
    got, _, text = asked_of(page.address, body, {**page.cookie, "Content-Type": kind})
    assert got == status
    assert text.endswith(".")
    assert "expected" in text.lower() or "too large" in text


def test_a_very_long_number_is_taken_as_the_end_of_its_slider(page):
    for share, same in ((10**400, 1.0), (-(10**400), 0.0)):
        answers = [question(page.address, asked=7, own=2, share=each, headers=page.cookie) for each in (share, same)]
        assert answers[0] == answers[1]
        assert answers[0][0] == 200


def test_the_controls_are_set_back_for_another_picture_only(page, player, models):
    player = Player(models[0], NAMES, models[1])
    ask = lambda **words: question(page.address, headers=page.cookie, **words)[1]  # noqa: E731
    first = ask(pick=5, asked=7, own=2, share=0.5)
    own = player.guesses[5]
    assert first["controls"] == [None, own, 1.0, 0.0, 0.0, 0.0]
    again = ask(pick=5, asked=7, own=2, share=0.5, shown=first["key"])
    assert again["controls"] == [None, 2, 0.5, 0.0, 0.0, 0.0]
    for answer, expected in (
        (first, models[0].relabel(player.pictures[5:6], 7)[0]),
        (again, player.relabel(player.pictures[5], 2, 7, share=0.5)),
    ):
        np.testing.assert_allclose(shown_after(answer)[1], expected[0].numpy(), atol=0.01)
    nothing = ask(source="Upload", asked=7, shown=first["key"])
    assert (nothing["controls"], nothing["html"]) == ([None] * 6, "")
    assert "Upload a photograph" in nothing["said"]


@pytest.mark.parametrize(("written", "taken"), [(5, 1.0), (-0.5, 0.0), (None, 0.0)])
def test_a_number_that_is_written_into_a_slider_is_taken_as_the_slider_holds_it(page, written, taken):
    key = question(page.address, headers=page.cookie)[1]["key"]
    status, answer = question(page.address, asked=7, shown=key, share=written, headers=page.cookie)
    assert (status, answer["controls"][2]) == (200, taken)


@pytest.mark.parametrize("event", ["sent", "drawn"])  # of a file, and of text
def test_an_event_takes_only_files_that_were_sent(page, tmp_path, event):
    as_private, visit = tmp_path / "private.png", secrets.token_hex(16)
    Image.new("L", (8, 8)).save(as_private)

    def give(path):
        words = {"data": [visit, {"path": str(path), "meta": {"_type": "gradio.FileData"}}], "session_hash": "a"}
        kind = {"Content-Type": "application/json", **page.cookie}
        return asked(page.address, f"/gradio_api/run/{event}", kind, json.dumps(words))

    before = set(page.output.parent.rglob("*"))
    for path in (
        as_private,
        page.output,
        tmp_path / "none",
        "a\0b",
        "http://127.0.0.1:1/x.png",
        "https://example.org/x",
    ):
        status, _, text = give(path)
        assert status == 500
        assert "was not sent to the page" in text
    assert set(page.output.parent.rglob("*")) == before
    _, answer = question(page.address, visit=visit, headers=page.cookie, source="Upload")
    assert "Upload a photograph" in answer["said"]
    if event == "sent":
        assert give(sent(page.address, page.cookie))[0] == 200
        _, answer = question(page.address, visit=visit, headers=page.cookie, source="Upload")
        assert "no picture that can be read" in answer["said"]


@pytest.mark.parametrize("way", ["file=", "file/"])
def test_the_page_fetches_no_address_for_its_visitors(page, way):
    status, _, text = asked(page.address, f"/gradio_api/{way}http://example.org/x.png", page.cookie)
    assert (status, text) == (403, "The page fetches nothing from other machines.")


def test_sessions_at_once_each_get_their_own(page, models):
    player, answers = Player(models[0], NAMES, models[1]), []

    def visit(place):
        for number in range(6):
            pick, label = (7 * place + number // 2) % 60, (3 * place + number) % 10
            answer = question(page.address, pick, label, f"{place:032x}", headers=page.cookie)[1]
            answers.append((pick, label, *shown_after(answer)))

    people = [threading.Thread(target=visit, args=(place,)) for place in range(8)]
    for one in people:
        one.start()
    for one in people:
        one.join(300)
    assert len(answers) == 48
    for pick, label, shown, levels in answers:
        assert shown == label
        np.testing.assert_allclose(
            levels, models[0].relabel(player.pictures[pick][None], label)[0, 0].numpy(), atol=0.01
        )


def test_a_failure_of_the_model_is_one_sentence_to_the_browser_and_a_traceback_on_the_terminal(player, capsys):
    testing = pytest.importorskip("starlette.testclient")
    from starlette.applications import Starlette
    from starlette.routing import Route

    from labelvae.page.answering import endpoint
    from labelvae.page.visits import Visits

    class Broken:
        visits = Visits()

        async def show(self, *_):
            raise RuntimeError("secret")

    client = testing.TestClient(Starlette(routes=[Route("/show", endpoint(Broken()), methods=["POST"])]))
    answer = client.post("/show", json={"visit": "0" * 32, "shown": None, "values": []})
    assert (answer.status_code, answer.text) == (500, "The page failed at this. Its terminal says why.")
    assert "RuntimeError: secret" in capsys.readouterr().err


def test_visits_are_forgotten_after_a_while_and_where_there_are_many():
    from labelvae.page.visits import Visits

    names = [f"{number:032x}" for number in range(4)]
    visits = Visits(most=3)
    first, second, third = map(visits.of, names[:3])
    assert len({id(one) for one in (first, second, third)}) == 3
    assert visits.of(names[0]) is first
    visits.of(names[3])
    assert visits.of(names[0]) is first
    assert visits.of(names[1]) is not second  # which was away longest
    soon = Visits(seconds=0.05)
    kept = soon.of(names[0])
    assert soon.of(names[0]) is kept
    time.sleep(0.1)
    soon.of(names[1])
    assert soon.of(names[0]) is not kept
