"""The small grammar that phrases are drawn from, and what an inspector answers, as templates.

A template is text with alternatives in square brackets, which may be nested: "[Where|In which part] is it?", and slots
in braces. Answers only ever say what their slots hold or what is true of every answer of their key.
"""

from __future__ import annotations

import itertools
import re

import numpy as np

_CHOICE = re.compile(r"\[([^\[\]]*)\]")


def say(templates: tuple[str, ...], rng: np.random.Generator, **slots: str) -> str:
    """One of the templates with its alternatives drawn and its slots filled; the first letter upper case."""
    text = templates[rng.integers(len(templates))]
    while (match := _CHOICE.search(text)) is not None:
        options = match[1].split("|")
        text = text[: match.start()] + options[rng.integers(len(options))] + text[match.end() :]
    return sentence_case(text.format(**slots))


def expand(template: str) -> list[str]:
    """Every text a template can become, slots left open."""
    match = _CHOICE.search(template)
    if match is None:
        return [template]
    ways = (expand(template[: match.start()] + option + template[match.end() :]) for option in match[1].split("|"))
    return list(dict.fromkeys(itertools.chain.from_iterable(ways)))


def sentence_case(text: str) -> str:
    """The first letter upper case."""
    return text[:1].upper() + text[1:]


def spoken(question: str, rng: np.random.Generator) -> str:
    """A question as people type it: mostly as it is, now and then in lower case, without its mark."""
    if rng.random() < 0.85 or question.startswith("I "):
        return question
    return question[0].lower() + question[1:].rstrip("?.!")


