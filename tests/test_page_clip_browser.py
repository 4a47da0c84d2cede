"""A clip in a real Chromium, at desktop and phone width: player, chart, jumps by mouse and keys, hostile names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app import Limits, build, serve
from assistant.desk import Desk
from tests.chromium import browser, needs_chromium, watched  # noqa: F401
from tests.clipmaker import moving_square, write_clip, write_sound
from tests.spotted import DRAFT, Spotted
from tests.test_app import close
from tests.test_hostile import VECTORS

if TYPE_CHECKING:
    from playwright import sync_api

SECONDS = "document.querySelector('#clip video').currentTime"
OVERLAY = "document.querySelector('#overlay img').src"
pytestmark = [pytest.mark.filterwarnings("ignore"), needs_chromium]


@pytest.fixture(scope="module")
def spotted() -> Spotted:
    return Spotted()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, spotted: Spotted) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        desk = Desk("embedded", lambda profile: spotted)
        served = build(desk)
        address = serve(served, "127.0.0.1", None, Limits("5mb"), block=False)
        desk.loaded.result(60)
        yield address
        close(served)


@pytest.fixture(params=[(1280, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: sync_api.Browser, url: str) -> Iterator[sync_api.Page]:  # noqa: F811
    with watched(browser, url, *request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "square.mp4", moving_square(60, (160, 96)))  # 5 s


def answered(page: sync_api.Page, count: int) -> None:
    """Waits until so many answers are there and nothing is being done."""
    page.wait_for_function(
        "count => document.querySelectorAll('#chat [data-testid=bot]').length >= count"
        " && document.querySelector('#status').innerText.trim() === ''",
        arg=count,
    )


def drop(page: sync_api.Page, file: Path | dict[str, object], count: int = 1) -> None:
    """Puts a clip into the box and sends it."""
    page.locator("#box input[type=file]").set_input_files(file)
    page.locator("#box .thumbnail-item, #box .thumbnails img, #box button.thumbnail-small").first.wait_for()
    page.locator("#box textarea").press("Enter")
    answered(page, count)


def at(page: sync_api.Page, seconds: float) -> None:
    """Waits until the player stands at this second."""
    page.wait_for_function(f"wanted => Math.abs({SECONDS} - wanted) < 0.12", arg=seconds)


def test_a_dropped_clip_plays_and_its_spans_and_key_frames_move_the_player(page: sync_api.Page, clip: Path) -> None:
    drop(page, clip)
    page.wait_for_function("document.querySelector('#clip video')?.readyState >= 2")
    assert page.evaluate("document.querySelector('#clip video').duration") == pytest.approx(5, abs=0.2)
    chart = page.locator("#timeline svg")
    assert "Score over 0:05.0" in chart.get_attribute("aria-label")
    plot, box = page.locator("#timeline .plot").bounding_box(), chart.bounding_box()
    assert box["width"] == pytest.approx(plot["width"], abs=3) and box["height"] > 60
    spans = page.locator("#timeline .spans a")
    assert spans.all_inner_texts() == ["0:01.0–0:02.0", "0:03.5–0:04.2"]
    before = page.evaluate(OVERLAY)
    spans.nth(1).click()
    at(page, 3.5)
    page.wait_for_function(f"before => {OVERLAY} !== before", arg=before)  # the key frame at the second peak
    assert "4.0 s" in page.locator("#keys .thumbnail-item.selected, #keys .selected").first.inner_text()
    page.wait_for_function("document.querySelector('#timeline .now').style.left.startsWith('70')")
    page.locator("#timeline .jump").first.focus()
    page.keyboard.press("Enter")
    at(page, 1.0)
    page.wait_for_function(f"before => {OVERLAY} === before", arg=before)
    page.locator("#chat a[href*='#span-']").nth(1).click()
    at(page, 3.5)
    page.locator("#keys .thumbnail-item").nth(3).click()
    at(page, 4.9)
    page.wait_for_function("document.querySelector('#regions').innerText.includes('Take it as a hint')")
    assert "#span" not in page.url


def test_frames_are_counted_while_a_clip_is_looked_at_and_stop_ends_the_look(
    page: sync_api.Page, clip: Path, spotted: Spotted
) -> None:
    spotted.gate.clear()
    try:
        page.locator("#box input[type=file]").set_input_files(clip)
        page.locator("#box .thumbnail-item, #box .thumbnails img, #box button.thumbnail-small").first.wait_for()
        page.locator("#box textarea").press("Enter")
        page.locator("#status").get_by_text("frame 3 of 4").wait_for()
        assert "First look" in page.locator("#status [role=status]").inner_text()
        assert 0.1 < float(page.locator("#status progress").get_attribute("value")) < 0.4
        page.get_by_role("button", name="Stop").first.click()
        page.locator("#chat").get_by_text("(stopped)").wait_for()
        answered(page, 1)
        assert not page.locator("#clip video").count()
    finally:
        spotted.gate.set()
    page.locator('#chat button[title="Retry"], #chat button[aria-label="Retry"]').last.click()
    page.wait_for_selector("#clip video")


def test_the_evidence_goes_back_and_forth_between_a_clip_and_a_picture(page: sync_api.Page, clip: Path) -> None:
    drop(page, clip)
    page.locator("#examples .thumbnail-item").first.click()
    answered(page, 2)
    page.wait_for_function("!document.querySelector('#clip video') && !document.querySelector('#timeline svg')")
    page.locator("#chat a[href*='#span-']").nth(1).click()
    page.wait_for_selector("#clip video")
    at(page, 3.5)
    page.locator("#chat a[href*='#spot-2']").first.click()
    page.wait_for_function("!document.querySelector('#clip video')")


def test_examples_with_references_run_with_one_click_and_take_them_along(page: sync_api.Page, cracked: Path) -> None:
    page.locator("#examples .thumbnail-item").last.click()
    answered(page, 1)
    page.wait_for_selector("#clip video")
    page.locator("#chat").get_by_text("6.0 s of a normal clip").first.wait_for()
    page.locator("#examples .thumbnail-item").nth(2).click()
    answered(page, 2)
    page.wait_for_function("!document.querySelector('#clip video')")
    page.get_by_role("button", name="Normal references").click()
    page.locator("#held").get_by_text("held against this picture").wait_for()
    drop(page, cracked, 3)  # an example's references are not the visitor's
    page.locator("#held").get_by_text("With one to eight normal pictures").wait_for()


def test_rules_that_a_normal_clip_gives_can_be_edited(page: sync_api.Page, clip: Path) -> None:
    page.get_by_role("button", name="Normal references").click()
    page.locator("#drop input[type=file]").set_input_files(clip)
    page.locator("#held").get_by_text("held against this clip").wait_for()
    drop(page, clip)
    page.get_by_role("button", name="Settings").click()
    box = page.locator("#rules textarea")
    assert box.input_value() == "\n".join(DRAFT)
    box.fill("Only squares here")
    box.blur()
    page.wait_for_timeout(500)
    page.locator("#box textarea").fill("And now?")
    page.locator("#box textarea").press("Enter")
    answered(page, 2)
    page.locator("#chat").get_by_text("Only squares here.").wait_for()


def test_a_clip_that_cannot_be_used_is_a_sentence_and_the_page_lives_on(
    page: sync_api.Page, clip: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:600])
    drop(page, broken)
    page.locator("#chat").get_by_text("'broken.mp4' is damaged or cut off").wait_for()
    drop(page, write_sound(tmp_path / "sound.mp4"), 2)
    page.locator("#chat").get_by_text("'sound.mp4' holds sound only").wait_for()
    drop(page, clip, 3)
    page.wait_for_selector("#clip video")


def test_hostile_names_of_clips_never_run(page: sync_api.Page, clip: Path) -> None:
    for number, vector in enumerate(VECTORS[:6], start=1):
        name = vector.replace("/", "⁄")[:100] + ".mp4"  # a slash cannot stand in a name
        drop(page, {"name": name, "mimeType": "video/mp4", "buffer": clip.read_bytes()}, number)
        page.wait_for_selector("#clip video")
        assert page.evaluate("window.ran || 0") == 0, vector
    page.locator("#report").click()
    page.locator("#report-files").get_by_text(".html").first.wait_for()
    assert page.evaluate("window.ran || 0") == 0
