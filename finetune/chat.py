"""Stage 2: teaches the language model to speak of a look. Tower, selector and heatmap head stay frozen.

    python -m finetune.chat --features RUN/features [--clips DIR] [--steps N] [--out RUN] [--profile NAME]

Trains the projector, the map tokens and a LoRA on every linear layer of the language model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from assistant.command import run
from assistant.inspector import Inspector
from assistant.knowledge import KINDS, UNKNOWN, canonical
from assistant.loading import compose
from assistant.look_model import TOKEN_KINDS, LookTokens
from assistant.modeling import LookTwiceForConditionalGeneration
from assistant.packaged import native_bfloat16
from assistant.processing import LookTwiceProcessor
from assistant.profiles import read_profile
from assistant.prompts import asks_verdict, is_likely, verdict_text
from assistant.prompts import conversation as messages_of
from assistant.weights import ADAPTER_FOLDER, LANGUAGE_FILE, LANGUAGE_PARTS, load_parts, save_parts
from data.instruct import Facts, conversation
from finetune.checkpoint import MarkComplete, last_complete
from finetune.features import feature_files
from finetune.looks import KnownLook, generator, make_looks, read_looks
from finetune.recipe import refuse_recipe

TARGETS = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
"""Whole paths inside the language model: short names would also land in a transformer tower."""
PRODUCTS = {
    "casting": "casting", "deeppcb": "circuit board", "elpv": "solar cell", "ksdd": "commutator",
    "magnetic_tile": "tile", "piped_paper": "paper", "leather": "leather", "neu_det": "steel sheet",
    "crackforest": "pavement",
}  # fmt: skip
RIGHT = 0.8
"""Share of the conversations with follow-up questions about looks whose verdict is right: only there may an answer
follow it."""
STRAIGHT = 0.15
"""Share of the conversations that begin with a question other than "is anything wrong?"."""
VERDICT = 0.4
"""Share of the conversations that are the question for the verdict and its answer: it is asked most, and its answer is
learned only where the prompt does not tell it."""
LEAST_KIND = 0.2
"""Probability from which a kind counts as seen, 0..1."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"


class ConversationDataset(Dataset):
    """Conversations about known looks; number i is a function of (seed, i) alone."""

    def __init__(
        self, tokens: dict[str, Tensor], known: list[KnownLook], processor: LookTwiceProcessor, length: int, seed: int
    ) -> None:
        self.tokens, self.known, self.processor, self.length, self.seed = tokens, known, processor, length, seed
        self.by_label = [[n for n, look in enumerate(known) if look.label == label] for label in (0, 1)]
        self.right = [[n for n in group if known[n].is_right] for group in self.by_label]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = generator(self.seed, index)
        label = int(rng.random() < 0.5)  # half of them normal
        count = 1 if rng.random() < VERDICT else int(rng.integers(2, 6))
        # one that is about the verdict alone is drawn from all looks: how far a look is right must be learned as it is
        few = self.right[label] if count > 1 and rng.random() < RIGHT else []
        chosen = few or self.by_label[label] or range(len(self.known))
        number = int(chosen[rng.integers(len(chosen))])
        look = self.known[number]
        facts = facts_of(look, PRODUCTS.get(look.source, "") if rng.random() < 0.6 else "")
        turns = conversation(facts, rng, turns=count)
        if count > 1 and rng.random() < STRAIGHT:
            turns = turns[1:]  # people also ask "where is it?" first
        return supervised(self.processor, look, turns, {name: value[number] for name, value in self.tokens.items()})


def supervised(
    processor: LookTwiceProcessor, look: KnownLook, turns: Sequence[tuple[str, str]], tokens: dict[str, Tensor]
) -> dict[str, Tensor]:
    """A conversation about a look at a picture as the trainer takes it, see `sample`.

    Args:
        look, tokens: what it is about, and its tokens [n, D] of each kind. Where its verdict is right it is told, for
            every question that does not ask for it.
        turns: (question, answer) pairs, at least one.
    """
    head = processor.look_text(look.score, look.regions, look.kinds, look.picture.words(), look.references)
    return sample(processor, head, look.label == 1 if look.is_right else None, turns, tokens)


