"""`aar oversight` where it trains: a policy on a judge's word, a model on its amplified answers, a toy of tampering."""

from __future__ import annotations

from typing import Annotated

import typer

from aar.cli.options import DEFAULT, Backend, Json, Workspace


def feedback(
    task: Annotated[str, typer.Option(help="polarity, or a task on its world.")] = "polarity",
    method: Annotated[
        str, typer.Option(help="dpo, kto, simpo, cpo, orpo, sft, grpo, rloo, or revise (critique and revision).")
    ] = "dpo",
    judge: Annotated[str, typer.Option(help="Whose outcome probabilities count: strong or weak.")] = "strong",
    loss: Annotated[str | None, typer.Option(help="DPO's: sigmoid, ipo, hinge, robust.")] = None,
    rewards: Annotated[int | None, typer.Option(min=0, help="Reward models (grpo, rloo); 0: the judge itself.")] = None,
    rule: Annotated[str | None, typer.Option(help="Of several: mean, wco (worst), uwo (mean less variance).")] = None,
    bottleneck: Annotated[int | None, typer.Option(min=0, help="Dimensions of InfoRM's bottleneck; 0: none.")] = None,
    shape: Annotated[str | None, typer.Option(help="plain, or par (squashed against reference answers).")] = None,
    person: Annotated[float | None, typer.Option(min=0, max=1, help="Share of pairs labelled by the truth.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Sample, judge, train; again.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of a round.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    beta: Annotated[float | None, typer.Option(help="DPO's, or the weight of the KL term.")] = None,
    pairs: Annotated[int | None, typer.Option(min=2, help="Prompts with two samples each, judged.")] = None,
    prompts: Annotated[int | None, typer.Option(min=2, help="Held prompts that looks ask.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50)] = 3,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Train a small policy on a judge's word; truth beside what the judge believes, along optimisation."""
    from aar.cli import feeding
    from aar.cli.searching import settings_of

    align = {
        "method": method, "loss": loss, "rewards": rewards, "rule": rule, "bottleneck": bottleneck, "shape": shape,
        "steps": steps, "lr": lr, "beta": beta,
    }  # fmt: skip
    plan = {
        "task": task, "judge": judge, "person": person, "rounds": rounds, "pairs": pairs, "prompts": prompts,
        "seeds": seeds,
    }  # fmt: skip
    feeding.feedback(settings_of(workspace, sandbox), json, align, plan)


def distil(
    terms: Annotated[int | None, typer.Option(min=4, max=8, help="Digits in a sum.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, max=3, help="How often sums are taken apart.")] = None,
    rows: Annotated[int | None, typer.Option(min=2, help="Amplified answers to learn from.")] = None,
    held: Annotated[int | None, typer.Option(min=2, help="Questions asked, none of them learnt from.")] = None,
    pretrain_steps: Annotated[int | None, typer.Option(min=1, help="On sums of two numbers.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of fine-tuning.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=50)] = None,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """Train a small model on its own amplified answers: sums of digits, asked alone before and after."""
    from aar.cli import feeding
    from aar.cli.searching import settings_of

    plan = {
        "terms": terms, "depth": depth, "rows": rows, "held": held, "pretrain_steps": pretrain_steps, "steps": steps,
        "lr": lr, "seeds": seeds,
    }  # fmt: skip
    feeding.distilled(settings_of(workspace, sandbox), json, plan)


def tamper(
    pairs: Annotated[int | None, typer.Option(min=2, help="Preferences learnt from, by each model.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of training.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    beta: Annotated[float | None, typer.Option(help="DPO's.")] = None,
    pretrain_steps: Annotated[int | None, typer.Option(min=1, help="On the toy's documents.")] = None,
    seeds: Annotated[int | None, typer.Option(min=2, max=50, help="Models of each language.")] = None,
    sandbox: Backend = "auto",
    json: Json = False,
    workspace: Workspace = DEFAULT,
) -> None:
    """A toy: does training to agree with a user carry over to editing one's reward? Beside honest training."""
    from aar.cli import feeding
    from aar.cli.searching import settings_of

    plan = {
        "pairs": pairs, "steps": steps, "lr": lr, "beta": beta, "pretrain_steps": pretrain_steps, "seeds": seeds,
    }  # fmt: skip
    feeding.tampering(settings_of(workspace, sandbox), json, plan)
