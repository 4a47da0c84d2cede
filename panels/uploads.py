"""Files that visitors uploaded, pictures and clips, and the refusal of every other file, path and address."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
from gradio.utils import get_upload_folder

from assistant.clip_preview import open_clip
from assistant.clip_reader import SUFFIXES, is_clip
from assistant.errors import MediaError
from assistant.media import read_media
from assistant.types import ClipFile, Media

REFUSED = "Only pictures and clips uploaded here are looked at: addresses and paths are not opened."
FILE_TYPES = ["image", "video", *SUFFIXES]
"""What the page's file dialogs offer; a file's content decides what it is."""
_DATA = re.compile(r"data:(?:image|video)/[a-z0-9+.-]{1,20};base64,", re.IGNORECASE)


def refuse_foreign_files(value: Any) -> None:
    """Raise gr.Error when a JSON value holds a file that is no upload: another path, or any address but its own."""
    if isinstance(value, dict) and ("path" in value or "url" in value):
        path, url = value.get("path"), value.get("url")
        if not is_upload(path) or not (url is None or unquote(str(url)).endswith(f"file={path}")):
            raise gr.Error(REFUSED, print_exception=False)
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            refuse_foreign_files(item)


def is_upload(path: Any) -> bool:
    """Whether this is the path of a file in the page's own upload folder, links followed."""
    if not isinstance(path, str) or "\0" in path:
        return False
    file = Path(path).resolve()
    return file.is_relative_to(Path(get_upload_folder()).resolve()) and file.is_file()


def read_file(file: Path, name: str | None = None) -> Media | ClipFile:
    """The picture or clip in a file that may be read, with a display name; raises MediaError."""
    return open_clip(file, name=name) if is_clip(file) else read_media(file, name=name)


def read_upload(path: Any) -> Media | ClipFile:
    """The picture or clip of an upload; raises MediaError."""
    if not is_upload(path):
        raise MediaError(REFUSED)
    return read_file(Path(path))


def read_uploads(files: Any) -> list[Media | ClipFile]:
    """The pictures and clips of several uploads; raises MediaError."""
    if not isinstance(files, list | tuple):
        raise MediaError(REFUSED)
    return [read_upload(file.get("path") if isinstance(file, dict) else file) for file in files]


def read_given(given: Any) -> Media | ClipFile:
    """A picture or clip as programs give it: an upload, or the bytes themselves as data:image/...;base64,...

    Raises MediaError for every other text, be it a path or an address.
    """
    if isinstance(given, str) and (head := _DATA.match(given[:64])):
        try:
            data = base64.b64decode(given[head.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise MediaError("The bytes of the picture or clip are not base64.") from None
        return open_clip(data) if is_clip(data) else read_media(data)
    return read_upload(given.get("path") if isinstance(given, dict) else None)