def sample(
    processor: LookTwiceProcessor,
    head: str,
    verdict: bool | None,
    turns: Sequence[tuple[str, str]],
    tokens: dict[str, Tensor],
) -> dict[str, Tensor]:
    """A conversation under any head of a prompt, as the trainer takes it; the loss is on its answers.

    Where the prompt tells the verdict, answers to the question for it are not learned: the model's own word would
    become a copy of the verdict, and at use it is heard without.

    Args:
        head: of the first question, see `LookTwiceProcessor.head`.
        verdict: whether the look is anomalous; told for every question that does not ask for it. None: never told.
        turns: (question, answer) pairs, at least one.
        tokens: fields of LookTokens without their batch.
    """
    question, answer = turns[-1]
    given: set[int] = set()
    if verdict is not None and not asks_verdict(question):
        head += verdict_text(verdict)
        given = {2 * number + 2 for number, (asked, _) in enumerate(turns) if asks_verdict(asked)}
    messages = messages_of(question, turns[:-1], head, processor.specials)
    ids, labels = processor.supervised([*messages, {"role": "assistant", "content": answer}], given)
    return {"input_ids": ids, "labels": labels, **{name: value.float() for name, value in tokens.items()}}


def facts_of(look: KnownLook, product: str = "") -> Facts:
    """What a conversation about this look may say: the truth, as far as the look lets it be known.

    The kind is the true one when the look holds it for possible, and unknown otherwise: a model that is taught to say
    what it cannot see is taught to guess.
    """
    name = canonical(look.defect) if look.label else None
    seen = dict(look.kinds[:2]) if is_likely(look.kinds) else {}  # else the prompt tells none
    kind = KINDS[name] if name is not None and seen.get(name, 0.0) >= LEAST_KIND else UNKNOWN
    return Facts(look.label, look.regions, kind, product, look.picture, look.references)


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Conversations padded on the right to the longest, in steps of 32 tokens so that few shapes occur.

    Key frames are padded likewise to the most that one has; without any there is no such entry.
    """
    longest = max(len(sample["input_ids"]) for sample in samples)
    longest = -(-longest // 32) * 32

    def padded(key: str, value: int) -> Tensor:
        return torch.stack([nn.functional.pad(s[key], (0, longest - len(s[key])), value=value) for s in samples])

    mask = [torch.ones_like(sample["input_ids"]) for sample in samples]
    return {
        "input_ids": padded("input_ids", 0),
        "labels": padded("labels", -100),
        "attention_mask": torch.stack([nn.functional.pad(m, (0, longest - len(m))) for m in mask]),
        **{name: torch.stack([sample[name] for sample in samples]) for name in TOKEN_KINDS},
        **_key_frames(samples),
    }


def _key_frames(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """`LookTokens.frames` and `framed` of samples, of which some have "frames" [k, n, D]."""
    counts = torch.tensor([len(sample.get("frames", ())) for sample in samples])
    most = int(counts.max())
    if not most:
        return {}
    blank = samples[0]["suspicious"].new_zeros(0, *samples[0]["suspicious"].shape)
    rows = [sample.get("frames", blank) for sample in samples]
    frames = torch.stack([nn.functional.pad(row, (0, 0, 0, 0, 0, most - len(row))) for row in rows])
    return {"frames": frames, "framed": torch.arange(most) < counts[:, None]}


class ChatTrainer(Trainer):
    """Checkpoints hold what is trained, not the frozen rest; logits are made only where there is a loss."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: object
    ) -> Tensor:
        """Mean cross-entropy over the supervised tokens; a vocabulary of logits at every token costs a quarter more."""
        labels = inputs["labels"]
        tokens = LookTokens(**{name: inputs.get(name) for name in (*TOKEN_KINDS, "frames", "framed")})
        decoder = model.language_model.get_base_model()
        hidden = decoder.model(
            inputs_embeds=model.embed(inputs["input_ids"], tokens), attention_mask=inputs["attention_mask"]
        ).last_hidden_state
        wanted = labels[:, 1:] != -100
        logits = decoder.lm_head(hidden[:, :-1][wanted])
        return nn.functional.cross_entropy(logits.float(), labels[:, 1:][wanted])

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        save_parts(self.model, LANGUAGE_PARTS, folder / LANGUAGE_FILE)
        save_file(get_peft_model_state_dict(self.model.language_model), folder / ADAPTER_WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_language(self.model, folder / LANGUAGE_FILE, folder / ADAPTER_WEIGHTS)


def load_language(model: LookTwiceForConditionalGeneration, parts: Path, adapter: Path) -> None:
    """Fills projector, map tokens and the LoRA that `prepare` put on."""
    load_parts(model, LANGUAGE_PARTS, parts)
    set_peft_model_state_dict(model.language_model, load_file(adapter))


def prepare(model: LookTwiceForConditionalGeneration, rank: int) -> None:
    """Puts the LoRA on the language model and thaws it, the projector and the map tokens; everything else is frozen."""
    model.requires_grad_(False)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM", bias="none"
    )
    model.language_model = get_peft_model(model.language_model, config)
    for part in (model.projector, model.map_tokens):
        part.requires_grad_(True)


