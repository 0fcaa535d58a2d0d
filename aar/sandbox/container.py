"""What a launch becomes as a hardened container, and what the container's end says about the job. No engine needed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aar.sandbox.folder import mounts, threads
from aar.sandbox.outputs import file_limit
from aar.sandbox.protocol import FAILURES, LOG_BYTES, SandboxError
from aar.types import Exit, JobStatus, Launch

USER = "65532:65532"
PIDS = 512
OPEN_FILES = 4096


def container_name(attempt: str) -> str:
    """The one name an attempt's container can have."""
    return f"aar-{attempt}"


def container_options(launch: Launch, folder: Path, deadline: float) -> dict[str, Any]:
    """Everything `containers.create` is told about a launch, image and program aside.

    Raises:
        SandboxError: a mount is missing, or not readable for the container's user.
    """
    from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

    job = folder.absolute()
    os.chmod(job / "job.json", 0o644)
    sources = {f"/job/in/{name}": source for name, source in mounts(launch).items()} | {
        "/job/job.json": job / "job.json"
    }
    for target, source in sources.items():
        needed = 0o005 if source.is_dir() else 0o004
        if source.stat().st_mode & needed != needed:
            raise SandboxError(
                f"{source}: the container's user cannot read it as {target}; run: chmod -R a+rX {source}"
            )
    bound = [Mount(target, str(source.resolve()), "bind", read_only=True) for target, source in sources.items()]
    for name in (*(output.name for output in launch.outputs), "progress.jsonl"):
        bound.append(Mount(f"/job/out/{name}", str(job / "out" / name), "bind"))
    limit = file_limit(launch)
    scratch = min(launch.memory_bytes // 2, 1 << 30)
    which = {"device_ids": list(launch.cards)} if launch.cards else {"count": launch.gpus}
    gpus = [DeviceRequest(capabilities=[["gpu"]], **which)] if launch.gpus else []
    return {
        "name": container_name(launch.attempt),
        "command": ["/job"],
        "user": USER,
        "working_dir": "/tmp",
        "hostname": "job",
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": launch.memory_bytes,
        "memswap_limit": launch.memory_bytes,
        "nano_cpus": int(min(launch.cpus, os.cpu_count() or 1) * 1e9),
        "pids_limit": PIDS,
        "ulimits": [
            Ulimit(name="fsize", soft=limit, hard=limit),
            Ulimit(name="nofile", soft=OPEN_FILES, hard=OPEN_FILES),
            Ulimit(name="core", soft=0, hard=0),
        ],
        "tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,mode=1777,size={scratch}"},
        "shm_size": scratch,
        "ipc_mode": "private",
        "init": True,
        "log_config": LogConfig(type="json-file", config={"max-size": str(LOG_BYTES), "max-file": "2"}),
        "mounts": bound,
        "device_requests": gpus,
        "environment": _environment(launch),
        "labels": {
            "aar.search": launch.search,
            "aar.attempt": launch.attempt,
            "aar.deadline": repr(deadline),
            "aar.folder": str(job),
        },
    }


def _environment(launch: Launch) -> dict[str, str]:
    """Nothing of the host's. `void` keeps an engine whose default runtime is nvidia's from adding GPUs unasked."""
    env = {
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "USER": "job",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": threads(launch),
        "MKL_NUM_THREADS": threads(launch),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return env if launch.gpus else env | {"NVIDIA_VISIBLE_DEVICES": "void"}


def verdict(state: dict[str, Any], stop: Exit | None, launch: Launch, deadline: float, peak: int | None) -> Exit:
    """What a container's State says about its job. Exit code 137 alone is no proof of anything."""
    code = int(state["ExitCode"])
    ended = _unix(state["FinishedAt"])
    seconds = round(max(0.0, ended - _unix(state["StartedAt"])), 3)
    status, reason = JobStatus.FAILED, f"exit code {code}"
    if code == 0:
        status, reason = JobStatus.OK, ""
    elif stop is not None and stop.status is JobStatus.KILLED:
        status, reason = stop.status, stop.reason
    elif stop is not None or (code == 137 and not state["OOMKilled"] and ended >= deadline):
        status, reason = JobStatus.TIMEOUT, f"over its deadline of {launch.seconds:g} s"
    elif state["OOMKilled"]:
        status, reason = JobStatus.OOM, f"over its memory limit of {launch.memory_bytes / 2**20:.0f} MiB"
        peak = launch.memory_bytes
    elif code in FAILURES:
        status, reason = FAILURES[code], f"the job reported it (exit code {code})"
    elif code == 137:
        status, reason = JobStatus.INFRA, "killed by SIGKILL from outside the sandbox (the engine stopped?)"
    elif code > 128:
        reason = f"killed by signal {code - 128}"
    return Exit(status=status, code=code, reason=reason, seconds=seconds, peak_memory=peak)


def memory_in_use(container_id: str, pid: int) -> int:
    """Bytes a running container holds, file cache that can be dropped left out; 0 when this machine cannot tell.

    Read from the kernel's own files (cgroup v1 or v2): the engine's `stats` takes a second to answer.
    """
    try:
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if container_id not in path:
                continue
            if "memory" in controllers.split(","):
                group, usage, cache = (
                    Path(f"/sys/fs/cgroup/memory{path}"),
                    "memory.usage_in_bytes",
                    "total_inactive_file",
                )
            elif not controllers:
                group, usage, cache = Path(f"/sys/fs/cgroup{path}"), "memory.current", "inactive_file"
            else:
                continue
            used = int((group / usage).read_text())
            details = dict(entry.split() for entry in (group / "memory.stat").read_text().splitlines())
            return max(0, used - int(details.get(cache, 0)))
    except (OSError, ValueError):
        pass
    return 0


def _unix(stamp: str) -> float:
    """Unix seconds of an engine's time stamp (nanoseconds, UTC)."""
    head, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(head).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction[:9] or 0}")
