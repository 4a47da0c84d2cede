"""Reading pictures: every format and mode, every refusal, and damaged files."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from assistant import media
from assistant.errors import MediaError
from assistant.media import media_from_array, media_from_image, read_media, safe_name, sniff_kind
from assistant.types import Media

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


def picture(height: int = 12, width: int = 20) -> np.ndarray:
    """[H, W, 3] uint8 with a different value at every place, so that any turn or swap shows."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(image: Image.Image | np.ndarray, form: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pixels_of(result: Media) -> np.ndarray:
    assert result.kind == "image" and len(result.frames) == 1 and result.frames[0].time == 0.0
    pixels = result.frames[0].pixels
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert pixels.flags.c_contiguous and not pixels.flags.writeable
    return pixels


def refusal(source: bytes | os.PathLike, **options: str) -> str:
    """The sentence of a refusal, checked for what a user must never see."""
    with pytest.raises(MediaError) as caught:
        read_media(source, **options)
    error = caught.value
    assert error.sentence.endswith(".") and "\n" not in str(error)
    assert not any(word in str(error) for word in ("PIL", "Traceback", "Error", "BytesIO", "/"))
    assert error.__cause__ is None and error.__suppress_context__ or error.__context__ is None
    return error.sentence


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("form", FORMATS)
def test_formats_round_trip_from_bytes_and_file(form: str, tmp_path: Path) -> None:
    original = picture()
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(form, {})
    data = encode(original, form, **options)
    path = tmp_path / "part.any"
    path.write_bytes(data)
    from_bytes, from_file = read_media(data), read_media(path)
    assert from_bytes.name == "picture" and from_file.name == "part.any" and from_bytes.notes == ()
    assert read_media(path, name="C:\\cam\\7.png").name == "7.png"
    np.testing.assert_array_equal(pixels_of(from_bytes), pixels_of(from_file))
    error = np.abs(pixels_of(from_bytes).astype(int) - original).max()
    assert error <= (12 if form == "JPEG" else 0)
    assert from_bytes.frames[0].size == (20, 12)


@pytest.mark.parametrize("form", FORMATS)
def test_one_pixel(form: str) -> None:
    pixels = pixels_of(read_media(encode(np.full((1, 1, 3), 90, np.uint8), form)))
    assert pixels.shape == (1, 1, 3) and abs(int(pixels[0, 0, 1]) - 90) <= 3


def test_paths_in_text_are_a_programming_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(picture()))
    for wrong in (str(path), 3, None, bytearray(b"x")):
        with pytest.raises(TypeError, match="pathlib.Path"):
            read_media(wrong)  # type: ignore[arg-type]


def test_pixels_cannot_be_written_and_are_a_copy() -> None:
    array = picture()
    image = Image.fromarray(array)
    results = (media_from_array(array), media_from_image(image), read_media(encode(array)))
    before = array.copy()
    array[:] = 0
    image.paste((1, 2, 3), (0, 0, 20, 12))
    for result in results:
        pixels = pixels_of(result)
        np.testing.assert_array_equal(pixels, before)
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0, 0] = 1


def hand_turned(upright: np.ndarray, tag: int) -> np.ndarray:
    """How a camera with this orientation tag stores an upright picture, by the definition of the tag."""
    mirrored = upright[:, ::-1]
    swapped = upright.transpose(1, 0, 2)
    return {
        1: upright,
        2: mirrored,
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: swapped,
        6: swapped[::-1],  # stored rows run from the right side to the left
        7: swapped[::-1, ::-1],
        8: swapped[:, ::-1],
    }[tag]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation(tag: int, form: str) -> None:
    upright = picture()
    stored = np.ascontiguousarray(hand_turned(upright, tag))
    exif = Image.Exif()
    exif[0x0112] = tag
    result = read_media(encode(stored, form, exif=exif, **({"lossless": True} if form == "WEBP" else {})))
    np.testing.assert_array_equal(pixels_of(result), upright)
    assert any("upright" in note for note in result.notes) == (tag > 1)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = tag
    np.testing.assert_array_equal(pixels_of(media_from_image(image)), upright)


def test_jpeg_orientation_six_turns_clockwise() -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255  # the stored left half is the upper half of the upright picture
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = pixels_of(read_media(encode(stored, "JPEG", exif=exif)))
    assert pixels.shape == (32, 16, 3) and pixels[:14].min() > 240 and pixels[18:].max() < 15


def test_damaged_exif_does_not_matter() -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x99" * 30
    assert pixels_of(read_media(encode(picture(), "JPEG", exif=exif))).shape == (12, 20, 3)


