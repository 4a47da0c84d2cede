"""The conversation in a real Chromium while things happen at once: keys, links, stop, another wording, a long line."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
import pytest

from app import Limits, build, serve
from assistant.desk import Desk
from tests.chromium import WAIT, browser, needs_chromium  # noqa: F401
from tests.spotted import WORDS, Spotted
from tests.test_app import close

if TYPE_CHECKING:
    from playwright import sync_api

OVERLAY = "document.querySelector('#overlay img').src"
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    needs_chromium,
]


class Visit:
    """A running page in a browser, its model and its desk."""

    def __init__(self, page: sync_api.Page, spotted: Spotted, desk: Desk, url: str) -> None:
        self.page, self.spotted, self.desk, self.url = page, spotted, desk, url

    def open(self) -> None:
        """Loads the page and waits for the examples."""
        self.page.goto(self.url)
        self.page.wait_for_selector("#examples .thumbnail-item")

    def ended(self) -> None:
        """Waits until the answer is over."""
        self.page.wait_for_function(
            "document.querySelector('#status').innerText.trim() === ''"
            " && [...document.querySelectorAll('#chips button')].some(chip => chip.innerText)"
        )

    def shown(self) -> str:
        """The address of the heatmap that is shown."""
        return self.page.evaluate(OVERLAY)

    def ask(self, text: str) -> None:
        """Types a question and sends it."""
        self.page.locator("#box textarea").fill(text)
        self.page.locator("#box textarea").press("Enter")


@pytest.fixture
def visit(browser: sync_api.Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:  # noqa: F811
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    spotted = Spotted()
    desk = Desk("embedded", lambda profile: spotted)
    served = build(desk)
    url = serve(served, "127.0.0.1", None, Limits("1mb"), block=False)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(WAIT)
    yield Visit(page, spotted, desk, url)
    spotted.gate.set()
    page.close()
    close(served)


def test_a_link_followed_the_moment_the_answer_ends_is_not_undone(visit: Visit) -> None:
    for _ in range(3):
        visit.open()  # anew: the end of an earlier answer would be taken for the end of this one
        visit.page.locator("#examples .thumbnail-item").nth(1).click()
        visit.ended()
        before = visit.shown()
        visit.page.locator('#chat a[href*="#spot-"]').last.focus()
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_function(f"before => {OVERLAY} !== before", arg=before)
        visit.page.wait_for_timeout(700)
        assert visit.shown() != before


def test_a_link_followed_while_the_answer_goes_on_stays_and_of_several_keys_the_last_counts(visit: Visit) -> None:
    visit.open()
    gate = visit.spotted.gate
    visit.page.locator("#examples .thumbnail-item").nth(1).click()
    visit.ended()
    whole = visit.shown()
    gate.clear()
    visit.ask("How serious is it?")
    visit.page.locator("#chat [data-testid=bot]").nth(1).wait_for()
    drawn = []
    for place in ("bottom right", "top left"):
        visit.page.locator('#chat a[href*="#spot-"]').get_by_text(place).first.focus()
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_function(f"seen => !seen.includes({OVERLAY})", arg=[whole, *drawn])
        drawn.append(visit.shown())
    gate.set()
    visit.ended()
    visit.page.wait_for_timeout(700)
    assert visit.shown() == drawn[-1]
    links = visit.page.locator('#chat a[href*="#spot-"]')
    for place in ("top left", "bottom right"):
        links.get_by_text(place).first.focus()
        visit.page.keyboard.press("Enter")
    visit.page.wait_for_function(f"last => {OVERLAY} === last", arg=drawn[0])


def test_of_two_links_the_last_counts_also_when_the_first_ones_picture_takes_longer(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit.open()
    visit.page.locator("#examples .thumbnail-item").nth(1).click()
    visit.ended()
    seen = [visit.shown()]
    links = visit.page.locator('#chat a[href*="#spot-"]')
    for place in ("bottom right", "top left"):
        links.get_by_text(place).first.click()
        visit.page.wait_for_function(f"seen => !seen.includes({OVERLAY})", arg=seen)
        seen.append(visit.shown())
    write, slow = gr.Image.postprocess, [1.0]
    monkeypatch.setattr(gr.Image, "postprocess", lambda *terms: time.sleep(slow.pop() if slow else 0) or write(*terms))
    for place in ("top left", "bottom right"):
        links.get_by_text(place).first.click()
    visit.page.wait_for_function(f"last => {OVERLAY} === last", arg=seen[1])
    visit.page.wait_for_timeout(1500)
    assert not slow
    assert visit.shown() == seen[1]


def test_what_is_typed_the_moment_the_answer_ends_stays_in_the_box(visit: Visit) -> None:
    visit.open()
    visit.page.locator("#examples .thumbnail-item").nth(1).click()
    visit.ended()
    visit.page.locator("#box textarea").fill("And then")
    visit.page.wait_for_timeout(700)
    assert visit.page.locator("#box textarea").input_value() == "And then"


def test_a_question_sent_while_an_answer_runs_is_refused_with_a_sentence_and_stays_in_the_box(visit: Visit) -> None:
    visit.open()
    visit.spotted.gate.clear()
    visit.ask("Tell me about lighthouses.")
    visit.page.locator("#chat").get_by_text("Yes. There is a stain in the top").wait_for()
    assert visit.page.locator("#box textarea").input_value() == ""
    visit.ask("And about windmills?")
    visit.page.get_by_text("One answer at a time").wait_for()
    visit.spotted.gate.set()
    visit.page.locator("#chat").get_by_text(WORDS).wait_for()
    visit.page.wait_for_function("document.querySelector('#status').innerText.trim() === ''")
    assert visit.page.locator("#box textarea").input_value() == "And about windmills?"
    visit.page.locator("#box textarea").press("Enter")
    visit.page.locator("#chat").get_by_text(WORDS).nth(1).wait_for()
    assert visit.spotted.asked == ["Tell me about lighthouses.", "And about windmills?"]


def test_the_slider_holds_for_the_next_picture_too(visit: Visit) -> None:
    visit.open()
    slider = visit.page.locator("#opacity input[type=range]")
    visit.page.locator("#examples .thumbnail-item").nth(1).click()
    visit.ended()
    strong = visit.shown()
    slider.focus()
    slider.press("Home")
    visit.page.wait_for_function(f"strong => {OVERLAY} !== strong", arg=strong)
    faint = visit.shown()
    visit.page.locator("#examples .thumbnail-item").nth(1).click()
    visit.page.locator("#chat [data-testid=bot]").nth(1).wait_for()
    visit.ended()
    assert visit.shown() == faint  # the library names pictures by what is in them


def test_stop_edit_retry_and_copy(visit: Visit) -> None:
    page, spotted = visit.page, visit.spotted
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.open()
    spotted.gate.clear()
    visit.ask("Tell me about lighthouses.")
    page.locator("#chat").get_by_text("Yes. There is a stain in the top").wait_for()
    page.get_by_role("button", name="Stop").first.click()
    page.locator("#chat").get_by_text("(stopped)").wait_for()
    spotted.gate.set()
    page.locator('#chat button[title="Edit"], #chat button[aria-label="Edit"]').last.click()
    page.locator("#chat textarea").fill("Tell me about windmills.")
    page.locator('#chat button[title="Submit"], #chat button[aria-label="Submit"]').click()
    page.locator("#chat").get_by_text(WORDS).wait_for()
    assert page.locator("#chat").get_by_text("lighthouses").count() == 0
    assert page.locator("#chat").get_by_text("(stopped)").count() == 0
    page.wait_for_function("document.querySelector('#status').innerText.trim() === ''")
    page.locator('#chat button[title="Retry"], #chat button[aria-label="Retry"]').last.click()
    page.wait_for_timeout(500)
    page.locator("#chat").get_by_text(WORDS).wait_for()
    assert spotted.asked == ["Tell me about lighthouses.", "Tell me about windmills.", "Tell me about windmills."]
    page.locator('#chat [data-testid=bot] ~ * button[title*="Copy"], #chat button[title="Copy message"]').last.click()
    page.wait_for_timeout(300)
    assert WORDS in page.evaluate("navigator.clipboard.readText()")


def test_keys_alone_lead_from_the_page_to_a_verdict_a_link_and_a_follow_up(visit: Visit) -> None:
    page = visit.page
    visit.open()

    def walk(to: str, presses: int = 80) -> None:
        for _ in range(presses):
            page.keyboard.press("Tab")
            if page.evaluate("to => document.activeElement.matches(to)", to):
                return
        raise AssertionError(f"Tab does not reach {to}")

    walk("#examples button")
    page.keyboard.press("Enter")
    visit.ended()
    whole = visit.shown()
    page.locator("#title").click()
    walk('#chat a[href*="#spot-"]')
    page.keyboard.press("Enter")
    page.wait_for_function(f"whole => {OVERLAY} !== whole", arg=whole)
    walk("#chips button")
    page.keyboard.press("Enter")
    page.locator("#chat [data-testid=bot]").nth(1).wait_for()
    visit.ended()
    walk("#opacity input[type=range]")
    marked = page.evaluate(
        "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        " || getComputedStyle(document.activeElement).boxShadow !== 'none'"
    )
    assert marked, "one cannot see where the keyboard is"


def test_a_full_line_is_a_sentence_and_the_question_stays(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.desk.MAX_WAITING", 1)
    visit.open()
    visit.spotted.gate.clear()
    busy = threading.Thread(target=lambda: visit.desk.run(lambda: visit.spotted.gate.wait(60)))
    busy.start()
    while not visit.desk._line:
        busy.join(0.02)
    visit.ask("Is anybody there?")
    visit.page.locator("#chat").get_by_text("The queue is full: 1 questions are ahead").wait_for()
    assert visit.page.locator("#chat").get_by_text("Is anybody there?").count() == 1
    visit.spotted.gate.set()
    busy.join(60)
    visit.page.locator('#chat button[title="Retry"], #chat button[aria-label="Retry"]').last.click()
    visit.page.locator("#chat").get_by_text(WORDS).wait_for()


@pytest.mark.skipif(os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1), reason="the machine is too busy to time anything")
def test_the_page_is_painted_within_two_seconds_while_the_model_loads(
    browser: sync_api.Browser,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    loading = threading.Event()
    desk = Desk("embedded", lambda profile: loading.wait(WAIT) and Spotted())
    served = build(desk)
    url = serve(served, "127.0.0.1", None, Limits("1mb"), block=False)
    first, title = [], []
    for _ in range(3):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT)
        page.goto(url)
        page.locator("#status").get_by_text("Loading the model").wait_for()
        painted = page.evaluate(
            "new Promise(done => new PerformanceObserver(list => done(list.getEntries().at(-1).startTime))"
            ".observe({type: 'largest-contentful-paint', buffered: true}))"
        )
        first.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        title.append(painted)
        page.close()
    loading.set()
    close(served)
    assert min(first) < 2000 and min(title) < 2000, "milliseconds to the first paint, and to that of the page itself"
