"""Whether the page can be opened at an address, before a model is loaded for it."""

from __future__ import annotations

import errno
import socket

from assistant.errors import LookTwiceError


def checked_address(host: str, port: int) -> tuple[str, int]:
    """The address as it is, when it is free; ports are 1..65535.

    Raises:
        LookTwiceError: something answers there already, or this machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LookTwiceError(
                f"Port {port} is in use, perhaps by another chat.", "Name another one with --port."
            ) from None
        raise LookTwiceError(f"The page cannot be opened at {host}, port {port} ({error}).") from None
    return host, port
