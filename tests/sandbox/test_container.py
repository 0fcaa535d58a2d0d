from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aar.sandbox.container import container_options, memory_in_use, verdict
from aar.sandbox.outputs import create_outputs
from aar.sandbox.protocol import SandboxError
from aar.types import Exit, JobStatus, Launch, Output


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "model").mkdir()
    outputs = (Output(name="a", kind="array", shape=(4,)), Output(name="w", kind="blob", max_bytes=1 << 30))
    job = Launch(
        attempt="abcd-1", search="s", folder=str(tmp_path), mounts={"model": str(tmp_path / "model")}, outputs=outputs
    )
    create_outputs(job)
    return job


def options(launch: Launch) -> dict[str, Any]:
    return container_options(launch, Path(launch.folder), deadline=5.0)


def test_a_container_is_hardened(launch: Launch) -> None:
    told = options(launch)
    expected = {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "user": "65532:65532",
        "init": True,
        "mem_limit": launch.memory_bytes,
        "memswap_limit": launch.memory_bytes,
        "nano_cpus": 1_000_000_000,
        "pids_limit": 512,
        "ipc_mode": "private",
        "name": "aar-abcd-1",
    }
    assert {name: told.get(name) for name in expected} == expected
    assert "auto_remove" not in told
    assert "privileged" not in told
    assert {limit["Name"]: limit["Hard"] for limit in told["ulimits"]} == {"fsize": 1 << 30, "nofile": 4096, "core": 0}
    assert told["log_config"]["Config"] == {"max-size": str(1 << 20), "max-file": "2"}


def test_only_outputs_are_mounted_writable_and_one_by_one(launch: Launch) -> None:
    bound = {mount["Target"]: mount["ReadOnly"] for mount in options(launch)["mounts"]}
    writable = {"/job/out/a": False, "/job/out/w": False, "/job/out/progress.jsonl": False}
    assert bound == {"/job/job.json": True, "/job/in/model": True, **writable}


def test_a_gpu_is_there_only_when_asked_for(launch: Launch) -> None:
    told = options(launch)
    assert told["device_requests"] == []
    assert told["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    told = options(launch.model_copy(update={"gpus": 2}))
    (request,) = told["device_requests"]
    assert (request["Count"], request["Capabilities"]) == (2, [["gpu"]])
    assert "NVIDIA_VISIBLE_DEVICES" not in told["environment"]
    told = options(launch.model_copy(update={"gpus": 2, "cards": ("3", "GPU-5c")}))
    (request,) = told["device_requests"]
    assert (request["DeviceIDs"], request["Count"]) == (["3", "GPU-5c"], 0)


def test_more_cpus_than_the_machine_has_are_not_asked_for(launch: Launch) -> None:
    assert options(launch.model_copy(update={"cpus": 100_000.0}))["nano_cpus"] < 100_000 * 10**9


def test_an_input_the_containers_user_cannot_read_is_refused(launch: Launch) -> None:
    Path(launch.mounts["model"]).chmod(0o700)
    with pytest.raises(SandboxError, match="cannot read it as /job/in/model; run: chmod"):
        options(launch)


@pytest.mark.parametrize(
    "mounts", [{"../x": "/tmp"}, {"/x": "/tmp"}, {"a/../b": "/tmp"}, {"": "/tmp"}, {"a": "/tmp", "a/b": "/tmp"}]
)
def test_a_mount_stays_under_in(launch: Launch, mounts: dict[str, str]) -> None:
    with pytest.raises(SandboxError, match="mount '"):
        options(launch.model_copy(update={"mounts": mounts}))


KILLED, LATE = Exit(status=JobStatus.KILLED, reason="cancelled"), Exit(status=JobStatus.TIMEOUT)


@pytest.mark.parametrize(
    ("code", "oom", "stop", "deadline", "status", "reason"),
    [
        (0, False, None, 100.0, JobStatus.OK, ""),
        (0, True, None, 100.0, JobStatus.OK, ""),
        (0, False, LATE, 5.0, JobStatus.OK, ""),
        (1, False, None, 100.0, JobStatus.FAILED, "exit code 1"),
        (3, False, None, 100.0, JobStatus.OOM, "the job reported it"),
        (139, False, None, 100.0, JobStatus.FAILED, "signal 11"),
        (137, True, None, 100.0, JobStatus.OOM, "memory limit of 4096 MiB"),
        (1, True, None, 100.0, JobStatus.OOM, "memory limit"),
        (137, False, None, 100.0, JobStatus.INFRA, "from outside"),
        (137, False, None, 5.0, JobStatus.TIMEOUT, "deadline of 1800 s"),
        (137, False, LATE, 5.0, JobStatus.TIMEOUT, "deadline of 1800 s"),
        (137, False, KILLED, 100.0, JobStatus.KILLED, "cancelled"),
    ],
)
def test_verdicts(
    launch: Launch, code: int, oom: bool, stop: Exit | None, deadline: float, status: JobStatus, reason: str
) -> None:
    stamps = {"StartedAt": "1970-01-01T00:00:01.500000000Z", "FinishedAt": "1970-01-01T00:00:10.25Z"}
    end = verdict({"ExitCode": code, "OOMKilled": oom, **stamps}, stop, launch, deadline, peak=7)
    assert (end.status, end.code, end.seconds) == (status, code, 8.75)
    assert reason in end.reason
    assert bool(end.reason) == bool(reason)


def test_memory_of_a_process_that_is_not_the_containers_is_not_read() -> None:
    assert memory_in_use("f" * 64, 1) == 0