def test_alpha_is_put_on_white() -> None:
    array = np.dstack([picture(), np.full((12, 20), 255, np.uint8)])
    array[0, 0] = (200, 10, 30, 0)
    array[0, 1] = (0, 100, 200, 128)
    for result in (read_media(encode(array)), media_from_array(array)):
        pixels = pixels_of(result)
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert np.abs(pixels[0, 1].astype(int) - [127, 177, 227]).max() <= 1
        np.testing.assert_array_equal(pixels[1:], array[1:, :, :3])
        assert result.notes == ("Transparent parts were put on white.",)
    array[..., 3] = 255
    assert read_media(encode(array)).notes == ()


def test_grey_alpha_palette_and_one_bit() -> None:
    grey = picture()[..., 0]
    alpha = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (20, 12), 0)])
    assert pixels_of(read_media(encode(alpha))).min() == 255
    np.testing.assert_array_equal(pixels_of(read_media(encode(grey)))[..., 2], grey)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    assert pixels_of(read_media(encode(palette))).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert pixels_of(read_media(encode(palette, transparency=1)))[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    bits = Image.fromarray(grey > 127)
    assert bits.mode == "1"
    for form in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(pixels_of(read_media(encode(bits, form)))[..., 0], np.where(grey > 127, 255, 0))


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_cmyk(form: str) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = pixels_of(read_media(encode(image, form)))[8, 8].tolist()
    assert red > 245 and green < 10 and blue < 10


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (10, 1023), (12, 4095), (16, 65535)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey(bits: int, top: int, form: str) -> None:
    values = np.linspace(0, top, 240).astype(np.uint16).reshape(12, 20)
    result = read_media(encode(values, form))
    np.testing.assert_array_equal(pixels_of(result)[..., 1], np.rint(values / top * 255))
    assert len(result.notes) == 1 and f"{bits}-bit range 0..{top}" in result.notes[0]


def test_sixteen_bit_big_endian_and_thirty_two_bit() -> None:
    values = np.linspace(0, 65535, 240).astype(np.uint16).reshape(12, 20)
    swapped = Image.frombytes("I;16B", (20, 12), values.astype(">u2").tobytes())
    for source in (encode(swapped, "TIFF"), encode(values.astype(np.int32), "TIFF")):
        np.testing.assert_array_equal(pixels_of(read_media(source))[..., 0], np.rint(values / 257))
    wide = np.linspace(-1_000_000, 2_000_000, 240).astype(np.int32).reshape(12, 20)
    result = read_media(encode(wide, "TIFF"))
    assert pixels_of(result)[0, 0, 0] == 0 and pixels_of(result)[-1, -1, 0] == 255
    assert "-1000000..2000000" in result.notes[0]


def test_sixteen_bit_colour_is_noted() -> None:
    rows = b"".join(b"\0" + struct.pack(">6H", 0xFF00, 0x8000, 0x0100, 0, 0, 0) for _ in range(2))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    result = read_media(data)
    assert pixels_of(result)[1, 0].tolist() == [255, 128, 1]
    assert result.notes == ("16-bit colours were reduced to their upper 8 bits.",)


def test_floating_point_pictures() -> None:
    unit = np.linspace(0, 1, 240, dtype=np.float32).reshape(12, 20)
    for scale in (1.0, 255.0):
        pixels = pixels_of(read_media(encode(unit * np.float32(scale), "TIFF")))
        np.testing.assert_allclose(pixels[..., 0], unit * 255, atol=0.51)
    huge = np.linspace(-3e38, 3e38, 240).astype(np.float32).reshape(12, 20)  # the span itself overflows float32
    pixels = pixels_of(read_media(encode(huge, "TIFF")))
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255) and 120 < pixels[6, 0, 0] < 135
    broken = unit.copy()
    broken[0, :3] = np.nan, np.inf, -np.inf
    result = read_media(encode(broken, "TIFF"))
    assert pixels_of(result)[0, :4, 0].tolist() == [3, 255, 3, 3]
    assert result.notes[0].startswith("3 infinite or undefined")
    assert "no number" in refusal(encode(np.full((3, 3), np.nan, np.float32), "TIFF"))


def swapped_primaries() -> bytes:
    """A valid RGB profile in which red and green have changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    return profile.replace(b"rXYZ", b"tmp!", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tmp!", b"gXYZ", 1)


def linear_grey() -> bytes:
    """A minimal grey profile with gamma 1."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78) + b"\0"
    offset, table, body = 128 + 4 + 3 * 12, b"", b""
    for tag, content in ((b"desc", text), (b"wtpt", white), (b"kTRC", curve)):
        table += tag + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", offset + len(body), b"\0\0\0\0", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white[8:] + bytes(48)
    return head + struct.pack(">I", 3) + table + body


