"""The Python API: look once, ask many times.

from assistant import load
inspector = load("embedded")
look = inspector.look(picture)
for piece in inspector.ask(look, "Where is it?"):
print(piece, end="")
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from assistant.calibration import PIXEL_THRESHOLD
from assistant.errors import MediaError, QuestionError
from assistant.kinds import likely_kinds
from assistant.loading import Loaded, compose
from assistant.media import media_from_array, media_from_image, read_media
from assistant.modeling import LookTokens
from assistant.picture import picture_facts
from assistant.processing import fit_size, resize
from assistant.profiles import read_profile
from assistant.prompts import DEFAULT_QUESTION, MAX_QUESTION, conversation, says_yes, words_match_map
from assistant.reference import References
from assistant.regions import find_regions
from assistant.runtime import TextRuntime, TransformersRuntime
from assistant.types import MAX_MAP_SIDE, Finding, Look, Media, Timings

MAX_WORDS = 120
"""Tokens of one answer."""
HISTORY_TURNS = 4
"""Earlier turns that enter the prompt; older ones are left out, the look never is."""

Source = Media | np.ndarray | Image.Image | bytes | os.PathLike


class Inspector:
    """A loaded model. Safe to use from several threads: looks share nothing, answers wait for each other.

    Attributes:
        profile: name of the profile.
        load_s: seconds the loading took.
        calibration: thresholds and scales stored with the weights.
    """

    def __init__(
        self, profile: str, loaded: Loaded, *, runtime: TextRuntime | None = None, load_s: float = 0.0
    ) -> None:
        self.profile, self.load_s = profile, load_s
        self.model, self.processor, self.calibration = loaded.model, loaded.processor, loaded.calibration
        self.runtime = runtime or TransformersRuntime(self.model, self.processor.tokenizer)
        self._first_words: WeakKeyDictionary[Look, float] = WeakKeyDictionary()

    @classmethod
    def load(cls, profile: str) -> Inspector:
        """See `assistant.load`."""
        start = time.perf_counter()
        loaded = compose(read_profile(profile))
        return cls(profile, loaded, load_s=time.perf_counter() - start)

    def remember(self, sources: Sequence[Source]) -> References:
        """Keeps the features of normal pictures of one product, to hold any number of pictures against them.

        Args:
            sources: at least one picture, each as `look` takes it; they are seen at the size of the first.

        Raises:
            MediaError: there is none, or one cannot be used.
        """
        frames = [as_media(source).frames[0] for source in sources]
        if not frames:
            raise MediaError("No reference was given.")
        size = fit_size(*frames[0].size, self.processor.config.vision_config)
        pixels = torch.cat([self.processor.pixels(frame.pixels, size) for frame in frames])
        with torch.inference_mode():
            return self.model.look_model.remember(pixels, len(frames))

    def look(self, source: Source, references: References | Sequence[Source] = ()) -> Look:
        """Looks at a picture; no word can change what comes out.

        Args:
            source: a Media, an [H, W, 3] uint8 array, a PIL image, the bytes of a file, or a `pathlib.Path` that the
                caller vouches for. Plain strings are refused.
            references: normal pictures of the same product, or what `remember` kept of them.

        Raises:
            MediaError: the picture or a reference cannot be used.
        """
        start = time.perf_counter()
        media = as_media(source)
        frame = media.frames[0]
        memory = references if isinstance(references, References) else None
        if memory is None and len(references):
            memory = self.remember(references)
        pixels = self.processor.pixels(frame.pixels)  # [1, 3, h, w]
        with torch.inference_mode():
            output = self.model.look(pixels, memory)
        size = frame.size
        shrink = min(1.0, MAX_MAP_SIDE / max(size))
        kept = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
        logits = F.interpolate(output.heatmap_logits.float(), size=kept[::-1], mode="bilinear", align_corners=False)
        heatmap = torch.sigmoid(logits[0, 0] + self.calibration.pixel_bias).numpy()  # [H, W]
        thumbnail = np.ascontiguousarray(resize(frame.pixels, kept))
        for array in (heatmap, thumbnail):
            array.flags.writeable = False
        tokens = {name: value[0].numpy() for name, value in vars(output.tokens).items() if value is not None}
        score = self.calibration.score(float(output.score_logit[0]))
        regions = find_regions(heatmap, thumbnail, PIXEL_THRESHOLD, size)
        return Look(
            size=size,
            score=score,
            heatmap=heatmap,
            regions=regions,
            thumbnail=thumbnail,
            tokens=tokens,
            kinds=likely_kinds(score, regions, output.kind_logits[0], self.processor.config.heatmap_config.kinds),
            picture=picture_facts(thumbnail).words(),
            references=memory.count if memory else 0,
            time=frame.time,
            name=media.name,
            warnings=media.notes,
            look_s=time.perf_counter() - start,
        )

    def ask(
        self,
        look: Look | None,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        stop: threading.Event | None = None,
    ) -> Iterator[str]:
        """Streams the answer to a question about a look; without a look the base chat model answers.

        Args:
            look: of `look`; used as it is, nothing is encoded again.
            question: any text of 1 to MAX_QUESTION characters; special tokens in it are made harmless.
            history: earlier (question, answer) pairs about the same look, oldest first.
            stop: ends the answer at the next token when set. Closing the iterator does the same.

        Yields:
            Pieces of text; joined they are the answer.

        Raises:
            QuestionError: the question is empty or too long.
        """
        question = checked_question(question)
        return self._stream(look, question, list(history)[-HISTORY_TURNS:], stop)

    def _stream(
        self, look: Look | None, question: str, history: list[tuple[str, str]], stop: threading.Event | None
    ) -> Iterator[str]:
        ids, tokens = self.prompt(look, question, history)
        bias = self.calibration.word_bias if look is not None else 0.0
        yield from self.runtime.stream(ids, tokens, max_words=MAX_WORDS, word_bias=bias, stop=stop)

    def prompt(
        self, look: Look | None, question: str, history: Sequence[tuple[str, str]]
    ) -> tuple[torch.Tensor, LookTokens | None]:
        """What the runtime is given for a question: ids [1, T] and the look's tokens, None without a look."""
        head = None
        if look is not None:
            head = self.processor.look_text(look.score, look.regions, look.kinds, look.picture, look.references)
        messages = conversation(question, history, head, self.processor.specials)
        tokens = None
        if look is not None:
            tokens = LookTokens(**{name: torch.tensor(value).unsqueeze(0) for name, value in look.tokens.items()})
        return self.processor.ids(messages), tokens

    def yes_probability(self, look: Look) -> float:
        """The language model's own "Yes" to "Is there anything wrong?" against its "No", calibrated, 0..1.

        Read from the first word of the answer to DEFAULT_QUESTION; kept for the life of the look.
        """
        if look not in self._first_words:
            ids, tokens = self.prompt(look, DEFAULT_QUESTION, ())
            self._first_words[look] = self.runtime.first_word(ids, tokens)
        return self.calibration.yes_probability(self._first_words[look])

    def finding(self, look: Look, explanation: str, timings: Timings | None = None) -> Finding:
        """Verdict, scores, regions and warnings of a look, with the words of an answer about it.

        Args:
            look: of `look`.
            explanation: the answer's words, checked against verdict and map.
            timings: as measured by the caller; looking and loading are filled in when left out.
        """
        yes = self.yes_probability(look)
        verdict, confidence = self.calibration.verdict(yes)
        suspicious = look.score >= self.calibration.threshold
        warnings = list(look.warnings)
        if verdict != "unsure" and suspicious != (verdict == "anomalous"):
            warnings.append(
                f"The words say {verdict}, the look's score {look.score:.2f} says "
                f"{'anomalous' if suspicious else 'normal'} (threshold {self.calibration.threshold:.2f}): please check."
            )
        if verdict == "anomalous" and not look.regions:
            warnings.append("The verdict is anomalous, but the map shows no single place.")
        if verdict == "normal" and look.regions:
            warnings.append(f"The verdict is normal, but the map is lit ({look.regions[0].place}): look there.")
        if words_match_map(explanation, look.regions) is False:
            warnings.append("The words name a place that the map does not show: trust the map.")
        spoken = says_yes(explanation)
        if spoken is not None and verdict != "unsure" and spoken != (verdict == "anomalous"):
            warnings.append(f"The words begin with another answer than the verdict, which is {verdict}.")
        return Finding(
            verdict=verdict,
            confidence=confidence,
            verdict_probability=yes,
            score=look.score,
            threshold=self.calibration.threshold,
            threshold_source=self.calibration.source,
            regions=look.regions,
            kinds=look.kinds,
            explanation=explanation,
            warnings=tuple(warnings),
            timings=timings or Timings(load_s=self.load_s, look_s=look.look_s),
            profile=self.profile,
        )

    def inspect(self, source: Source, question: str | None = None) -> Finding:
        """Look, ask and finding in one call; `question` defaults to DEFAULT_QUESTION. Errors as `look` and `ask`."""
        question = checked_question(DEFAULT_QUESTION if question is None else question)
        look = self.look(source)
        start = time.perf_counter()
        first, pieces = 0.0, []
        for piece in self.ask(look, question):
            first = first or time.perf_counter() - start
            pieces.append(piece)
        timings = Timings(self.load_s, look.look_s, first, time.perf_counter() - start)
        return self.finding(look, "".join(pieces).strip(), timings)


def as_media(source: Source) -> Media:
    """Any accepted source as a Media; see `Inspector.look`."""
    if isinstance(source, Media):
        return source
    if isinstance(source, np.ndarray):
        return media_from_array(source)
    if isinstance(source, Image.Image):
        return media_from_image(source)
    return read_media(source)


def checked_question(question: str) -> str:
    """The question without blanks around it.

    Raises:
        QuestionError: empty, or longer than MAX_QUESTION characters.
    """
    text = question.strip()
    if not text:
        raise QuestionError("The question is empty.")
    if len(text) > MAX_QUESTION:
        raise QuestionError(f"The question has {len(text)} characters; {MAX_QUESTION} are allowed.")
    return text
