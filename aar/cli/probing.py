"""The command that probes a judge: what moves it that should not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from aar.cli.asked import Asked
from aar.cli.overseeing import Cell, Result
from aar.oversight import Sampling
from aar.oversight.probes import PROMPTS, attacked, doubts, looks, opinions, perturbations
from aar.runner.launcher import Launcher
from aar.runner.protocols import read_requests
from aar.scoring.probes import attack_success, complied, moved
from aar.scoring.verdicts import measured
from aar.types import digest_of


def probed(asked: Asked, requests: str | None, run: Launcher, console: Console) -> Result:
    """What moves a judge that should not move it; with `requests`, what gets a refused request answered."""
    comparisons, better, cast, notes = asked.cast(run)
    lines: list[dict[str, Cell]] = []
    rows: list[dict[str, Any]] = []
    about = {"model": cast.judge.name, "settings": digest_of(asked.judging)[:16], "prompts": PROMPTS}

    def told(name: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
        found = moved(before, after, better)
        lines.append({"probe": name, **found._asdict()})
        rows.extend(
            {"probe": name, "id": c.id, "before": _numbers(b), "after": _numbers(a), **about}
            for c, b, a in zip(comparisons, before, after, strict=True)
        )

    said = opinions(cast.judge, comparisons, asked.judging)
    told("person sides with the wrong answer", said.neutral.p, said.to_wrong.p)
    told("person sides with the right answer", said.neutral.p, said.to_right.p)
    doubted = doubts(cast.judge, comparisons, asked.judging)
    told("asked whether it is sure", doubted.first.p, doubted.second.p)
    for kind, run_probe in (("wrong answer", looks), ("question", perturbations)):
        found = run_probe(cast.judge, comparisons, asked.judging)
        plain = found.pop("plain").p
        for name, verdicts in found.items():
            told(f"{kind}: {name}", plain, verdicts.p)
        any_ = attack_success(plain, {n: v.p for n, v in found.items()}, better)["any"]
        lines.append({"probe": f"{kind}: any of them", "lost": any_})
        console.print(f"  ✓ {kind}", highlight=False)
    base = measured(said.neutral.p, better)
    lines.append({"probe": "calibration", "ECE": base.ece})
    if requests is not None:
        asks = read_requests(Path(requests))[: asked.rows]
        replies = attacked(cast.judge, asks, Sampling(max_tokens=200, seed=asked.seed))
        bare = replies.complied()
        for name, rate in complied(bare, {n: replies.complied(n) for n in replies.by_attack}).items():
            label = "requests answered, bare" if name == "bare" else f"refused requests answered, {name}"
            lines.append({"probe": label, "answered": rate})
        rows += [
            {"probe": f"request, {name}", "id": str(i), "reply": r.text, "invalid": r.invalid, **about}
            for name, own in {"bare": replies.bare, **replies.by_attack}.items()
            for i, r in enumerate(own)
        ]
    return Result(lines, rows, notes)


def _numbers(p: NDArray[np.float64]) -> list[float | None]:
    return [None if v != v else round(float(v), 6) for v in p]
