"""The page, without and with a browser: Chromium, where there is one."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest
import torch

from labelvae import ConditionalVAE, LabelClassifier, demo
from labelvae.demo import Player, serve

NAMES = [str(digit) for digit in range(10)]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


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


def test_the_style_sliders_move_along_the_first_directions(models, player):
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
    assert player.guess(player.pictures[0]) == int(expected.argmax())


def test_without_a_judge_and_pictures(models):
    player = Player(models[0], NAMES)
    assert len(player.pictures) == 60
    assert player.opinions(player.pictures[:2]) == [[], []]
    assert player.guess(player.pictures[0]) == 0
    assert player.every_class_picture(player.pictures[0], 0).width > 5 * 90


def test_a_judge_of_other_images_is_refused(models):
    with pytest.raises(ValueError, match="give a judge for the same data"):
        Player(models[0], NAMES, LabelClassifier((3, 8, 8), 10))


def test_a_model_that_shows_no_other_label_is_refused():
    with pytest.raises(ValueError, match="decoder_label='none' shows no other label here"):
        Player(ConditionalVAE((1, 8, 8), 10, decoder_label="none"), NAMES)


def test_without_a_judge_the_guide_beside_the_model_gives_its_opinion(models, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr(demo, "build", lambda player: player)
    monkeypatch.setattr(demo, "launch", lambda player, port: served.append((player, port)))
    models[0].save_pretrained(tmp_path / "vae")
    serve(str(tmp_path / "vae"), None, None, 1)
    models[1].save_pretrained(tmp_path / "guide")
    serve(str(tmp_path / "vae"), None, None, 2)
    (alone, _), (advised, port) = served
    assert alone.judge is None
    assert advised.judge is not None
    assert (advised.who, port) == ("guide", 2)


@pytest.fixture(scope="module")
def address(models, tmp_path_factory):
    """The page as a user starts it."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("models")
    for name, model in zip(("vae", "judge"), models, strict=True):
        model.save_pretrained(folder / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "labelvae", "demo", f"--model={folder / 'vae'}", f"--judge={folder / 'judge'}"]
    with subprocess.Popen([*command, f"--port={port}"], stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert f"the page is at http://127.0.0.1:{port}/" in line
        yield f"http://127.0.0.1:{port}/"
        try:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) in (0, 130)
        finally:
            process.kill()


def fetched(url) -> str:
    with urlopen(url) as answer:
        return answer.read().decode()


def test_load_pick_click_and_the_picture_changes(address):
    api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    asked = []
    with (
        api.sync_playwright() as driver,
        contextlib.closing(driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])) as browser,
    ):
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        before, after = (page.locator(f"#{name} img") for name in ("before", "after"))
        page.wait_for_selector("#after img")

        def changed(picture, was):
            api.expect(picture).not_to_have_attribute("src", was, timeout=60_000)

        was_after = after.get_attribute("src")
        page.locator("#asked label", has_text="3").click()
        changed(after, was_after)
        was_before, was_after = before.get_attribute("src"), after.get_attribute("src")
        page.locator("#pick button.thumbnail-item, #pick .thumbnail-lg").nth(7).click()
        changed(before, was_before)
        changed(after, was_after)

        was_before = before.get_attribute("src")
        page.get_by_role("tab", name="Draw").click()
        canvas = page.locator("canvas").first
        page.get_by_role("button", name="Brush").first.click()
        canvas.wait_for()
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.2)
        page.mouse.down()
        for share in (0.3, 0.5, 0.8):
            page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * share)
        page.mouse.up()
        page.wait_for_timeout(500)
        page.locator("#use").click()
        changed(before, was_before)
    outside = [url for url in asked if not url.startswith((address.rstrip("/"), "data:", "blob:"))]
    assert asked
    assert not outside


def test_the_page_answers_and_names_no_other_machine_for_fonts_and_scripts(address):
    """Where there is no browser, this at least: the page and the function behind it."""
    html = fetched(address)
    loaded = re.findall(r"(?:src|href)=\"(https?://[^\"]+)\"", html)
    theme = fetched(f"{address}theme.css")
    assert "url(http" not in theme
    assert "@import" not in theme
    assert not [url for url in loaded if not url.startswith(address)]
    config = json.loads(fetched(f"{address}config"))
    assert any(call["api_name"] == "show" for call in config["dependencies"])
