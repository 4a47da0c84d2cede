"""Bytes, files, arrays and Pillow images to checked, upright, read-only RGB pictures."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image, ImageCms

from assistant.errors import MediaError
from assistant.types import Frame, Media

MAX_PIXELS = 40_000_000  # width x height of one picture
MAX_BYTES = 200_000_000  # of one picture file
MAX_NAME = 80  # characters of a display name
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Endings by which a folder's pictures are known; a file's content decides what it is."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # the only Pillow decoders that may run

_FULL_SCALES = ((255, 8), (1023, 10), (4095, 12), (65535, 16))
_TURN_NAMES = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
_TURNS = {tag: Image.Transpose[turn] for tag, turn in enumerate(_TURN_NAMES, start=2)}
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # Pillow's mode: the profile's word
_IMAGE_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_STILL_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}
_MOVIE_ATOMS = {b"moov", b"mdat", b"wide", b"pnot"}
_USABLE = "Use a JPEG, PNG, WebP, BMP or TIFF picture."
_lock = threading.Lock()


def read_media(source: bytes | os.PathLike, *, name: str | None = None) -> Media:
    """Read one picture as a Media with one frame: [H, W, 3] uint8 RGB, upright, read-only, H * W <= MAX_PIXELS.

    Args:
        source: the encoded bytes, or a path object of a regular file; at most MAX_BYTES.
        name: display name; by default the file's own name, or "picture" for bytes.

    Raises TypeError for a plain string or anything else that is neither bytes nor a path object, MediaError when
    the source cannot be used; its sentence names nothing but the file's own name.
    """
    if isinstance(source, bytes):
        label = safe_name(name or "")
        _check_bytes(len(source), label)
        data = source
    elif isinstance(source, os.PathLike):
        label = safe_name(name or os.path.basename(os.fsdecode(source)))
        data = read_file(source, label)
    else:
        raise TypeError(
            f"read_media takes bytes or a pathlib.Path given by the program's owner, not {type(source).__name__}; "
            "text from a chat must never be opened as a path."
        )
    if not data:
        raise MediaError(f"'{label}' is empty.", _USABLE)
    if (kind := sniff_kind(data[:32])) == "clip":
        raise MediaError(f"'{label}' is a clip, where a picture is wanted.", _USABLE)
    if kind == "unknown":
        raise MediaError(f"'{label}' is {_describe(data[:4096])}, not a picture this program reads.", _USABLE)
    with _decoding(label, data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return _checked(image, label)


def media_from_array(array: np.ndarray, name: str = "picture") -> Media:
    """Media from [H, W] grey, [H, W, 3] RGB or [H, W, 4] RGBA uint8 pixels; the array is copied.

    Raises TypeError for anything but an array, MediaError for another shape or dtype or too many or no pixels.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"media_from_array takes a numpy array, not {type(array).__name__}.")
    label = safe_name(name)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        remedy = "Give uint8 pixels of shape [H, W], [H, W, 3] or [H, W, 4]."
        raise MediaError(f"'{label}' is not a picture but an array of {array.shape} {array.dtype}.", remedy)
    _check_size(array.shape[1], array.shape[0], label)
    return media_from_image(Image.fromarray(np.ascontiguousarray(array)), label)


