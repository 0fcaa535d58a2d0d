"""Searches side by side: what each arm reached, after how many trials, at what cost. Public values only.

Best so far after n trials, b(n), is the highest PGR of naive and the complete trials up to n (accuracy where a trial of
any of the searches has no PGR). The area under best-so-far of a search with N trials is (b(1) + ... + b(N)) / N. It was
selected, so it flatters, and the more the noisier an arm's trials are; the confirmed value is the winner's on fresh
seeds, and does not. Intervals are 95 % by t over repeats; differences are paired where arms share seed blocks, all but
one at most (Welch where they do not), and adjusted for the number of pairs (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aar.agent.run import Plan, load
from aar.ledger import Ledger, TalkCost, TrialRow
from aar.tracking import interval, number
from aar.types import AarError, PublicScore, TaskSpec, TrialStatus

Array = NDArray[np.float64]


class Mean(NamedTuple):
    """A mean over repeats and its interval (None with fewer than two)."""

    mean: float
    low: float | None
    high: float | None
    n: int


class Curve(NamedTuple):
    """One search: best so far, and cost so far, after trials 1 to N; `naive` is best so far before them.

    `seconds` are job seconds (GPU seconds where the task uses a GPU), `usd` what conversations with a model cost: NaN
    where a price is not known.
    """

    search: str
    arm: str
    seed: int
    naive: float
    best: Array
    seconds: Array
    usd: Array
    confirmed: float | None

    @property
    def area(self) -> float:
        """Mean of best so far."""
        return float(self.best.mean())


class Difference(NamedTuple):
    """`first` less `second`: area, and the confirmed value where both have it."""

    first: str
    second: str
    paired: bool
    area: Mean
    confirmed: Mean | None


class Arms(NamedTuple):
    """What a comparison came to. `unit` is PGR or accuracy, `clock` what `Curve.seconds` are seconds of.

    `differs` names the settings in which the searches differ beside who proposed; "" for none.
    """

    task: str
    unit: str
    clock: str
    trials: int
    curves: dict[str, list[Curve]]
    differences: list[Difference]
    notes: list[str]
    differs: str = ""

    @property
    def verdict(self) -> str:
        """One sentence, and a second where searches differ in more than who proposed."""
        if not self.differences:
            return "One search of an arm gives no interval: nothing can be said of the difference."
        apart = f" It may come from the settings, not from who proposed: {self.differs}." if self.differs else ""
        return f"{'; '.join(map(self._said, self.differences))}.{apart}"

    def _said(self, d: Difference) -> str:
        over = f"over {d.area.n} {'paired ' if d.paired else ''}repeats"
        clear = d.area.low is not None and d.area.low > 0
        verb = "beats" if clear else "is not clearly ahead of"
        noise = "" if clear else ", within noise"
        said = f"{d.first} {verb} {d.second} in area under best-so-far {self.unit}: {_signed(d.area)} {over}{noise}"
        if d.confirmed is None or d.confirmed.low is None or d.confirmed.high is None:
            return said
        inside = d.confirmed.low <= 0 <= d.confirmed.high
        return f"{said}; confirmed on fresh seeds {_signed(d.confirmed)}{', within noise' if inside else ''}"


def arms(ledger: Ledger, searches: Sequence[str], different: bool = False) -> Arms:
    """Compare searches by who proposed; where all have one researcher, each search is an arm.

    Raises:
        AarError: there is no such search, they are of different data or (unless `different`) settings, or one has no
            trial to look at.
    """
    rows, notes = {}, []
    for name in dict.fromkeys(searches):
        load(ledger, name)
        row = ledger.search(name)
        assert row is not None
        rows[name] = row
    if len(rows) < 2:
        raise AarError("give at least two searches to compare")
    if len({(row["data_digest"], row["task"]) for row in rows.values()}) > 1:
        told = ", ".join(f"{name}: {row['task']} {row['data_digest'][:8]}" for name, row in rows.items())
        raise AarError(f"these searches are of different data and cannot be compared ({told})")
    loaded = {name: load(ledger, name) for name in rows}
    differs = _differing({name: task for name, (task, _) in loaded.items()})
    if differs and not different:
        raise AarError(
            f"these searches differ in more than who proposed ({differs}); compare searches of the same settings, or "
            "add --different, and the verdict says so"
        )
    if differs:
        notes.append(f"these searches differ in more than who proposed: {differs}")
    for name, row in rows.items():
        if row["status"] != "complete":
            notes.append(f"{name} is {row['status']}: its values are interim")
    plans = {name: plan for name, (_, plan) in loaded.items()}
    who = _who(plans)
    same = len(set(who.values())) == 1
    trials = {name: ledger.trials(name) for name in rows}
    shortest = min(len(found) - 1 for found in trials.values())
    if shortest < 1:
        raise AarError("a search without trials cannot be compared; see `aar status`")
    if shortest < max(len(found) - 1 for found in trials.values()):
        notes.append(f"searches differ in length: only the first {shortest} trials of each are compared")
    unit = "PGR" if all(t.view.pgr is not None for found in trials.values() for t in found if t.view) else "accuracy"
    gpus = next(iter(loaded.values()))[0].limits.gpus
    curves: dict[str, list[Curve]] = {}
    for name, plan in plans.items():
        arm = name if same else who[name]
        curve = _curve(ledger, name, arm, plan.seed, trials[name][: shortest + 1], unit, gpus > 0)
        curves.setdefault(arm, []).append(curve)
    for arm, found in curves.items():
        found.sort(key=lambda c: c.seed)
        for one, other in pairwise(found):
            if one.seed == other.seed:
                raise AarError(
                    f"{arm}: two searches of one search seed are no two repeats ({one.search} and {other.search} both "
                    f"have seed {one.seed}); leave one of them out, or run one again with --seed"
                )
        if any(np.isnan(c.usd[-1]) for c in found):
            notes.append(f"{arm}: dollars unknown, no price of its model is known (`aar run --prices FILE`)")
        if 0 < (many := sum(c.confirmed is not None for c in found)) < len(found):
            notes.append(f"{arm}: {many} of its {len(found)} searches have a confirmed value")
    clock = "GPU" if gpus else "jobs"
    task = next(iter(rows.values()))["task"]
    return Arms(task, unit, clock, shortest, curves, _differences(curves), notes, differs)


def _who(plans: Mapping[str, Plan]) -> dict[str, str]:
    """Who proposed in each search; with its model where one researcher had several."""
    models: dict[str, set[str | None]] = {}
    for plan in plans.values():
        models.setdefault(plan.researcher, set()).add(plan.model)
    return {
        name: plan.researcher if len(models[plan.researcher]) == 1 else f"{plan.researcher} {plan.model}"
        for name, plan in plans.items()
    }


def _differing(specs: Mapping[str, TaskSpec]) -> str:
    """`training.strong.epochs 3 (a, b), 7 (c)`: in what tasks differ, names and summaries aside; "" for nothing."""
    flat = {
        name: dict(_leaves(task.model_dump(mode="json", exclude={"name", "summary"}))) for name, task in specs.items()
    }
    said = []
    for key in dict.fromkeys(key for values in flat.values() for key in values):
        who: dict[str, list[str]] = {}
        for name, values in flat.items():
            who.setdefault(str(values.get(key, "not set")), []).append(name)
        if len(who) > 1:
            said.append(f"{key} " + ", ".join(f"{value} ({', '.join(names)})" for value, names in who.items()))
    return "; ".join(said)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def mean(values: Sequence[float], pairs: int = 1) -> Mean:
    """Mean and t interval over repeats, at 95 % for all of `pairs` together."""
    n, centre = len(values), float(np.mean(values))
    if n < 2:
        return Mean(centre, None, None, n)
    half = float(stats.t.ppf(1 - 0.025 / pairs, n - 1)) * float(np.std(values, ddof=1)) / n**0.5
    return Mean(centre, centre - half, centre + half, n)


def table(found: Arms) -> list[dict[str, Any]]:
    """An arm each: repeats, area, best selected, confirmed, and what a search cost."""
    out = []
    for arm, curves in found.curves.items():
        confirmed = [c.confirmed for c in curves if c.confirmed is not None]
        out.append({
            "arm": arm, "repeats": len(curves), "searches": [c.search for c in curves],
            "area": mean([c.area for c in curves]),
            "selected": mean([float(c.best[-1]) for c in curves]), "confirmed": mean(confirmed) if confirmed else None,
            "hours": float(np.mean([c.seconds[-1] for c in curves])) / 3600,
            "usd": None if np.isnan(usd := float(np.mean([c.usd[-1] for c in curves]))) else usd,
        })  # fmt: skip
    return out


def as_json(found: Arms) -> dict[str, Any]:
    """The comparison as JSON-able values."""

    def told(m: Mean | None) -> dict[str, Any] | None:
        return None if m is None else {k: round(v, 4) if isinstance(v, float) else v for k, v in m._asdict().items()}

    rows = [
        row | {k: told(row[k]) for k in ("area", "selected", "confirmed")}
        | {"hours": round(row["hours"], 5), "usd": None if row["usd"] is None else round(row["usd"], 4),
           "areas": {c.search: round(c.area, 4) for c in found.curves[row["arm"]]}}
        for row in table(found)
    ]  # fmt: skip
    differences = [d._asdict() | {"area": told(d.area), "confirmed": told(d.confirmed)} for d in found.differences]
    return {
        "task": found.task, "unit": found.unit, "trials": found.trials, "clock": found.clock, "arms": rows,
        "differences": differences, "verdict": found.verdict, "notes": found.notes,
    }  # fmt: skip


def words(m: Mean | None) -> str:
    """`.82 [.71, .93]`; a dash where there is none."""
    return "–" if m is None else f"{number(m.mean, 3)} {interval(m.low, m.high, 3)}".rstrip()


def _signed(m: Mean) -> str:
    return f"{'+' if m.mean > 0 else ''}{words(m)}"


def _curve(
    ledger: Ledger, search: str, arm: str, seed: int, trials: Sequence[TrialRow], unit: str, gpu: bool
) -> Curve:  # fmt: skip
    values = [_value(t, unit) for t in trials]
    if values[0] is None:
        raise AarError(f"{search}: naive has no result yet; see `aar status {search}`")
    best = np.maximum.accumulate([-np.inf if v is None else v for v in values])[1:]
    last = max((t.finished or 0.0 for t in trials), default=0.0)
    costs, talk = ledger.costs(search, last), ledger.talk_costs(search)
    spent = [costs.get(t.number, (0.0, 0.0))[1 if gpu else 0] for t in trials[1:]]
    said = [talk.get(t.number, TalkCost(0, 0.0)) for t in trials[1:]]
    usd = [np.nan if cost.unpriced else cost.usd for cost in said]
    return Curve(
        search, arm, seed, float(values[0]), best, np.cumsum(spent), np.cumsum(usd), _confirmed(ledger, search, unit)
    )


def _value(trial: TrialRow, unit: str) -> float | None:
    if trial.view is None or trial.status is not TrialStatus.COMPLETE:
        return None
    return trial.view.pgr if unit == "PGR" else trial.view.accuracy


def _confirmed(ledger: Ledger, search: str, unit: str) -> float | None:
    """The winner's value on fresh seeds."""
    for row in ledger.confirmations(search):
        if "sealed" in row["views"]:
            fresh = PublicScore.model_validate(row["views"]["fresh"])
            return fresh.pgr if unit == "PGR" else fresh.accuracy
    return None


