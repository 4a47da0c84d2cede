"""Running a command of the project: a known error is one sentence on stderr and exit code 2, never a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from assistant.errors import LookTwiceError

BAD_INPUT = 2
"""Exit code for input that cannot be used."""


def run(command: Callable[..., Any] | typer.Typer, arguments: Sequence[str] | None = None) -> None:
    """Runs a function with typer annotations, or a Typer with several commands, and exits.

    Args:
        command: what to run.
        arguments: of the command line; those of this process when None.

    Raises:
        SystemExit: always; 0 when it went well, BAD_INPUT for a LookTwiceError or arguments that are not understood.
    """
    if not isinstance(command, typer.Typer):
        function, command = command, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        command.command()(function)
    try:
        command(args=None if arguments is None else list(arguments))
    except LookTwiceError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(BAD_INPUT) from None
