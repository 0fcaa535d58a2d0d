"""Slots for work on this machine: a fixed number of threads, each of which waits on one sandbox at a time."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")
MOST_THINKING = 64
"""Thoughts at once; they wait for a server and cost no processor time here."""


class Stopped(Exception):
    """The search was told to stop; what was running was killed and is neither a result nor a failure."""


class Executor:
    """Runs callables in `slots` threads, and beside them thoughts that need no slot, in threads of their own.

    `cancel` is set to stop everything that is under way, `closing` to let running trials end and begin nothing else.
    """

    def __init__(self, slots: int, cards: Sequence[str] = ()) -> None:
        self.slots = slots
        self._load = dict.fromkeys(cards, 0)
        self.cancel, self.closing = threading.Event(), threading.Event()
        self._bell: Future[None] = Future()
        self._here = threading.local()
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="slot")
        self._running: dict[int, Future[None]] = {}
        self._thinkers = ThreadPoolExecutor(MOST_THINKING, thread_name_prefix="thinker")
        self._thinking: dict[int, Future[Any]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel.set()
        for threads in (self._threads, self._thinkers):
            threads.shutdown(wait=True, cancel_futures=True)

    def submit(self, trial: int, work: Callable[[], None]) -> None:
        """Start `work` for a trial, once: a trial that is under way is left alone."""

        def run() -> None:
            self._here.trial = trial
            try:
                work()
            finally:
                self._here.trial = None

        if trial not in self._running:
            self._running[trial] = self._threads.submit(run)

    def think(self, trial: int, work: Callable[[], Any]) -> None:
        """Think out a trial that is none yet; `collect` wakes up when that is done."""
        self._thinking[trial] = self._thinkers.submit(work)
        self._thinking[trial].add_done_callback(lambda _: self.ring())

    @property
    def thinking(self) -> set[int]:
        """Trials thought about whose thought was not taken yet."""
        return set(self._thinking)

    def thoughts(self) -> dict[int, Any]:
        """What was thought out since, by trial, each once. One that was told to stop came to nothing.

        Raises:
            Exception: what a thought raised.
        """
        out: dict[int, Any] = {}
        for trial in sorted(number for number, future in self._thinking.items() if future.done()):
            error = self._thinking[trial].exception()
            if error is not None and not isinstance(error, Stopped) and out:
                self.ring()  # raised the next time, so that what others thought out is not lost
                break
            future = self._thinking.pop(trial)
            with contextlib.suppress(Stopped):
                out[trial] = future.result()
        return out

    def begin(self) -> None:
        """Something is about to be started.

        Raises:
            Stopped: the search is told to stop, or is closing and this is no part of a running trial.
        """
        if self.cancel.is_set() or self.closing.is_set() and getattr(self._here, "trial", None) is None:
            raise Stopped

    def ring(self) -> None:
        """Wake up who waits in `collect`, or the next to do so."""
        with self._guard:
            if not self._bell.done():
                self._bell.set_result(None)

    def lock(self, key: str) -> threading.Lock:
        """The lock of one unit: two that need it wait for one computation."""
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())

    @contextlib.contextmanager
    def cards(self, count: int, before: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
        """The `count` GPUs that the fewest jobs have now, while the block runs; those it had `before`, if any."""
        with self._guard:
            known = before if set(before) <= set(self._load) else ()
            mine = tuple(known or sorted(self._load, key=lambda card: self._load[card])[:count])
            for card in mine:
                self._load[card] += 1
        try:
            yield mine
        finally:
            with self._guard:
                for card in mine:
                    self._load[card] -= 1

    @property
    def running(self) -> set[int]:
        """Trials not yet collected."""
        return set(self._running)

    def collect(self, idle: bool = False) -> set[int]:
        """Wait for at least one running trial or for the bell; the trials that ended. Raises what their work raised.

        With none running it returns at once, unless it is to wait `idle`.
        """
        if not self._running and not idle:
            return set()
        wait([*self._running.values(), self._bell], return_when=FIRST_COMPLETED)
        with self._guard:
            if self._bell.done():
                self._bell = Future()
        done = {trial for trial, future in self._running.items() if future.done()}
        for trial in done:
            self._running.pop(trial).result()
        return done

    def each(self, works: Iterable[Callable[[], T]]) -> list[T]:
        """Run all, at most `slots` at once; results in order. The first error ends the rest and is raised."""
        futures = [self._threads.submit(work) for work in works]
        wait(futures, return_when="FIRST_EXCEPTION")
        for future in futures:
            if future.done() and not future.cancelled() and future.exception() is not None:
                for other in futures:
                    other.cancel()
                wait(futures)
                future.result()
        return [future.result() for future in futures]


@contextlib.contextmanager
def stopping(cancel: threading.Event) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops cleanly; the second one as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old: dict[signal.Signals, Any] = {}

    def stop(number: int, _: Any) -> None:
        cancel.set()
        signal.signal(number, old[signal.Signals(number)])

    for which in (signal.SIGINT, signal.SIGTERM):
        old[which] = signal.signal(which, stop)
    try:
        yield
    finally:
        for which, handler in old.items():
            signal.signal(which, handler)
