"""Kinds: every type has one name, and the names can be read back from words."""

from __future__ import annotations

import pytest

from assistant.knowledge import KINDS, SEVERITIES, UNKNOWN, canonical, kind_in, kind_of, kinds_in, severity
from data.defects import GENERATORS


@pytest.mark.parametrize(
    ("defect", "name"),
    [
        ("scratches", "scratch"), ("texture", "foreign patch"), ("patch", "foreign patch"), ("blowhole", "hole"),
        ("chip", "break"), ("broken_large", "break"), ("broken_small", "break"), ("poke", "hole"),
        ("squeeze", "deformation"), ("bent", "deformation"), ("dent", "deformation"), ("color", "discolouration"),
        ("stain", "discolouration"), ("faulty_imprint", "misprint"), ("foreign_object", "foreign object"),
        ("rolled-in_scale", "rolled-in scale"), ("pitted_surface", "pitting"), ("impurity", "contamination"),
        ("copper", "circuit fault"), ("open,short,mousebite", "circuit fault"), ("Crack", "crack"),
        ("crack,scratch", None), ("casting_defect", None), ("cell_defect", None), ("good", None), ("abnormal", None),
        ("flip", None), ("", None),
    ],
)  # fmt: skip
def test_types_have_one_canonical_name(defect, name):
    assert canonical(defect) == name
    assert kind_of(defect) is (UNKNOWN if name is None else KINDS[name])


def test_every_drawn_kind_and_every_name_is_canonical():
    assert all(canonical(drawn) in KINDS for drawn in GENERATORS)
    assert all(canonical(name) == name == kind.name for name, kind in KINDS.items())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Yes. There is a crack in the top left.", "crack"), ("I see two Scratches.", "scratch"),
        ("It looks like a chipped edge.", "break"), ("A stain, perhaps a scratch.", "discolouration"),
        ("There are foreign objects.", "foreign object"), ("Rolled-in scale at the centre.", "rolled-in scale"),
        ("A foreign patch.", "foreign patch"), ("It is bent.", "deformation"), ("pits everywhere", "pitting"),
        ("several blowholes", "hole"), ("See the scratchpad.", None), ("I looked at each patch again.", None),
        ("The whole picture is calm.", None), ("scratch-free", None), ("", None),
    ],
)  # fmt: skip
def test_kinds_are_read_back_from_words(text, name):
    assert kind_in(text) == name
    assert kinds_in(text)[:1] == (() if name is None else (name,))


@pytest.mark.parametrize("kind", [*KINDS.values(), UNKNOWN], ids=lambda kind: kind.name or "unknown")
def test_no_clause_names_another_kind(kind):
    own = {kind.name} - {""}
    for text in (*kind.causes, *kind.effects, *kind.actions):
        assert set(kinds_in(text)) <= own, text
        assert text[0].islower() and not text.endswith("."), "clauses are put into sentences"
    assert kind_in(kind.noun) == (kind.name or None)


def test_kinds_in_names_each_once_in_order():
    assert kinds_in("A scratch, a crack and more scratches.") == ("scratch", "crack")


def test_severity_follows_size_within_the_range_of_the_kind():
    crack, scratch = KINDS["crack"], KINDS["scratch"]
    assert {severity(crack, area) for area in (0.0005, 0.005, 0.02, 0.2)} == {"serious"}
    assert [severity(scratch, area) for area in (0.0005, 0.02, 0.2)] == ["minor", "moderate", "moderate"]
    assert [severity(UNKNOWN, area) for area in (0.005, 0.02, 0.2)] == list(SEVERITIES)
    for kind in KINDS.values():
        assert SEVERITIES.index(kind.least) <= SEVERITIES.index(kind.most)


def test_nouns_people_ask_with_mean_their_kind():
    for kind in KINDS.values():
        assert {kind_in(noun) for noun in kind.also} <= {kind.name}
