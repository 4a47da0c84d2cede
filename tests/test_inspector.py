"""The real embedded weights on real and drawn pictures, through the public API."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from assistant.calibration import FIRM
from assistant.errors import MediaError, QuestionError
from assistant.inspector import Inspector, checked_question
from assistant.loading import Loaded
from assistant.packaged import language_model
from assistant.profiles import read_profile
from assistant.prompts import DEFAULT_QUESTION
from assistant.runtime import _FirstWordBias
from assistant.types import MAX_MAP_SIDE, VERDICTS, Region
from data.photos import photograph
from data.synth import draw_defect


@pytest.fixture(scope="module")
def brick() -> np.ndarray:
    return photograph("brick.png")


def overlap(box, other) -> float:
    """Intersection over the smaller box."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return max(0, width) * max(0, height) / smaller


def test_the_untouched_brick_is_normal_and_its_map_dark(inspector, brick):
    finding = inspector.inspect(brick)
    assert finding.verdict == "normal", finding
    assert finding.score < finding.threshold
    assert finding.explanation.startswith("No")
    look = inspector.look(brick)
    assert (look.heatmap >= 0.5).mean() < 0.005


@pytest.mark.parametrize("kind", ["hole", "stain", "foreign_object", "crack"])
def test_a_defect_drawn_on_the_brick_is_found_where_it_is(inspector, brick, kind):
    drawn = draw_defect(brick, np.random.default_rng(12), kind, strength=1.0, count=1)
    finding = inspector.inspect(drawn.image)
    assert finding.verdict == "anomalous", finding
    assert finding.score >= finding.threshold
    assert any(overlap(region.box, drawn.boxes[0]) > 0.5 for region in finding.regions), (finding.regions, drawn.boxes)
    assert finding.explanation.startswith("Yes")
    assert finding.regions[0].place in finding.explanation


@pytest.mark.parametrize("shape", ["black disc", "white disc", "black line", "red block"])
def test_what_a_person_paints_on_the_brick_is_found(inspector, brick, shape):
    """Plain shapes of another drawing library, so that the generator is not its own judge."""
    painted = Image.fromarray(brick)
    draw = ImageDraw.Draw(painted)
    box = {"black disc": (280, 290, 330, 340), "white disc": (120, 300, 170, 350), "black line": (100, 150, 260, 310),
           "red block": (150, 150, 210, 210)}[shape]  # fmt: skip
    if shape == "black line":
        draw.line(box, fill=(10, 10, 10), width=6)
    elif shape == "red block":
        draw.rectangle(box, fill=(200, 20, 20))
    else:
        draw.ellipse(box, fill=(0, 0, 0) if shape == "black disc" else (255, 255, 255))
    finding = inspector.inspect(painted)
    assert finding.verdict == "anomalous", finding
    assert any(overlap(region.box, box) > 0.5 for region in finding.regions), (finding.regions, box)


def test_a_normal_reference_enters_look_and_prompt(inspector, brick, cracked):
    memory = inspector.remember([brick])
    with_reference, alone = inspector.look(cracked, memory), inspector.look(cracked)
    assert with_reference.references == 1 and alone.references == 0
    assert "comparison" in with_reference.tokens and "comparison" not in alone.tokens
    assert with_reference.score >= inspector.calibration.threshold and with_reference.regions
    assert with_reference.score >= with_reference.threshold
    held = inspector.look(brick, [brick])
    assert held.score < held.threshold and "from 1 normal reference" in held.threshold_source
    ids, _ = inspector.prompt(with_reference, "Where is it?", ())
    assert "Compared with 1 normal reference." in inspector.processor.tokenizer.decode(ids[0])
    assert "".join(inspector.ask(with_reference, "Where is it?"))


def test_no_reference_is_not_a_reference(inspector, brick):
    with pytest.raises(MediaError, match="No reference"):
        inspector.remember([])
    assert inspector.look(brick, ()).references == 0


def test_a_look_is_in_the_coordinates_of_the_picture(inspector, brick):
    tall = np.ascontiguousarray(brick[:, :200])
    look = inspector.look(tall)
    assert look.size == (200, 512) and look.heatmap.shape == (512, 200) and look.thumbnail.shape == (512, 200, 3)
    assert 0 <= look.heatmap.min() <= look.heatmap.max() <= 1 and 0 <= look.score <= 1
    with pytest.raises(ValueError, match="read-only"):
        look.heatmap[0, 0] = 1


def test_a_big_picture_keeps_its_boxes_in_its_own_pixels(inspector, brick):
    drawn = draw_defect(brick, np.random.default_rng(11), "hole", strength=1.0, count=1)
    big = np.asarray(Image.fromarray(drawn.image).resize((3000, 3000)))
    look = inspector.look(big)
    assert max(look.heatmap.shape) == MAX_MAP_SIDE
    scaled = tuple(value * 3000 / 512 for value in drawn.boxes[0])
    assert any(overlap(region.box, scaled) > 0.5 for region in look.regions)


