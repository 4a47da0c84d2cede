"""The setting that says whether and how pictures are looked at tile by tile. No torch here."""

from __future__ import annotations

from assistant.errors import MediaError

Tiles = str | int | None
"""None for none, "auto" for a picture that would be shrunk far below its own size, or a tile's side in pixels."""
LEAST_SIDE = 64
"""Pixels of the smallest tile: what is smaller says nothing about what it belongs to."""


def checked_tiles(tiles: Tiles) -> Tiles:
    """The setting; raises MediaError for one that cannot be."""
    if tiles is None or tiles == "auto":
        return tiles
    if isinstance(tiles, str) and tiles.isdecimal():
        tiles = int(tiles)
    if not isinstance(tiles, int) or isinstance(tiles, bool) or tiles < LEAST_SIDE:
        raise MediaError(f"Tiles are 'auto' or a side of at least {LEAST_SIDE} pixels, not {tiles!r}.")
    return tiles
