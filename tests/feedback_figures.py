"""The figures of docs/oversight.md's polarity feedback: `python -m tests.feedback_figures [GROUP ...]`.

Each line is one `aar oversight feedback` with the options that stand in it; what was run before is read from the
workspace (AAR_WORKSPACE, default `.aar`). Without groups all of them, some two hours on one core. Under a table stands
by how much each line's last look is ahead of that of the group's first, seed by seed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from aar.cli.feeding import planned
from aar.cli.searching import settings_of
from aar.ledger import Ledger
from aar.runner.bench import Problem
from aar.runner.feedback import Feedback, Moment, _Run, measure
from aar.runner.oversight import finish, overseeing
from aar.scoring.verdicts import Share, mean
from aar.settings import Settings
from aar.tasks import load_task
from aar.tracking import interval, number

GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "curves": {
        "dpo, strong judge": {"method": "dpo"},
        "dpo, weak judge": {"method": "dpo", "judge": "weak"},
        "grpo, strong judge": {"method": "grpo"},
        "grpo, weak judge": {"method": "grpo", "judge": "weak"},
    },
    "rewards": {
        "one reward model": {"method": "grpo", "rewards": 1, "seeds": 8},
        "one, four times the steps": {"method": "grpo", "rewards": 1, "reward_steps": 1200, "seeds": 4},
        "four, mean": {"method": "grpo", "rewards": 4, "rule": "mean", "seeds": 8},
        "four, worst (WCO)": {"method": "grpo", "rewards": 4, "rule": "wco", "seeds": 8},
        "four, mean less variance (UWO)": {"method": "grpo", "rewards": 4, "rule": "uwo", "seeds": 8},
    },
    "revise": {"critique and revision": {"method": "revise", "prompts": 200}},
    "person": {
        f"{share:.0%} of the pairs": {"method": "dpo", "judge": "weak", "person": share, "steps": 80}
        for share in (0.0, 0.1, 0.25, 0.5, 1.0)
    },
    "methods": {
        "dpo": {"method": "dpo"},
        "dpo, three rounds": {"method": "dpo", "rounds": 3, "steps": 50},
        "dpo, ipo": {"method": "dpo", "loss": "ipo"},
        "dpo, robust": {"method": "dpo", "loss": "robust"},
        "kto": {"method": "kto"},
        "simpo": {"method": "simpo"},
        "cpo": {"method": "cpo"},
        "orpo": {"method": "orpo"},
        "sft on the best of four": {"method": "sft"},
        "rloo": {"method": "rloo"},
    },
    "shaping": {
        "one reward model": {"method": "grpo", "rewards": 1},
        "one InfoRM": {"method": "grpo", "rewards": 1, "bottleneck": 16},
        "one reward model, PAR": {"method": "grpo", "rewards": 1, "shape": "par"},
    },
}
SHARES = (0.0, 0.05, 0.1, 0.25, 0.5)
HEAD = ("", "step", "KL", "believed, all texts", "believed", "truth", "gap", "well-formed and true", "malformed")
PLAN = ("task", "judge", "person", "rounds", "pairs", "prompts", "seeds", "reward_steps")


def run(options: dict[str, Any], settings: Settings) -> Feedback:
    """What the command with these options comes to."""
    plan = planned({k: v for k, v in options.items() if k not in PLAN}, {k: options[k] for k in PLAN if k in options})
    task, _ = load_task(plan.task)
    problem = Problem.of(task, settings)
    ledger = Ledger(settings.ledger_url)
    with overseeing(ledger, settings, "feedback", plan.model_dump(mode="json")) as at:
        found = measure(at, problem, plan, lambda words: None)
        finish(at, found.model_dump(mode="json"))
    ledger.close()
    return found


def row(name: str, m: Moment, steps: int) -> str:
    """A look as a line of a table."""
    w = m.worth
    at = f"{m.share * steps:.0f}"
    cells = [
        name,
        at,
        number(w.kl.value, 1),
        *map(told, (w.proxy, w.believed, w.truth, w.gap, w.good)),
        number(w.malformed.value, 3),
    ]
    return "| " + " | ".join(cells) + " |"


def ahead(first: Moment, second: Moment) -> str:
    """By how much the share of well-formed and true texts is higher at the second look, over seeds that both have."""
    pairs = zip(first.worth.each, second.worth.each, strict=False)
    return told(mean(np.array([b - a for a, b in pairs])))


def told(share: Share) -> str:
    return f"{number(share.value, 3)} {interval(share.low, share.high, 3)}"


def doubt(settings: Settings) -> None:
    """How right labels are after the doubtful share of them went to a person; nothing is trained."""
    print(f"\ndoubt\n\n| judge | {' | '.join(f'{share:.0%}' for share in SHARES)} |\n|{'---|' * (1 + len(SHARES))}")
    for judge in ("strong", "weak"):
        right = []
        for share in SHARES:
            plan = planned({"method": "dpo"}, {"judge": judge, "person": share, "seeds": 8})
            problem, ledger = Problem.of(load_task(plan.task)[0], settings), Ledger(settings.ledger_url)
            with overseeing(ledger, settings, "doubt", plan.model_dump(mode="json")) as at:
                labelling = _Run(at, problem, plan, lambda words: None)
                labelling._pairs(0, None)
                assert labelling.labelled is not None
                right.append(told(labelling.labelled))
            ledger.close()
        print(f"| {judge} | {' | '.join(right)} |", flush=True)


def main(groups: list[str]) -> None:
    settings = settings_of(Path(os.environ.get("AAR_WORKSPACE", ".aar")), "process")
    if not groups or "doubt" in groups:
        doubt(settings)
    for group in [g for g in groups if g != "doubt"] or ([] if groups else GROUPS):
        print(f"\n{group}\n\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
        last: dict[str, Moment] = {}
        for name, options in GROUPS[group].items():
            found = run(options, settings)
            for m in found.moments:
                print(row(name, m, found.plan.align.steps), flush=True)
            for m in found.resampled:
                print(row(f"best of {m.samples}", m, 0), flush=True)
            right = {"judge": found.agreement} if found.agreement else {}
            right |= {"labels": found.labelled} if found.labelled else {}
            print("; ".join(f"{who} right on {told(s)}" for who, s in (right | found.reward_right).items()), flush=True)
            for drafted, drawn in zip(found.moments, found.resampled, strict=False):
                print(f"best of {drawn.samples} ahead by {ahead(drafted, drawn)}", flush=True)
            last[name] = found.moments[-1]
        first, *others = last
        for name in others:
            print(f"{name} ahead of {first} by {ahead(last[first], last[name])}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
