"""Language-model pre-training of a tiny model on a world's documents."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from aar.train.loop import Progress, optimiser, rate, seed_everything
from aar.train.models import tiny_config
from aar.train.tokens import Tokens
from aar.types import JobSpec, Training

TEXT_WEIGHT = 0.3
"""Loss weight of the text's own tokens; the outcome words that close a document weigh 1."""


def pretrain(
    spec: JobSpec, tokens: Tokens, vocabulary: int, seed: int, progress: Progress, device: torch.device
) -> nn.Module:
    """Train a causal language model; return its backbone (what `AutoModel` builds)."""
    from transformers import AutoModelForCausalLM

    if spec.model.tiny is None or spec.pretrain is None:
        raise ValueError("a pretrain job needs model.tiny and pretrain")
    rng = seed_everything(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(spec.model.tiny, vocabulary, spec.model.max_length)).to(device)
    plan = spec.pretrain
    training = Training(lr=plan.lr, batch_size=plan.batch_size, warmup=0.05, decay="cosine", weight_decay=0.0)
    opt = optimiser(model.parameters(), training)
    per_epoch = math.ceil(len(tokens) / plan.batch_size)
    progress.start(seed, plan.steps)
    order = rng.permutation(len(tokens))
    for step in range(plan.steps):
        if step and step % per_epoch == 0:
            order = rng.permutation(len(tokens))
        at = (step % per_epoch) * plan.batch_size
        rows = order[at : at + plan.batch_size]
        ids, mask = tokens.batch(rows, device)
        for group in opt.param_groups:
            group["lr"] = plan.lr * rate(training, step, plan.steps)
        logits = model(input_ids=ids, attention_mask=mask.long()).logits[:, :-1].float()
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        real = mask[:, 1:]
        from_end = mask.sum(1, keepdim=True) - 1 - torch.arange(ids.shape[1] - 1, device=device)
        outcome = real & (from_end <= spec.outcome_words)
        text = real & ~outcome
        loss = TEXT_WEIGHT * (losses * text).sum() / text.sum().clamp_min(1)
        loss = loss + (losses * outcome).sum() / outcome.sum().clamp_min(1)
        opt.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        progress.step(step + 1, loss, len(rows))
    if not np.isfinite(float(loss.detach())):
        raise FloatingPointError(f"pre-training diverged; lower pretrain.lr (now {plan.lr:g})")
    backbone: nn.Module = model.base_model
    return backbone