def media_from_image(image: Image.Image, name: str = "picture") -> Media:
    """Media from a Pillow image of any mode; its pixels are copied and its EXIF orientation is applied.

    Raises TypeError for anything but an image, MediaError when it cannot be decoded or has too many or no pixels.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"media_from_image takes a Pillow image, not {type(image).__name__}.")
    label = safe_name(name)
    with _decoding(label, b""):
        return _checked(image, label)


def sniff_kind(head: bytes) -> Literal["image", "clip", "unknown"]:
    """What the first bytes of a file (32 are enough) claim it to be, by its content and never by its name."""
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI "):
        return "image" if head[8:12] == b"WEBP" else "clip"
    if head[:2] == b"BM":  # two letters that a text may begin with, so the header's size must fit too
        return "image" if int.from_bytes(head[14:18], "little") in _BMP_HEADERS else "unknown"
    if head.startswith(_IMAGE_HEADS):
        return "image"
    if head.startswith((b"GIF87a", b"GIF89a", b"\x1a\x45\xdf\xa3")) or head[4:8] in _MOVIE_ATOMS:
        return "clip"
    return "clip" if head[4:8] == b"ftyp" and head[8:12] not in _STILL_BRANDS else "unknown"


def safe_name(text: str) -> str:
    """A display name: no folders, no control, bidi or invisible characters, 1..MAX_NAME characters."""
    kinds = [(c, unicodedata.category(c)) for c in re.split(r"[/\\]", text)[-1]]
    kept = "".join(c for c, kind in kinds if kind[0] != "C" and kind not in ("Zl", "Zp"))
    shown = kept.strip()[:MAX_NAME].strip()
    return "picture" if shown in ("", ".", "..") else shown


def read_file(path: os.PathLike, label: str) -> bytes:
    """All bytes of a regular file. Checked before opening (opening a device can act on it) and again after.

    Raises MediaError, with `label` as the name, when there is none or it cannot be read or is over MAX_BYTES.
    """
    try:
        with open_file(path, label) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, MemoryError):
        raise MediaError(f"'{label}' could not be read from the disk.") from None
    _check_bytes(len(data), label)
    return data


def open_file(path: os.PathLike, label: str, what: str = "picture", usable: str = _USABLE) -> BinaryIO:
    """A regular file of a `what`, open for reading; checked before opening and again after, see `read_file`.

    Raises MediaError, with `label` as the name, when there is none or it cannot be opened or is over MAX_BYTES.
    """
    try:
        _check_regular(os.stat(path), label, what, usable)
        # Without O_NONBLOCK, a file swapped for a FIFO between the two checks would block for ever.
        file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")  # noqa: SIM115
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError(f"There is no file '{label}'.", "Check its name and folder.") from None
    except PermissionError:
        raise MediaError(f"'{label}' may not be read by this user.", "Check the file's permissions.") from None
    except (OSError, ValueError):
        raise MediaError(f"'{label}' could not be read from the disk.") from None
    try:
        _check_regular(os.fstat(file.fileno()), label, what, usable)
    except MediaError:
        file.close()
        raise
    return file


def _check_regular(status: os.stat_result, label: str, what: str, usable: str) -> None:
    """Raise MediaError for a folder, device or pipe, or more than MAX_BYTES, where a file of a `what` is wanted."""
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"'{label}' is a folder, not a {what}.", usable)
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"'{label}' is a device or pipe, not a {what} file.", usable)
    _check_bytes(status.st_size, label)


def _check_bytes(count: int, label: str) -> None:
    if count > MAX_BYTES:
        raise MediaError(f"'{label}' is larger than the {MAX_BYTES // 1_000_000} MB this program reads.")


def _too_many_pixels(label: str) -> MediaError:
    limit = f"{MAX_PIXELS // 1_000_000} million pixels"
    return MediaError(f"'{label}' has more than the {limit} this program reads.", "Scale or crop it first.")


def _check_size(width: int, height: int, label: str) -> None:
    if width < 1 or height < 1:
        raise MediaError(f"'{label}' has no pixels.")
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(label)


def _describe(head: bytes) -> str:
    """Words for a file that is neither a picture we read nor a clip, from its first bytes."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"%pdf", b"<!doctype html", b"<html")):
        return "a PDF document" if start.startswith(b"%pdf") else "a web page"
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in start:
        return "an SVG drawing"
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF file"
    return "of an unknown kind" if b"\0" in head or b"\xff" in head else "text"


