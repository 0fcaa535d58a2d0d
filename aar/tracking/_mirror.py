"""The outbox's other end: sends what the ledger queued, in the background, and never stands in the way."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from aar.ledger import Ledger
from aar.settings import Settings
from aar.tracking._about import About
from aar.tracking._notes import trial_note
from aar.tracking._store import artifacts, ensure_store, is_server, locked, prepare_environment, reachable
from aar.tracking._traces import send as send_trace
from aar.tracking._view import PREFIX, experiment_tags
from aar.tracking._words import Words, search_words, trial_words
from aar.types import AarError, digest_of

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SEARCH = -1
POLL_SECONDS, LONGEST_PAUSE = 2.0, 60.0
BATCH, POINTS = 10_000, 800
FAILURES_IN_A_ROW = 3
Key = tuple[str, int]
log = logging.getLogger(__name__)


class TrackingError(AarError):
    """MLflow did not take what it was sent. Everything waits in the ledger and is sent again later."""


class Mirror:
    """Mirrors the ledger to MLflow: one run per trial, one per search. Needs no lease and writes no result.

    `drain` sends in the caller's thread; `start` and `stop` do it in a thread of their own.
    `trouble` says in a sentence why nothing is being sent, or is None.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self.ledger, self.settings, self.uri = ledger, settings, settings.mlflow_uri
        self.trouble: str | None = None
        self._client: MlflowClient | None = None
        self._experiments: dict[str, tuple[str, str]] = {}
        self._setbacks: dict[Key, int] = {}
        self._attached: dict[str, float] = {}
        self._stop = threading.Event()
        self._end: float | None = None
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------ in the background

    def start(self) -> None:
        """Send from now on, in a daemon thread."""
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._thread.start()

    def stop(self, deadline_seconds: float) -> int:
        """Send the rest, for at most this long; how many records still wait (for the next process)."""
        self._end = time.monotonic() + deadline_seconds
        self._stop.set()
        if self._thread is not None:
            self._thread.join(deadline_seconds)
        return len(self.ledger.unsent(BATCH))

    def _work(self) -> None:
        pause = POLL_SECONDS
        while True:
            stopping = self._stop.wait(pause)
            try:
                self.drain()
                self.trouble, pause = None, POLL_SECONDS
            except Exception as error:  # whatever it is, research goes on
                self.trouble, pause = str(error), min(2 * pause, LONGEST_PAUSE)
                log.info("tracking: %s", error)
                if stopping:
                    return
            if stopping and (not self._waiting() or self._late()):
                return
            if stopping:  # another process is sending
                time.sleep(0.2)

    def _waiting(self) -> bool:
        try:
            return bool(self.ledger.unsent(1))
        except Exception:  # the ledger may be closed by now
            return False

    def _late(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    # ------------------------------------------------------------ sending

    def drain(self) -> int:
        """Send what waits; how many records were sent. 0 while another process sends.

        Several records of one trial become one update; sending twice changes nothing. One trial that MLflow
        refuses does not hold up the others.

        Raises:
            TrackingError: the store is down or refused something; what was not sent waits.
        """
        with locked(self.settings.root / "mirror.lock", wait=False) as mine:
            return self._drain() if mine else 0

    def _drain(self) -> int:
        ids: dict[Key, list[int]] = {}
        for event in self.ledger.unsent(BATCH):
            key = (event["search"], SEARCH if event["what"] == "search" else event["trial"])
            ids.setdefault(key, []).append(event["id"])
        stale = [s for s, at in self._attached.items() if self._report_time(s) != at] if self._stop.is_set() else []
        if not ids and not stale:
            return 0
        down = reachable(self.uri)
        if down is not None:
            raise TrackingError(down)
        client, abouts = self._connected(), {s: About(self.ledger, s) for s in [*(k[0] for k in ids), *stale]}
        sent, errors, in_a_row = 0, [], 0
        trials = sorted((k for k in ids if k[1] != SEARCH), key=lambda k: (self._setbacks.get(k, 0), k))
        # A search's own run follows its trials; with its last word the notes learn what was learnt from them.
        for key in [*trials, *((s, SEARCH) for s in abouts)]:
            if self._late():
                break
            try:
                self._send(client, abouts[key[0]], key)
            except Exception as error:
                self._setbacks[key] = self._setbacks.get(key, 0) + 1
                errors.append(f"{key[0]} t{key[1]}: {error}" if key[1] >= 0 else f"{key[0]}: {error}")
                in_a_row += 1
                if in_a_row == FAILURES_IN_A_ROW or reachable(self.uri) is not None:
                    break
                continue
            in_a_row = 0
            self.ledger.mark_sent(ids.get(key, []))
            sent += len(ids.get(key, []))
        if errors:
            raise TrackingError(f"MLflow refused {len(errors)} of {len(ids)} runs; first: {errors[0]}")
        return sent

    def _connected(self) -> MlflowClient:
        if self._client is None:
            prepare_environment()
            ensure_store(self.settings)
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def _send(self, client: MlflowClient, about: About, key: Key) -> None:
        search, trial = key
        if trial == SEARCH:
            words = search_words(about, self.settings.folder("reports"))
        else:
            words = trial_words(about, trial, self.settings.workspace)
        experiment, store = self._experiment(client, about)
        run, tagged = self.ledger.run_id(search, trial, store), False
        if run is None:
            run, tagged = self._adopt_or_create(client, experiment, store, key, words)
        try:
            self._write(client, run, words, tagged, fixed=trial != SEARCH)
            if trial != SEARCH and (turns := self.ledger.turns(search, trial)):
                send_trace(self.uri, about.trials[trial], turns, experiment, run)
            if trial == SEARCH:
                self._attached[search] = self._report_time(search)
                if about.row["status"] != "running":
                    self._refresh_notes(client, about, store)
        except Exception:
            if not self._thrown_away(client, run):
                raise
            log.info("tracking: somebody deleted the run of %s in MLflow: left alone", words.name)

    def _adopt_or_create(
        self, client: MlflowClient, experiment: str, store: str, key: Key, words: Words
    ) -> tuple[str, bool]:
        """The run of a trial: one that a killed process made and did not note down, or a new one with all its tags."""
        search, trial = key
        mark = f"tags.`aar.trial` = '{trial}'" if trial != SEARCH else "tags.kind = 'search'"
        wanted = f"tags.`aar.search` = '{search}' and {mark}"
        found = client.search_runs([experiment], wanted, order_by=["attributes.start_time"], max_results=1)
        if found:
            run = str(found[0].info.run_id)
        else:
            tags = words.tags | {"aar.search": search, "mlflow.source.name": "aar"}
            tags |= {"aar.trial": str(trial)} if trial != SEARCH else {}
            made = client.create_run(experiment, start_time=_ms(words.started), tags=tags, run_name=words.name)
            run = str(made.info.run_id)
        try:
            self.ledger.set_run_id(search, trial, store, run)
        except IntegrityError:  # another machine was first
            first = self.ledger.run_id(search, trial, store)
            assert first is not None
            if not found and first != run:
                client.delete_run(run)
            return first, False
        return run, not found

    def _write(self, client: MlflowClient, run: str, words: Words, tagged: bool, fixed: bool) -> None:
        from mlflow.entities import Metric, Param, RunTag

        # Times come from the ledger, so that a second sending is recognised as the same values.
        at = _ms(words.finished or words.started)
        metrics = [Metric(p.key, p.value, at, p.step) for p in words.points]
        # Params cannot be changed: a trial's never do, a resumed search's may.
        known = {} if fixed else client.get_run(run).data.params
        params = [Param(k, v) for k, v in words.params.items() if k not in known]
        tags = [] if tagged else [RunTag(k, v) for k, v in words.tags.items()]
        client.log_batch(run, metrics[:POINTS], params, tags)
        for i in range(POINTS, len(metrics), POINTS):
            client.log_batch(run, metrics[i : i + POINTS])
        if words.files:
            with tempfile.TemporaryDirectory(prefix="aar-") as folder:
                for name, text in words.files.items():
                    Path(folder, name).write_text(text, encoding="utf-8")
                client.log_artifacts(run, folder)
        for path in words.attachments:
            client.log_artifact(run, str(path), "plots" if path.suffix == ".svg" else None)
        if words.status == "RUNNING":
            client.update_run(run, status="RUNNING")
        else:
            client.set_terminated(run, words.status, _ms(words.finished or time.time()))

    def _refresh_notes(self, client: MlflowClient, about: About, store: str) -> None:
        for number in sorted({n for finding in about.findings for n in finding.trials}):
            run = self.ledger.run_id(about.search, number, store)
            if run is not None:
                client.set_tag(run, "mlflow.note.content", trial_note(about, about.trials[number]))

    def _experiment(self, client: MlflowClient, about: About) -> tuple[str, str]:
        """(id, key of its store): the task's experiment. The key changes when the store was begun anew."""
        name = PREFIX + about.row["task"]
        if name not in self._experiments:
            found = client.get_experiment_by_name(name)
            if found is None:
                place = None if is_server(self.uri) else (artifacts(self.settings) / about.row["task"]).as_uri()
                found = client.get_experiment(client.create_experiment(name, artifact_location=place))
            if found.lifecycle_stage != "active":
                raise TrackingError(f"experiment {name} is in MLflow's trash: restore it or remove it (`mlflow gc`)")
            for tag, value in experiment_tags(about, found.experiment_id).items():
                if found.tags.get(tag) != value:
                    client.set_experiment_tag(found.experiment_id, tag, value)
            key = digest_of([self.uri, found.experiment_id, found.creation_time])[:32]
            self._experiments[name] = (str(found.experiment_id), key)
        return self._experiments[name]

    def _thrown_away(self, client: MlflowClient, run: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(client.get_run(run).info.lifecycle_stage == "deleted")
        except MlflowException as error:
            return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")

    def _report_time(self, search: str) -> float:
        report = self.settings.folder("reports") / f"{search}.html"
        return report.stat().st_mtime if report.is_file() else 0.0


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
