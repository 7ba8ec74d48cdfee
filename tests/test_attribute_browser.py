"""The page of a model of several attributes in a browser; `make page-test` brings a Chromium where there is none."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from browser import required
from page_server import served
from PIL import Image

from labelvae import AttributeClassifier, Binary, Category, ConditionalVAE, Continuous
from labelvae.page.attribute_player import AttributePlayer

pytest.importorskip("gradio")
api = pytest.importorskip("playwright.sync_api")
WAIT = 60_000
MANY = [f"species {number}" for number in range(60)]
KINDS = {
    "kind": Category(["<b>bar", "dot", "a rather long name of a thing"]),
    "species": Category(MANY),
    "lit": Binary(),
    "width": Continuous(1.2345678, 5, "pixels"),
    "turn": Continuous(0, 360, "degrees", periodic=True),
}
PLACES = {name: place for place, name in enumerate(KINDS)}


@pytest.fixture(scope="module")
def player():
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 16, 16), attributes=KINDS, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)
    with torch.no_grad():
        vae.decoder.hidden.weight.mul_(20)  # so that labels and codes are seen
    return AttributePlayer(vae, AttributeClassifier((1, 16, 16), KINDS, widths=(8,), feature_dim=8), who="guide")


@pytest.fixture(scope="module")
def browser():
    yield from required()


@pytest.fixture(scope="module")
def server(browser, player, tmp_path_factory):
    """The page of the model; after all tests no traceback must have been printed."""
    folder = tmp_path_factory.mktemp("page")
    player.vae.save_pretrained(folder / "run" / "vae")
    player.reader.save_pretrained(folder / "run" / "guide")
    with served(folder, f"--model={folder / 'run'}") as server:
        yield server
        assert server.stop() in (0, 130)
        assert "Traceback" not in server.printed


@pytest.fixture
def visit(browser, server):
    """Opens the page at a size; nothing must be wrong in its console."""
    wrong, contexts = [], []

    def open_page(width=1280, height=800, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector("#after img")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def control(page, name, rest=""):
    return page.locator(f"#attribute{PLACES[name]} {rest}".strip())


def choose(page, name, text):
    control(page, name, "label").filter(has_text=re.compile(rf"^\s*{re.escape(text)}\s*$")).click()


def menu(page, name, text):
    control(page, name, "input").click()
    page.get_by_role("option", name=text, exact=True).click()


def slide(page, name, value):
    control(page, name, "input[type=range]").evaluate(
        "(one, value) => { one.value = value; one.dispatchEvent(new Event('input', {bubbles: true}));"
        "one.dispatchEvent(new PointerEvent('pointerup', {bubbles: true})); }",
        str(value),
    )


def write(page, name, text):
    number = control(page, name, "input[type=number]")
    number.fill(text)
    number.blur()


def pick(page, index):
    page.locator("#pick label").nth(index).click()


def levels(page, figure):
    source = page.locator(f"#{figure} img").get_attribute("src")
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("L")
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0)


def asked(page):
    """The column of the table that says what was asked, by attribute."""
    lines = page.locator("#readings tr:has(td)")
    return {line.locator("th").inner_text(): line.locator("td").first.inner_text() for line in lines.all()}


def expect_asked(page, **values):
    for name, text in values.items():
        api.expect(page.locator(f"#readings tr:has(th:text-is('{name}')) td").first).to_have_text(text, timeout=WAIT)


def expect_shown(page, player, index, **changed):
    """What is shown in the end is the picture that is selected, under the values that are selected."""
    label = dict(zip(KINDS, player.rows[index].tolist(), strict=True)) | changed
    expect_asked(page, **{name: KINDS[name].text(KINDS[name].number(value)) for name, value in label.items()})
    page.wait_for_timeout(300)  # nothing comes after it
    image = player.pictures[index]
    wished = torch.tensor([[KINDS[name].number(value) for name, value in label.items()]])
    made = player.vae.relabel(image[None], wished, player.rows[index][None])
    torch.testing.assert_close(levels(page, "before"), image[0], atol=0.01, rtol=0)
    torch.testing.assert_close(levels(page, "after"), made[0, 0], atol=0.02, rtol=0)
    read = player.reader.rows(made)[0]
    shown = [line.locator("td").nth(1).inner_text() for line in page.locator("#readings tr:has(td)").all()]
    assert shown == [kind.text(float(value)) for kind, value in zip(KINDS.values(), read, strict=True)]


def say(page, words):
    api.expect(page.locator("#said p")).to_contain_text(words, timeout=WAIT)


def upload(page, file):
    if not page.locator("#upload input[type=file]").count():
        page.locator("#upload button").first.click()
        say(page, "Upload a photograph")
    page.locator("#upload input[type=file]").set_input_files(file)


def test_a_choice_a_menu_a_switch_and_sliders_are_followed(visit, player):
    page = visit()
    expect_shown(page, player, 0)
    choose(page, "kind", "dot")
    expect_shown(page, player, 0, kind="dot")
    menu(page, "species", "species 7")
    expect_shown(page, player, 0, kind="dot", species="species 7")
    lit = not player.rows[0, PLACES["lit"]]
    control(page, "lit", "input").click()
    expect_shown(page, player, 0, kind="dot", species="species 7", lit=bool(lit))
    write(page, "width", "2.5")
    slide(page, "turn", 90)
    expect_shown(page, player, 0, kind="dot", species="species 7", lit=bool(lit), width=2.5, turn=90)
    pick(page, 4)  # another picture sets all of them anew
    expect_shown(page, player, 4)


def test_quick_changes_end_with_what_is_selected(visit, player):
    page = visit()
    for index in (1, 12, 23, 34, 5):
        pick(page, index)
    expect_shown(page, player, 5)
    for turn in range(0, 360, 18):
        slide(page, "turn", turn)
    for name in ("dot", "a rather long name of a thing", "dot", "<b>bar"):
        choose(page, "kind", name)
    for _ in range(5):
        control(page, "lit", "input").click()
    expect_shown(page, player, 5, kind="<b>bar", lit=not player.rows[5, PLACES["lit"]], turn=342)


def test_numbers_are_short(visit):
    page = visit()
    for name in ("width", "turn"):
        assert len(control(page, name, "input[type=number]").input_value()) <= 6
    assert max(map(len, asked(page).values())) < 20


@pytest.mark.parametrize(
    ("name", "written", "taken"),
    [("width", "99", 5), ("width", "-7", 1.2345678), ("width", "", 1.2345678), ("turn", "400", 360), ("turn", "", 0)],
)
def test_a_number_out_of_range_becomes_the_nearest(visit, player, name, written, taken):
    page = visit()
    write(page, name, written)
    expect_shown(page, player, 0, **{name: taken})
    assert float(control(page, name, "input[type=number]").input_value()) == pytest.approx(taken, abs=1e-3)
    assert page.locator("#said p.refused").count() == 0
    write(page, name, "3")
    expect_shown(page, player, 0, **{name: 3})


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_all_controls_are_within_the_width(visit, width):
    page = visit(width, 844)
    boxes = [one.bounding_box() for one in page.locator("#more label, #more input, #readings, #pick").all()]
    boxes = [box for box in boxes if box is not None]
    assert len(boxes) > 10
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_the_result_and_its_controls_are_seen_together(visit, player):
    page = visit(390, 844, has_touch=True, is_mobile=True)
    after, first = page.locator("#after img").bounding_box(), control(page, "kind").bounding_box()
    assert 0 < after["y"] < first["y"] < 844 - 44
    slide(page, "turn", 90)  # the last of them
    expect_shown(page, player, 0, turn=90)
    page.set_viewport_size({"width": 390, "height": 640})
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_timeout(200)
    assert page.evaluate("window.scrollY") > after["y"]
    after, last = page.locator("#after img").bounding_box(), control(page, "turn").bounding_box()
    assert 0 <= after["y"] < after["y"] + after["height"] < last["y"]
    assert last["y"] + last["height"] <= 640


def test_bad_uploads_are_one_sentence_and_a_good_one_is_read(visit, server, tmp_path):
    page = visit()
    choose_source = page.locator("#source label").nth(1)
    choose_source.click()
    say(page, "Upload a photograph")
    assert page.locator("#view img").count() == 0
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("this is no picture\n" * 50)
    (tmp_path / "none.jpg").touch()
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:1500])
    for name, words in (("text.png", "no picture"), ("none.jpg", "no picture"), ("broken.png", "broken")):
        upload(page, tmp_path / "good.png")
        say(page, "Read as kind=")
        page.wait_for_selector("#after img")
        upload(page, tmp_path / name)
        say(page, words)
        assert page.locator("#view img").count() == 0
    upload(page, tmp_path / "good.png")
    say(page, "Read as kind=")
    choose(page, "kind", "dot")
    expect_asked(page, kind="dot")
    page.locator("#source label").nth(0).click()
    api.expect(page.locator("#said p")).to_have_count(0, timeout=WAIT)
    assert "Traceback" not in server.printed


def test_every_control_has_a_name_and_a_key(visit):
    page = visit()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, canvas, a, img")]
            .filter(one => one.checkVisibility() && one.type !== "file")
            .filter(one => !(one.getAttribute("aria-label") || one.labels?.[0]?.innerText || one.innerText
                || one.alt || one.title))
            .map(one => one.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    control(page, "kind", "input:checked").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert len(set(asked(page))) == len(KINDS)
