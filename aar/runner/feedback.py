"""Polarity feedback: a policy taught by a judge's own outcome probabilities that its texts be positive.

The policy is pre-trained on the world's sentences without outcome words, so that nothing it writes is a verdict. The
judge is the task's strong or weak model, asked and never trained; truth is the world's exact label, which enters no
job but as the answer of a person to the doubtful pairs that a plan sends there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aar.ledger import UnitRow
from aar.oversight.rewards import Floats, combined, doubtful, preference
from aar.runner.aligning import Rows, Wrote
from aar.runner.bench import Problem
from aar.runner.grounds import PROMPT_WORDS, Ground
from aar.runner.launcher import Launcher
from aar.scoring.feedback import Texts, Worth, preferred, worth
from aar.scoring.verdicts import Share, mean
from aar.types import ONLINE, Align, Word

PROMPT_SEED, HELD_SEED = 90_011, 90_012
MEMBERS = 100
"""Reward model j of seed s is trained with seed s + MEMBERS (j + 1)."""
BEST_OF = 4
"""Samples to a prompt of which imitation learns the best."""

Say = Callable[[str], None]


class FeedbackPlan(Word):
    """What is measured. Equal plans are one run.

    `pairs` are sampled, judged and learnt from (`labels` of them by each of the `rewards` reward models); `person` is
    the share of pairs, the most doubtful ones, whose label is the truth. `rounds` above 1 sample from the policy so
    far and go on, its reference staying what it was. An online method is rewarded by the judge where `rewards` is 0.
    """

    task: str = "polarity"
    judge: Literal["strong", "weak"] = "strong"
    align: Align
    seeds: int = Field(default=3, ge=1, le=50)
    prompts: int = Field(default=400, ge=2)
    pairs: int = Field(default=2000, ge=2)
    labels: int = Field(default=1500, ge=2)
    reward_steps: int = Field(default=300, ge=1)
    reward_lr: float = Field(default=3e-3, gt=0, le=1)
    person: float = Field(default=0.0, ge=0, le=1)
    rounds: int = Field(default=1, ge=1, le=20)
    documents: int = Field(default=20_000, ge=1)
    pretrain_steps: int = Field(default=1_000, ge=1)


class Moment(Word):
    """One look: after this share of a round's steps, what the texts are worth, and of what words they are made.

    `samples`: the best of so many to each prompt; `examples` are the first texts.
    """

    round: int
    share: float
    worth: Worth
    words: dict[str, float]
    examples: tuple[str, ...] = ()
    samples: int = 1


class Feedback(Word):
    """What a run came to. `agreement` is how often the judge prefers the truly better text of a pair, `labelled` the
    same of the first round's labels, a person's among them, `reward_right` of reward models on held pairs, one after
    the other, then under their rule; `kept` rows of `given` were
    short enough to be learnt from, `person` pairs got their label from the truth. `resampled` stands beside each moment
    of critique and revision: the best of as many samples as read the same number of tokens.
    """

    id: str
    plan: FeedbackPlan
    moments: tuple[Moment, ...]
    agreement: Share | None = None
    labelled: Share | None = None
    reward_right: dict[str, Share] = {}
    given: int = 0
    kept: int = 0
    person: int = 0
    resampled: tuple[Moment, ...] = ()


def measure(at: Launcher, problem: Problem, plan: FeedbackPlan, say: Say) -> Feedback:
    """Run a plan: the judge's and the policy's pre-training, feedback, training with looks, and truth beside proxy.

    Raises:
        AarError: the task's world has no polarity.
        JobFailed: a job failed.
    """
    return _Run(at, problem, plan, say).result()


class _Run:
    def __init__(self, at: Launcher, problem: Problem, plan: FeedbackPlan, say: Say) -> None:
        say(f"pre-training the {plan.judge} judge and the policy")
        self.ground = ground = Ground.of(at, problem, plan.judge, plan.documents, plan.pretrain_steps)
        self.policy, self.judge, self.world = ground.policy, ground.judge, ground.world
        self.at, self.plan, self.say = at, plan, say
        self.align = plan.align.model_copy(update={"length": ground.length, "judged": not plan.align.rewards})
        self.seeds = list(range(plan.seeds))
        self.prompts = ground.prompts(HELD_SEED, plan.prompts)
        self.given = self.kept = self.person = 0
        self.agreement: Share | None = None
        self.labelled: Share | None = None
        self.reward_right: dict[str, Share] = {}

    def result(self) -> Feedback:
        """All rounds, and what they came to."""
        align, plan = self.align, self.plan
        if align.method == "revise":
            return self._revised()
        moments: list[Moment] = []
        start: dict[int, str] | None = None
        for turn in range(plan.rounds):
            rewards = None
            if align.method in ONLINE:
                rows: dict[int, Rows] = {s: [{"prompt": p} for p in self._asked(turn)] for s in self.seeds}
                if align.rewards:
                    rewards = self._reward_models(self._pairs(turn, start))
            elif align.method == "sft":
                rows = self._revisions(turn, start)
            else:
                rows = dict(self._pairs(turn, start))
            self.say(f"{align.method} in round {turn + 1}")
            units = self.policy.run(
                align, self.seeds, rows=rows, prompts=self.prompts, judge=self.judge, start=start, rewards=rewards
            )
            counts = [self.policy.counts(unit) for unit in units.values()]
            self.given += sum(given for given, _ in counts)
            self.kept += sum(kept for _, kept in counts)
            moments += [self._moment(turn, share, units) for share in align.looks if share or not turn]
            start = {seed: unit.outputs["weights"] for seed, unit in units.items()}
        return Feedback(
            id=self.at.search, plan=plan, moments=tuple(moments), agreement=self.agreement, labelled=self.labelled,
            person=self.person, reward_right=self.reward_right, given=self.given, kept=self.kept,
        )  # fmt: skip

    # ------------------------------------------------------------ feedback

    def _pairs(self, turn: int, start: dict[int, str] | None) -> dict[int, list[dict[str, Any]]]:
        """Two samples of the policy so far to each prompt, with the judge's soft label, by seed."""
        prompts = self._asked(turn)
        drawn = self._drawn(prompts, 2, start)
        out, right, told = {}, [], []
        for seed, wrote in drawn.items():
            said, better = wrote.rewards[0], self._better(wrote.texts)
            right.append(preferred(said[::2], said[1::2], better))
            p, asked = labels(said, better, self.plan.person)
            told.append(preferred(p, 1 - p, better))
            self.person += asked
            texts = zip(prompts, wrote.answers[::2], wrote.answers[1::2], p, strict=True)
            out[seed] = [{"prompt": q, "a": a, "b": b, "p": float(x)} for q, a, b, x in texts]
        self.agreement = self.agreement or mean(np.array(right))
        self.labelled = self.labelled or mean(np.array(told))
        return out

    def _revisions(self, turn: int, start: dict[int, str] | None) -> dict[int, Rows]:
        """The best of BEST_OF samples by the judge's word, for learning by imitation."""
        prompts = self._asked(turn)
        drawn = self._drawn(prompts, BEST_OF, start)
        best = {seed: self._best(wrote, BEST_OF, BEST_OF) for seed, wrote in drawn.items()}
        return {
            seed: [{"prompt": q, "text": a} for q, a in zip(prompts, own.answers, strict=True)]
            for seed, own in best.items()
        }

    def _reward_models(self, pairs: Mapping[int, Rows]) -> dict[int, list[str]]:
        """Digests of each seed's reward models, which learn from its first pairs; held ones say what they are worth."""
        align, plan, count = self.align, self.plan, self.align.rewards
        taught = Align(
            method="reward", steps=plan.reward_steps, batch_size=32, lr=plan.reward_lr, looks=(), centre=align.centre,
            bottleneck=align.bottleneck, squeeze=align.squeeze,
        )  # fmt: skip
        members = {s: [s + MEMBERS * (j + 1) for j in range(count)] for s in self.seeds}
        owner = {member: seed for seed, own in members.items() for member in own}
        held = self._drawn(self.prompts, 2, None)
        self.say(f"{len(owner)} reward models on {plan.labels} pairs each")
        units = self.policy.run(
            taught, list(owner), rows={m: pairs[s][: plan.labels] for m, s in owner.items()},
            held={m: held[s].texts for m, s in owner.items()},
        )  # fmt: skip
        scored = {s: np.stack([self.policy.scores(units[m]) for m in own]) for s, own in members.items()}
        better = {s: self._better(held[s].texts) for s in self.seeds}
        ways = {f"{j + 1}": [scored[s][j] for s in self.seeds] for j in range(count)}
        ways[align.rule] = [combined(scored[s], align.rule, align.spread) for s in self.seeds]
        self.reward_right = {
            name: mean(np.array([preferred(r[::2], r[1::2], better[s]) for s, r in zip(self.seeds, own, strict=True)]))
            for name, own in ways.items()
        }
        return {s: [units[m].outputs["weights"] for m in own] for s, own in members.items()}

    def _drawn(self, prompts: Sequence[str], each: int, start: dict[int, str] | None) -> dict[int, Wrote]:
        """What the policy so far writes to prompts, and the judge's word on it."""
        align = Align(method="none", samples=each, length=self.align.length)
        self.say(f"{each} samples to each of {len(prompts)} prompts, judged")
        units = self.policy.run(align, self.seeds, prompts=prompts, judge=self.judge, start=start)
        return {seed: self.policy.wrote(unit, align, prompts, True) for seed, unit in units.items()}

    def _better(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Of each pair of texts 1 where the first is truly the better one, -1 where the second is, 0 where neither."""
        kept = np.array([self.world.total(text) > 0 and self.world.well_formed(text) for text in texts]).astype(
            np.int64
        )
        return kept[::2] - kept[1::2]

    def _revised(self) -> Feedback:
        """Critique and revision, and beside each round the best of as many samples as cost the same."""
        align = self.align
        self.say(f"{align.steps} rounds of critique and revision")
        units = self.policy.run(align, self.seeds, prompts=self.prompts, judge=self.judge)
        most = max(1, self._samples_for(align.steps))
        drawn = self._drawn(self.prompts, most, None)
        moments, resampled = [], []
        for share in align.looks:
            moments.append(self._moment(0, share, units))
            n = self._samples_for(round(share * align.steps))
            best = [self._best(wrote, most, n) for wrote in drawn.values()]
            resampled.append(self._seen(0, share, best).model_copy(update={"samples": n}))
        return Feedback(id=self.at.search, plan=self.plan, moments=tuple(moments), resampled=tuple(resampled))

    def _samples_for(self, rounds: int) -> int:
        """How many judged samples read as many tokens as a draft, its `rounds` of criticism and their revisions.

        A round reads a text of L tokens once without each written token, and what stands before the named one (at most
        L). A sample is written once and judged once; so is the draft, which is judged when it is done.
        """
        length = self.world.length
        return 1 + round(rounds * ((length - PROMPT_WORDS) * (length - 1) + length) / (2 * length))

    def _best(self, wrote: Wrote, each: int, n: int) -> Wrote:
        """Of each prompt's first n samples the one that the judge likes best."""
        count = len(wrote.texts) // each
        at = wrote.rewards[0].reshape(count, each)[:, :n].argmax(1) + each * np.arange(count)
        return Wrote(
            [wrote.texts[i] for i in at], [wrote.answers[i] for i in at], wrote.ratio[at], wrote.rewards[:, at]
        )

    # ------------------------------------------------------------ truth

    def _moment(self, turn: int, share: float, units: Mapping[int, UnitRow]) -> Moment:
        """What the policy's texts are worth after this share of the steps, over seeds."""
        wrote = [self.policy.wrote(unit, self.align, self.prompts, True, share) for unit in units.values()]
        return self._seen(turn, share, wrote)

    def _seen(self, turn: int, share: float, wrote: Sequence[Wrote]) -> Moment:
        texts = [text for one in wrote for text in one.texts]
        counted = {
            "sentiment": np.mean([sum(w.startswith(("good", "bad")) for w in t.split()) for t in texts]),
            "negators": np.mean([sum(w.startswith("not") for w in t.split()) for t in texts]),
            "different": np.mean([len(set(t.split())) for t in texts]),
        }
        return Moment(
            round=turn, share=share, worth=worth([self._truth(one) for one in wrote]),
            words={name: round(float(value), 3) for name, value in counted.items()}, examples=tuple(texts[:3]),
        )  # fmt: skip

    def _truth(self, wrote: Wrote) -> Texts:
        count, chosen = self.align.rewards, wrote.rewards[:1]
        if self.align.method in ONLINE and count:
            chosen = wrote.rewards[1:]
        return Texts(
            np.array([self.world.total(text) for text in wrote.texts]),
            np.array([self.world.well_formed(text) for text in wrote.texts]),
            combined(chosen, self.align.rule, self.align.spread), wrote.ratio,
        )  # fmt: skip

    def _asked(self, turn: int) -> list[str]:
        return self.ground.prompts(PROMPT_SEED + 10 * turn, self.plan.pairs)


def labels(said: Floats, better: NDArray[np.int64], person: float) -> tuple[Floats, int]:
    """P(the first text is the better one) of each pair (n,), and how many pairs a person labelled.

    The judge's log-odds `said` (2n,), a pair's side by side, decide, but for the share `person` of the pairs, the most
    doubtful ones: those have the truth, `better` (n,): 1 the first, -1 the second, 0 neither.
    """
    p = preference(said[::2], said[1::2])
    asked = doubtful(p, person)
    p[asked] = 0.5 + 0.5 * better[asked]
    return p, len(asked)
