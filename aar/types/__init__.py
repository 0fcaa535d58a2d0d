"""The words of the whole project, as frozen pydantic models.

A *task* names data, a weak and a strong model, and splits. A *recipe* composes one part per slot. A *trial*
tests one recipe over several seeds; each training run is a *unit* (one job spec, one seed) whose key is a
hash of everything that can change its result. Nothing in here reads files, clocks or the network.
"""

from aar.types._word import AarError, Value, Word, canonical_json, digest_of
from aar.types.align import ONLINE, PAIRED, UNTRAINED, Align, look
from aar.types.data import Choices, DataSpec, FileList, Files, Hub, Mutate, Ood, PairColumns, Puzzles, Stdlib, World
from aar.types.evidence import AuditView, ControlView, Finding, PublicScore, SliceView
from aar.types.job import (
    TAINTED,
    Exit,
    JobFile,
    JobKind,
    JobSpec,
    JobStatus,
    Launch,
    ModelRef,
    Output,
    Unit,
    checkpoint,
)
from aar.types.models import Lora, Models, ModelSpec, Pretrain, ProvidedLabels, Tiny, Training, TrainingPair
from aar.types.recipe import SLOTS, Author, Hypothesis, Part, Recipe, TrialStatus
from aar.types.space import Choice, Float, Int, Space
from aar.types.speech import Sampling, Speak
from aar.types.task import OOD, SPLITS, Limits, Seeds, SplitSizes, TaskKind, TaskSpec, ZeroShot
from aar.types.written import Written

__all__ = [
    "AarError",
    "Align",
    "AuditView",
    "Author",
    "Choice",
    "Choices",
    "ControlView",
    "DataSpec",
    "Exit",
    "FileList",
    "Files",
    "Finding",
    "Float",
    "Hub",
    "Hypothesis",
    "Int",
    "JobFile",
    "JobKind",
    "JobSpec",
    "JobStatus",
    "Launch",
    "Limits",
    "Lora",
    "ModelRef",
    "ModelSpec",
    "Models",
    "Mutate",
    "ONLINE",
    "OOD",
    "Ood",
    "Output",
    "PAIRED",
    "PairColumns",
    "Part",
    "Pretrain",
    "ProvidedLabels",
    "PublicScore",
    "Puzzles",
    "Recipe",
    "SLOTS",
    "SPLITS",
    "Sampling",
    "Seeds",
    "SliceView",
    "Space",
    "Speak",
    "SplitSizes",
    "Stdlib",
    "TAINTED",
    "TaskKind",
    "TaskSpec",
    "Tiny",
    "Training",
    "TrainingPair",
    "TrialStatus",
    "UNTRAINED",
    "Unit",
    "Value",
    "Word",
    "World",
    "Written",
    "ZeroShot",
    "canonical_json",
    "checkpoint",
    "digest_of",
    "look",
]
