"""Debate in text and what it is compared with: two bound to opposite answers, or one adviser, or one critic.

The judge sees the question, the answers and what was said; never the source, unless `Judging.shows_source`. The
debaters see it. Debate: Irving et al. 2018, Khan et al. 2024. Consultancy: Michael et al. 2023. Double consultancy:
both sides argue and neither hears the other. Critique: Saunders et al. 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from aar.oversight import prompts
from aar.oversight.judge import Comparison, Judging, Verdicts, judge
from aar.oversight.meter import Metered
from aar.oversight.quotes import check
from aar.oversight.speaker import Reply, Sampling
from aar.oversight.transcript import ADVICE, ARGUMENT, CRITICISM, Cast, Outcome, Transcript, Turn, told
from aar.types import Word, digest_of


class Debating(Word):
    """How a protocol is played.

    In a `simultaneous` round neither hears the other's turn of that round; otherwise they speak in sequence, and who
    opens is drawn from the question. Of `best_of` drafts of a turn, the one that moves the judge most to the speaker's
    side is taken. `follow`: the judge is asked after each round too (its cost is counted).
    """

    rounds: int = Field(default=2, ge=1)
    simultaneous: bool = True
    best_of: int = Field(default=1, ge=1)
    words: int = Field(default=80, ge=1)
    sampling: Sampling = Sampling(max_tokens=200, temperature=0.7)
    follow: bool = False
    judging: Judging = Judging()


@dataclass
class _Game:
    """One transcript in the making: who speaks, in what role, whether all at once, and whether they hear each other."""

    comparison: Comparison
    kind: str
    sides: tuple[int, ...] = ()
    hears: bool = False
    at_once: bool = True
    turns: list[Turn] = field(default_factory=list)
    beliefs: list[tuple[float | None, float | None]] = field(default_factory=list)


def direct(cast: Cast, comparisons: Sequence[Comparison], how: Debating) -> Outcome:
    """The judge alone: what every protocol must beat, at its cost (`judging.samples`)."""
    watched, debater = cast.metered()
    verdicts = judge(watched, comparisons, how.judging)
    silent = [_Game(c, ARGUMENT) for c in comparisons]
    return _outcome("direct", silent, range(len(silent)), verdicts, watched, debater, how)


def direct_at(cast: Cast, comparisons: Sequence[Comparison], how: Debating, characters: int) -> Outcome:
    """The judge alone with as many thoughts as cost about `characters`: the same compute without a protocol.

    `how.judging.vote` says whether the draws are averaged or vote. What was asked to find the number is not counted:
    those draws are among the ones taken. Draws are whole, so the cost is met to half a draw.
    """
    sampling = how.judging.sampling
    warm = sampling.model_copy(update={"temperature": sampling.temperature or how.sampling.temperature or 1.0})
    one = how.judging.model_copy(update={"thinks": True, "samples": 1, "sampling": warm})
    found = direct(cast, comparisons, how.model_copy(update={"judging": one}))
    samples = max(1, round(characters / max(found.characters, 1)))
    many = one.model_copy(update={"samples": samples})
    return found if samples == 1 else direct(cast, comparisons, how.model_copy(update={"judging": many}))


def debate(cast: Cast, comparisons: Sequence[Comparison], how: Debating) -> Outcome:
    """Two debaters, each bound to one answer."""
    return _play("debate", cast, comparisons, how, ARGUMENT, [(0, 1)], hears=True)


def double_consultancy(cast: Cast, comparisons: Sequence[Comparison], how: Debating) -> Outcome:
    """Both answers are argued for, and neither adviser hears the other: debate without rebuttal."""
    return _play("double consultancy", cast, comparisons, how, ADVICE, [(0, 1)], hears=False)


def consultancy(cast: Cast, comparisons: Sequence[Comparison], how: Debating) -> Outcome:
    """One adviser, once bound to each answer: honest and lying in equal parts, two rows a comparison."""
    return _play("consultancy", cast, comparisons, how, ADVICE, [(0,), (1,)], hears=False)


def critique(cast: Cast, comparisons: Sequence[Comparison], how: Debating) -> Outcome:
    """One criticism of each answer, by a critic that is bound to nothing and sees one answer at a time."""
    once = how.model_copy(update={"rounds": 1})
    return _play("critique", cast, comparisons, once, CRITICISM, [(0, 1)], hears=False)


def opens(c: Comparison) -> int:
    """Which side speaks first in sequence: drawn from the texts, so that swapped answers keep their turns."""
    chosen = sorted(c.answers)[int(digest_of([c.id, sorted(c.answers)]), 16) % 2]
    return c.answers.index(chosen)


def _play(
    name: str, cast: Cast, comparisons: Sequence[Comparison], how: Debating, kind: str,
    sides: Sequence[tuple[int, ...]], hears: bool,
) -> Outcome:  # fmt: skip
    watched, debater = cast.metered()
    opponent = debater if cast.opponent is None else Metered(cast.opponent)
    games = [_Game(c, kind, who, hears, how.simultaneous or not hears) for c in comparisons for who in sides]
    verdicts = _follow(watched, games, how) if how.follow else None
    for number in range(1, how.rounds + 1):
        for speaking in _steps(games):
            _speak(watched, (debater, opponent), speaking, how, number)
        if how.follow:
            verdicts = _follow(watched, games, how)
    if verdicts is None:
        verdicts = _judged(watched, games, how)
    of = [i for i in range(len(comparisons)) for _ in sides]
    found = _outcome(name, games, of, verdicts, watched, debater, how)
    if cast.opponent is None:
        return found
    return found._replace(
        cost={**found.cost, "opponent": opponent.cost}, models={**found.models, "opponent": opponent.name}
    )


def _outcome(
    name: str, games: Sequence[_Game], of: Sequence[int], verdicts: Verdicts, watched: Metered, debater: Metered,
    how: Debating,
) -> Outcome:  # fmt: skip
    transcripts = tuple(
        Transcript(
            comparison=g.comparison.id, turns=tuple(g.turns), adviser=g.sides[0] if len(g.sides) == 1 else None,
            beliefs=tuple(g.beliefs),
        )
        for g in games
    )  # fmt: skip
    roles = {"judge": watched, "debater": debater}
    costs = {role: one.cost for role, one in roles.items()}
    names = {role: one.name for role, one in roles.items()}
    return Outcome(name, transcripts, tuple(of), verdicts, costs, names, digest_of(how)[:16])


Speaking = list[tuple[_Game, int]]


def _steps(games: Sequence[_Game]) -> list[Speaking]:
    """Who speaks at the same time."""
    if all(g.at_once for g in games):
        return [[(g, side) for g in games for side in g.sides]]
    return [[(g, opens(g.comparison) if first else 1 - opens(g.comparison)) for g in games] for first in (True, False)]


def _speak(watched: Metered, debaters: tuple[Metered, Metered], speaking: Speaking, how: Debating, number: int) -> None:
    """One turn of each: drafts, the best of them, its quotes checked."""
    asked = [_prompt(g, side, how) for g, side in speaking]
    drafts = [
        _said(debaters, speaking, asked, how.sampling.model_copy(update={"seed": how.sampling.seed + draw}))
        for draw in range(how.best_of)
    ]
    turns = [
        [_turn(g, side, replies[i], number) for replies in drafts] for i, (g, side) in enumerate(speaking)
    ]  # fmt: skip
    best = _best(watched, speaking, turns, how) if how.best_of > 1 else [0] * len(speaking)
    for (g, _), drawn, chosen in zip(speaking, turns, best, strict=True):
        g.turns.append(drawn[chosen])


def _said(debaters: tuple[Metered, Metered], speaking: Speaking, asked: Sequence[str], how: Sampling) -> list[Reply]:
    """What each side's own debater replies."""
    if debaters[0] is debaters[1]:
        return debaters[0].generate(asked, how)
    out: list[Reply] = [Reply("")] * len(asked)
    for side, debater in enumerate(debaters):
        rows = [i for i, (_, own) in enumerate(speaking) if own == side]
        if rows:
            for i, reply in zip(rows, debater.generate([asked[i] for i in rows], how), strict=True):
                out[i] = reply
    return out


