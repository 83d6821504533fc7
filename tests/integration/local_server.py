"""Starts `sparkspan serve` for a test and speaks to it over plain HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = Path(os.environ.get("SPARKSPAN_BIN", "build/release/bin")) / "sparkspan"
MODEL = "deploy/demo/model"
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60


# Sockets that hold the ports this process was given, until it ends.
_claims: list[socket.socket] = []


def claim_ports(count: int) -> list[int]:
    """Ports that no other test and no `sparkspan serve` is given while this process lives.

    Claimed as engine/fabric/port_claims.h does it: below the range that the kernel chooses from,
    each by an abstract Unix socket of its name.
    """
    ports: list[int] = []
    for port in random.sample(range(28672, 32768), 4096):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0sparkspan/port/{port}")
            with contextlib.closing(socket.socket()) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError(f"found {len(ports)} free ports, expected {count}")


def claim_port() -> int:
    return claim_ports(1)[0]


def request(port: int, method: str, path: str, body: Any = None, timeout: float = 60,
            headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON (or text) of one call to this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"} | (headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        is_json = "json" in answer.getheader("Content-Type", "")
        return answer.status, json.loads(text) if is_json else text


class LocalServer:
    """A head and its workers; used as a context."""

    def __init__(self, *flags: str, ranks: int = 2) -> None:
        self.port = claim_port()
        self.log = tempfile.NamedTemporaryFile(mode="w+", suffix=".log")
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--model-path", MODEL, "--ranks", str(ranks),
             "--port", str(self.port), "--served-model-name", "demo", *flags],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self) -> "LocalServer":
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended at once:\n{self.log_text()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/ready")[0] == 200:
                    return self
            time.sleep(0.05)
        text = self.log_text()
        self.__exit__()
        raise AssertionError(f"serve was not ready in time:\n{text}")

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.log.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_text(self) -> str:
        return Path(self.log.name).read_text()

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Asks it to end, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.process.wait(STOP_SECONDS_MAX)

    def wait(self) -> int:
        """Its exit status, when it ends by itself."""
        return self.process.wait(STOP_SECONDS_MAX)

    def children(self) -> dict[str, list[int]]:
        """Process ids by program name."""
        pids: dict[str, list[int]] = {}
        out = subprocess.run(["ps", "--no-headers", "-o", "pid,args", "--ppid",
                              str(self.process.pid)], capture_output=True, text=True).stdout
        for line in out.splitlines():
            pid, program = line.split()[:2]
            pids.setdefault(Path(program).name, []).append(int(pid))
        return pids

    def request(self, method: str, path: str, body: Any = None,
                timeout: float = 60) -> tuple[int, Any]:
        return request(self.port, method, path, body, timeout)

    def chat(self, text: str, **fields: Any) -> dict[str, Any]:
        """The choice of a whole answer."""
        status, answer = self.request("POST", "/v1/chat/completions", chat_body(text, **fields))
        if status != 200:
            raise AssertionError(f"{status}: {answer}")
        return answer["choices"][0]

    def events(self, text: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer as they come; leaving early closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            body = json.dumps(chat_body(text, stream=True, **fields))
            connection.request("POST", "/v1/chat/completions", body,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            for line in answer:
                if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                    yield json.loads(line[6:])

    def status(self) -> dict[str, Any]:
        return self.request("GET", "/status.json")[1]

    def wait_for_status(self, **expected: Any) -> None:
        """Until one status has all of these."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not expected.items() <= (status := self.status()).items():
            if time.monotonic() > deadline:
                found = {what: status[what] for what in expected}
                raise AssertionError(f"the status has {found}, expected {expected}")
            time.sleep(0.02)


def chat_body(text: str, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 100,
            "chat_template_kwargs": {"thinking": False}}
    return body | fields
