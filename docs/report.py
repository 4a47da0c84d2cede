"""Make the README's picture of a report: the top of RUN/report.html, down to its tables, into docs/report.png.

Run from the repository's root: `python docs/report.py RUN`. Needs Playwright and a Chromium.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import sync_playwright
from screenshot import FLAGS, ROOT

COLOURS = 256
"""Of the picture's palette: lines and text need no more, and it stays small."""


def main(
    run: Annotated[Path, typer.Argument(help="Folder of eval.run, scored by eval.score.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = ROOT / "docs" / "report.png",
    width: Annotated[int, typer.Option(help="Of the window, pixels.")] = 1280,
    browser: Annotated[str, typer.Option(help="Chromium's program; by default one on the path.")] = "",
) -> None:
    """Write a screenshot of a report's key figures and curves; no picture of a set is in it."""
    file = (run / "report.html").absolute()
    if not file.is_file():
        typer.echo(f"There is no report in {run}. Run: python -m eval.score {run}", err=True)
        raise typer.Exit(2)
    program = browser or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
        page.goto(file.as_uri())
        end = page.locator("h2", has_text="Figures").bounding_box()["y"]
        area = {"x": 0, "y": 0, "width": width, "height": end - 8}
        pixels = page.screenshot(full_page=True, clip=area)
        chromium.close()
    Image.open(io.BytesIO(pixels)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