def _turn(g: _Game, side: int, reply: Reply, number: int) -> Turn:
    shown, quotes = ("", ()) if reply.invalid else check(reply.text, g.comparison.source)
    return Turn(
        round=number, kind=g.kind, side=side, text=reply.text, shown=shown, invalid=reply.invalid, cut=reply.cut,
        quotes=quotes,
    )  # fmt: skip


def _best(watched: Metered, speaking: Speaking, turns: Sequence[Sequence[Turn]], how: Debating) -> list[int]:
    """Of each speaker's drafts the one after which the judge gives its side most; an invalid one only if all are."""
    flat = [(i, k) for i, drawn in enumerate(turns) for k, turn in enumerate(drawn) if not turn.invalid]
    shown = [_shown(speaking[i][0], [*speaking[i][0].turns, turns[i][k]]) for i, k in flat]
    plain = how.judging.model_copy(update={"thinks": False, "samples": 1})
    belief = judge(watched, [speaking[i][0].comparison for i, _ in flat], plain, shown).belief
    value = np.full((len(speaking), how.best_of), -2.0)
    for (i, k), p in zip(flat, belief, strict=True):
        value[i, k] = -1.0 if np.isnan(p) else p if speaking[i][1] == 0 else 1 - p
    return [int(k) for k in value.argmax(1)]


