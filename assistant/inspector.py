"""The Python API: look once, ask many times. The README shows how."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F

from assistant.asked import one_by_one
from assistant.calibration import logit
from assistant.clip_look import LooksAtClips
from assistant.clip_words import clip_opening
from assistant.configuration import SCORED
from assistant.errors import MediaError, MemoryFileError
from assistant.kinds import likely_kinds
from assistant.loading import Loaded, compose
from assistant.look_model import LookTokens, dimmed
from assistant.memory import assemble, doubt_of, see
from assistant.memory_file import load_memory, save_memory
from assistant.modeling import as_batch
from assistant.operating_point import operating_point
from assistant.picture import picture_facts
from assistant.processing import resize
from assistant.profiles import read_profile
from assistant.prompts import DEFAULT_QUESTION, asks_again, asks_verdict, conversation, verdict_text
from assistant.reference import References
from assistant.regions import MIN_AREA, find_regions
from assistant.runtime import TextRuntime, TransformersRuntime
from assistant.sources import Source, as_media, checked_question
from assistant.threshold import checked_rate
from assistant.tiles import look_closer, tile_boxes
from assistant.tiling import Tiles
from assistant.types import MAX_MAP_SIDE, MAX_REFERENCES, SUSPICIOUS, Finding, Look, Timings
from assistant.verdict import finding_of
from assistant.versions import resolved
from assistant.views import as_views, one_of, views_of
from assistant.worded import asks_where, founded, undecided_words, unsure_place_words, wording

MAX_WORDS = 120
"""Tokens of one answer."""
HISTORY_TURNS = 4
"""Earlier turns that enter the prompt; older ones are left out, the look never is."""


class Inspector(LooksAtClips):
    """A loaded model. Safe to use from several threads: looks share nothing, answers wait for each other.

    Attributes:
        profile: name of the profile, with the version of its weights unless they are the shipped ones.
        load_s: seconds the loading took.
        calibration: thresholds and scales stored with the weights.
        familiar: what pictures that the model knows look like, None when it has not been measured.
        first_words: of looks that were asked about, the logit of "Yes" minus "No" as first word of the verdict.
    """

    def __init__(
        self, profile: str, loaded: Loaded, *, runtime: TextRuntime | None = None, load_s: float = 0.0
    ) -> None:
        self.profile, self.load_s = profile, load_s
        self.model, self.processor, self.calibration = loaded.model, loaded.processor, loaded.calibration
        self.familiar = loaded.familiar
        self.clip_gains = loaded.clip_gains
        self.runtime = runtime or TransformersRuntime(self.model, self.processor.tokenizer)
        self.first_words: WeakKeyDictionary[Look, float] = WeakKeyDictionary()

    @classmethod
    def load(cls, profile: str, **options: Any) -> Inspector:
        """See `assistant.load`."""
        start = time.perf_counter()
        chosen = read_profile(resolved(profile))
        loaded = compose(chosen, **options)
        return cls(chosen.name, loaded, load_s=time.perf_counter() - start)

    @cached_property
    def fingerprint(self) -> str:
        """What kept references depend on: profile, sizes, and the weights of everything that looks."""
        config = self.processor.config
        means = [getattr(config, name, None) for name in SCORED]
        digest = hashlib.sha256(f"{self.profile} {means} {config.vision_config.to_json_string()}".encode())
        for name, tensor in sorted(self.model.looking_state().items()):
            digest.update(
                name.encode() + tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes()
            )
        return digest.hexdigest()

    def remember(self, sources: Sequence[Source]) -> References:
        """Keeps the features of normal pictures of one product, to hold any number of pictures against them.

        The order in which they are given changes nothing. Each is held against the others as well: what normals of
        this product score makes the threshold, and a picture that does not fit in is named in `References.notes`.

        Args:
            sources: 1 to MAX_REFERENCES pictures, each as `look` takes it; all are seen at the size that most have.

        Raises:
            MediaError: there is none or there are too many, or one cannot be used.
        """
        if not len(sources):
            raise MediaError("No reference was given.")
        if len(sources) > MAX_REFERENCES:
            raise MediaError(f"There are {len(sources)} references; {MAX_REFERENCES} are allowed.")
        frames = [as_media(source).frames[0].pixels for source in sources]
        sizes = Counter(self.processor.fit_size(frame.shape[1], frame.shape[0]) for frame in frames)
        size = min(sizes, key=lambda key: (-sizes[key], key))
        pictures: dict[bytes, tuple[int, np.ndarray]] = {}
        notes = []
        for number, frame in enumerate(frames, start=1):
            small = np.ascontiguousarray(resize(frame, size))
            first, _ = pictures.setdefault(hashlib.sha256(small.tobytes()).digest(), (number, small))
            if first != number:  # held against its copy it would look better than any normal picture does
                notes.append(f"Reference {number} is the same picture as reference {first}.")
        ordered = [pictures[key] for key in sorted(pictures)]
        with torch.inference_mode():
            seen = [see(self.model.look_model, self.processor.pixels(small)) for _, small in ordered]
            numbers = [number for number, _ in ordered]
            memory = assemble(self.model.look_model, seen, self.calibration, numbers, self.familiar)
        return replace(memory, notes=(*notes, *memory.notes))

    def save_references(self, memory: References, file: Path) -> None:
        """Writes what `remember` kept to one safetensors file; raises MemoryFileError when it cannot be written."""
        save_memory(memory, file, self.fingerprint)

    def load_references(self, file: Path) -> References:
        """Reads a file of `save_references`.

        Raises:
            MemoryFileError: missing, damaged, something else, or made by another model or other weights.
        """
        memory = load_memory(file, self.fingerprint)
        channels = tuple(self.processor.config.vision_config.channels)[1:]
        if tuple(level.shape[1] for level in memory.levels) != channels or memory.descriptors.shape[1:] not in (
            (channels[-1],),
            (0,),
        ):
            raise MemoryFileError(f"The memory '{file.name}' does not hold what it should.")
        return memory

    def look(
        self,
        source: Source,
        references: References | Sequence[Source] = (),
        *,
        rate: float | None = None,
        tiles: Tiles = None,
    ) -> Look:
        """Looks at a picture; no word can change what comes out.

        Args:
            source: a Media, an [H, W, 3] uint8 array, a PIL image, the bytes of a file, or a `pathlib.Path` that the
                caller vouches for. Plain strings are refused. Of a Media with several views each is looked at.
            references: normal pictures of the same product, or what `remember` kept of them.
            rate: the false-alarm rate that sets the threshold, as `threshold.checked_rate` takes it; None means
                DEFAULT_RATE with references and the stored balanced point without.
            tiles: "auto" looks at a picture that is far larger than what the model sees tile by tile as well, a number
                at any picture in tiles of that many pixels; only the look at the whole is held against references.

        Raises:
            MediaError: the picture or a reference cannot be used, or tiles are none.
            RateError: the rate is out of range.
        """
        start = time.perf_counter()
        rate = checked_rate(rate)
        media = as_media(source)
        if media.kind == "views":
            if not isinstance(references, References) and len(references):
                references = self.remember(references)
            looks = [self.look(view, references, rate=rate, tiles=tiles) for view in views_of(media)]
            return one_of(looks, media, self.calibration.threshold_of_most)
        frame = media.frames[0]
        boxes = tile_boxes(frame.size, tiles, self.processor)
        memory = references if isinstance(references, References) else None
        if memory is None and len(references):
            memory = self.remember(references)
        pixels = self.processor.pixels(frame.pixels)  # [1, 3, h, w]
        with torch.inference_mode():
            output = self.model.look(pixels, memory, self.familiar.known if self.familiar else None)
            tiled = look_closer(self.model, self.processor, frame.pixels, output, boxes) if boxes else None
        output, least = (tiled.output, MIN_AREA * tiled.share) if tiled else (output, MIN_AREA)
        descriptor = F.normalize(output.tokens.seen, dim=1)
        threshold, threshold_source = self.threshold(memory, rate, descriptor)
        if tiled:
            threshold = self.calibration.threshold_of_most(threshold, tiled.count)
            threshold_source += f", for the highest of {tiled.count} views"
        normals = memory.normals if memory else None
        score = self.calibration.score(float(output.score_logit[0]), normals)
        size = frame.size
        shrink = min(1.0, MAX_MAP_SIDE / max(size))
        kept = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
        thumbnail = np.ascontiguousarray(resize(frame.pixels, kept))
        heatmap = self._heatmap(output.heatmap_logits, kept)
        regions = find_regions(heatmap, thumbnail, SUSPICIOUS, size, least)
        if memory and (level := self.calibration.dimming(memory.peaks, memory.known)):
            lit = heatmap[heatmap >= SUSPICIOUS]
            core = logit(float(np.median(lit))) if lit.size else level
            for less in (level, min(level, core)):  # what is called has a place, even if normals have brighter ones
                dark = dimmed(output, less, tuple(self.processor.config.heatmap_config.cells))
                darker = self._heatmap(dark.heatmap_logits, kept)
                left = find_regions(darker, thumbnail, SUSPICIOUS, size, least)
                if left or score < threshold:
                    output, heatmap, regions = dark, darker, left
                    break
        for array in (heatmap, thumbnail):
            array.flags.writeable = False
        doubt = doubt_of(descriptor, memory, self.calibration, self.familiar)
        known = memory.known if memory else self.familiar.known(descriptor) if self.familiar else 0.0
        look = Look(
            size=size,
            score=score,
            heatmap=heatmap,
            regions=regions,
            thumbnail=thumbnail,
            tokens={name: value[0].numpy() for name, value in vars(output.tokens).items() if value is not None},
            picture=picture_facts(thumbnail).words(),
            references=memory.count if memory else 0,
            time=frame.time,
            name=media.name,
            warnings=(*media.notes, *(memory.notes if memory else ()), *([doubt] if doubt else ())),
            threshold=threshold,
            threshold_source=threshold_source,
            weight=self.calibration.weight(normals, known),
            known=known,
            doubt=doubt,
        )
        trusted = self.calibration.kind_trust(known) * output.kind_logits[0]
        kinds = likely_kinds(look.relative, regions, trusted, self.processor.config.heatmap_config.kinds)
        return replace(look, kinds=kinds, look_s=time.perf_counter() - start)

    def _heatmap(self, logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
        """Map logits [1, 1, h, w] -> [H, W] 0..1 at `size` = (W, H)."""
        logits = F.interpolate(logits.float(), size=size[::-1], mode="bilinear", align_corners=False)
        return torch.sigmoid(logits[0, 0] + self.calibration.pixel_bias).numpy()

    def look_views(
        self,
        sources: Sequence[Source],
        references: References | Sequence[Source] = (),
        *,
        rate: float | None = None,
        tiles: Tiles = None,
    ) -> Look:
        """Looks at 1 to MAX_VIEWS views of one object; the most suspicious one speaks for it, see `Look.views`.

        Args and errors as `look`; MediaError also for no view or too many.
        """
        return self.look(as_views([as_media(source) for source in sources]), references, rate=rate, tiles=tiles)

    def threshold(
        self, memory: References | None = None, rate: float | None = None, descriptor: torch.Tensor | None = None
    ) -> tuple[float, str]:
        """The score from which a picture is called anomalous, 0..1, and a sentence saying where it comes from.

        Args:
            memory: the references, None without.
            rate: as in `look`.
            descriptor: [1, D] unit vector of the picture, see `memory.describe`: a known product has its own threshold.

        Raises:
            RateError: the rate is out of range.
        """
        return operating_point(self.calibration, self.familiar, descriptor, memory, checked_rate(rate))

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
        return self._answers(look, question, list(history)[-HISTORY_TURNS:], stop)

    def worded(self, look: Look, question: str) -> str:
        """The answer to a question that is not left to the language model, worded from the finding; "" for others."""
        if look.clip is None and (asks_verdict(question) or asks_where(question)):
            found = self.finding(look, "")
            if found.verdict == "unsure":  # a plain yes or no beside it would contradict the panel
                if asks_where(question):
                    return unsure_place_words(found.regions)
                kinds = () if look.doubt else found.kinds
                return undecided_words(found.regions, look.evidence > 0, kinds, bool(look.doubt))
        answer = wording(question, look.clip is not None, look.doubt)
        return answer(self.finding(look, "")) if answer else ""

    def _answers(
        self, look: Look | None, question: str, history: list[tuple[str, str]], stop: threading.Event | None
    ) -> Iterator[str]:
        """Each question of a line in turn; without a look the line goes to the base chat model as it is."""
        for number, one in enumerate(one_by_one(question) if look is not None else [question]):
            if number:
                yield " "
            asked = DEFAULT_QUESTION if look is not None and asks_again(one) else one
            yield from self._stream(look, asked, history, stop)

    def _stream(
        self, look: Look | None, question: str, history: list[tuple[str, str]], stop: threading.Event | None
    ) -> Iterator[str]:
        opening = clip_opening(look.clip, question) if look is not None and look.clip is not None else ""
        if said := opening or (self.worded(look, question) if look is not None else ""):
            yield said  # measured: whether and when is not left to how words come out
            return
        ids, tokens = self.prompt(look, question, history)
        judged = look is not None and asks_verdict(question)
        bias = self.calibration.first_word_bias(look.evidence) if judged else 0.0
        words = self.runtime.stream(ids, tokens, max_words=MAX_WORDS, word_bias=bias, stop=stop)
        yield from words if look is None else founded(words, question, look.kinds, () if look.clip else look.regions)

    def prompt(
        self, look: Look | None, question: str, history: Sequence[tuple[str, str]]
    ) -> tuple[torch.Tensor, LookTokens | None]:
        """What the runtime is given for a question: ids [1, T] and the look's tokens, None without a look."""
        head = None
        if look is not None:
            head = self.processor.head(look)
            if self.processor.tells_verdict and not asks_verdict(question):
                head += verdict_text(look.evidence > 0)
        messages = conversation(question, history, head, self.processor.specials)
        tokens = None
        if look is not None:
            shown = self.processor.shown(look)
            tokens = self.model.joined([self.model.tokens_class(**as_batch(one.tokens)) for one in shown])
        return self.processor.ids(messages), tokens

    def yes_probability(self, look: Look) -> float:
        """Calibrated probability that something is wrong, from words and look, of a clip from the look, 0..1.

        The words: "Yes" against "No" as first word of the answer to DEFAULT_QUESTION, kept for the life of the look.
        """
        if look.clip is not None:
            return look.relative
        if look not in self.first_words:
            ids, tokens = self.prompt(look, DEFAULT_QUESTION, ())
            self.first_words[look] = self.runtime.first_word(ids, tokens)
        return self.calibration.yes_probability(self.first_words[look], look.evidence)

    def finding(self, look: Look, explanation: str, timings: Timings | None = None) -> Finding:
        """Verdict, scores, regions and warnings of a look, with the words of an answer about it.

        Args:
            look: of `look`.
            explanation: the answer's words, checked against verdict and map.
            timings: as measured by the caller; looking and loading are filled in when left out.
        """
        return finding_of(
            look,
            explanation,
            yes=self.yes_probability(look),
            difference=self.first_words.get(look) if look.clip is None else None,
            calibration=self.calibration,
            familiar=self.familiar,
            timings=timings or Timings(load_s=self.load_s, look_s=look.look_s),
            profile=self.profile,
        )

    def inspect(
        self,
        source: Source,
        question: str | None = None,
        *,
        references: References | Sequence[Source] = (),
        rate: float | None = None,
        tiles: Tiles = None,
    ) -> Finding:
        """Look, ask and finding in one call; `question` defaults to DEFAULT_QUESTION. Errors as `look` and `ask`."""
        checked_question(DEFAULT_QUESTION if question is None else question)  # before the look, which takes longer
        return self.answer(self.look(source, references, rate=rate, tiles=tiles), question)

    def answer(self, look: Look, question: str | None = None) -> Finding:
        """Ask and finding in one call; `question` defaults to DEFAULT_QUESTION. Errors as `ask`."""
        first, pieces, start = 0.0, [], time.perf_counter()
        for piece in self.ask(look, DEFAULT_QUESTION if question is None else question):
            first = first or time.perf_counter() - start
            pieces.append(piece)
        timings = Timings(self.load_s, look.look_s, first, time.perf_counter() - start)
        return self.finding(look, "".join(pieces).strip(), timings)
