"""Known skills through every protocol: `python -m tests.oversight.measure` gives the table of docs/oversight.md."""

from __future__ import annotations

from aar.oversight import Debating, Recursing, Skill, known, majority, recursive, self_critique
from aar.runner.protocols import EQUAL, PROTOCOLS, run_debate
from aar.scoring import Share, by_question, difference_of, mean_share, measured, scores

N, WORLDS, SMALL = 2000, 30, 500
SKILLS = {
    "q .60, r .70": Skill(),
    "q .70, r .30, lies fool .50": Skill(judge=0.7, finds=0.3, fools=0.5),
    "q .55, r .50, bias .10, abstains .20": Skill(judge=0.55, finds=0.5, bias=0.1, abstains=0.2),
}


def wanted(skill: Skill, protocol: str) -> float:
    """The expected score: an abstention counts half."""
    return (1 - skill.abstains) * skill.expected()[protocol] + skill.abstains / 2


def held() -> int:
    """How many intervals hold the expectation, over fresh worlds, skills and three protocols."""
    count = 0
    for skill in SKILLS.values():
        for name in ("direct", "debate", "consultancy"):
            for seed in range(1, WORLDS + 1):
                comparisons, better, cast = known(SMALL, skill, seed)
                found = PROTOCOLS[name](cast, comparisons, Debating(rounds=1))
                per = by_question(scores(found.verdicts.p, better[list(found.of)]), found.of)
                count += mean_share(per).low <= wanted(skill, name) <= mean_share(per).high
    return count


def told(s: Share) -> str:
    return f"{s.value:.3f} [{s.low:.3f}, {s.high:.3f}]"


def main() -> None:
    print("| put in | protocol | expected | score | bias | abstained | ECE | honesty, nats | Elo | characters a row |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, skill in SKILLS.items():
        comparisons, better, cast = known(N, skill)
        for line in run_debate(cast, comparisons, better, Debating(rounds=1)).lines:
            expected = f"{wanted(skill, line.protocol):.3f}" if line.protocol in skill.expected() else ""
            honesty = "" if line.honesty is None else told(line.honesty)
            elo = "" if line.elo is None else f"{line.elo:.0f}"
            m = line.measured
            print(f"| {name} | {line.protocol.replace(EQUAL, 'direct at ')} | {expected} | {told(line.score)} "
                  f"| {m.bias.value:.3f} | {told(m.abstained)} | {m.ece:.3f} | {honesty} | {elo} "
                  f"| {line.characters // N} |")  # fmt: skip
    print(f"\n{held()} of {len(SKILLS) * 3 * WORLDS} intervals hold the expectation, {SMALL} questions a world")
    comparisons, better, cast = known(N, Skill(finds=0.4))
    print("\n| order | expected | accuracy | characters a row |\n|---|---|---|---|")
    for k, found in enumerate(self_critique(cast, comparisons, Debating(rounds=3)), start=1):
        m = measured(found.verdicts.p, better)
        print(f"| {k} | {1 - 0.6**k * 0.4:.3f} | {told(m.accuracy)} | {found.characters // N} |")
    print(
        "\n| parts of a question are | level | expected | accuracy | calls | votes at as many calls | gain over them |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, eases in {"easier, by .1": 0.1, "as hard": 0.0, "harder, by .1": -0.1}.items():
        skill = Skill(eases=eases)
        comparisons, better, cast = known(N, skill)
        for level in range(4):
            found = recursive(cast, comparisons, Recursing(level=level))
            calls = sum(cost.calls for cost in found.cost.values())
            voted = majority(cast, comparisons, Debating(), calls)
            one, other = (scores(o.verdicts.p, better) for o in (found, voted))
            beside = f"{told(mean_share(other))} | {told(difference_of(one, other))}" if level else " | "
            print(f"| {name} | {level} | {skill.recursive(level):.3f} | {told(mean_share(one))} | {calls // N} "
                  f"| {beside} |")  # fmt: skip


if __name__ == "__main__":
    main()
