"""The page in a real Chromium, at desktop and phone width: what a visitor sees and can do with mouse and keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from assistant.corrections import CorrectionStore
from data.photos import photograph
from tests.chromium import browser, needs_chromium, watched  # noqa: F401
from tests.test_app import Served, served  # noqa: F401

if TYPE_CHECKING:
    from playwright import sync_api

HOSTILE = "<img src=x onerror=window.ran=1><svg onload=window.ran=1><script>window.ran=1</script> [x](javascript:ran=1)"
pytestmark = [
    pytest.mark.usefixtures("short_answers"),
    pytest.mark.filterwarnings("ignore"),
    needs_chromium,
]


@pytest.fixture(params=[(1280, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: sync_api.Browser, served: Served) -> Iterator[sync_api.Page]:  # noqa: F811
    with watched(browser, served.url, *request.param) as opened:
        yield opened


def settled(page: sync_api.Page) -> None:
    """Wait until the answer is over."""
    page.wait_for_function(
        "/sure|Unsure/.test(document.querySelector('#verdict').innerText)"
        " && document.querySelector('#status').innerText.trim() === ''"
        " && [...document.querySelectorAll('#chips button')].some(chip => chip.innerText)"
    )


def test_an_example_a_link_the_slider_a_suggestion_and_asking_again(page: sync_api.Page) -> None:
    page.locator("#examples .thumbnail-item").first.click()
    settled(page)
    overlay = page.locator("#overlay img").first
    seen = [overlay.get_attribute("src")]

    def redrawn() -> None:
        page.wait_for_function("seen => !seen.includes(document.querySelector('#overlay img').src)", arg=seen)
        seen.append(overlay.get_attribute("src"))

    assert page.locator("#meter [role=img]").get_attribute("aria-label").count("threshold") >= 1
    page.locator('#chat a[href*="#spot-"]').first.focus()
    page.keyboard.press("Enter")
    redrawn()
    assert "#" not in page.url
    page.locator("#opacity input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    redrawn()
    chip = page.locator("#chips button").first
    asked = chip.inner_text()
    chip.click()
    page.locator("#chat").get_by_text(asked, exact=True).wait_for()
    settled(page)
    assert asked not in page.locator("#chips").inner_text()
    page.locator('#chat button[aria-label="Retry"], #chat button[title="Retry"]').last.click()
    page.wait_for_timeout(500)
    settled(page)
    assert page.locator("#chat").get_by_text(asked, exact=True).count() == 1
    page.get_by_role("tab", name="Regions").click()
    page.locator("#named img").first.wait_for()


def test_a_reference_a_follow_up_a_correction_and_a_report(page: sync_api.Page, tmp_path: Path) -> None:
    for name, pixels in (("good.png", photograph("brick.png")), ("part.png", photograph("brick.png")[::-1])):
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / name)
    page.get_by_role("button", name="Normal references").click()
    page.locator("#drop input[type=file]").set_input_files(tmp_path / "good.png")
    page.locator("#held").get_by_text("held against this picture").wait_for()
    page.locator("#box input[type=file]").set_input_files(tmp_path / "part.png")
    page.locator("#box textarea").fill("Is there anything wrong?")
    page.locator("#box textarea").press("Enter")
    settled(page)
    assert "1 normal reference" in page.locator("#meter").inner_text()
    page.locator("#box textarea").fill("How sure are you?")
    page.locator("#box textarea").press("Enter")
    page.locator("#chat").get_by_text("How sure are you?", exact=True).wait_for()
    settled(page)
    page.locator("#report").click()
    page.locator("#report-files").get_by_text(".pdf").first.wait_for()

    kept = CorrectionStore().count()
    page.get_by_role("button", name="Correct it").click()
    page.get_by_label("You missed this").check()
    canvas = page.locator("#draw canvas").first
    canvas.wait_for()
    page.wait_for_timeout(1000)  # the editor fits the picture into itself
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.45)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.55, steps=6)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.locator("#keep").click()
    page.get_by_text("Nothing was kept: it needs your consent").first.wait_for()
    assert CorrectionStore().count() == kept
    page.locator("#agreed input").check()
    page.locator("#keep").click()
    page.locator("#kept").get_by_text("Kept as number").wait_for()
    *_, correction = CorrectionStore().read()
    assert CorrectionStore().count() == kept + 1 and correction.kind == "missed"
    assert 0.001 < correction.mask.mean() < 0.2 and correction.mask[220:290, 220:290].any()


def test_a_folder_becomes_a_list(page: sync_api.Page, tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.roll(photograph("gravel.png")[:200, :200], number * 9, axis=0)).save(
            tmp_path / f"p{number}.png"
        )
    page.get_by_role("tab", name="Folder").click()
    page.get_by_role("tabpanel").filter(has=page.locator("#folder-start")).locator(
        "input[type=file]"
    ).first.set_input_files(sorted(tmp_path.glob("*.png")))
    page.get_by_text("p2").first.wait_for()
    page.locator("#folder-start").click()
    page.get_by_text("3 pictures:").first.wait_for()


def test_a_tab_that_is_closed_frees_the_model(browser: sync_api.Browser, served: Served, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr("assistant.inspector.MAX_WORDS", 120)
    opened = browser.new_page()
    opened.goto(served.url)
    box = opened.locator("#box textarea")
    box.fill("Tell me a very long story about a lighthouse.")
    box.press("Enter")
    opened.locator("#chat [data-testid=bot]").first.wait_for()
    assert len(served.desk._line) == 1
    opened.close()
    begun = time.monotonic()
    while served.desk._line:
        assert time.monotonic() - begun < 60
        time.sleep(0.1)
    assert served.desk.submit(lambda: "free").result(60) == "free"


def test_markup_in_a_question_is_text_and_never_runs(page: sync_api.Page) -> None:
    box = page.locator("#box textarea")
    box.fill(HOSTILE)
    box.press("Enter")
    page.locator("#chat").get_by_text("onerror=window.ran").first.wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
