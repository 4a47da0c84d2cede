"""The command line: `python -m assistant PATH`, a picture or a clip.

Exit code 0 for a finding, 2 for input that cannot be used.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from assistant.batch_command import EngineName, Model
from assistant.batch_command import run as run_folder
from assistant.clip_reader import is_clip
from assistant.command import BAD_INPUT
from assistant.errors import LookTwiceError, MediaError, MemoryFileError, QuestionError
from assistant.prompts import MAX_QUESTION
from assistant.types import MAX_REFERENCES, ClipFile, Finding, Media

if TYPE_CHECKING:
    from assistant.session import Session

PATH_HELP = (
    "The picture: JPEG, PNG, WebP, BMP or TIFF; or the clip: MP4, WebM, MKV, AVI, MOV or GIF. "
    "A question goes after --ask."
)
_COLOURS = {"anomalous": "bold red", "normal": "bold green", "unsure": "bold yellow"}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    path: Annotated[Path, typer.Argument(help=PATH_HELP, show_default=False)],
    ask: Annotated[str | None, typer.Option("--ask", help="A question; by default whether anything is wrong.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finding as one JSON object.")] = False,
    heatmap: Annotated[Path | None, typer.Option("--heatmap", help="Write the heatmap on the picture as PNG.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write report (HTML, PDF), JSON, COCO and masks into this folder.")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="The model to use.")] = "embedded",
    reference: Annotated[
        list[Path] | None,
        typer.Option("--reference", help="A normal picture, or clip, to compare with; may be given often."),
    ] = None,
    references_dir: Annotated[
        Path | None, typer.Option("--references-dir", help="A folder of normal pictures to compare with.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="False-alarm rate that sets the threshold, 0.05 with references.")
    ] = None,
    remember: Annotated[
        Path | None, typer.Option("--remember", help="Keep what the references look like in this safetensors file.")
    ] = None,
    memory: Annotated[Path | None, typer.Option("--memory", help="Compare with a file of --remember.")] = None,
    rules: Annotated[str, typer.Option("--rules", help="Of a clip: what is normal there, in words.")] = "",
    view: Annotated[
        list[Path] | None, typer.Option("--view", help="A further view of the same object; up to 8 of them.")
    ] = None,
    tiles: Annotated[
        str | None, typer.Option("--tiles", help="Look tile by tile too: auto, or a tile's side in pixels.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", help="Of a OneVision profile: our weights, a folder or a repository.")
    ] = None,
    quantization: Annotated[str | None, typer.Option("--quantization", help="Of a OneVision profile: 4bit.")] = None,
    device_map: Annotated[str | None, typer.Option("--device-map", help="Of a OneVision profile: auto.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="PATH is a folder or a zip: list its pictures.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Of --batch: folder to keep and go on in.")] = None,
    engine: Annotated[EngineName, typer.Option("--engine", help="Of --batch: who runs it.")] = EngineName.plain,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Of --engine ray: processes.")] = 2,
) -> None:
    """Look at a picture and say whether something is wrong with it, where, and why."""
    given = {"adapter": adapter, "quantization": quantization, "device_map": device_map}
    model = {name: value for name, value in given.items() if value is not None}
    asked = Asked(reference or [], references_dir, rate, remember, memory, view or [], tiles, model, rules)
    try:
        if batch:
            if ask is not None or heatmap is not None or report is not None:
                raise QuestionError("--ask, --heatmap and --report are for one picture, not for --batch.")
            run_folder(path, out, asked.for_batch(profile), engine, workers, as_json)
            return
        _check_report(report)
        media = _checked_input(path, ask, heatmap, profile)  # before the model, which takes seconds to load
        held = asked.read(clip=isinstance(media, ClipFile))
        media = asked.with_views(media)
        with redirect_stdout(sys.stderr) if as_json else nullcontext():  # a library that prints must not break the JSON
            finding = _inspect(media, ask, Files(heatmap, report), profile, not as_json, asked, held)
    except LookTwiceError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(finding.to_dict(), ensure_ascii=False, indent=2))


def _checked_input(path: Path, question: str | None, heatmap: Path | None, profile: str) -> Media | ClipFile:
    """The picture or clip, after all that can be checked without a model has been; raises LookTwiceError."""
    from assistant.media import read_media
    from assistant.profiles import read_profile

    if question is not None and not question.strip():
        raise QuestionError("The question is empty.", "Leave --ask away or write a question.")
    if question is not None and len(question) > MAX_QUESTION:
        raise QuestionError(f"The question has more than {MAX_QUESTION} characters.", "Ask a shorter one.")
    read_profile(profile)
    media = _opened(path) if is_clip(path) else read_media(path)
    if heatmap is not None:
        folder = heatmap.parent
        if heatmap.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise MediaError("The file given by --heatmap cannot be written.", "Name a file in an existing folder.")
        if heatmap.exists() and heatmap.samefile(path):
            raise MediaError("The file given by --heatmap is the input itself.", "Name another file.")
    return media


def _check_report(folder: Path | None) -> None:
    """Raises MediaError when the report cannot be written there."""
    if folder is None:
        return
    there = folder if folder.exists() else folder.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise MediaError("The folder given by --report cannot be written.", "Name one in an existing folder.")


@dataclass(frozen=True)
class Files:
    """What is to be written: the heatmap's picture and the report's folder, None for none."""

    heatmap: Path | None
    report: Path | None


@dataclass(frozen=True)
class Asked:
    """What the command line says about references, views and the model; see the options of `main`."""

    files: list[Path]
    folder: Path | None
    rate: float | None
    remember: Path | None
    memory: Path | None
    views: list[Path]
    tiles: str | None
    model: dict[str, str]
    rules: str = ""

    def for_batch(self, profile: str) -> Model:
        """What looks at a batch; raises LookTwiceError for what a batch does not take."""
        from assistant.tiling import checked_tiles

        given = {"--view": self.views, "--reference": self.files, "--references-dir": self.folder, "--rate": self.rate,
                 "--remember": self.remember, "--memory": self.memory, "--rules": self.rules}  # fmt: skip
        for name, value in given.items():
            if value:
                raise QuestionError(f"{name} is for one picture or clip, not for --batch.")
        return Model(profile, self.model, checked_tiles(self.tiles))

    def with_views(self, media: Media) -> Media:
        """The picture with its further views; raises MediaError."""
        from assistant.media import read_media
        from assistant.views import as_views

        return as_views([media, *(read_media(file) for file in self.views)])

    def read(self, *, clip: bool) -> list[Media | ClipFile]:
        """The references of a picture or clip, after all that can be checked without a model; raises LookTwiceError."""
        from assistant.clip_words import checked_rules
        from assistant.media import read_media
        from assistant.threshold import checked_rate
        from assistant.tiling import checked_tiles

        checked_rate(self.rate)
        checked_rules(self.rules)
        if clip and (self.rate is not None or self.remember is not None or self.memory is not None):
            raise QuestionError("--rate, --remember and --memory are for pictures, not for clips.")
        if self.rules and not clip:
            raise QuestionError("--rules are for clips, not for pictures.")
        checked_tiles(self.tiles)
        files = [*self.files, *(_pictures(self.folder) if self.folder is not None else ())]
        if len(files) > MAX_REFERENCES:
            raise MediaError(f"There are {len(files)} references; {MAX_REFERENCES} are allowed.")
        if self.memory is not None and files:
            raise MediaError("References are given twice.", "Name pictures or a file with --memory, not both.")
        if self.memory is not None and not self.memory.is_file():
            raise MemoryFileError(f"There is no memory '{self.memory.name}'.")
        if self.remember is not None and not files:
            raise MediaError("There are no references to remember.", "Name them with --reference or --references-dir.")
        if self.remember is not None and (self.remember.is_dir() or not os.access(self.remember.parent, os.W_OK)):
            raise MemoryFileError(
                "The file given by --remember cannot be written.", "Name a file in a folder of yours."
            )
        clips = [is_clip(file) for file in files]
        if any(clips) and not clip:
            raise MediaError("A normal clip is a reference for clips, not for pictures.")
        return [_opened(file) if moves else read_media(file) for file, moves in zip(files, clips, strict=True)]


def _opened(path: Path) -> ClipFile:
    """A clip that can be opened; raises MediaError."""
    from assistant.clip_reader import ClipReader

    with ClipReader(path):
        return ClipFile(path)


def _pictures(folder: Path) -> list[Path]:
    """Picture files right in a folder, sorted by name; raises MediaError when there is none."""
    from assistant.media import SUFFIXES

    if not folder.is_dir():
        raise MediaError(f"There is no folder '{folder.name}'.")
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
    if not found:
        raise MediaError(f"The folder '{folder.name}' holds no picture.")
    return found


def _inspect(
    media: Media | ClipFile,
    question: str | None,
    files: Files,
    profile: str,
    streaming: bool,
    asked: Asked,
    references: list[Media | ClipFile],
) -> Finding:
    """Load, look, answer; with `streaming` the words are printed as they come. Raises LookTwiceError."""
    from assistant import load
    from assistant.prompts import DEFAULT_QUESTION
    from assistant.render import save_overlay
    from assistant.session import Done, Looked, Session, Words
    from assistant.tiling import checked_tiles

    console = Console(highlight=False, markup=False)
    with Console(stderr=True).status("Loading the model") if streaming else nullcontext():
        inspector = load(profile, **asked.model)
    session = Session(inspector, checked_tiles(asked.tiles))
    if asked.memory is not None:
        session.hold(inspector.load_references(asked.memory), asked.rate)
    else:
        session.hold(references, asked.rate)
        session.rule(asked.rules)
    if asked.remember is not None:
        inspector.save_references(session.memory(), asked.remember)
    finding: Finding | None = None
    for event in session.ask(question or DEFAULT_QUESTION, media):
        if isinstance(event, Looked) and files.heatmap is not None:
            save_overlay(event.look, files.heatmap)
        if isinstance(event, Words) and streaming:
            console.print(Text(_printable(event.piece)), end="", soft_wrap=True)
        if isinstance(event, Done):
            finding = event.finding
    assert finding is not None  # a turn with a picture that nobody stops ends with one
    if files.report is not None:
        _write_report(question or DEFAULT_QUESTION, session, finding, files.report)
    if streaming:
        console.print("\n")
        _print(console, finding)
    return finding


def _write_report(question: str, session: Session, finding: Finding, folder: Path) -> None:
    """The one question, its answer and evidence as files; raises LookTwiceError."""
    from assistant.exchange import Exchange
    from assistant.report import report_of, write_report

    exchange = Exchange(1, question, answer=finding.explanation, look=session.look, finding=finding)
    write_report(report_of([exchange], finding.profile), folder)


def _print(console: Console, finding: Finding) -> None:
    """Verdict, score, places and warnings below the words."""
    from assistant.render import summary_lines

    verdict, *others = summary_lines(finding)
    console.print(Text(verdict, style=_COLOURS[finding.verdict]))
    for line in others:
        console.print(Text(line, style="yellow" if line.startswith("Note:") else ""), soft_wrap=True)
    timings = finding.timings
    took = f"Looked in {timings.look_s:.1f} s, answered in {timings.answer_s:.1f} s, loaded in {timings.load_s:.1f} s."
    console.print(Text(took, style="dim"))


def _printable(text: str) -> str:
    """Words of a model without control characters, so that they cannot steer a terminal; line breaks stay."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")


if __name__ == "__main__":
    app(prog_name="python -m assistant")
