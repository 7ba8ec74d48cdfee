"""The page in a browser: a Chromium, where there is one; `make page-test` brings one."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from browser import required
from page_server import served
from PIL import Image, ImageDraw

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.page.player import Player

pytest.importorskip("gradio")
api = pytest.importorskip("playwright.sync_api")
WAIT = 60_000


@pytest.fixture(scope="module")
def player():
    guide = LabelClassifier.from_pretrained("mnist/guide")
    return Player(ConditionalVAE.from_pretrained("mnist"), [str(digit) for digit in range(10)], guide)


@pytest.fixture(scope="module")
def browser():
    yield from required()


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):
    """The page of the packaged model; after all tests no traceback must have been printed."""
    with served(tmp_path_factory.mktemp("page"), "--model=mnist") as server:
        yield server
        assert server.stop() in (0, 130)
        assert "Traceback" not in server.printed


@pytest.fixture
def visit(browser, server):
    """Opens the page at a size; every request must be for this machine."""
    asked, contexts = [], []

    def open_page(width=1280, height=800, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.address)
        page.wait_for_selector("#after img")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked
    assert not [url for url in asked if not url.startswith((server.address, "data:", "blob:"))]


def choose(page, group, text):
    page.locator(f"#{group} label").filter(has_text=re.compile(rf"^\s*{re.escape(text)}\s*$")).click()


def pick(page, index):
    page.locator("#pick label").nth(index).click()


def levels(page, figure):
    source = page.locator(f"#{figure} img").get_attribute("src")
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("L")
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0)


def expect_shown(page, player, index, asked):
    """What is shown in the end is the picture that is selected, under the label that is selected."""
    image = player.pictures[index]
    expected = player.relabel(image, player.guesses[index], asked)[0]
    page.wait_for_selector(f"#after img[alt='the image as {asked}']")
    for _ in range(100):
        if torch.allclose(levels(page, "before"), image[0], atol=0.01):
            break
        page.wait_for_timeout(100)
    page.wait_for_timeout(300)  # nothing comes after it
    torch.testing.assert_close(levels(page, "before"), image[0], atol=0.01, rtol=0)
    torch.testing.assert_close(levels(page, "after"), expected, atol=0.02, rtol=0)


def say(page, words):
    api.expect(page.locator("#said p")).to_contain_text(words, timeout=WAIT)


def upload(page, file):
    if not page.locator("#upload input[type=file]").count():
        page.locator("#upload button").first.click()
        say(page, "Upload a photograph")
    page.locator("#upload input[type=file]").set_input_files(file)


def draw(page, *points):
    box = page.locator("#sheet canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def scan(size=(640, 480)):
    """A 4 in ink on paper."""
    paper = Image.new("RGB", (640, 480), (245, 240, 230))
    pen = ImageDraw.Draw(paper)
    for stroke in ([(330, 90), (255, 265), (400, 250)], [(385, 130), (350, 400)]):
        pen.line(stroke, fill=(30, 30, 40), width=22, joint="curve")
    return paper.resize(size)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    scan().save(folder / "scan.png")
    scan((4000, 3000)).save(folder / "large.jpg")
    (folder / "text.png").write_text("this is no picture\n" * 50)
    (folder / "broken.png").write_bytes((folder / "scan.png").read_bytes()[:1500])
    (folder / "none.jpg").touch()
    Image.new("RGB", (640, 480), "white").save(folder / "blank.png")
    Image.new("L", (12000, 9000), 255).save(folder / "huge.png")
    return folder


def test_the_first_picture_is_shown(visit, player):
    expect_shown(visit(), player, 0, 9)


def test_quick_clicks_end_with_what_is_selected(visit, player):
    page = visit()
    for index in (1, 12, 23, 34, 45, 56, 7, 18):
        pick(page, index)
    expect_shown(page, player, 18, 9)
    for asked in "0123456787654":
        choose(page, "asked", asked)
    expect_shown(page, player, 18, 4)


def test_a_picture_and_a_label_clicked_one_after_the_other_are_both_shown(visit, player):
    page = visit()
    for index, asked in ((31, "2"), (8, "5"), (47, "1")):
        pick(page, index)
        choose(page, "asked", asked)
    expect_shown(page, player, 47, 1)
    for index, asked in ((3, "0"), (25, "6")):
        choose(page, "asked", asked)
        pick(page, index)
    expect_shown(page, player, 25, 6)


def test_a_slow_answer_is_followed_by_what_is_selected(visit, player):
    page, held = visit(), []

    def hold(route):
        if held:
            route.continue_()
        held.append(route)

    page.route("**/show", hold)
    pick(page, 5)
    while not held:
        page.wait_for_timeout(50)
    for index, asked in ((31, "2"), (9, "3")):
        pick(page, index)
        choose(page, "asked", asked)
    pick(page, 0)  # which the controls still belong to
    page.wait_for_timeout(300)
    assert len(held) == 1  # one question at a time
    held[0].continue_()
    expect_shown(page, player, 0, 3)
    assert len(held) == 2
    assert page.locator("#own input:checked").input_value() == str(player.guesses[0])


def test_a_page_that_does_not_answer_is_told_and_can_be_asked_again(visit, player):
    page = visit()
    page.route("**/show", lambda route: route.abort())
    pick(page, 5)
    say(page, "The page does not answer.")
    assert page.locator("#view img").count() == 0
    page.unroute("**/show")
    page.route("**/show", lambda route: route.fulfill(status=403, body="<b>Open the address"))
    pick(page, 6)
    say(page, "<b>Open the address")
    page.unroute("**/show")
    pick(page, 7)
    expect_shown(page, player, 7, 9)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.png", "no picture that can be read"),
        ("none.jpg", "no picture that can be read"),
        ("broken.png", "broken and cannot be read"),
        ("blank.png", "Found no digit"),
        ("huge.png", "108 megapixels; at most 50"),
    ],
)
def test_a_bad_upload_is_one_sentence_and_the_old_result_goes(visit, server, files, name, words):
    page = visit()
    choose(page, "source", "Upload")
    upload(page, files / "scan.png")
    page.wait_for_selector("#pasted img")
    upload(page, files / name)
    say(page, words)
    assert page.locator("#view img").count() == 0
    assert "Traceback" not in server.printed
    upload(page, files / "scan.png")
    say(page, "Read as 4")


def test_a_photograph_is_read_and_comes_back_with_the_new_digit(visit, files):
    page = visit()
    choose(page, "source", "Upload")
    choose(page, "asked", "3")
    upload(page, files / "large.jpg")
    say(page, "Read as 4")
    before, after = levels(page, "photo"), levels(page, "pasted")
    assert before.shape == after.shape == (1200, 1600)
    changed = (before - after).abs() > 0.2
    _, columns = changed.nonzero().T
    assert changed.sum() > 500
    assert columns.min() > 400  # about the digit, and nowhere else
    assert columns.max() < 1200
    assert page.locator("#own input:checked").input_value() == "4"


def test_what_was_uploaded_stays_while_pictures_are_picked(visit, player, files):
    page = visit()
    choose(page, "source", "Upload")
    upload(page, files / "scan.png")
    say(page, "Read as 4")
    choose(page, "source", "Pick")
    pick(page, 6)
    expect_shown(page, player, 6, 9)
    choose(page, "source", "Upload")
    say(page, "Read as 4")


def paste(page, picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    page.evaluate(
        """text => {
            const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }""",
        base64.b64encode(file.getvalue()).decode(),
    )


def test_photographs_are_pasted_from_the_clipboard_one_after_the_other(visit):
    page = visit()
    paste(page, scan())
    say(page, "Read as 4")
    paste(page, Image.new("RGB", (640, 480), "white"))
    say(page, "Found no digit")
    choose(page, "source", "Pick")
    paste(page, scan())
    say(page, "Read as 4")


def test_the_pen_draws_at_once_and_an_empty_sheet_is_told(visit):
    page = visit()
    choose(page, "source", "Draw")
    page.locator("#use").click()
    say(page, "Draw a digit first")
    draw(page, (0.5, 0.15), (0.48, 0.5), (0.46, 0.85))
    page.locator("#use").click()
    say(page, "Read as 1")
    page.wait_for_selector("#pasted img")
    page.locator("#clear").click()
    page.locator("#use").click()
    say(page, "Draw a digit first")
    assert page.locator("#view img").count() == 0


def test_a_scribble_is_no_digit(visit):
    page = visit()
    choose(page, "source", "Draw")
    rng = np.random.default_rng(0)
    draw(page, *rng.uniform(0.1, 0.9, (40, 2)).tolist())
    page.locator("#use").click()
    api.expect(page.locator("#said p.refused")).to_be_visible(timeout=WAIT)
    assert page.locator("#view img").count() == 0


def test_a_new_picture_sets_the_sliders_back(visit, player):
    page = visit()
    sliders = page.locator("#more input[type=range]")
    assert sliders.count() == 4
    for place in range(4):
        sliders.nth(place).focus()
        for _ in range(6):
            page.keyboard.press("ArrowLeft")
    api.expect(page.locator("#share input[type=range]")).to_have_value("0.7")
    page.wait_for_timeout(500)
    choose(page, "asked", "2")
    page.wait_for_selector("#after img[alt='the image as 2']")
    assert not torch.allclose(levels(page, "after"), player.relabel(player.pictures[0], 0, 2)[0], atol=0.05)
    assert page.locator("#share input[type=range]").input_value() == "0.7"  # another label keeps them
    pick(page, 33)
    expect_shown(page, player, 33, 2)
    assert [sliders.nth(place).input_value() for place in range(4)] == ["1", "0", "0", "0"]


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_all_ten_columns_and_labels_are_visible(visit, width):
    page = visit(width, 844)
    for group in ("pick", "asked"):
        boxes = [page.locator(f"#{group} label").nth(index).bounding_box() for index in range(10)]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    boxes = [page.locator("#pick label").nth(index).bounding_box() for index in range(10)]
    assert len({round(box["y"]) for box in boxes}) == 1
    assert min(box["width"] for box in boxes) > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("source", ["Pick", "Draw", "Upload"])
def test_on_a_phone_the_result_is_next_to_the_controls(visit, files, source):
    page = visit(390, 844, has_touch=True, is_mobile=True)
    choose(page, "source", source)
    if source == "Draw":
        draw(page, (0.5, 0.15), (0.48, 0.5), (0.46, 0.85))
        page.locator("#use").click()
    elif source == "Upload":
        upload(page, files / "scan.png")
    if source != "Pick":
        page.wait_for_selector("#pasted img")
    page.wait_for_selector("#after img")
    page.evaluate("window.scrollTo(0, 0)")
    button, result = page.locator("#asked").bounding_box(), page.locator("#view .pair img").nth(1).bounding_box()
    assert 0 < result["y"] - button["y"] - button["height"] < 120
    assert result["y"] + result["height"] <= 844


def test_the_keyboard_alone_is_enough(visit, player):
    page = visit()
    stops, names = [], []
    for _ in range(40):
        page.keyboard.press("Tab")
        stop, name = page.evaluate(
            """() => {
                const one = document.activeElement;
                const label = one.labels?.[0]?.innerText ?? "";
                const text = one.getAttribute("aria-label") || label || one.innerText || "";
                return [one === document.body ? null : one.outerHTML.slice(0, 200), text.trim()];
            }"""
        )
        if stop is None or stop in stops:
            break
        stops.append(stop)
        names.append(name)
    assert 5 <= len(stops) <= 12
    assert all(names)
    page.locator("#pick input:checked").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect_shown(page, player, 3, 9)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect_shown(page, player, 3, 7)


def test_every_control_has_a_name(visit):
    page = visit()
    for source in ("Pick", "Draw", "Upload"):
        choose(page, "source", source)
        page.wait_for_timeout(300)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea, canvas, a, img")]
                .filter(one => one.checkVisibility() && one.type !== "file")
                .filter(one => !(one.getAttribute("aria-label") || one.labels?.[0]?.innerText || one.innerText
                    || one.alt || one.title))
                .map(one => one.outerHTML.slice(0, 200))"""
        )
        assert nameless == []
    assert page.locator("#said").get_attribute("role") == "status"
    assert page.locator("fieldset:not([aria-label])").count() == 0


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_nothing_glares_in_the_dark(visit, scheme):
    page = visit(color_scheme=scheme)
    choose(page, "source", "Draw")
    draw(page, (0.5, 0.15), (0.48, 0.5), (0.46, 0.85))
    page.locator("#use").click()
    page.wait_for_selector("#pasted img")
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
    bright = (shot > 200).mean()
    assert bright < 0.03 if scheme == "dark" else bright > 0.5
