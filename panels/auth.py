"""Who may use the page: names and passwords from a file or the environment, never from the command line."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from pathlib import Path

from assistant.errors import SettingError

VARIABLE = "LOOKTWICE_AUTH"
"""Holds one "name:password"; a command line would show it to every user of the machine."""


def read_auth(file: Path | None) -> Callable[[str, str], bool] | None:
    """A check of name and password, None when nobody has to log in.

    Args:
        file: one "name:password" a line; blank lines and lines that begin with # are left out. None for VARIABLE.

    Raises:
        SettingError: the file cannot be read, or something is no "name:password".
    """
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise SettingError(f"The file {file.name} of names and passwords cannot be read.") from None
        where = file.name
    else:
        lines, where = [os.environ.get(VARIABLE, "")], VARIABLE
    known: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.strip().partition(":")
        if not (name and colon and password):
            raise SettingError(f"{where}, line {number}: not a name and a password.", "Write name:password.")
        known[name] = password
    if file is not None and not known:
        raise SettingError(f"The file {file.name} has no name and password.", "Write name:password in it.")
    return (lambda name, password: _right(known, name, password)) if known else None


def _right(known: dict[str, str], name: str, password: str) -> bool:
    """Whether the password is this name's; takes as long for an unknown name as for a wrong password."""
    expected = known.get(name, "")
    same = hmac.compare_digest(password.encode(), expected.encode())
    return same and name in known
