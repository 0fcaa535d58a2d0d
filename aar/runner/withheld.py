"""What a model may read of the log of a job that ran code of a hypothesis.

Such code sees single weak labels, and can raise an error or print a line that holds them. So nothing it worded is
passed on: only words that stand here, and a line's number, which it may choose and forge: some twenty bits a trial.
People read the whole log in MLflow.
"""

from __future__ import annotations

import builtins
import re

_KINDS = (
    r"(?:bool|u?int(?:8|16|32|64)|b?float(?:16|32|64)|complex(?:64|128)|float|int|str|NoneType|tuple|list|dict|"
    r"function|Tensor|ndarray)(?: \[\.\.\.\])?"
)
_CHECKS = re.compile(
    "|".join((
        r"the loss is (?:nan|-?inf)\b", r"the loss is \.\.\., but its gradient is not finite",
        rf"the loss is {_KINDS}; a scalar tensor is needed", r"the loss does not depend on the logits",
        rf"make returned {_KINDS}; want \(target, weight, keep\)",
        rf"target {_KINDS}, weight {_KINDS}, keep {_KINDS}; want float \[\.\.\.\], float \[\.\.\.\], bool",
        r"targets are probabilities: finite, not below 0, rows that sum to 1", r"weights are finite and not below 0",
        r"the weights that were handed back (?:are no safetensors|do not fit the model|are not finite)",
    ))
)  # fmt: skip
"""Messages of `aar.train.written`, shapes and figures aside."""
_ERRORS = {
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
} | {"LinAlgError", "OutOfMemoryError"}  # fmt: skip
_FRAME = re.compile(r'  File "<[a-z][a-z0-9_]*@[0-9a-f]{6}>", line (\d{1,4}), in ')


def in_short(log: str) -> str:
    """Of a log's end: the exception's type, the last line of the part in its traceback, what our own check says.

    `ValueError: the loss is float32 [...]; a scalar tensor is needed`, `KeyError (line 14 of the part)`; "" for none.
    """
    lines = [line for line in log.splitlines() if line.strip()]
    if not lines:
        return ""
    head, _, words = lines[-1].strip().partition(": ")
    if head == "out of memory":
        return head
    kind = head.rstrip(":").rpartition(".")[2]
    frames = [found[1] for line in lines if (found := _FRAME.match(line))]
    words = re.sub(r"^[a-z][a-z0-9_]*@[0-9a-f]{6}: ", "", words)
    words = re.sub(r"\[[\d, ]*\]", "[...]", words)
    said = _CHECKS.match(re.sub(r"^the loss is -?[\d.e+-]+,", "the loss is ...,", words))
    told = kind if kind in _ERRORS else "an error"
    return told + (f": {said[0]}" if said else "") + (f" (line {frames[-1]} of the part)" if frames else "")
