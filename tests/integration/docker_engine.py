"""Docker engines that a test starts itself: one where the machine's packages can be had, to build
images, and one inside each Spark of a network."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60


def compose_command() -> list[str]:
    """Docker's plugin or the older program of its own; empty without either."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is not None and subprocess.run(
                [*command, "version"], capture_output=True).returncode == 0:
            return command
    return []


def why_not() -> str:
    """Why no engine can be started here; empty when one can."""
    missing = [tool for tool in ("dockerd", "docker", "unshare") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if not compose_command():
        return "neither `docker compose` nor docker-compose is installed"
    if os.geteuid() != 0:
        return "starting an engine takes root"
    return ""


class DockerEngine:
    """An engine with folders of its own that touches no firewall and no bridge; used as a context.
    Its containers use the network that it is started in. `enter` is put before its command, and gives
    it mounts of its own, which end with it."""

    def __init__(self, enter: tuple[str, ...] = ("unshare", "-m")) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True)
        root = Path(self.folder.name)
        self.host = f"unix://{root}/socket"
        self.log = root / "log"
        self.command = [*enter, "dockerd", "--iptables=false", "--ip6tables=false",
                        "--bridge=none", "--data-root", f"{root}/data", "--exec-root",
                        f"{root}/exec", "--pidfile", f"{root}/pid", "--host", self.host]

    def __enter__(self) -> "DockerEngine":
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.docker("info", check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.log.read_text()
                self.__exit__()
                raise AssertionError(f"the engine did not start:\n{text}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            containers = self.docker("ps", "--quiet", check=False).stdout.split()
            if containers:
                self.docker("kill", *containers, check=False)
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS_MAX)
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def docker(self, *arguments: str, check: bool = True,
               variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return self._run(["docker", *arguments], check, variables or {})

    def compose(self, *arguments: str, check: bool = True,
                variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """With the project's file."""
        return self._run([*compose_command(), "-f", "compose/docker-compose.yml", *arguments],
                         check, variables or {})

    def _run(self, command: list[str], check: bool,
             variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        own = {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0", **variables}
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stdout[-4000:]}\n{done.stderr}")
        return done