def teach(
    model: LookTwiceForConditionalGeneration,
    dataset: Dataset,
    out: Path,
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    save_steps: int = 40,
) -> None:
    """Trains what `prepare` has thawed on `steps * batch` conversations; a stopped run goes on in `out`."""
    trainer = ChatTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(out), max_steps=steps, per_device_train_batch_size=batch, learning_rate=rate,
            lr_scheduler_type="cosine", warmup_steps=max(1, steps // 15), weight_decay=0.0, max_grad_norm=1.0,
            bf16=native_bfloat16(), use_cpu=not torch.cuda.is_available(), remove_unused_columns=False, logging_steps=5,
            save_steps=save_steps, save_total_limit=2, report_to="none", seed=seed, disable_tqdm=False,
            train_sampling_strategy="sequential", label_names=["labels"],
        ),
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[MarkComplete()],
    )  # fmt: skip
    resume = last_complete(out)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def train(
    out: Annotated[Path, typer.Option(help="Run folder; a second start resumes.")] = Path("runs/chat"),
    features: Annotated[Path, typer.Option(help="Cached features of the look stage.")] = Path("runs/look/features"),
    profile: Annotated[str, typer.Option(help="Its weights folder gets the language stage.")] = "embedded",
    looks: Annotated[int, typer.Option(min=1, help="Look at this many of the cached batches.")] = 160,
    steps: Annotated[int, typer.Option(min=1)] = 200,
    batch: Annotated[int, typer.Option(min=1)] = 8,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 8e-4,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the LoRA.")] = 16,
    seed: int = 1,
    go_on: Annotated[bool, typer.Option(help="Start from the profile's language weights, not from nothing.")] = False,
    save_steps: Annotated[int, typer.Option(min=1)] = 40,
    talks: Annotated[
        Path | None, typer.Option(help="Of a OneVision profile: LLaVA conversation JSON, or a YAML that mixes several.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Of a OneVision profile: its settings, as YAML.")] = None,
    clips: Annotated[
        Path | None,
        typer.Option(help="A set of drawn events, or looks of finetune.clip_looks: talks of clips as well."),
    ] = None,
    clip_share: Annotated[float, typer.Option(min=0, max=1, help="Of the conversations that are about clips.")] = 0.25,
    context: typer.Context = None,
) -> None:
    """Trains the language stage and writes its weights."""
    chosen = read_profile(profile)
    if chosen.checkpoint:
        from finetune.onevision_chat import train_chat  # its classes cost a second that others need not wait

        return train_chat(talks, out, chosen, recipe, seed, context)
    from finetune.clip_chat import WithClips, known_clips  # needs this module

    refuse_recipe(chosen, recipe or talks)
    random.seed(seed)
    torch.manual_seed(seed)
    files = feature_files(features, looks)
    loaded = compose(chosen, stage="look")
    model = loaded.model
    make_looks(model.look_model, loaded.calibration, files, out / "looks", seed, familiar=loaded.familiar)
    tokens, known = read_looks(out / "looks")
    clip_looks = known_clips(clips, Inspector(chosen.name, loaded), out / "clip-looks") if clips else []
    prepare(model, rank)
    if go_on:
        load_language(model, chosen.weights / LANGUAGE_FILE, chosen.weights / ADAPTER_FOLDER / ADAPTER_WEIGHTS)
    dataset: Dataset = ConversationDataset(tokens, known, loaded.processor, steps * batch, seed)
    if clip_looks:
        dataset = WithClips(dataset, clip_looks, clip_share)
    teach(model, dataset, out, steps=steps, batch=batch, rate=rate, seed=seed, save_steps=save_steps)
    save_parts(model, LANGUAGE_PARTS, chosen.weights / LANGUAGE_FILE)
    save_adapter(model, chosen.weights / ADAPTER_FOLDER)
    typer.echo(f"wrote {chosen.weights}")


def save_adapter(model: LookTwiceForConditionalGeneration, folder: Path) -> None:
    """The LoRA as a PEFT folder, in bfloat16, without a path of the machine in its configuration."""
    adapter = model.language_model
    for settings in adapter.peft_config.values():
        settings.base_model_name_or_path = "SmolLM2-135M-Instruct"
    adapter.save_pretrained(str(folder), save_embedding_layers=False)
    file = folder / ADAPTER_WEIGHTS
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}, file)
    (folder / "README.md").unlink(missing_ok=True)  # the library's empty card; ours lies one folder up


if __name__ == "__main__":
    run(train)
