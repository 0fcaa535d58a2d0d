"""What code that nobody read can reach, which is nothing."""

# ruff: noqa: D102 - each test is named by the sentence it checks
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aar.sandbox.contract._bench import FACTS, Bench
from aar.sandbox.protocol import PROGRESS_BYTES, Sandbox
from aar.types import Launch, Output


class Isolation(Bench):
    """Network, files, rights, processes, memory and devices of the host are out of reach."""

    def test_there_is_no_network(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        code = (
            "def reach(address):\n"
            "    try:\n"
            "        socket.create_connection(address, timeout=2).close()\n"
            "        return 'reached'\n"
            "    except OSError as err:\n"
            "        return type(err).__name__\n"
            "tell(links=[name for _, name in socket.if_nameindex()], far=reach(('192.0.2.1', 80)))"
        )
        seen = self.facts(sandbox, launch(code))
        assert seen["links"] == ["lo"]
        assert seen["far"] != "reached"

    def test_only_scratch_and_declared_outputs_can_be_written(
        self, sandbox: Sandbox, launch: Callable[..., Launch], tmp_path: Path
    ) -> None:
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "weak").write_text("0 1")
        for path in (tmp_path / "labels", tmp_path / "labels" / "weak"):
            path.chmod(0o777)
        code = (
            "def can(path):\n"
            "    try:\n"
            "        open(path, 'a').close()\n"
            "        return True\n"
            "    except OSError:\n"
            "        return False\n"
            "places = ['/new', '/etc/passwd', '/usr/new', '/job/new', '/job/job.json', '/job/in/job.py',\n"
            "    '/job/out/new', '/job/in/labels/weak', '/job/in/labels/new', '/var/tmp/new',\n"
            "    '/proc/sys/kernel/hostname']\n"
            "tell(can=[path for path in places + ['/tmp/new', '/job/out/facts'] if can(path)])"
        )
        seen = self.facts(sandbox, launch(code, mounts={"labels": str(tmp_path / "labels")}))
        assert seen["can"] == ["/tmp/new", "/job/out/facts"]
        assert (tmp_path / "labels" / "weak").read_text() == "0 1"

    def test_it_has_no_rights_to_gain_or_lose(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        code = (
            "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
            "tell(uid=os.getuid(), gid=os.getgid(), groups=os.getgroups(),\n"
            "    caps=[int(status[name], 16) for name in ('CapEff', 'CapPrm', 'CapBnd', 'CapInh', 'CapAmb')],\n"
            "    privs=status['NoNewPrivs'].strip(), seccomp=status['Seccomp'].strip())"
        )
        seen = self.facts(sandbox, launch(code))
        assert (seen["uid"], seen["gid"]) == (65532, 65532)
        assert set(seen["groups"]) <= {65532}
        assert seen["caps"] == [0, 0, 0, 0, 0]
        assert (seen["privs"], seen["seccomp"]) == ("1", "2")

    def test_a_fork_bomb_meets_the_pids_limit(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        code = (
            "count, stopped = 0, ''\n"
            "while count < 3000:\n"
            "    try:\n"
            "        if os.fork() == 0:\n"
            "            time.sleep(600)\n"
            "            os._exit(0)\n"
            "    except OSError as err:\n"
            "        stopped = type(err).__name__\n"
            "        break\n"
            "    count += 1\n"
            "tell(count=count, stopped=stopped)"
        )
        seen = self.facts(sandbox, launch(code, memory_bytes=1 << 30))
        assert seen["stopped"] == "BlockingIOError"
        assert seen["count"] < 600

    def test_scratch_is_small_and_holds_no_programs(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        code = (
            "def size(path):\n"
            "    found = os.statvfs(path)\n"
            "    return found.f_blocks * found.f_frsize\n"
            "with open('/tmp/program', 'w') as file:\n"
            "    file.write('#!/bin/sh\\n')\n"
            "os.chmod('/tmp/program', 0o755)\n"
            "try:\n"
            "    os.execv('/tmp/program', ['/tmp/program'])\n"
            "except PermissionError:\n"
            "    tell(tmp=size('/tmp'), shm=size('/dev/shm'))"
        )
        seen = self.facts(sandbox, launch(code, memory_bytes=256 << 20))
        assert seen == {"tmp": 128 << 20, "shm": 128 << 20}

    def test_the_limits_are_set(self, sandbox: Sandbox, launch: Callable[..., Launch]) -> None:
        code = (
            "import resource as r\n"
            "tell(file=r.getrlimit(r.RLIMIT_FSIZE), core=r.getrlimit(r.RLIMIT_CORE), open=r.getrlimit(r.RLIMIT_NOFILE))"
        )
        big = Output(name="weights", kind="blob", max_bytes=PROGRESS_BYTES + 4096)
        seen = self.facts(sandbox, launch(code, outputs=(FACTS, big)))
        assert seen == {"file": [big.max_bytes] * 2, "core": [0, 0], "open": [4096, 4096]}

    def test_the_host_is_out_of_sight(self, sandbox: Sandbox, launch: Callable[..., Launch], tmp_path: Path) -> None:
        code = (
            "gpus = [name for name in os.listdir('/dev') if name.startswith(('nvidia', 'dri', 'kfd', 'sd', 'vd'))]\n"
            f"tell(gpus=gpus, host=os.path.exists({str(tmp_path)!r}), engine=os.path.exists('/var/run/docker.sock'),\n"
            "    processes=len([name for name in os.listdir('/proc') if name.isdigit()]))"
        )
        seen = self.facts(sandbox, launch(code))
        assert seen == {"gpus": [], "host": False, "engine": False, "processes": 2}
