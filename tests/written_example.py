"""The example behind docs/researcher.md: `python -m tests.written_example`, into AAR_WORKSPACE.

`aar run polarity` with a researcher whose model is scripted: it writes a loss, looks at what came of it, changes it.
What it says, the reviews too, stands here word by word; what comes of it does not. Everything else is real: the loop,
the client, the containers. Killed, `aar resume` does not go on with it, for the model is gone.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

PARENT = '''\
"""Bolder by the step: the student's own answer takes over a share of each label (after Reed et al. 2015)."""

PART = {
    "slot": "loss",
    "name": "boldly",
    "space": {"share": {"kind": "float", "low": 0.1, "high": 0.9, "default": 0.5}},
}

import torch

from aar.methods.losses import cross_entropy, weighted_mean


def build(params, prior):
    share = float(params["share"])

    def loss(logits, y, target, weight, step_frac):
        said = logits.detach().log_softmax(-1)
        own = torch.nn.functional.one_hot(said.argmax(-1), said.shape[-1]).to(target.dtype)
        s = share * step_frac
        return weighted_mean(cross_entropy(logits, (1 - s) * target + s * own), weight)

    return loss
'''
CHILD = (
    PARENT.replace('"boldly"', '"boldly_even"')
    .replace("Bolder by the step: the", "Bolder, and even over classes: the")
    .replace("said.argmax(-1)", "(said - said.mean(0)).argmax(-1)")
)


class Told(NamedTuple):
    """What the model says for one trial; the review gives `reject` as the probability of its verdict."""

    source: str
    why: str
    review: str
    reject: float
    expects: tuple[float, float, float]
    refute: str


TRIALS = (
    Told(
        source=PARENT,
        why="If the weak labels' errors are the part that the strong model finds hard to learn, its own answers are "
        "right where it contradicts them late in training: let them count for more as training goes on.",
        review="Nothing but transfer rows and weak labels is read, and no split is named. The comparison with naive "
        "is fair: the schedule is the task's. It can lock in what the student believes early, and nothing holds the "
        "share of classes in place: watch for constant predictions.",
        reject=0.08,
        expects=(0.6, 0.3, 0.9),
        refute="a PGR that is not above naive's by more than its interval",
    ),
    Told(
        source=CHILD,
        why="The review's doubt about t1 stands: its own answers may drift to one class. Measured from the batch's "
        "mean log-probability they are even over the classes, at no further parameter.",
        review="One line against its parent, and a difference that can be told: only where answers drift do the two "
        "part. A batch of unequal classes is pulled to equal ones, which helps where classes are balanced and hurts "
        "elsewhere. No leak.",
        reject=0.06,
        expects=(0.7, 0.45, 0.95),
        refute="an accuracy below its parent's by more than the interval of their difference",
    ),
)


def script(asked: dict[str, Any], before: int) -> dict[str, Any]:
    """What the model says: one conversation a trial, and reviews of the part that is shown."""
    from aar.methods import read_part
    from tests.agent.models import READY, answers, number_of, proposal
    from tests.oversight.chatserver import calls, message

    prompt = asked["messages"][-1]["content"]
    if prompt == READY:
        return message("ready")
    if asked["messages"][0]["role"] != "system":
        told = TRIALS["boldly_even" in prompt]
        if "Reply with exactly one" in prompt:
            return message("pass", top={"pass": 1 - told.reject, "reject": told.reject})
        return message(told.review)
    trial, said = number_of(asked), answers(asked)
    told, ref = TRIALS[trial - 1], read_part(PARENT).ref
    first = ("part_rules", {}) if trial == 1 else ("trial", {"number": 1})
    made = {} if trial == 1 else {"made_from": ref}
    expects, low, high = told.expects
    return [
        calls(first),
        calls(("write_part", {"source": told.source, "rationale": told.why, **made})),
        calls(
            proposal(
                f"loss={read_part(told.source).ref}", rationale=told.why, refute=told.refute,
                predicted_pgr=expects, predicted_low=low, predicted_high=high, parent=trial - 1,
            )
        ),
    ][said]  # fmt: skip


def main() -> None:
    """Run it."""
    os.environ |= {
        "OPENAI_API_KEY": "none",
        "AAR_SLOTS": "1",
    }  # one slot: the second is written after the first
    from aar.cli import app
    from tests.oversight.chatserver import serving

    with serving(script) as server:
        words = ["run", "polarity", "--trials", "2", "--top", "1", "--set", "seeds.controls=2", "--sandbox", "docker"]
        sys.argv = ["aar", *words, "--researcher", "llm", "--model", "scripted", "--base-url", server.url]
        app()


if __name__ == "__main__":
    main()
