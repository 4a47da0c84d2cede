"""Folders and zips from strangers: names are only shown, limits hold before a byte is unpacked."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assistant import entries
from assistant.entries import list_entries, list_files
from assistant.errors import MediaError


def png(shade: int = 90, side: int = 12) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), shade, np.uint8)).save(packed, "PNG")
    return packed.getvalue()


def zipped(file: Path, members: dict[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def test_a_folder_is_read_with_its_sub_folders(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    (folder / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("z.PNG", "b/a.jpeg", ".hidden/c.png", ".d.png", "notes.txt", "list.csv"):
        (folder / name).write_bytes(png())
    found, notes = list_entries(folder)
    assert [entry.name for entry in found] == ["z.PNG", "b/a.jpeg"] and notes == ["2 other files were left out."]
    assert found[0].read() == png()


def test_links_out_of_a_folder_are_named_and_not_followed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "parts", tmp_path / "secret"
    folder.mkdir(), secret.mkdir()
    (secret / "s.png").write_bytes(png())
    (folder / "a.png").write_bytes(png())
    (folder / "in.png").symlink_to(folder / "a.png")
    (folder / "out.png").symlink_to(secret / "s.png")
    (folder / "all").symlink_to(secret)
    found, _ = list_entries(folder)
    assert {entry.name: bool(entry.problem) for entry in found} == {"a.png": False, "in.png": False, "out.png": True}
    with pytest.raises(MediaError, match="leads out of the folder"):
        found[[entry.name for entry in found].index("out.png")].read()


def test_a_zip_is_read_without_unpacking_it_anywhere(tmp_path: Path) -> None:
    names = ("a.png", "deep/er/b.png", "../../up.png", "/etc/root.png", "C:\\x\\w.png", "a.png")
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = zipped(tmp_path / "set.zip", {zipfile.ZipInfo(name): png(n) for n, name in enumerate(names)})
    before = sorted(tmp_path.rglob("*"))
    found, _ = list_entries(file)
    shown = ["a.png", "deep/er/b.png", "up.png", "etc/root.png", "C:/x/w.png", "a.png (2)"]
    assert [entry.name for entry in found] == shown
    assert [entry.read() for entry in found] == [png(n) for n in range(len(names))]
    assert sorted(tmp_path.rglob("*")) == before


def test_links_encrypted_and_foreign_entries_are_told_apart(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members: dict = {link: b"/etc/passwd", "ok.png": png(), "__MACOSX/._ok.png": b"x", ".DS_Store": b"x", "a.txt": b""}
    file = zipped(tmp_path / "set.zip", members)
    found, notes = list_entries(file)
    assert [entry.name for entry in found] == ["link.png", "ok.png"] and notes == ["1 other file was left out."]
    with pytest.raises(MediaError, match="a link or a device"):
        found[0].read()
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)  # the second entry of the directory
    data[at + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(MediaError, match="encrypted"):
        list_entries(tmp_path / "locked.zip")[0][1].read()


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", {"flat.bmp": bytes(30_000_000)})
    with pytest.raises(MediaError, match="100 times its size"):
        list_entries(bomb)
    noise = np.random.default_rng(0).bytes(400_000)
    mixed = zipped(tmp_path / "mixed.zip", {"flat.bmp": bytes(30_000_000), "noise.png": noise})
    found, _ = list_entries(mixed)
    assert [bool(entry.problem) for entry in found] == [True, False] and "times its size" in found[0].problem


def test_numbers_and_sizes_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = zipped(tmp_path / "set.zip", {f"{n}.png": png(n) for n in range(5)})
    monkeypatch.setattr(entries, "MAX_MEMBERS", 4)
    with pytest.raises(MediaError, match="5 entries; 4 are allowed"):
        list_entries(file)
    monkeypatch.setattr(entries, "MAX_MEMBERS", 9)
    monkeypatch.setattr(entries, "MAX_UNPACKED", 100)
    with pytest.raises(MediaError, match="unpacks to more than"):
        list_entries(file)
    monkeypatch.setattr(entries, "MAX_PICTURES", 1)
    (tmp_path / "a.png").write_bytes(png()), (tmp_path / "b.png").write_bytes(png())
    with pytest.raises(MediaError, match="1 are allowed"):
        list_entries(tmp_path)


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "set.zip", {"a.bmp": bytes(5_000_000)}).read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 100)
    (tmp_path / "lie.zip").write_bytes(data)
    (entry,), _ = list_entries(tmp_path / "lie.zip")
    with pytest.raises(MediaError, match="damaged in the zip"):
        entry.read()


def test_what_holds_no_picture_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "torn.zip").write_bytes(zipped(tmp_path / "set.zip", {"a.png": png()}).read_bytes()[:-10])
    cases = {
        tmp_path / "empty": "no picture in 'empty'", tmp_path / "text.txt": "neither a folder nor a zip",
        tmp_path / "none": "no file 'none'", tmp_path / "torn.zip": "neither a folder nor a zip",
        zipped(tmp_path / "bare.zip", {"a.txt": b"x"}): "no picture in 'bare.zip'",
    }  # fmt: skip
    for path, sentence in cases.items():
        with pytest.raises(MediaError, match=sentence):
            list_entries(path)


def test_files_and_zips_can_be_mixed(tmp_path: Path) -> None:
    (tmp_path / "x1.png").write_bytes(png(1))
    file = zipped(tmp_path / "set.zip", {"a.png": png(2)})
    found, _ = list_files([tmp_path / "x1.png", file], ["first.png", "set.zip"])
    assert [(entry.name, entry.read()) for entry in found] == [("first.png", png(1)), ("a.png", png(2))]
