"""The one interface of a sandbox: run a prepared job folder to its end, whoever started it.

Job folder, made by the runner before `run`:

    FOLDER/job.json         what to do (aar.types.JobFile)
    FOLDER/out/             made by the sandbox: one host-created file per declared output,
                            plus `progress.jsonl` and `log` (the job's own stdout and stderr)

Inside the sandbox the job sees JOB_DIR/job.json, JOB_DIR/in/<mount> (read-only) and JOB_DIR/out/<file>.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

from aar.types import Exit, JobStatus, Launch

LOG_BYTES = 1 << 20
PROGRESS_BYTES = 8 << 20
LOG_TAIL_BYTES = 8 << 10


class SandboxError(Exception):
    """The machinery failed (engine gone, image missing, disk full): nobody's result. Worth another try."""


class Sandbox(Protocol):
    """Two backends pass the same contract (`aar.sandbox.contract`): docker and process."""

    name: str
    isolates: bool

    def run(self, launch: Launch, cancel: threading.Event) -> Exit:
        """Run `launch` and wait. If a start of the same `launch.attempt` is still alive, adopt it.

        The deadline (`launch.seconds` from the attempt's first start) is enforced from outside; `cancel` kills
        the job and returns status `killed`. What the job did wrong is returned (failed, timeout, oom, killed).

        Raises:
            SandboxError: the machinery failed; nothing can be said about the job.
            AarError: the launch asks for what this backend refuses (untrusted code without isolation).
        """
        ...

    def alive(self, attempt: str, folder: str) -> bool:
        """True while a start of this attempt is running, whoever started it."""
        ...

    def reap(self, search: str) -> int:
        """Kill and remove this search's own leftovers past their deadline; how many."""
        ...


FAILURES: Mapping[int, JobStatus] = {3: JobStatus.OOM}
"""Exit codes the job entry uses on purpose: 3 when an allocation failed inside the job."""
