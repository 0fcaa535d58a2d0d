"""The searches behind docs/researcher.md: `python -m tests.researcher_figures [REPEATS [TRIALS]]`, into AAR_WORKSPACE.

Three researchers on a cheap polarity, each search seed once. The model of the mixed arm is scripted
(`tests.agent.models.competent`): it reads the journal it is sent and moves the best trial a step. It says what reading
the evidence can be worth, not what any language model would do. Complete searches are not run again.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

os.environ |= {"OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "none"}

CHEAP = (
    "splits.weak_train=1000", "splits.transfer=1000", "splits.dev=1500", "splits.test=2000", "seeds.full=2",
    "seeds.confirm=2", "seeds.baseline=3",
)  # fmt: skip
ARMS = ("random", "optuna", "mixed")
UNHEARD = "http://127.0.0.1:9"


def main(repeats: int, trials: int) -> None:
    """Run every arm on every search seed."""
    from tests.warm import warm

    with tempfile.TemporaryDirectory() as folder, warm(f"{folder}/socket") as command:
        import aar.agent.run as running
        from aar.ledger import Ledger
        from aar.sandbox.process import ProcessSandbox
        from aar.settings import Settings
        from aar.tasks import load_task
        from tests.agent.models import competent, scripted
        from tests.oversight.chatserver import serving

        vars(running)["choose"] = lambda settings: (ProcessSandbox(command=command), "process: forked")
        settings = Settings(tracking_uri=UNHEARD, sandbox="process", slots=1, threads=1)
        settings.root.mkdir(parents=True, exist_ok=True)
        ledger, task = Ledger(settings.ledger_url), load_task("polarity", CHEAP)[0]
        plans = [running.load(ledger, r["id"])[1] for r in ledger.searches() if r["status"] == "complete"]
        done = {(plan.researcher, plan.seed) for plan in plans}
        with serving(scripted(competent)) as server:
            for seed in range(repeats):
                for arm in [a for a in ARMS if (a, seed) not in done]:
                    model = {"model": "scripted", "base_url": server.url} if arm == "mixed" else {}
                    plan = running.Plan(
                        seed=seed, trials=trials, researcher=arm, confirm_top=1, controls=False, **model
                    )
                    began, search = time.time(), running.create(ledger, settings, task, plan)
                    running.work(ledger, settings, search, lambda: None)
                    print(f"{arm:<7} seed {seed}  {search}  {time.time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