def test_the_map_is_on_one_scale_for_every_picture(inspector, brick):
    """A defect beside the crop changes nothing inside another picture: no per-picture stretching."""
    calm = inspector.look(brick).heatmap
    assert calm.max() < 0.9  # a stretched map would always reach 1


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3), (37, 53)])
def test_pictures_of_any_size_are_looked_at(inspector, size):
    look = inspector.look(np.full((size[1], size[0], 3), 128, np.uint8))
    shrink = min(1.0, MAX_MAP_SIDE / max(size))
    assert look.size == size and look.heatmap.shape == tuple(max(1, round(side * shrink)) for side in size[::-1])


def test_words_change_nothing_of_the_look(inspector, brick):
    look = inspector.look(brick)
    before = (look.score, look.heatmap.copy(), look.regions)
    "".join(inspector.ask(look, "This part is broken. Say yes.", ()))
    again = inspector.look(brick)
    assert (look.score, look.regions) == (before[0], before[2]) == (again.score, again.regions)
    assert np.array_equal(before[1], look.heatmap) and np.array_equal(before[1], again.heatmap)


def test_follow_ups_use_the_same_look_and_the_history(inspector, brick, monkeypatch):
    drawn = draw_defect(brick, np.random.default_rng(11), "hole", strength=1.0, count=1)
    look = inspector.look(drawn.image)
    encoded = []
    monkeypatch.setattr(inspector.model, "look", lambda *a: encoded.append(1))
    first = "".join(inspector.ask(look, DEFAULT_QUESTION))
    second = "".join(inspector.ask(look, "Where is it?", [(DEFAULT_QUESTION, first)]))
    assert not encoded
    assert look.regions[0].place in second.lower()
    ids, _ = inspector.prompt(look, "Where is it?", [(DEFAULT_QUESTION, first)])
    said = inspector.processor.tokenizer.decode(ids[0])
    assert first in said and "Verdict: anomalous." in said
    asked, _ = inspector.prompt(look, DEFAULT_QUESTION, ())
    assert "Verdict:" not in inspector.processor.tokenizer.decode(asked[0])  # the model's own word is heard there


def test_without_a_picture_the_base_chat_model_answers(inspector):
    """The adapter is off: the words are those of the packaged model itself."""
    question = "Name three colours."
    words = "".join(inspector.ask(None, question))
    ids, tokens = inspector.prompt(None, question, ())
    assert tokens is None
    base = inspector.model.language_model.get_base_model()
    with inspector.model.language_model.disable_adapter(), torch.inference_mode():
        wanted = base.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=120,
            do_sample=False, no_repeat_ngram_size=6, pad_token_id=2, eos_token_id=2,
        )  # fmt: skip
    assert (
        inspector.processor.tokenizer.decode(wanted[0, ids.shape[1] :], skip_special_tokens=True).strip()
        == words.strip()
    )
    assert len(words.split()) > 3


def test_composing_leaves_the_packaged_language_model_as_it_is(inspector):
    packaged, _ = language_model(read_profile("embedded").language_package, torch.bfloat16)
    own = inspector.model.language_model.get_base_model().state_dict()
    for name, tensor in packaged.state_dict().items():
        wrapped = name.replace("_proj.weight", "_proj.base_layer.weight")
        assert torch.equal(own[wrapped if wrapped in own else name].to(torch.bfloat16), tensor), name


def test_stop_frees_the_model_at_the_next_word(inspector, brick):
    look = inspector.look(brick)
    stop = threading.Event()
    stream = inspector.ask(look, "Tell me everything you know about walls.", stop=stop)
    next(stream)
    stop.set()
    assert len("".join(stream).split()) < 12  # what was on its way; the whole answer is several times as long
    assert inspector.look(brick).score == look.score  # the lock is free again


def test_a_closed_stream_frees_the_model(inspector, brick):
    look = inspector.look(brick)
    stream = inspector.ask(look, DEFAULT_QUESTION)
    next(stream)
    stream.close()
    assert inspector.look(brick).score == look.score


def test_the_finding_is_one_json_object(inspector, brick):
    finding = inspector.inspect(brick, "Where is it?").to_dict()
    assert finding["verdict"] in VERDICTS
    for name in ("confidence", "verdict_probability", "score", "threshold"):
        assert 0 <= finding[name] <= 1
    assert set(finding["timings"]) == {"load_s", "look_s", "first_word_s", "answer_s"}
    assert finding["timings"]["answer_s"] >= finding["timings"]["first_word_s"] > 0
    assert finding["profile"] == "embedded" and finding["threshold_source"]


def test_disagreement_is_said(inspector, brick):
    drawn = draw_defect(brick, np.random.default_rng(11), "hole", strength=1.0, count=1)
    look = inspector.look(drawn.image)
    wrong = next(place for place in ("bottom right", "top left") if place not in {r.place for r in look.regions})
    warnings = inspector.finding(look, f"No. There is a crack in the {wrong}.").warnings
    assert any("place that the map does not show" in warning for warning in warnings)
    assert any("another answer than the verdict" in warning for warning in warnings)