def test_colour_profiles() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    result = read_media(encode(red, icc_profile=swapped_primaries()))
    assert pixels_of(result)[0, 0, 1] > 250 and pixels_of(result)[0, 0, 0] < 10
    assert "sRGB" in result.notes[0]
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_media(encode(red, icc_profile=standard)).notes == ()
    for wrong in (b"rubbish" * 30, standard[:200], linear_grey()):
        result = read_media(encode(red, icc_profile=wrong))
        np.testing.assert_array_equal(pixels_of(result), red)
        assert "ignored" in result.notes[0]
    grey = Image.new("L", (4, 4), 55)
    for image in (grey, Image.merge("LA", [grey, Image.new("L", (4, 4), 255)])):
        value = pixels_of(read_media(encode(image, icc_profile=linear_grey())))[0, 0]
        assert 120 <= value[0] <= 140 and value.max() - value.min() <= 2  # 55 / 255 linear is about 128 in sRGB


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_only_the_first_of_several_frames(form: str) -> None:
    frames = [Image.fromarray(picture()), Image.new("RGB", (20, 12), "red"), Image.new("RGB", (20, 12), "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    result = read_media(encode(frames[0], form, save_all=True, append_images=frames[1:], **options))
    np.testing.assert_array_equal(pixels_of(result), picture())
    assert len(result.notes) == 1 and "only the first" in result.notes[0]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_off_files(form: str, share: float) -> None:
    data = encode(picture(64, 64), form)
    sentence = refusal(data[: int(len(data) * share)], name="part.png")
    assert sentence == "'part.png' is cut off: the file ends before the picture does."


def test_cut_off_after_the_first_bytes() -> None:
    for form in FORMATS:
        data = encode(picture(), form)
        for length in (1, 4, 13, 20, 30):
            assert refusal(data[:length])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"BMW and other words about parts", "is text"),
        ("Prüfplan: Öl".encode(), "is text"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
        (b"\n <!DOCTYPE html><html></html>", "is a web page"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "is a PDF document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "is a HEIC or AVIF file"),
        (b"\x7fELF\x02\x01\x01\0", "is of an unknown kind"),
        (encode(picture())[:20] + b"rubbish" + encode(picture())[27:], "is damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(50) + b"\xff\xd9", "is damaged"),
    ],
)
def test_other_files_have_their_own_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.jpg"
    path.write_bytes(content)
    assert refusal(path).startswith(f"'thing.jpg' {words}")


CLIPS = {
    "mp4": b"\0\0\0\x20ftypisom\0\0\2\0",
    "mov": b"\0\0\0\x14ftypqt  \0\0\0\0",
    "old mov": b"\0\0\0\x6cmoov\0\0\0\0",
    "webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81",
    "avi": b"RIFF\0\1\0\0AVI LIST",
    "gif": b"GIF89a\1\0\1\0",
}


@pytest.mark.parametrize("kind", CLIPS)
def test_clips_are_no_pictures(kind: str) -> None:
    assert sniff_kind(CLIPS[kind]) == "clip"
    assert "is a clip, where a picture is wanted" in refusal(CLIPS[kind] + bytes(100))


def test_sniff_kind_goes_by_content() -> None:
    for form in FORMATS:
        assert sniff_kind(encode(picture(), form)[:32]) == "image"
    for head in (b"", b"B", b"BM", b"RIFF", b"RIFF\0\0\0\0WAVE", b"<svg", b"GIF", b"\0\0\0\x18ftypavif"):
        assert sniff_kind(head) == "unknown"


def test_a_format_that_is_not_allowed_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    gif = encode(Image.new("P", (3, 3)), "GIF")
    monkeypatch.setattr(media, "sniff_kind", lambda head: "image")
    assert "damaged" in refusal(gif)


def test_what_is_not_a_regular_file(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    assert refusal(tmp_path / "missing.png") == "There is no file 'missing.png'."
    (tmp_path / "a").write_bytes(b"x")
    assert "no file" in refusal(tmp_path / "a" / "b.png")
    assert "could not be read" in refusal(Path("a\0b.png"))
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink(tmp_path / "pipe.png", tmp_path / "link.png")
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    start = time.perf_counter()
    for name in ("pipe.png", "link.png"):
        assert "device or pipe" in refusal(tmp_path / name)
    assert "device or pipe" in refusal(Path(os.devnull))
    assert "could not be read" in refusal(tmp_path / "loop")
    assert time.perf_counter() - start < 1


def test_a_file_swapped_for_a_pipe_after_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, honest = tmp_path / "part.png", tmp_path / "honest.png"
    honest.write_bytes(b"x")
    os.mkfifo(path)
    status = os.stat(honest)
    monkeypatch.setattr(media.os, "stat", lambda _: status)
    assert "device or pipe" in refusal(path)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encode(picture()))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    if os.geteuid() == 0:  # the superuser may read everything, so the refusal is played
        monkeypatch.setattr(media.os, "open", refuse)
    else:
        path.chmod(0)
    assert refusal(path) == "'secret.png' may not be read by this user."


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.tif"
    with open(path, "wb") as file:
        file.truncate(media.MAX_BYTES + 1)
    tracemalloc.start()
    assert "larger than the 200 MB" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    data = encode(picture())
    monkeypatch.setattr(media, "MAX_BYTES", len(data))
    assert read_media(data)
    monkeypatch.setattr(media, "MAX_BYTES", len(data) - 1)
    assert "larger than" in refusal(data)


@pytest.mark.parametrize("side", [60_000, 10_000, 6_400])
def test_claimed_sizes_are_refused_before_any_pixel(side: int) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    read_media(encode(picture()))  # loads the decoders, so that only the refusal is measured
    tracemalloc.start()
    start = time.perf_counter()
    assert "more than the 40 million pixels" in refusal(data)
    assert time.perf_counter() - start < 0.5
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_pixel_limit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_PIXELS", 240)
    assert media_from_array(picture(12, 20))
    for wrong in (picture(13, 20), picture(1, 241)):
        with pytest.raises(MediaError, match="pixels"):
            media_from_array(wrong)
        assert "pixels" in refusal(encode(wrong))


def test_arrays_and_images() -> None:
    array = picture()
    np.testing.assert_array_equal(pixels_of(media_from_array(array[:, ::-2])), array[:, ::-2])
    np.testing.assert_array_equal(pixels_of(media_from_array(array[..., 1]))[..., 0], array[..., 1])
    assert media_from_array(array, "folder/a\u202eb.png").name == "ab.png"
    assert media_from_image(Image.fromarray(array)).name == "picture"
    for wrong in (array.astype(float), array[None], array[..., :2], array[:0], array[:, :0], np.zeros((), np.uint8)):
        with pytest.raises(MediaError):
            media_from_array(wrong)
    with pytest.raises(MediaError, match="no pixels"):
        media_from_image(Image.new("RGB", (0, 4)))
    for function in (media_from_array, media_from_image):
        with pytest.raises(TypeError):
            function([[1]])
    lazy = Image.open(io.BytesIO(encode(picture(64, 64))[:-2000]))
    with pytest.raises(MediaError, match="cut off"):
        media_from_image(lazy)


@pytest.mark.parametrize("mode", "1 L LA P PA RGB RGBA RGBX RGBa CMYK YCbCr HSV LAB I;16 I;16B I F".split())
def test_every_mode_gives_rgb(mode: str) -> None:
    assert pixels_of(media_from_image(Image.new(mode, (3, 2)))).shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("part.png", "part.png"),
        ("/etc/secret/part.png", "part.png"),
        ("C:\\cam\\part.png", "part.png"),
        ("a\nb\x1b[31m\0c\u2028.png", "ab[31mc.png"),
        ("gnp\u202e\u2066\u200f.exe", "gnp.exe"),
        ("Prüfteil 7.png", "Prüfteil 7.png"),
        ("x\udcff.png", "x.png"),
        ("", "picture"),
        ("  \t", "picture"),
        ("folder/", "picture"),
        ("../..", "picture"),
        ("x" * 300, "x" * 80),
    ],
)
def test_safe_name(text: str, shown: str) -> None:
    assert safe_name(text) == shown


