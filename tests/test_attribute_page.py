"""The page of a model of several attributes, without a browser."""

import asyncio
import json
from urllib.request import Request, urlopen

import pytest
import torch
from page_server import served
from PIL import Image

from labelvae import AttributeClassifier, Binary, Category, ConditionalVAE, Continuous
from labelvae.page import server as demo
from labelvae.page.attribute_player import AttributePlayer, AttributeWish
from labelvae.page.blocks import Visit

KINDS = {
    "kind": Category(["<b>bar", "dot", "caf\udce9"]),
    "lit": Binary(),
    "turn": Continuous(0, 360, "degrees", periodic=True),
}


def player(reads=True):
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 16, 16), attributes=KINDS, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)
    with torch.no_grad():
        vae.decoder.hidden.weight.mul_(20)  # so that labels and codes are seen
    reader = AttributeClassifier((1, 16, 16), KINDS, widths=(8,), feature_dim=8) if reads else None
    return AttributePlayer(vae, reader)


def test_the_player_relabels_as_the_model_does():
    some = player()
    first, second = (some.picked(index) for index in (1, 4))
    asked = torch.tensor([1.0, 0.0, 90.0])
    (own, read), (made, _) = some.answer([first, AttributeWish(second.image, second.own, asked)])
    torch.testing.assert_close(own, some.vae.relabel(first.image, first.own[None], first.own[None])[0])
    torch.testing.assert_close(made, some.vae.relabel(second.image, {"kind": "dot", "lit": 0, "turn": 90})[0])
    torch.testing.assert_close(read, some.reader.rows(own[None])[0])
    assert player(reads=False).answer([first])[0][1] is None


def test_a_picture_that_is_sent_is_read():
    some = player()
    sent = some.read(Image.new("L", (40, 20), 255), "crop", invert=True)
    assert sent.image.shape == (1, 16, 16)
    assert float(sent.image.max()) == 0
    torch.testing.assert_close(sent.own, some.reader.rows(sent.image[None])[0])
    assert sent.said.startswith("Read as kind=")
    assert player(reads=False).read(Image.new("L", (40, 20)), "pad").own.tolist() == [0, 0, 180]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AttributePlayer(ConditionalVAE((1, 16, 16), 3)), "vae: expected a model of attributes"),
        (
            lambda: AttributePlayer(player().vae, AttributeClassifier((1, 16, 16), {"lit": Binary()})),
            "judge: reads lit from images",
        ),
        (
            lambda: AttributePlayer(ConditionalVAE((1, 16, 16), attributes=KINDS, decoder_label="none")),
            "shows no other label",
        ),
    ],
)
def test_what_cannot_be_played_with_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_new_image_sets_the_controls_and_the_controls_relabel():
    pytest.importorskip("gradio")
    from labelvae.page.attribute_page import AttributePage

    some = player()
    page, visit = AttributePage(some), Visit()
    answer = asyncio.run(page.show(visit, None, "Pick", 2, "pad", False, 0, False, 0.0))
    assert answer["controls"] == pytest.approx(some.rows[2].tolist(), abs=0.05)  # of 360 degrees
    assert len(str(answer["controls"][2])) <= 5
    assert "<b>" not in answer["html"]
    assert answer["html"].count("<img") == 2
    answer = asyncio.run(page.show(visit, answer["key"], "Pick", 2, "pad", False, 1, True, 45.0))
    assert answer["controls"] == [1, True, 45.0]
    assert "<td>45 degrees</td>" in answer["html"]
    assert "the judge reads" in answer["html"]
    answer = asyncio.run(page.show(visit, answer["key"], "Upload", None, "pad", False, 1, True, 45.0))
    assert (answer["controls"], answer["html"]) == ([None] * 3, "")
    assert 'class="told"' in answer["said"]
    for written, taken in ((400.0, "360 degrees"), (-3, "0 degrees"), (None, "0 degrees")):  # as its slider holds it
        answer = asyncio.run(page.show(visit, "Pick 2", "Pick", 2, "pad", False, 1, True, written))
        assert f"<td>{taken}</td>" in answer["html"]
    for wrong in ((3, True, 45.0), (1, 3, 45.0), (1, True, float("inf")), (1, None, 4.0), (1, True)):
        with pytest.raises(ValueError, match="expected"):
            asyncio.run(page.show(visit, None, "Pick", 2, "pad", False, *wrong))


def test_a_category_of_whole_numbers_is_chosen_by_its_index():
    pytest.importorskip("gradio")
    from labelvae.page.attribute_page import AttributePage

    stars = {"stars": Category(["1", "2", "3", "4", "5"])}
    vae = ConditionalVAE((1, 16, 16), attributes=stars, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)
    page = AttributePage(AttributePlayer(vae))
    for index, name in enumerate(stars["stars"].names):
        answer = asyncio.run(page.show(Visit(), "Pick 0", "Pick", 0, "pad", False, index))
        assert answer["controls"] == [index]
        assert f"<td>{name}</td>" in answer["html"]
    with pytest.raises(ValueError, match="stars: expected one of 0 to 4, got 5"):
        asyncio.run(page.show(Visit(), "Pick 0", "Pick", 0, "pad", False, 5))


def test_the_page_is_served_with_a_control_for_each_attribute(tmp_path):
    pytest.importorskip("gradio")
    some = player()
    some.vae.save_pretrained(tmp_path / "vae")
    some.reader.save_pretrained(tmp_path / "guide")
    with served(tmp_path / "page", f"--model={tmp_path / 'vae'}") as server:

        def ask(shown, *values):
            words = {"visit": "0" * 32, "shown": shown, "values": ["Pick", 3, "pad", False, *values]}
            request = Request(f"{server.address}show", json.dumps(words).encode(), {"Content-Type": "application/json"})
            with urlopen(request, timeout=300) as answer:
                return json.load(answer)

        first = ask(None, 0, False, 0.0)
        expected = [int(some.rows[3, 0]), bool(some.rows[3, 1]), pytest.approx(float(some.rows[3, 2]), abs=0.05)]
        assert first["controls"] == expected
        assert "the guide reads" in first["html"]
        assert "<td>45 degrees</td>" in ask(first["key"], 1, True, 45.0)["html"]
        with urlopen(f"{server.address}config", timeout=300) as config:
            text = config.read().decode()
        assert "caf\\\\xe9" in text  # bytes that are no UTF-8
        components = json.loads(text)["components"]
        assert {"radio", "checkbox", "slider"} <= {each["type"] for each in components}
        assert "Traceback" not in server.printed


def test_a_saved_model_of_attributes_has_its_own_page(tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    from labelvae.page import attribute_page

    seen = []
    monkeypatch.setattr(attribute_page, "build_attributes", seen.append)
    monkeypatch.setattr(demo, "launch", lambda *_: None)
    player().vae.save_pretrained(tmp_path / "vae")
    demo.serve(str(tmp_path / "vae"), None, None, 0)
    player().reader.save_pretrained(tmp_path / "guide")
    demo.serve(str(tmp_path / "vae"), None, None, 0)
    assert [each.reader is not None for each in seen] == [False, True]
    assert seen[1].who == "guide"