def test_a_place_unlike_the_references_on_a_normal_picture_is_left_undecided(inspector, brick):
    look = inspector.look(brick)
    assert inspector.finding(look, "No.").verdict == "normal"
    spot = Region((10, 10, 40, 40), "top left", 0.01, 0.8, 0.6, "darker", "compact")
    alone = inspector.finding(replace(look, regions=(spot,)), "No.")
    assert alone.verdict == "normal" and any("map is lit (top left)" in warning for warning in alone.warnings)
    lit, trained = (replace(look, regions=(spot,), references=1, known=share) for share in (0.0, 1.0))
    inspector.first_words[trained] = inspector.first_words[look]
    known = inspector.finding(trained, "No.")  # of a known product what was trained decides, and the map warns
    assert known.verdict == "normal" and any("map is lit (top left)" in warning for warning in known.warnings)
    inspector.first_words[lit] = inspector.first_words[look]  # it has no comparison tokens to ask with
    finding = inspector.finding(lit, "No.")
    assert finding.verdict == "unsure" and any("map is lit (top left)" in warning for warning in finding.warnings)
    assert "top left first" in "".join(inspector.ask(lit, "Can I ship it?"))
    assert "nothing speaks against it" in "".join(inspector.ask(look, "Can I ship it?"))
    assert f"{look.score:.2f}" in "".join(inspector.ask(look, "How sure are you?"))
    assert "every patch" in "".join(inspector.ask(look, "What did you check?"))
    assert "top left the map marks a spot" in "".join(inspector.ask(lit, "Is the top left all right?"))


def test_score_and_words_that_differ_are_said(inspector, brick):
    look = inspector.look(brick)
    stubborn = Inspector("embedded", Loaded(inspector.model, inspector.processor, inspector.calibration))
    stubborn.first_words[look] = 50.0  # the language model says yes with all its weight
    finding = stubborn.finding(look, "Yes.")
    alone = inspector.finding(look, "No.")
    assert 0.5 > finding.verdict_probability > alone.verdict_probability  # the score decides, and is less sure
    assert any("score" in warning and "please check" in warning for warning in finding.warnings)


def test_only_questions_for_the_verdict_have_their_first_word_settled(inspector, brick, monkeypatch):
    look = inspector.look(brick)
    settled = {}

    def stream(ids, tokens, *, max_words, word_bias=0.0, stop=None):
        settled[question] = word_bias
        yield "No."

    monkeypatch.setattr(inspector.runtime, "stream", stream)
    for question in (DEFAULT_QUESTION, "Is it normal?", "Is it a scratch?", "Where is it?"):
        list(inspector.ask(look, question))
    side = 1 if look.evidence > 0 else -1
    assert settled == {
        DEFAULT_QUESTION: side * FIRM,
        "Is it normal?": side * FIRM,
        "Is it a scratch?": 0,
        "Where is it?": 0,
    }


def test_a_settled_first_word_is_that_of_the_question_asked(inspector):
    runtime = inspector.runtime
    names = {runtime.yes: "Yes", runtime.no: "No", runtime.wrong[1]: "Not", runtime.fine[1]: "Normal"}
    assert len(names) == 4

    def spoken(leaning: dict[str, float], bias: float) -> str | None:
        scores = torch.full((1, 50_000), -50.0)
        for token, name in names.items():
            scores[0, token] = leaning.get(name, -20.0)
        scores[0, 7] = leaning.get("other", -40.0)
        changed = _FirstWordBias(runtime.wrong, runtime.fine, torch.tensor([bias]))(torch.zeros(1, 1), scores)
        return names.get(int(changed.argmax()))

    assert spoken({"No": 5.0, "Yes": 1.0}, FIRM) == "Yes" and spoken({"No": 1.0, "Yes": 5.0}, -FIRM) == "No"
    assert spoken({"Normal": 5.0, "Not": 1.0}, FIRM) == "Not" and spoken({"Normal": 1.0, "Not": 5.0}, -FIRM) == "Normal"
    assert spoken({"other": 9.0, "Yes": 5.0}, FIRM) is None  # another first word is left alone


def test_paths_as_text_and_bad_questions_are_refused(inspector, brick):
    with pytest.raises(TypeError):
        inspector.look("/etc/passwd")
    with pytest.raises(MediaError):
        inspector.look(b"not a picture")
    for question in ("", "  \n ", "x" * 3000):
        with pytest.raises(QuestionError):
            inspector.ask(inspector.look(brick), question)
    assert checked_question("  Why? ") == "Why?"


def test_two_threads_get_their_own_answers(inspector, brick):
    drawn = draw_defect(brick, np.random.default_rng(11), "hole", strength=1.0, count=1)
    looks = [inspector.look(picture) for picture in (brick, drawn.image)]
    alone = ["".join(inspector.ask(look, DEFAULT_QUESTION)) for look in looks]
    together: dict[int, str] = {}

    def ask(index: int) -> None:
        together[index] = "".join(inspector.ask(looks[index], DEFAULT_QUESTION))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[0], together[1]] == alone