def _prompt(g: _Game, side: int, how: Debating) -> str:
    """What a speaker bound to `side` is asked."""
    c = g.comparison
    source = prompts.SOURCE.format(source=prompts.foreign(c.source)) if c.source else ""
    template = {ARGUMENT: prompts.DEBATE, ADVICE: prompts.ADVISE, CRITICISM: prompts.CRITICISE}[g.kind]
    head = (prompts.ONE if g.kind == CRITICISM else prompts.SIDES).format(
        question=prompts.foreign(c.prompt), own=prompts.foreign(c.answers[side]),
        other=prompts.foreign(c.answers[1 - side]),
    )  # fmt: skip
    heard = "".join(
        prompts.section(prompts.YOU if t.side == side else prompts.OPPONENT, t.shown)
        for t in sorted(g.turns, key=lambda t: (t.round, g.at_once and t.side != side))
        if g.hears or t.side == side
    )
    blind = prompts.BLIND if c.source and not how.judging.shows_source else ""
    rules = template.format(blind=blind, words=how.words, quoting=prompts.QUOTING if c.source else "")
    return source + head + heard + rules


def _shown(g: _Game, turns: Sequence[Turn]) -> tuple[str, str]:
    """The turns for each order. What was said at once is read A's first in both; what came in sequence, as it came."""
    texts = []
    for order in (0, 1):
        ordered = sorted(turns, key=lambda t: (t.round, (t.side == 0) == (order == 1)))
        texts.append(told(ordered if g.at_once else turns, order))
    return texts[0], texts[1]


def _judged(watched: Metered, games: Sequence[_Game], how: Debating) -> Verdicts:
    return judge(watched, [g.comparison for g in games], how.judging, [_shown(g, g.turns) for g in games])


def _follow(watched: Metered, games: Sequence[_Game], how: Debating) -> Verdicts:
    """Asks the judge and notes its belief."""
    verdicts = _judged(watched, games, how)
    for g, pair in zip(games, verdicts.p, strict=True):
        g.beliefs.append((None if np.isnan(pair[0]) else float(pair[0]), None if np.isnan(pair[1]) else float(pair[1])))
    return verdicts
