"""Make the README's pictures of the page: start it, run an example of a picture and that of a clip, write the PNGs.

Run from the repository's root: `python docs/screenshot.py` makes docs/chat.png, docs/clip.png and docs/phone.png.
Needs Playwright and a Chromium.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
WAIT = 300_000  # milliseconds: the first start converts the language model
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_example(page: Page, number: int) -> None:
    """Click one example (0 is the first) and wait until its verdict is there."""
    page.wait_for_selector("#examples .thumbnail-item", timeout=WAIT)
    page.locator("#examples .thumbnail-item").nth(number).click()
    page.wait_for_function("/sure|Unsure/.test(document.querySelector('#verdict').innerText)", timeout=WAIT)
    page.wait_for_function("document.querySelector('#status').innerText.trim() === ''", timeout=WAIT)
    page.wait_for_timeout(1000)  # the images fade in


@dataclass(frozen=True)
class Shot:
    """One picture: its file, the example that is run (0 is the first), and the window in pixels."""

    name: str
    example: int
    width: int
    height: int


SHOTS = (Shot("chat.png", 0, 1280, 900), Shot("clip.png", 5, 1280, 900), Shot("phone.png", 0, 390, 844))


def show_moment(page: Page) -> None:
    """Of a clip: wait for its player and go to where the first span is at its height."""
    if not page.locator("#timeline .spans a").count():
        return
    page.wait_for_function("(document.querySelector('#clip video') || {}).readyState >= 2", timeout=WAIT)
    page.locator("#timeline .spans a").first.click()
    page.evaluate("document.querySelector('#clip video').currentTime += 1.5")
    page.wait_for_timeout(1500)


def main(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = ROOT / "docs",
    url: Annotated[str, typer.Option(help="A page that runs already; by default one is started.")] = "",
    only: Annotated[str, typer.Option(help="One of the pictures alone, as clip.png.")] = "",
    dark: Annotated[bool, typer.Option("--dark", help="Dark colours.")] = False,
    browser: Annotated[str, typer.Option(help="Chromium's program; by default one on the path.")] = "",
) -> None:
    """Write screenshots of the page with examples answered."""
    program = browser or shutil.which("chromium") or shutil.which("chromium-browser")
    server = None
    if not url:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        server = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT)
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
            scheme = "dark" if dark else "light"
            for shot in SHOTS:
                if only not in ("", shot.name):
                    continue
                page = chromium.new_page(viewport={"width": shot.width, "height": shot.height}, color_scheme=scheme)
                for _ in range(120):
                    try:
                        page.goto(url)
                        break
                    except Exception:  # not listening yet
                        page.wait_for_timeout(500)
                run_example(page, shot.example)
                show_moment(page)
                page.screenshot(path=out / shot.name, full_page=True)
                page.close()
                typer.echo(f"wrote {out / shot.name}")
            chromium.close()
    finally:
        if server is not None:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    typer.run(main)