@contextmanager
def _decoding(label: str, data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises into a MediaError and keep its warnings from the user.

    Warning filters belong to the whole process: without the lock two decodings would restore each other's.
    """
    with _lock, warnings.catch_warnings(action="ignore"):
        try:
            yield
        except MediaError:
            raise
        except Image.DecompressionBombError:
            raise _too_many_pixels(label) from None
        except MemoryError:
            raise MediaError(f"There is not enough memory to read '{label}'.", "Scale or crop it first.") from None
        except Exception as error:  # damaged files make the decoders raise nearly every built-in type
            cut = _is_cut_off(data, error)
            reason = "cut off: the file ends before the picture does." if cut else "damaged: it cannot be decoded."
            raise MediaError(f"'{label}' is {reason}", "Save or export the picture again.") from None


def _is_cut_off(data: bytes, error: Exception) -> bool:
    """Whether a decoder failed because the file is too short, told by its own words or the file's own structure."""
    if "truncated" in str(error).lower():
        return True
    at_4 = int.from_bytes(data[4:8], "big" if data[:2] == b"MM" else "little")
    # WebP says how much follows, TIFF where its directory is, BMP how long it is; PNG and JPEG have end marks.
    needed = {b"RI": 8 + at_4, b"II": at_4 + 1, b"MM": at_4 + 1, b"BM": int.from_bytes(data[2:6], "little")}
    end = {b"\x89P": b"IEND", b"\xff\xd8": b"\xff\xd9"}.get(data[:2], b"")
    return len(data) < needed.get(data[:2], 0) or end not in data


def _checked(image: Image.Image, label: str) -> Media:
    """Check the size, load, convert to RGB and turn upright. Runs inside `_decoding`."""
    _check_size(*image.size, label)
    notes: list[str] = []
    if getattr(image, "is_animated", False):
        notes.append("The file holds several frames or pages; only the first one was read.")
    if any(";16" in str(tile) for tile in getattr(image, "tile", ())) and not image.mode.startswith(("I", "F")):
        notes.append("16-bit colours were reduced to their upper 8 bits.")
    # Pillow turns a TIFF itself while loading and then forgets the tag.
    turned = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation) in _TURNS
    image.load()
    _check_size(*image.size, label)
    rgb = _to_rgb(image, label, notes)
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # a damaged tag block says nothing about the pixels, which are already decoded
        turn = None
    rgb = rgb if turn is None else rgb.transpose(turn)
    if turned or turn is not None:
        notes.append("The picture was turned upright as its orientation tag says.")
    pixels = np.ascontiguousarray(rgb)  # a copy: Pillow hands out bytes of its own
    pixels.setflags(write=False)
    return Media(frames=(Frame(pixels),), name=label, notes=tuple(notes))


def _to_rgb(image: Image.Image, label: str, notes: list[str]) -> Image.Image:
    """A loaded image of any mode as mode RGB; appends to notes what a viewer of the result should know."""
    if image.mode.startswith("I"):
        return Image.fromarray(_scale_integers(np.asarray(image), notes)).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(_scale_floats(np.asarray(image), label, notes)).convert("RGB")
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        before, image = image.mode, image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            notes.append("Transparent parts were put on white.")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        # Back to one channel (without loss) where there was one, because a grey colour profile needs it.
        image = image.convert("RGB").convert("L" if before in ("1", "L", "LA") else "RGB")
    if image.mode not in _PROFILE_SPACES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    return _to_srgb(image, profile, notes).convert("RGB") if profile else image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Apply an embedded profile to an image of mode L, RGB or CMYK; unchanged if it is broken or does not fit."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (source.profile.profile_description or ""):
            return image  # exact pixels instead of the rounding of a conversion to itself
        if source.profile.xcolor_space.strip() != _PROFILE_SPACES[image.mode]:
            raise ValueError("profile of another colour space")
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # the library raises several unrelated types; a picture without its profile is still usable
        notes.append("The embedded colour profile is damaged or does not fit and was ignored.")
        return image
    notes.append("Colours were converted to sRGB from the embedded profile.")
    return converted


def _scale_integers(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """[H, W] 16- or 32-bit integers to uint8; outside 0..65535 they are stretched from lowest to highest.

    Cameras store 8, 10 and 12 bits in 16-bit files: the smallest range that holds the brightest pixel is used.
    """
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        notes.append(f"Grey values {low}..{high} were stretched to 8 bits.")
        return _stretch(values, low, high)
    top, bits = next(scale for scale in _FULL_SCALES if high <= scale[0])
    notes.append(f"16-bit picture scaled to 8 bits from the {bits}-bit range 0..{top} its brightest pixel fits.")
    return _stretch(values, 0, top)


def _scale_floats(values: np.ndarray, label: str, notes: list[str]) -> np.ndarray:
    """[H, W] float32 to uint8: 0..1 and 0..255 are taken as they are, anything else from lowest to highest."""
    finite = np.isfinite(values)
    if not finite.any():
        raise MediaError(f"'{label}' holds no number that could be a grey value.")
    low, high = float(values[finite].min()), float(values[finite].max())
    if not finite.all():
        notes.append(f"{int((~finite).sum())} infinite or undefined values became the highest or lowest grey.")
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if low >= 0 and high <= 255:
        low, high = 0.0, (1.0 if high <= 1 else 255.0)
    notes.append(f"Floating-point picture scaled to 8 bits from {low:g}..{high:g}.")
    return _stretch(values, low, high)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high linearly to 0..255, rounded; a constant array becomes 0. float64: float32 ranges can overflow."""
    span = (high - low) or 1.0
    return np.rint((values.astype(np.float64) - low) * (255.0 / span)).clip(0, 255).astype(np.uint8)
