"""Make the README's picture of the page: start the page, run its first example, write docs/chat.png.

Run from the repository's root: `python docs/screenshot.py`. Needs Playwright and a Chromium.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
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


def main(
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = ROOT / "docs" / "chat.png",
    url: Annotated[str, typer.Option(help="A page that runs already; by default one is started.")] = "",
    width: Annotated[int, typer.Option(help="Of the window, pixels.")] = 1280,
    height: Annotated[int, typer.Option(help="Of the window, pixels.")] = 900,
    example: Annotated[int, typer.Option(help="Which example, 0 is the first.")] = 0,
    dark: Annotated[bool, typer.Option("--dark", help="Dark colours.")] = False,
    browser: Annotated[str, typer.Option(help="Chromium's program; by default one on the path.")] = "",
) -> None:
    """Write a screenshot of the page with one example answered."""
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
            page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            for _ in range(120):
                try:
                    page.goto(url)
                    break
                except Exception:  # not listening yet
                    page.wait_for_timeout(500)
            run_example(page, example)
            page.screenshot(path=out, full_page=True)
            chromium.close()
    finally:
        if server is not None:
            server.terminate()
            server.wait()
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
