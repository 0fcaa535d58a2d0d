"""What a sandbox is asked for and how it ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from aar.types._word import Word, digest_of
from aar.types.align import Align
from aar.types.models import Pretrain, Tiny, Training
from aar.types.recipe import Recipe
from aar.types.speech import Speak
from aar.types.task import TaskKind, ZeroShot


class JobKind(StrEnum):
    """What a job may see: weak jobs weak-split labels, ceiling jobs transfer labels, the others none.

    A job that runs code of a hypothesis is a `transfer` job that predicts nothing and hands back weights, which a
    `predict` job without such code applies; `smoke` tries the code on a few rows before.
    A `control` job trains a recipe on answers made from transfer labels, or shows these to the strong model: what it
    leaves is no trial's business either.
    An `align` job trains a policy or a reward model on feedback that its caller collected, and no trial sees it.
    A `speak` job asks a model about prompts that its caller wrote.
    """

    PRETRAIN = "pretrain"
    FEATURES = "features"
    ZERO_SHOT = "zero_shot"
    WEAK = "weak"
    CEILING = "ceiling"
    TRANSFER = "transfer"
    SMOKE = "smoke"
    PREDICT = "predict"
    CONTROL = "control"
    ALIGN = "align"
    SPEAK = "speak"


LATER = ("align", "judge", "speak", "handed")
"""Fields of a job's spec that came after units were kept."""
TAINTED = (JobKind.CEILING, JobKind.CONTROL)
"""Jobs that see truth of transfer rows: what they leave never enters a trial."""


class JobStatus(StrEnum):
    """How a launch ended. `infra` is the machinery's fault and may be tried again; the rest are the job's."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"
    KILLED = "killed"
    INFRA = "infra"


class ModelRef(Word):
    """A model as a job sees it. `tiny` is built in the job; otherwise `in/model/` holds an HF folder.

    `digest` is the folder's content hash. `tokenizer`: `own` reads `in/model/`, `folder` reads `in/tokenizer/`
    (another model's), `words` and `characters` read `in/vocab.txt` (one of them a line). `weights` says that
    `in/weights` holds pre-trained safetensors of the tiny model. Texts of over `max_length` tokens lose their
    `truncate` end.
    """

    tiny: Tiny | None = None
    digest: str | None = None
    tokenizer: Literal["own", "folder", "words", "characters"] = "own"
    pool: Literal["mean", "last"] = "mean"
    max_length: int = 256
    truncate: Literal["left", "right"] = "right"
    weights: bool = False


class Output(Word):
    """One file a job must write, declared before it runs.

    `array`: float32, C order, `shape`, exactly 4 * prod(shape) bytes. `jsonl`: at most `max_bytes`.
    `blob`: at most `max_bytes`, written by trusted code, never parsed on the host.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    kind: Literal["array", "jsonl", "blob"]
    shape: tuple[int, ...] = ()
    max_bytes: int = 0
    optional: bool = False

    @property
    def byte_limit(self) -> int:
        """Most bytes the file may hold."""
        if self.kind != "array":
            return self.max_bytes
        size = 4
        for n in self.shape:
            size *= n
        return size


class JobSpec(Word):
    """What a job does, seeds aside. Its hash and a unit's seed and inputs give the unit's key.

    `inputs` maps a name under `in/` to the sha256 of its content; `predict` lists the splits whose rows are
    scored, with `rows` their counts; `members` is how many weak supervisors feed one student seed; with `folds`
    above 1 as many models learn, and each answers the transfer rows it was not trained on; `outcome_words` how many
    words close a pre-training document; `width` how many features the model has, in a features job; `source` the hash
    of the code that runs. `task` says what a row is: a text, for preference a pair, for generation a prompt.

    Where a `recipe` stands beside `zero_shot`, prompts show so many of its supervision's labels as its targets say.

    `checkpoints` are shares of a student's steps at which it predicts dev as well (see `checkpoint`), and
    `conflict` above 0 the weight of a second objective (`aar.train.conflict`). `align` is what an align job does, and
    `judge` the model that it asks as `zero_shot` says; `speak` is what a speak job is asked. `handed` is how many bytes
    of weights a job hands back that runs a hypothesis's code.
    """

    kind: JobKind
    task: TaskKind = "classification"
    classes: int = Field(default=2, ge=2)
    model: ModelRef
    training: Training | None = None
    pretrain: Pretrain | None = None
    recipe: Recipe | None = None
    zero_shot: ZeroShot | None = None
    inputs: dict[str, str] = {}
    rows: dict[str, int] = {}
    predict: tuple[str, ...] = ()
    members: int = 1
    folds: int = 1
    checkpoints: tuple[float, ...] = ()
    conflict: float = 0.0
    outcome_words: int = 0
    width: int = 0
    align: Align | None = None
    judge: ModelRef | None = None
    speak: Speak | None = None
    handed: int | None = None
    source: str = ""

    @property
    def untrusted(self) -> bool:
        """Does it run code that a hypothesis brought?"""
        return self.recipe is not None and bool(self.recipe.written)

    @model_serializer(mode="wrap")
    def _told(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what other kinds do not have: their units keep the keys that they had before there was any."""
        told: dict[str, Any] = plain(self)
        return {name: value for name, value in told.items() if name not in LATER or value is not None}


def checkpoint(share: float) -> str:
    """The output that holds dev predictions after this share of the steps."""
    return f"dev_at_{round(100 * share)}"


class Unit(Word):
    """One (job, seed): the cache's grain. `inputs` are this seed's own files, by content hash."""

    seed: int
    inputs: dict[str, str] = {}

    def key(self, spec: JobSpec) -> str:
        """Content address of this unit's result."""
        return digest_of({"spec": spec, "seed": self.seed, "inputs": self.inputs})


class JobFile(Word):
    """`job.json`: what `python -m aar.train JOB_DIR` reads. `threads` and `device` never change a key."""

    spec: JobSpec
    units: tuple[Unit, ...]
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seconds: float = 1800.0


class Launch(Word):
    """One start of a sandbox: a prepared job folder, what to mount where, what must come out.

    `folder` holds `job.json`; `mounts` maps a path under the job's `in/` to an absolute host path (file or
    folder, read-only); `outputs` are the files to be created in `out/`, `progress.jsonl` and `log` besides.
    `cards` are the GPUs it gets, by CUDA's names; where none are known it gets the first `gpus`. `untrusted`: the job
    runs hypothesis-supplied code.
    """

    attempt: str = Field(pattern=r"^[a-z0-9-]{4,60}$")
    search: str
    folder: str
    mounts: dict[str, str] = {}
    outputs: tuple[Output, ...] = ()
    seconds: float = 1800.0
    memory_bytes: int = 4 * 2**30
    cpus: float = 1.0
    gpus: int = 0
    cards: tuple[str, ...] = ()
    untrusted: bool = False


class Exit(Word):
    """How a launch ended, as its sandbox saw it. `log_tail` is the last 8 KiB of the job's own output."""

    status: JobStatus
    code: int | None = None
    reason: str = ""
    seconds: float = 0.0
    peak_memory: int | None = None
    log_tail: str = ""
