"""Files that visitors uploaded, and the refusal of every other file, path and address."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
from gradio.utils import get_upload_folder

from assistant.errors import MediaError
from assistant.media import read_media
from assistant.types import Media

REFUSED = "Only pictures uploaded here are looked at: addresses and paths are not opened."
_DATA = re.compile(r"data:image/[a-z+.-]{1,20};base64,", re.IGNORECASE)


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


def read_upload(path: Any) -> Media:
    """The picture of an upload; raises MediaError."""
    if not is_upload(path):
        raise MediaError(REFUSED)
    return read_media(Path(path))


def read_uploads(files: Any) -> list[Media]:
    """The pictures of several uploads; raises MediaError."""
    if not isinstance(files, list | tuple):
        raise MediaError(REFUSED)
    return [read_upload(file.get("path") if isinstance(file, dict) else file) for file in files]


def read_given(picture: Any) -> Media:
    """A picture as programs give it: an upload, or the bytes themselves as data:image/...;base64,...

    Raises MediaError for every other text, be it a path or an address.
    """
    if isinstance(picture, str) and (head := _DATA.match(picture[:64])):
        try:
            return read_media(base64.b64decode(picture[head.end() :], validate=True))
        except (binascii.Error, ValueError):
            raise MediaError("The picture's bytes are not base64.") from None
    return read_upload(picture.get("path") if isinstance(picture, dict) else None)
