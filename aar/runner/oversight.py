"""An oversight run: work with models that belongs to no search, under a row and a lease of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aar.executor import Executor, Stopped, stopping
from aar.ledger import Ledger
from aar.runner.launcher import Launcher
from aar.runner.store import Store
from aar.runner.units import JobFailed, orphans
from aar.sandbox.select import choose
from aar.settings import Settings
from aar.types import AarError, Limits, canonical_json, digest_of


def run_id(module: str, plan: Any) -> str:
    """The name of a run: equal plans are one run, which goes on where it was."""
    return f"{module}-{digest_of(plan)[:8]}"


@contextmanager
def overseeing(
    ledger: Ledger, settings: Settings, module: str, plan: Any, limits: Limits | None = None
) -> Iterator[Launcher]:
    """A run at work, held by this process alone. `plan` (JSON) is what is asked: with `module` it names the run.

    Its row says how it ended; `finish` writes what it came to.

    Raises:
        LeaseHeld: another process is at this run.
        AarError: a demanded sandbox is not there, or a job failed; what was computed is kept.
    """
    name = run_id(module, plan)
    ledger.begin_oversight(name, module=module, plan=canonical_json(plan))
    sandbox, _ = choose(settings)
    limits = limits or Limits()
    slots = settings.slots_for(limits.gpus)
    with ledger.hold(name) as lease, Executor(slots, settings.cards) as executor:
        run = Launcher(
            search=name, settings=settings, store=Store(settings.folder("store")), limits=limits, ledger=ledger,
            lease=lease, sandbox=sandbox, executor=executor,
        )  # fmt: skip
        sandbox.reap(name)
        orphans(run)
        lease.set_oversight(status="running", reason=None)
        try:
            with stopping(executor.cancel):
                yield run
        except Stopped:
            lease.set_oversight(status="stopped", reason="stopped by hand")
            raise
        except (AarError, JobFailed) as error:
            told = error.told() if isinstance(error, JobFailed) else str(error)
            lease.set_oversight(status="failed", reason=told)
            raise AarError(f"{name}: {told}\nwhat was done is kept: the same command goes on from there") from error


def finish(run: Launcher, result: Any) -> None:
    """What a run came to (JSON), once and for all."""
    run.lease.lose_attempts()
    run.lease.set_oversight(status="complete", reason=None, result=canonical_json(result), finished=time.time())