@pytest.mark.parametrize(
    "error",
    [SyntaxError, ValueError, OSError, struct.error, OverflowError, zlib.error, MemoryError, KeyError, EOFError],
)
def test_whatever_a_decoder_raises(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Image.Image:
        raise error("PIL.Error at /somewhere")

    monkeypatch.setattr(media.Image, "open", fail)
    assert ("memory" if error is MemoryError else "damaged") in refusal(encode(picture()))


def test_damaged_files_never_surprise() -> None:
    chance = random.Random(20240)
    exif = Image.Exif()
    exif[0x0112] = 6
    sources = [encode(picture(40, 40), form, exif=exif) for form in FORMATS if form != "BMP"]
    sources += [encode(picture(40, 40), "BMP"), encode(picture(40, 40), "TIFF", compression="tiff_lzw")]
    sources.append(encode(picture(40, 40), icc_profile=swapped_primaries()))
    sources.append(encode(picture()[..., 0].astype(np.float32), "TIFF"))
    refused = 0
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        for index in range(300):
            data = bytearray(sources[index % len(sources)])
            if chance.random() < 0.3:
                del data[chance.randrange(1, len(data)) :]
            reach = len(data) if chance.random() < 0.4 else min(len(data), 200)  # headers are the fragile part
            for _ in range(chance.randrange(1, 12)):
                data[chance.randrange(reach)] ^= 1 << chance.randrange(8)
            try:
                pixels_of(read_media(bytes(data)))
            except MediaError as error:
                refused += 1
                assert error.sentence.startswith("'picture' ")
    assert 60 < refused < 300
    assert leaked == []


def test_threads_leave_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    data = encode(picture(200, 200))
    threads = [threading.Thread(target=lambda: [read_media(data) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
