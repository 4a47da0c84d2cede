"""The page in a real Chromium, at desktop and phone width: what a visitor sees and can do with mouse and keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.test_app import Served, served  # noqa: F401

playwright = pytest.importorskip("playwright.sync_api")
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 120_000
HOSTILE = "<img src=x onerror=window.ran=1><svg onload=window.ran=1><script>window.ran=1</script> [x](javascript:ran=1)"
pytestmark = [
    pytest.mark.usefixtures("short_answers"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the path"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=[(1280, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: playwright.Browser, served: Served) -> Iterator[playwright.Page]:  # noqa: F811
    width, height, scheme = request.param
    opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    opened.set_default_timeout(WAIT)
    problems: list[str] = []
    opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(served.url)
    opened.wait_for_selector("#examples .thumbnail-item")
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert opened.evaluate("[...document.images].every(image => image.alt)"), "a picture has no text"
    assert problems == []
    opened.close()


def settled(page: playwright.Page) -> None:
    """Wait until the answer is over."""
    page.wait_for_function(
        "/sure|Unsure/.test(document.querySelector('#verdict').innerText)"
        " && document.querySelector('#status').innerText.trim() === ''"
        " && [...document.querySelectorAll('#chips button')].some(chip => chip.innerText)"
    )


def test_an_example_a_link_the_slider_a_suggestion_and_asking_again(page: playwright.Page) -> None:
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


def test_markup_in_a_question_is_text_and_never_runs(page: playwright.Page) -> None:
    box = page.locator("#box textarea")
    box.fill(HOSTILE)
    box.press("Enter")
    page.locator("#chat").get_by_text("onerror=window.ran").first.wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
