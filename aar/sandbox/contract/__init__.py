"""The contract every sandbox passes. Needs pytest; subclass it in a test file and say how to make the sandbox:

    class TestMine(SandboxContract):
        def make(self) -> Sandbox:
            return MySandbox(command=(PYTHON, *SNIPPET))

Jobs here are small Python snippets, not training: the sandbox is made with a command that runs `JOB_DIR/in/job.py`.
`IsolationContract` adds what a sandbox with `isolates = True` has to show. Register this package with
`pytest.register_assert_rewrite` before importing it, for readable failures.
"""

from aar.sandbox.contract._bench import FACTS, HANG, SNIPPET, Bench, until
from aar.sandbox.contract._isolation import Isolation
from aar.sandbox.contract._lifetime import Lifetime
from aar.sandbox.contract._outcomes import Outcomes

__all__ = ["FACTS", "HANG", "SNIPPET", "Bench", "IsolationContract", "SandboxContract", "until"]


class SandboxContract(Outcomes, Lifetime):
    """What `aar.sandbox.protocol.Sandbox` promises, for any backend."""


class IsolationContract(SandboxContract, Isolation):
    """The same, and what a sandbox with `isolates = True` shows besides."""
