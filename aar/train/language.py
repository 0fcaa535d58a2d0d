"""Language modelling of a task's own texts, before any label is seen."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from aar.train.loop import Progress, autocast, optimiser, rate, seed_everything
from aar.train.models import Classifier
from aar.train.tokens import Tokens, epoch_batches
from aar.types import Training


def read(model: Classifier, folder: Path, tokens: Tokens, training: Training, seed: int, progress: Progress) -> None:
    """Train the backbone (or its adapters) to predict the next token of `tokens`; the classifier's head stays.

    `folder` holds the model's weights, for a language-model head that is not tied to the embeddings.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    speaker = speaking(model, folder)
    device = model.head.weight.device
    seed_everything(seed)
    rng = np.random.default_rng([seed, 11])
    opt = optimiser(speaker.parameters(), training)
    steps = training.epochs * math.ceil(len(tokens) / training.batch_size)
    progress.start(seed, steps)
    epochs = (epoch_batches(tokens.lengths, training.batch_size, rng) for _ in range(training.epochs))
    for step, rows in enumerate(chain.from_iterable(epochs)):
        ids, mask = tokens.batch(rows, device)
        for group in opt.param_groups:
            group["lr"] = training.lr * rate(training, step, steps)
        loss = next_token_loss(speaker, ids, mask)
        opt.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(opt.param_groups[0]["params"], 1.0)
        opt.step()
        progress.step(step + 1, loss, len(rows))
    if not math.isfinite(float(loss.detach())):
        raise FloatingPointError(f"seed {seed}: language modelling diverged; lower student.lr (now {training.lr:g})")


def next_token_loss(speaker: nn.Module, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of every real token after the first of its text; 0 where there is none."""
    with autocast(ids.device):
        logits = speaker(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits[:, :-1].float()
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    real = mask[:, 1:]
    return (losses * real).sum() / real.sum().clamp_min(1)


def speaking(model: Classifier, folder: Path) -> nn.Module:
    """The classifier's own backbone under its architecture's language-model head, sharing weights.

    Raises:
        ValueError: the head is not tied to the embeddings and not in the weights.
    """
    from transformers import AutoModelForCausalLM

    backbone: Any = model.backbone
    tied = backbone.config.tie_word_embeddings
    if tied:
        with torch.device("meta"):
            speaker = AutoModelForCausalLM.from_config(backbone.config)
    else:
        speaker, found = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=backbone.dtype, output_loading_info=True
        )
        if found["missing_keys"]:
            raise ValueError(f"the weights have no language-model head: {', '.join(sorted(found['missing_keys']))}")
    setattr(speaker, speaker.base_model_prefix, backbone)
    head = speaker.get_output_embeddings()
    if tied:
        head.weight = backbone.get_input_embeddings().weight
    elif any(not p.requires_grad for p in backbone.parameters()):
        head.requires_grad_(False)
    speaker = speaker.to(model.head.weight.device).eval()
    return cast(nn.Module, speaker)
