"""Conversations as LLaVA writes them: several pictures, clips, lines of bad rows, mixing by weight."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from PIL import Image

from assistant.command import run
from assistant.errors import RecordError
from data.build import app
from data.talks import Mixed, Source, check, conversations, rows_of


def talk(*words: str, **more) -> dict:
    said = [{"from": ("human", "gpt")[n % 2], "value": word} for n, word in enumerate(words)]
    return {"conversations": said} | more


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("L", (12, 10), 90).save(tmp_path / name)
    (tmp_path / "c.mp4").write_bytes(b"clip")
    return tmp_path


def write(folder, *rows, name="talks.json", indent=None):
    if name.endswith("jsonl"):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        (folder / name).write_text(json.dumps(list(rows), indent=indent))
    return folder / name


@pytest.mark.parametrize(("name", "indent"), [("t.json", None), ("t.json", 1), ("t.jsonl", None)])
def test_rows_come_with_the_line_they_begin_on_and_are_read_piece_by_piece(folder, monkeypatch, name, indent):
    monkeypatch.setattr("data.talks.CHUNK", 7)
    rows = [talk("<image>\nBad? ]}", 'No, "fine"\n[{', image="a.png"), talk("Hi", "Hello"), talk("Ü, €", "x")]
    file = write(folder, *rows, name=name, indent=indent)
    found = list(rows_of(file))
    assert [row for _, row in found] == rows
    lines = file.read_text().splitlines()
    openings = {
        None: {"t.json": [1, 1, 1], "t.jsonl": [1, 2, 3]}[name],
        1: [n for n, x in enumerate(lines, 1) if x == " {"],
    }
    assert [line for line, _ in found] == openings[indent]


def test_pictures_clips_and_plain_talk(folder):
    rows = [
        talk("<image>\nAnd <image>: which?", "The second.", "Sure?", "Yes.", image=["a.png", "b.png"]),
        talk("<video>\nWhat happens?", "A fall.", video="c.mp4"),
        talk("<image>\nWhat happens?", "A fall.", video="c.mp4"),
        talk("What is a crack?", "A line."),
    ]
    several, clip, marked, plain = conversations(write(folder, *rows))
    assert [name.rsplit("/", 1)[1] for name in several.pictures] == ["a.png", "b.png"]
    assert several.turns[0][0].count("<image>") == 2 and several.turns[1] == ("Sure?", "Yes.")
    assert clip.turns == marked.turns and clip.clip.endswith("c.mp4") and not clip.pictures
    assert (plain.pictures, plain.clip) == ((), "")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (3, "not a JSON object"),
        (talk("<image> Bad?", "No.", image="none.png"), "there is no file none.png"),
        (talk("<image> Bad?", "No.", image="../a.png"), "leads out"),
        (talk("Bad?", "No.", image="a.png"), "0 placeholders and 1 picture"),
        (talk("<image> <image> Bad?", "No.", image="a.png"), "2 placeholders and 1 picture"),
        (talk("<image> Bad?", "No."), "1 placeholders and 0 pictures"),
        (talk("<video> Bad?", "No.", image="a.png"), "0 placeholders and 1 picture"),
        (talk("What?", "No.", video="c.mp4"), "0 placeholders and 1 video"),
        (talk("<image> x", "No.", video="c.mp4", image="a.png"), "only one of them"),
        (talk("<image> Bad?", image="a.png"), "turns are unbalanced"),
        ({"conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "y"}]}, "turns are unbalanced"),
        (talk("Hi", " "), r"conversations\[1\] has no words"),
        (talk("Hi", "an <image>"), "is an answer and has <image>"),
    ],
)
def test_a_bad_row_is_named_with_its_line(folder, row, reason):
    file = write(folder, talk("Hi", "Hello"), row, talk("Hi", "Hello"), name="t.jsonl")
    count, bad, (sentence,) = check(file)
    assert (count, bad) == (3, 1)
    with pytest.raises(RecordError, match=rf"t.jsonl line 2: .*{reason}"):
        raise RecordError(sentence)
    with pytest.raises(RecordError, match="1 of 3 conversations of t.jsonl are bad. t.jsonl line 2"):
        Mixed([Source(file)], folder / "cache", 0)


@pytest.mark.parametrize(
    ("text", "line"), [("[{},\n{", 2), ("[{}\n\n", 3), ('[\n{"a": }', 2), ("{}\n{]\n", 2), ("", 0)]
)
def test_what_is_not_json_is_said_with_its_line(folder, text, line):
    (folder / "t.json").write_text(text)
    if not line:
        assert list(rows_of(folder / "t.json")) == []
        with pytest.raises(RecordError, match="There is no conversation in t.json"):
            Mixed([Source(folder / "t.json")], folder / "cache", 0)
        return
    with pytest.raises(RecordError, match=f"t.json line {line}: not JSON"):
        list(rows_of(folder / "t.json"))


def test_a_mix_keeps_its_weights_and_shows_everything_once_before_anything_twice(folder):
    ours = write(folder, *(talk(f"A{n}", "x") for n in range(30)), name="ours.jsonl")
    other = write(folder, *(talk(f"B{n}", "x") for n in range(5)), name="other.jsonl")
    sources = [Source(ours, weight=3), Source(other, weight=1)]
    mixed = Mixed(sources, folder / "cache", 7)
    assert mixed.epoch == 40
    seen = [mixed[n].turns[0][0] for n in range(400)]
    share = sum(word[0] == "A" for word in seen) / 400
    assert 0.68 < share < 0.82
    counts = Counter(word for word in seen if word[0] == "A")
    assert len(counts) == 30 and max(counts.values()) - min(counts.values()) <= 1
    again = Mixed(sources, folder / "cache", 7)
    assert [again[n].turns[0][0] for n in (399, 3, 200)] == [seen[n] for n in (399, 3, 200)]
    assert [Mixed(sources, folder / "cache", 8)[n].turns[0][0] for n in range(20)] != seen[:20]
    with pytest.raises(RecordError, match="weight of ours.jsonl is 0"):
        Mixed([Source(ours, weight=0)], folder / "cache", 7)


def test_a_changed_file_is_read_anew(folder):
    file = write(folder, talk("old", "x"), name="t.jsonl")
    assert Mixed([Source(file)], folder / "cache", 0)[0].turns == (("old", "x"),)
    write(folder, talk("newer", "x"), name="t.jsonl")
    assert Mixed([Source(file)], folder / "cache", 0)[0].turns == (("newer", "x"),)


def test_the_check_command_lists_what_is_bad(folder, capsys):
    good = write(folder, talk("<image> Bad?", "No.", image="a.png"), name="good.json")
    bad = write(folder, talk("Hi", "x"), *(talk("Hi") for _ in range(30)), name="bad.jsonl")
    for file, code in ((good, 0), (bad, 2)):
        with pytest.raises(SystemExit) as left:
            run(app, ["check", str(file)])
        assert (left.value.code or 0) == code
    said = capsys.readouterr()
    assert "1 conversations, all good" in said.out
    assert "30 of 31 conversations are bad" in said.err and "bad.jsonl line 2" in said.err and "10 more" in said.err
