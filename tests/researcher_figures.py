"""The experiments of docs/researcher.md: `python -m tests.researcher_figures [TASK [FIRST [LAST [ARMS]]]]`.

Four researchers (or ARMS, parted by commas) on TASK (polarity-quick), search seeds FIRST to LAST (0 to 9), into
AAR_WORKSPACE. It is `aar experiment` with real jobs that are forked from one process instead of started anew. The model
of the arms mixed and llm is scripted (`tests.agent.models`): it reads the journal it is sent and moves the best trial a
step. That says what reading the evidence can be worth, not what any language model would do. Killed, the same command
goes on. `aar compare` shows what came of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence

os.environ |= {"OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "none"}

ARMS, TRIALS = ("random", "optuna", "mixed", "llm"), 20
PORT = 8735
"""Where the model of search seed 0 is served: the address is a part of the plan, so a resume needs the same."""
UNHEARD = "http://127.0.0.1:9"


def main(name: str, first: int, last: int, arms: Sequence[str]) -> None:
    """Run these arms on these search seeds of a task."""
    from tests.warm import warm

    with tempfile.TemporaryDirectory() as folder, warm(f"{folder}/socket") as command:
        import aar.agent.run as running
        from aar.agent.experiment import go_on, name_of
        from aar.ledger import Ledger
        from aar.sandbox.process import ProcessSandbox
        from aar.settings import Settings
        from aar.tasks import load_task
        from tests.agent.models import competent, scripted
        from tests.oversight.chatserver import serving

        vars(running)["choose"] = lambda settings: (ProcessSandbox(command=command), "process: forked")
        settings = Settings(tracking_uri=UNHEARD, sandbox="process", slots=1, threads=1)
        settings.root.mkdir(parents=True, exist_ok=True)
        ledger, task = Ledger(settings.ledger_url), load_task(name)[0]
        port = PORT + first
        with serving(scripted(competent), port):
            plan = running.Plan(trials=TRIALS, confirm_top=1, controls=False, model="scripted")
            own = {"experiment": name_of(task, settings, plan), "base_url": f"http://127.0.0.1:{port}/v1"}
            plan = plan.model_copy(update=own)
            print(plan.experiment, flush=True)
            began = time.time()
            for member in go_on(ledger, settings, task, plan, arms, range(first, last + 1)):
                print(f"{member.arm:<7} seed {member.seed}  {member.search}  {time.time() - began:.0f} s", flush=True)
                began = time.time()


if __name__ == "__main__":
    said = [*sys.argv[1:], *("polarity-quick", "0", "9", ",".join(ARMS))[len(sys.argv) - 1 :]]
    main(said[0], int(said[1]), int(said[2]), said[3].split(","))
