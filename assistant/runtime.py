"""How words are made: the seam for a faster text runtime.

A runtime takes token ids and a look's tokens and streams text. This one is the library's own `generate`; another one
(a compiled or quantised decoder) needs to offer `stream` and `first_word` only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

from assistant.look_model import LookTokens
from assistant.modeling import LookTwiceForConditionalGeneration

REPEAT = 6
"""The base chat model may not say the same run of this many tokens twice: greedy small models loop."""


class TextRuntime(Protocol):
    """What the inspector needs of a text runtime; both calls may come from several threads."""

    def first_word(self, input_ids: Tensor, tokens: LookTokens | None) -> float:
        """Logit of "Yes" minus "No" logit of the answer's first word, for [1, T] ids."""
        ...

    def stream(
        self,
        input_ids: Tensor,
        tokens: LookTokens | None,
        *,
        max_words: int,
        word_bias: float = 0.0,
        stop: threading.Event | None = None,
    ) -> Iterator[str]:
        """Pieces of the answer to [1, T] ids, at most `max_words` tokens, until `stop` is set."""
        ...


class TransformersRuntime:
    """Generation by transformers, in a thread of its own so that words arrive as they are made.

    Without look tokens the adapter is switched off, which gives the base chat model. That switch is one for the whole
    model, so one answer is made at a time; it is made at its own pace, however slowly its reader takes the words.
    """

    def __init__(self, model: LookTwiceForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._one_at_a_time = threading.Lock()
        self.yes, self.no, *others = (
            tokenizer(word, add_special_tokens=False).input_ids[0] for word in ("Yes", "No", "Not", "Normal")
        )
        self.wrong, self.fine = (self.yes, others[0]), (self.no, others[1])

    def first_word(self, input_ids: Tensor, tokens: LookTokens | None) -> float:
        """See TextRuntime."""
        with self._one_at_a_time, torch.inference_mode():
            logits = self.model.next_logits(input_ids, tokens)
        return float(logits[0, self.yes] - logits[0, self.no])

    def answers(
        self, prompts: Sequence[tuple[Tensor, LookTokens]], *, max_words: int, word_biases: Sequence[float]
    ) -> list[tuple[str, float]]:
        """Whole answers to several prompts about looks, made side by side, see `eval.asking.answers`.

        Args:
            prompts: (ids [1, T], tokens of one look) each; all have tokens of the same kinds, T may differ.
            max_words: tokens of one answer at most.
            word_biases: one a prompt, as `stream` takes it.

        Returns:
            (answer, logit of "Yes" minus "No" of its first word before the bias) of each prompt.
        """
        if not prompts:
            return []
        longest = max(ids.shape[1] for ids, _ in prompts)
        padded = [longest - ids.shape[1] for ids, _ in prompts]  # on the left: new words follow on the right
        ids = torch.cat(
            [F.pad(ids, (left, 0), value=self.tokenizer.eos_token_id)
             for left, (ids, _) in zip(padded, prompts, strict=True)]
        )  # fmt: skip
        mask = torch.stack([(torch.arange(longest) >= left).long() for left in padded])
        names = [name for name, value in vars(prompts[0][1]).items() if value is not None]
        tokens = LookTokens(**{name: torch.cat([getattr(one, name) for _, one in prompts]) for name in names})
        first = _FirstWordBias(self.wrong, self.fine, torch.tensor(word_biases))
        with self._one_at_a_time, torch.inference_mode():
            written = self.model.generate(
                ids,
                tokens,
                mask,
                max_new_tokens=max_words,
                logits_processor=LogitsProcessorList([first]),
                cache_implementation="static",  # a growing one is copied at every word
                disable_compile=True,
                **self._greedy(),
            )
        words = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [(said.strip(), float(logit)) for said, logit in zip(words, first.yes_minus_no, strict=True)]

    def _greedy(self) -> dict[str, object]:
        """What every generation has in common."""
        return {
            "do_sample": False,
            "pad_token_id": self.tokenizer.eos_token_id,
            "eos_token_id": self.tokenizer.convert_tokens_to_ids("<|im_end|>"),
        }

    def stream(
        self,
        input_ids: Tensor,
        tokens: LookTokens | None,
        *,
        max_words: int,
        word_bias: float = 0.0,
        stop: threading.Event | None = None,
    ) -> Iterator[str]:
        """See TextRuntime. Closing the iterator stops the generation."""
        halt = stop if stop is not None else threading.Event()
        given_up = threading.Event()
        echoes = tokens is None or self.model.prompts_as_ids
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=echoes, skip_special_tokens=True)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                base = tokens is None and hasattr(self.model.language_model, "disable_adapter")
                adapter = self.model.language_model.disable_adapter if base else nullcontext
                with self._one_at_a_time, adapter(), torch.inference_mode():
                    self.model.generate(
                        input_ids,
                        tokens,
                        max_new_tokens=max_words,
                        no_repeat_ngram_size=REPEAT if base else 0,
                        streamer=streamer,
                        logits_processor=LogitsProcessorList(
                            [_FirstWordBias(self.wrong, self.fine, torch.tensor([word_bias]))]
                        ),
                        stopping_criteria=StoppingCriteriaList([_Halt(halt, given_up)]),
                        **self._greedy(),
                    )
            except BaseException as error:  # handed to the reader below, in its own thread
                failures.append(error)
            finally:
                streamer.end()

        worker = threading.Thread(target=work, name="looktwice-words", daemon=True)
        worker.start()
        try:
            yield from (piece for piece in streamer if piece)  # the worker ends the streamer whatever happens
        finally:
            given_up.set()
            worker.join()
        if failures:
            raise failures[0]


class _Halt(StoppingCriteria):
    """Stops the generation at the next token once any of the events is set."""

    def __init__(self, *events: threading.Event) -> None:
        self.events = events

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        halted = any(event.is_set() for event in self.events)
        return torch.full((input_ids.shape[0],), halted, dtype=torch.bool, device=input_ids.device)


class _FirstWordBias(LogitsProcessor):
    """Adds a bias [B] to the first words that say yes where the first word is a yes or a no: it is the verdict's.

    `yes_minus_no` [B] is the logit of the first of each group before that.
    """

    def __init__(self, wrong: tuple[int, ...], fine: tuple[int, ...], bias: Tensor) -> None:
        self.wrong, self.fine, self.bias = list(wrong), list(fine), bias
        self.yes_minus_no: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.yes_minus_no is None:
            self.yes_minus_no = scores[:, self.wrong[0]] - scores[:, self.fine[0]]
            judges = torch.isin(scores.argmax(dim=1), torch.tensor(self.wrong + self.fine, device=scores.device))
            scores = scores.clone()
            scores[:, self.wrong] += (judges * self.bias.to(scores))[:, None]
        return scores