ANSWERS: dict[str, tuple[str, ...]] = {
    # the first answer; what follows it is put together in `instruct`
    "verdict": ("Yes. [There is|I see|It looks like|I find] {noun} {in_place}, {share}{others}.",),
    "verdict, references": (
        "Yes. Compared with {references}, it differs {in_place}: [there is|I see|I find] {noun}, {share}{others}.",
        "Yes. Unlike {references}, it has {noun} {in_place}, {share}{others}.",
    ),
    "verdict, no region": (
        "Yes. It looks like {noun}, but the map shows no single place.",
        "Yes. I suspect {noun}, but cannot point to one place on the map.",
        "Yes. There seems to be {noun}; the map does not show where.",
        "Yes. Something looks like {noun}, though nothing stands out on the map.",
    ),
    "verdict, normal": (
        "No. I find nothing wrong with this {thing}: nothing stands out on the map.",
        "No. This {thing} looks normal: nothing stands out on the map.", "No. I see no defect[| on this {thing}].",
        "No. Nothing stands out[|: this {thing} looks normal].",
    ),
    "verdict, normal, lit": (
        "No. This {thing} looks normal; what lights up on the map does not look like a defect.",
        "No. I see no defect; what the map marks looks like normal variation.",
        "No. The map marks something, but this {thing} looks normal.",
        "No. I find nothing wrong: the mark on the map does not look like a defect.",
    ),
    "verdict, normal, references": (
        "No. Compared with {references}, nothing looks wrong.", "No. It looks like {references}: I see no defect.",
        "No. It agrees with {references}; I find nothing wrong.",
        "No. Against {references} I see no difference that matters.",
    ),
    "looks": ("{subject} is {size}, {shape} and {tone}.",),
    "correction": (
        "It looks more like {noun}.", "I would rather call it {noun}.", "More likely it is {noun}.",
        "To me it looks like {noun}.",
    ),
    "where": (
        "{in_place}, {share}{others}.", "It is {in_place}, {share}{others}.",
        "You find it {in_place}, {share}{others}.",
        "{the} is {in_place}, {share}{others}.", "Look {in_place}: {share}{others}.",
    ),
    "where, normal": (
        "Nowhere: I find nothing wrong.", "There is no place to point to: nothing is wrong.",
        "There is none: this looks normal.", "Nothing is wrong, so there is no place to show.",
    ),
    "where, no region": (
        "The map shows no single place.", "I cannot say: nothing stands out on the map.",
        "I cannot point to one place; the map shows none.", "The map does not show where.",
    ),
    "kind": (
        "It looks like {noun}.", "Most likely {noun}.", "I would call it {noun}.", "[Probably|I think it is] {noun}.",
    ),
    "kind, unknown": (
        "I see a defect but cannot tell its kind from the picture.", "I cannot name its kind with certainty.",
        "Its kind is not clear from the picture; I only see that something is wrong.",
        "I cannot say which kind it is. A person should look at it.",
    ),
    "kind, normal": (
        "There is no defect to name.", "No kind to name: this looks normal.",
        "Nothing is wrong, so there is nothing to name.",
        "I see no defect of any kind.",
    ),
    "look": (
        "{subject} is {size}, {shape} and {tone}.", "{in_place}: {size}, {shape} and {tone}.",
        "I see a {size} spot {in_place}, {shape} and {tone}.",
        "The spot {in_place} is {shape} and {tone}; it covers {share}.",
    ),
    "look, normal": (
        "I see nothing that looks like a defect.", "There is nothing wrong to describe.",
        "Nothing looks wrong to me.", "There is no defect to describe.",
    ),
    "look, no region": (
        "I cannot describe it: nothing stands out on the map.", "The map shows no single place to describe.",
        "Something seems wrong, but no place stands out on the map.", "No place stands out enough to describe it.",
    ),
    "size": (
        "It is {size}: {share}.", "It covers {share}, so I call it {size}.", "{size}: {share}.",
        "{the} is {size} and covers {share}.",
    ),
    "size, normal": (
        "There is no defect to measure.", "Nothing is wrong, so there is nothing to measure.",
        "There is none: I find nothing wrong.", "No size to give: I see no defect.",
    ),
    "size, no region": (
        "The map shows no single place to measure.", "I cannot measure it: nothing stands out on the map.",
        "I cannot tell its size; the map shows no place.", "No place stands out, so I cannot measure it.",
    ),
    "severity": (
        "Judging by size, it is {severity}: {size}, {share}.", "I would call it {severity}, judging by size: {share}.",
        "{severity}, judging by size: it covers {share}.", "Judging by size I rate it {severity}: it is {size}.",
    ),
    "severity, by kind": (
        "Judging by size it is {size}, but for {noun} I would call it {severity}.",
        "It is {size} judging by size; as {noun} I rate it {severity}.",
        "{severity}: judging by size it is {size}, but it looks like {noun}.",
        "Judging by size alone it is {size}; because it is {noun}, I call it {severity}.",
    ),
    "severity, normal": (
        "There is nothing to rate: I find no defect.", "Nothing to worry about: I see nothing wrong.",
        "I see no defect, so there is nothing to rate.", "Nothing is wrong, so there is no severity to give.",
    ),
    "severity, no region": (
        "I cannot judge it by size: the map shows no single place.", "Hard to say: no place stands out to be measured.",
        "I cannot rate it, since nothing stands out on the map.", "The map shows no place to judge by size.",
    ),
    "many, one": (
        "I see one spot on the map.", "One spot.", "Only one spot stands out.", "The map shows one spot[|, no more].",
    ),
    "many": (
        "I see {count} spots on the map.", "{count} spots.", "The map shows {count} spots.", "{count} spots stand out.",
    ),
    "many, normal": (
        "None: I find nothing wrong.", "There is none.", "I see no defect at all.", "None, this looks normal.",
    ),
    "many, no region": (
        "The map shows no single spot.", "I cannot count any: nothing stands out on the map.",
        "No spot stands out on the map.", "I cannot say; the map shows no spot.",
    ),
    "cause": (
        "Likely cause: {cause}.", "It probably comes from {cause}.", "A likely cause is {cause}.",
        "Most likely it comes from {cause}; the picture alone cannot prove it.",
    ),
    "cause, unknown": (
        "The cause is not clear from the picture alone.", "I cannot tell the cause without knowing the kind of defect.",
        "The picture does not show what caused it.", "I cannot name a cause; the spot needs a closer look.",
    ),
    "cause, normal": (
        "There is no defect to explain.", "Nothing is wrong, so there is no cause to name.",
        "No cause to look for: this looks normal.", "I see nothing wrong that needs a cause.",
    ),
    "effect": (
        "It may {effect}.", "If nobody acts, it may {effect}.", "Left alone, it may {effect}.",
        "The risk: it may {effect}.",
    ),
    "effect, normal": (
        "Nothing to worry about: I find no defect.", "No harm to expect: this looks normal.",
        "I see nothing wrong that could lead to trouble.", "No harm that I can see: nothing is wrong.",
    ),
    "action": ("To do: {action}.", "I would {action}.", "Next step: {action}.", "Best to {action}."),
    "action, normal": (
        "Nothing: it looks normal to me.", "Nothing to do: I see no defect.", "No action needed, nothing is wrong.",
        "You can leave it as it is: I find nothing wrong.",
    ),
    "usable": (
        "Not before a check: it has {noun} {in_place}.", "I would hold it back: there is {noun} {in_place}.",
        "I would not pass it as it is: it has {noun} {in_place}.",
        "Set it aside first: I see {noun} {in_place}.",
    ),
    "usable, no region": (
        "Not before a check: it may have {noun}.", "I would hold it back: I suspect {noun}.",
        "I would not pass it as it is: it looks like {noun}.", "Set it aside first: there seems to be {noun}.",
    ),
    "usable, normal": (
        "It looks fine to me: I see no defect.", "From the picture I see no reason against it.",
        "It looks normal, so I would pass it.", "I find nothing wrong that speaks against it.",
    ),
    "compare": (
        "Compared with {references}, it differs {in_place}: {noun}, {share}.",
        "Compared with {references}, it has {noun} {in_place}.",
        "The difference to {references} is {in_place}: {noun}, {size} and {shape}.",
        "Unlike {references}, it shows {noun} {in_place}.",
    ),
    "compare, no region": (
        "Compared with {references}, it looks different, but the map shows no single place.",
        "It differs from {references} as a whole; no single place stands out.",
        "Compared with {references}, something is off; I cannot point to one place.",
        "It does not look like {references}, but the map does not show where.",
    ),
    "compare, normal": (
        "Compared with {references}, nothing looks wrong.", "It looks like {references}: I see no defect.",
        "Compared with {references}, I see no difference that matters.", "It agrees with {references}.",
    ),
    "compare, alone": (
        "No reference was given; I judge from the picture alone.",
        "No reference was given, so there is none to compare with.",
        "There is no reference; I compare the picture with itself.",
        "No reference was given. Add one and I will compare.",
    ),
    "checked": (
        "I looked at the whole picture, then at each patch again, and read the map.",
        "The whole picture first, then each patch again, then the map.",
        "I checked the whole picture, each patch of it, and the map.",
        "First the whole picture, then every patch knowing the whole; the map sums it up.",
    ),
    "checked, references": (
        "I looked at the whole picture, then at each patch again, and compared it with {references}.",
        "The whole picture, each patch of it, the map, and {references}.",
        "I checked the whole picture and each patch, read the map and compared with {references}.",
        "First the whole, then every patch; I also compared it with {references}.",
    ),
    "sure": (
        "As sure as a picture allows. Please have a person confirm it.",
        "Not beyond doubt: I go by this picture and its map.", "I may be wrong; it is advice, not an acceptance test.",
        "A picture does not show everything; a second look by a person is wise.",
    ),
    "named, yes": (
        "Yes, it looks like {noun}.", "Yes, most likely {noun}.", "Yes, I would call it {noun}.",
        "Yes, I think it is {noun}.",
    ),
    "named, no": (
        "No, it looks more like {noun}.", "No, I would call it {noun}.", "No, more likely it is {noun}.",
        "No, I think it is {noun}.",
    ),
    "named, unknown": (
        "I cannot tell: I see a defect, but its kind is not clear.",
        "Perhaps; the picture does not show its kind clearly.",
        "I cannot say which kind it is.", "It might be, but I cannot name its kind from the picture.",
    ),
    "named, normal": (
        "No, I see nothing wrong.", "No, there is none.", "No, this looks normal.", "No, I find no defect at all.",
    ),
    "there, first": (
        "That is where I see {noun}: {size}, {share}.", "There is {noun} {in_place}, {share}.",
        "I see {noun} there, {shape} and {tone}.", "{noun} {in_place}, {size} and {tone}.",
    ),
    "there, other": (
        "The map marks a spot {in_place}: {size}, {share}.", "There is a {size} spot {in_place}, {share}.",
        "I see a spot there, {shape} and {tone}.", "A spot {in_place}: {size}, {shape} and {tone}.",
    ),
    "there, none": (
        "I would look elsewhere: {in_place}.", "The map points elsewhere: {in_place}.",
        "I have no finding there; look {in_place} instead.", "No spot of the map lies there. It is {in_place}.",
    ),
    "there, normal": (
        "I see no defect there.", "There is nothing wrong there.", "That part looks normal to me.",
        "Nothing there looks like a defect.",
    ),
    "describe": (
        "A {brightness}, {colour}, {orientation} picture, {structure}. {finding}",
        "The picture is {brightness}, {colour}, {orientation} and {structure}. {finding}",
        "It is a {structure} picture: {brightness}, {colour}, {orientation}. {finding}",
        "{brightness}, {colour}, {orientation} and {structure}. {finding}",
    ),
    "finding": ("[There is|I see|I find|It has] {noun} {in_place}.",),
    "finding, no region": ("[There seems to be|I suspect|It may have] {noun}.", "It looks like {noun}."),
    "finding, normal": (
        "I see nothing wrong in the picture.", "Nothing looks wrong in the picture.", "I see no defect.",
        "I find nothing wrong.",
    ),
    "brightness": (
        "It is {brightness}.", "The picture is {brightness}.", "On the whole it is {brightness}.",
        "Overall {brightness}.",
    ),
    "colour": (
        "Mostly {colour}.", "It is mainly {colour}.", "The picture is mostly {colour}.", "{colour}, for the most part.",
    ),
    "colour, grey": (
        "It is grey, without much colour.", "Grey: there is hardly any colour.", "The picture is grey.", "Mostly grey.",
    ),
    "colour, colourful": (
        "It is colourful: no single colour dominates.", "Several colours: it is colourful.",
        "The picture is colourful.",
        "It is colourful, with more than one colour.",
    ),
    "orientation": (
        "It is {orientation}.", "The picture is {orientation}.", "Its format is {orientation}.",
        "{orientation}.",
    ),
    "structure": (
        "It is {structure}.", "The picture is {structure}.", "On the whole it is {structure}.", "It looks {structure}.",
    ),
    "summary": (
        "{noun} {in_place}: {share}, {shape}, {tone}.", "Finding: {noun} {in_place}, {size}, {share}.",
        "In short: {noun} {in_place}, {share}. {advice}", "Anomalous: {noun} {in_place}, {size} and {shape}.",
    ),
    "summary, no region": (
        "It looks like {noun}, but the map shows no single place.", "Finding: possibly {noun}, place unclear.",
        "In short: I suspect {noun}, but cannot point to it.",
        "Anomalous: it looks like {noun}, without a clear place.",
    ),
    "summary, normal": (
        "No defect found.", "Result: normal, no defect found.", "In short: I see nothing wrong.",
        "Normal: nothing looks like a defect.",
    ),
    "beyond": (
        "The picture does not show that.", "I cannot tell that from the picture.",
        "That cannot be seen in the picture.", "I do not know; the picture says nothing about it.",
    ),
    "about": (
        "I am LookTwice, a visual inspection assistant. I say whether something is wrong in a picture, where and why.",
        "I am LookTwice. I inspect pictures for defects and tell you where they are.",
        "I look at pictures for defects: whether, where, which kind and what to do.",
        "I am LookTwice, a program that checks pictures for defects. Ask me where, what or why.",
    ),
    "thanks": ("You are welcome.", "You are welcome. Ask me any time.", "Glad to help.", "Any time."),
}  # fmt: skip
"""Answers by what is asked and what is known."""