def _differences(curves: Mapping[str, Sequence[Curve]]) -> list[Difference]:
    """The arm with the largest mean area against each other one; those with one search have no interval."""
    several = [arm for arm, found in curves.items() if len(found) > 1]
    order = sorted(several, key=lambda arm: -float(np.mean([c.area for c in curves[arm]])))
    pairs = len(order) * (len(order) - 1) // 2
    return [_difference(curves, order[0], other, pairs) for other in order[1:]]


def _difference(curves: Mapping[str, Sequence[Curve]], first: str, second: str, pairs: int) -> Difference:
    a, b = ({c.seed: c for c in curves[arm]} for arm in (first, second))
    shared = [s for s in a if s in b]
    paired = 2 <= len(shared) == min(len(a), len(b)) >= max(len(a), len(b)) - 1

    def less(values: Mapping[int, float | None], others: Mapping[int, float | None]) -> Mean | None:
        if paired:
            both = [(values[s], others[s]) for s in shared]
            gaps = [x - y for x, y in both if x is not None and y is not None]
            return mean(gaps, pairs) if len(gaps) > 1 else None
        x, y = ([v for v in one.values() if v is not None] for one in (values, others))
        return _welch(x, y, pairs) if min(len(x), len(y)) > 1 else None

    area = less({s: c.area for s, c in a.items()}, {s: c.area for s, c in b.items()})
    assert area is not None, "every search has an area"
    confirmed = less({s: c.confirmed for s, c in a.items()}, {s: c.confirmed for s, c in b.items()})
    return Difference(first, second, paired, area, confirmed)


def _welch(x: Sequence[float], y: Sequence[float], pairs: int) -> Mean:
    vx, vy = (float(np.var(v, ddof=1)) / len(v) for v in (x, y))
    gap = float(np.mean(x) - np.mean(y))
    if vx + vy == 0:
        return Mean(gap, gap, gap, min(len(x), len(y)))
    df = (vx + vy) ** 2 / (vx**2 / (len(x) - 1) + vy**2 / (len(y) - 1))
    half = float(stats.t.ppf(1 - 0.025 / pairs, df)) * (vx + vy) ** 0.5
    return Mean(gap, gap - half, gap + half, min(len(x), len(y)))
