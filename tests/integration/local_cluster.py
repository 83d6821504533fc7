"""A cluster of real processes on loopback, each of which a test can kill, stop and start again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from local_server import MODEL, chat_body, claim_ports, request

BIN = Path(os.environ.get("SPARKSPAN_BIN", "build/release/bin"))
# For what must happen at all; how soon it does is measured, and decides nothing.
SECONDS_MAX = 120


class Process:
    """One daemon, over its lives."""

    def __init__(self, name: str, arguments: list[str], folder: Path) -> None:
        self.name = name
        self.arguments = arguments
        self.log = folder / f"{name}.log"
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log)

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait()

    def logged_at(self, pattern: str, after: float) -> float | None:
        """The first time, as of time.time(), at which a line with the pattern was logged."""
        for line in self.log.read_text(errors="replace").splitlines():
            stamp = re.match(r"(\d{4}-\d\d-\d\dT[\d:.]+)Z", line)
            if stamp and re.search(pattern, line):
                at = datetime.fromisoformat(stamp.group(1)).replace(tzinfo=timezone.utc)
                if at.timestamp() >= after - 0.001:
                    return at.timestamp()
        return None

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class LocalCluster:
    """A head and a worker per rank, with certificates; used as a context.

    `silence_ms` is ten times what a cluster has: a process of a busy machine is no dead one.
    """

    def __init__(self, ranks: int = 2, silence_ms: int = 10_000,
                 limits: dict[str, Any] | None = None, api: dict[str, Any] | None = None) -> None:
        self.silence_ms = silence_ms
        self.limits = limits or {"kv_tokens": 8192}
        self.api = api or {}
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.port, *self.worker_ports = claim_ports(1 + 2 * ranks)
        file = root / "cluster.yaml"
        file.write_text(self.yaml(ranks, root))
        subprocess.run([BIN / "sparkspan", "certs", "--cluster", file, "--out", root / "tls"],
                       check=True, stdout=subprocess.DEVNULL)
        self.workers = [
            Process(f"worker{rank}",
                    [str(BIN / "sparkspan-worker"), "--cluster", str(file), "--rank", str(rank)],
                    root) for rank in range(ranks)]
        self.head = Process("head", [str(BIN / "sparkspan-head"), "--cluster", str(file)], root)

    def yaml(self, ranks: int, root: Path) -> str:
        node = root / "tls" / "local"
        return json.dumps({
            "version": 1, "cluster": "faults", "head": "local",
            "model": {"path": str(Path(MODEL).resolve()), "served_names": ["demo"]},
            "limits": {"context_length": 2048, "sequences": 4, "step_rows": 256,
                       "memory_reserve": 0} | self.limits,
            "api": {"address": "127.0.0.1", "port": self.port,
                    "tls": {"plaintext": True}} | self.api,
            "timeouts": {"silence_ms": self.silence_ms},
            "control_tls": {"authority": f"{node}/authority.pem", "certificate": f"{node}/node.pem",
                            "key": f"{node}/node.key"},
            "nodes": [{"name": "local", "control": {"interface": "lo", "address": "127.0.0.1"},
                       "data": "tcp",
                       "ranks": [{"rank": rank, "device": {"cpu_threads": 1},
                                  "control_port": self.worker_ports[2 * rank],
                                  "data_port": self.worker_ports[2 * rank + 1]}
                                 for rank in range(ranks)]}]})

    @property
    def processes(self) -> list[Process]:
        return [*self.workers, self.head]

    def __enter__(self) -> "LocalCluster":
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.signal(signal.SIGCONT)
                process.signal(signal.SIGTERM)
        for process in self.processes:
            if process.popen is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(40)
                process.popen.kill()
                process.popen.wait()
        self.folder.cleanup()

    def logs(self) -> str:
        return "\n".join(f"== {process.name}\n{process.log.read_text(errors='replace')[-6000:]}"
                         for process in self.processes)

    def request(self, method: str, path: str, body: Any = None, timeout: float = 60,
                headers: dict[str, str] | None = None) -> tuple[int, Any]:
        return request(self.port, method, path, body, timeout, headers)

    def is_ready(self, timeout: float = 60) -> bool:
        try:
            return self.request("GET", "/ready", timeout=timeout)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def status(self) -> dict[str, Any]:
        return self.request("GET", "/status.json")[1]

    def wait(self, what: str, condition: Callable[[], bool], pause: float = 0.01) -> float:
        """The time, as of time.time(), at which the condition was found to hold."""
        deadline = time.monotonic() + SECONDS_MAX
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {SECONDS_MAX} s\n{self.logs()}")
            time.sleep(pause)
        return time.time()

    def stream(self, text: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Events of a streamed answer; ends early when the connection breaks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)
        with contextlib.closing(connection), contextlib.suppress(OSError,
                                                                 http.client.HTTPException):
            body = json.dumps(chat_body(text, stream=True, **fields))
            connection.request("POST", "/v1/chat/completions", body,
                               {"Content-Type": "application/json"})
            for line in connection.getresponse():
                if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                    yield json.loads(line[6:])
