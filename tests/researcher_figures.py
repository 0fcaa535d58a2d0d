"""The searches behind docs/researcher.md: three researchers on a cheap polarity, `python -m tests.researcher_figures`.

The model of the mixed arm is scripted (`tests.agent.models.competent`): it reads the journal it is sent and moves the
best trial a step. It says what reading the evidence can be worth, not what any language model would do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.agent.models import competent, scripted
from tests.oversight.chatserver import serving

CHEAP = (
    "splits.weak_train=1000", "splits.transfer=1000", "splits.dev=1500", "splits.test=2000", "seeds.full=2",
    "seeds.confirm=2", "seeds.baseline=3",
)  # fmt: skip
ARMS = ("random", "optuna", "mixed")


def main(repeats: int, trials: int) -> None:
    """Run every arm on every search seed; what is complete already is not run again."""
    with serving(scripted(competent)) as server:
        for seed in range(repeats):
            for arm in ARMS:
                model = ["--model", "scripted", "--base-url", server.url] if arm == "mixed" else []
                sets = [word for one in CHEAP for word in ("--set", one)]
                done = Path(f"{arm}-{seed}.done")
                if done.exists():
                    continue
                argv = [
                    "run",
                    "polarity",
                    *sets,
                    "--seed",
                    str(seed),
                    "--researcher",
                    arm,
                    *model,
                    "--trials",
                    str(trials),
                ]
                more = ["--top", "1", "--no-controls", "--sandbox", "process"]
                subprocess.run(
                    [sys.executable, "-m", "aar.cli", *argv, *more], check=True, env=os.environ | {"AAR_SLOTS": "1"}
                )
                done.touch()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
