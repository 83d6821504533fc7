#!/usr/bin/env python3
"""The image and the compose file: two engines in the networks of two Sparks serve one cluster.

    python3 tests/integration/compose_test.py

On Debian 12 the image has the programs of SPARKSPAN_BIN (default build/release/bin), unless
SPARKSPAN_IMAGE_FROM_SOURCE=1 has it build them as a user's does. Its base is debian:12-slim where
that can be pulled, else what debootstrap makes of the machine's own package source; SPARKSPAN_BASE
names a file of `docker save` instead. Needs Docker, its compose, and root, and says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import docker_engine  # noqa: E402
import spark_network  # noqa: E402
from docker_engine import DockerEngine  # noqa: E402
from local_server import MODEL, PROGRAM, chat_body  # noqa: E402
from spark_network import SparkNetwork  # noqa: E402

COUNT = "Count from 7 to 15."
COUNTED = "7, 8, 9, 10, 11, 12, 13, 14, 15"
IMAGE = "sparkspan:test"
BASE = "debian:12-slim"
PROGRAMS = ("sparkspan", "sparkspan-head", "sparkspan-worker")
CONTROL_PORT, DATA_PORT = 7100, 7200
READY_SECONDS_MAX = 240
PULL_SECONDS_MAX = 30
# An answer long enough to be in progress when the node is told to stop.
LONG_TOKENS = 300

WHY_NOT = docker_engine.why_not() or spark_network.why_not()


def config_for(network: SparkNetwork) -> dict[str, Any]:
    def pin(name: str, half: int) -> dict[str, str]:
        interface = network.qsfp(name, half)
        return {"interface": interface, "address": network.address(name, interface)}

    tls = "/etc/sparkspan/tls"
    return {
        "version": 1, "cluster": "compose", "head": "spark1",
        "model": {"path": str(Path(MODEL).resolve()), "served_names": ["demo"]},
        "limits": {"context_length": 2048, "sequences": 2, "step_rows": 512, "kv_tokens": 4096,
                   "memory_reserve": "64MiB"},
        "api": {"address": "127.0.0.1", "port": 8000, "tls": {"plaintext": True}},
        "control_tls": {"authority": f"{tls}/authority.pem", "certificate": f"{tls}/node.pem",
                        "key": f"{tls}/node.key"},
        # A test machine is busy: only silence that means something counts.
        "timeouts": {"silence_ms": 15000, "step_ms": 120000, "start_ms": 300000},
        "nodes": [{"name": name, "control": pin(name, 0), "bootstrap": pin(name, 1), "data": "tcp",
                   "ranks": [{"rank": rank, "device": {"cpu_threads": 1},
                              "control_port": CONTROL_PORT, "data_port": DATA_PORT}]}
                  for rank, name in enumerate(network.names)]}


def load_base(engine: DockerEngine) -> None:
    """BASE in the engine."""
    saved = os.environ.get("SPARKSPAN_BASE")
    if saved:
        engine.docker("load", "--input", saved)
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["docker", "--host", engine.host, "pull", BASE], capture_output=True,
                       timeout=PULL_SECONDS_MAX)
    if engine.docker("image", "inspect", BASE, check=False).returncode == 0:
        return
    if shutil.which("debootstrap") is None:
        raise unittest.SkipTest(f"{BASE} cannot be pulled, and debootstrap is not installed")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", folder], check=True,
                       stdout=subprocess.DEVNULL)
        import_folder(engine, folder, BASE)


def import_folder(engine: DockerEngine, folder: str, image: str) -> None:
    """An image of one layer: the files of the folder."""
    with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as archive:
        subprocess.run(["docker", "--host", engine.host, "import", "-", image], check=True,
                       stdin=archive.stdout, stdout=subprocess.DEVNULL)


def import_programs(engine: DockerEngine) -> str:
    """What the Dockerfile's first stage builds, from here: the image `programs`. Returns the last
    stage, made to take it."""
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder) / "programs"
        programs.mkdir()
        for name in PROGRAMS:
            subprocess.run(["strip", "--strip-debug", "-o", programs / name,
                            PROGRAM.parent / name], check=True)
        packages = subprocess.run(["bash", "deploy/runtime_packages.sh", *programs.iterdir()],
                                  check=True, capture_output=True, text=True).stdout
        (Path(folder) / "runtime-packages").write_text(packages)
        import_folder(engine, folder, "programs")
    whole = Path("deploy/Dockerfile").read_text()
    last = whole[whole.rindex("FROM ${BASE}"):].replace("--from=build", "--from=programs")
    return "ARG BASE\n" + last


def builds_from_source() -> bool:
    """Programs that were built on another distribution than the image's do not run in it."""
    return (os.environ.get("SPARKSPAN_IMAGE_FROM_SOURCE") == "1"
            or "VERSION_CODENAME=bookworm" not in Path("/etc/os-release").read_text())


def build_image(file: Path) -> None:
    """The image as a file of `docker save`."""
    with DockerEngine() as engine, tempfile.NamedTemporaryFile("w") as last_stage:
        began = time.monotonic()
        load_base(engine)
        based = time.monotonic()
        dockerfile = "deploy/Dockerfile"
        if not builds_from_source():
            last_stage.write(import_programs(engine))
            last_stage.flush()
            dockerfile = last_stage.name
        engine.docker("build", "--network=host", "--build-arg", f"BASE={BASE}", "-f", dockerfile,
                      "-t", IMAGE, ".")
        size = int(engine.docker("image", "inspect", "-f", "{{.Size}}", IMAGE).stdout)
        engine.docker("save", "--output", str(file), IMAGE)
        print(f"base {based - began:.0f} s, image {time.monotonic() - based:.0f} s, "
              f"{size / 1e6:.0f} MB")


@unittest.skipIf(WHY_NOT, WHY_NOT)
class ComposeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        build_image(folder / "image.tar")
        cls.network = cls.enterClassContext(SparkNetwork(2))
        config = folder / "cluster.yaml"
        config.write_text(json.dumps(config_for(cls.network)))
        subprocess.run([PROGRAM, "certs", "--cluster", config, "--out", folder / "tls"], check=True,
                       stdout=subprocess.DEVNULL)
        cls.engines: list[DockerEngine] = []
        cls.variables: list[dict[str, str]] = []
        for rank, name in enumerate(cls.network.names):
            engine = cls.enterClassContext(DockerEngine(tuple(cls.network.enter(name))))
            engine.docker("load", "--input", str(folder / "image.tar"))
            own = folder / name
            shutil.copytree(folder / "tls" / name, own / "tls")
            shutil.copy(config, own)
            cls.engines.append(engine)
            cls.variables.append({"NODE_RANK": str(rank), "CONFIG": str(own), "IMAGE": IMAGE,
                                  "MODEL": str(Path(MODEL).resolve())})

    def compose(self, rank: int, *arguments: str, **changed: str) -> Any:
        variables = {key: value for key, value in (self.variables[rank] | changed).items() if value}
        return self.engines[rank].compose(*arguments, check=not changed, variables=variables)

    def setUp(self) -> None:
        for rank in range(len(self.engines)):
            self.addCleanup(self.compose, rank, "down", "--timeout", "1")

    def curl(self, path: str, body: Any = None) -> tuple[int, str]:
        arguments = ["curl", "-sS", "-m", "120", "-w", "\n%{http_code}",
                     "http://127.0.0.1:8000" + path]
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        text, _, status = self.network.run("spark1", *arguments).stdout.rpartition("\n")
        return int(status or 0), text

    def start(self) -> None:
        for rank in range(len(self.engines)):
            self.compose(rank, "up", "--detach", "--no-build")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while self.curl("/ready")[0] != 200:
            if time.monotonic() > deadline:
                logs = [self.compose(rank, "logs", "--tail", "50").stdout
                        for rank in range(len(self.engines))]
                raise AssertionError("not ready\n" + "\n".join(logs))
            time.sleep(0.5)

    def container(self, rank: int) -> dict[str, Any]:
        container = self.compose(rank, "ps", "--all", "--quiet").stdout.strip()
        return json.loads(self.engines[rank].docker("inspect", container).stdout)[0]

    def assert_serves(self) -> None:
        status, text = self.curl("/v1/chat/completions", chat_body(COUNT))
        self.assertEqual(status, 200, text)
        self.assertEqual(json.loads(text)["choices"][0]["message"]["content"], COUNTED)

    def test_two_engines_serve_a_prompt_with_no_capability(self) -> None:
        self.start()
        self.assert_serves()
        ranks = json.loads(self.curl("/status.json")[1])["ranks"]
        control = ranks[1]["rails"][0]
        self.assertEqual((control["interface"], control["binding"]),
                         (self.network.qsfp("spark1", 0), "device"))
        for rank in range(len(self.engines)):
            facts = self.container(rank)
            self.assertTrue(facts["HostConfig"]["ReadonlyRootfs"])
            process = Path(f"/proc/{facts['State']['Pid']}")
            held = dict(line.split(":\t") for line in (process / "status").read_text().splitlines()
                        if ":\t" in line)
            self.assertEqual((held["CapEff"], held["CapBnd"]), ("0" * 16, "0" * 16))
            self.assertEqual(held["NoNewPrivs"], "1")
            self.assertEqual((process / "oom_score_adj").read_text().strip(), "500")

    def test_a_stopped_node_drains_and_ends_well(self) -> None:
        self.start()
        answers: list[tuple[int, str]] = []
        body = chat_body(COUNT, max_tokens=LONG_TOKENS, ignore_eos=True)
        client = threading.Thread(
            target=lambda: answers.append(self.curl("/v1/chat/completions", body)))
        client.start()
        while json.loads(self.curl("/status.json")[1])["running"] == 0 and client.is_alive():
            pass
        self.compose(0, "stop")
        client.join()
        status, text = answers[0]
        self.assertEqual(status, 200, text)
        self.assertEqual(json.loads(text)["usage"]["completion_tokens"], LONG_TOKENS)
        self.compose(1, "stop")
        for rank in range(len(self.engines)):
            self.assertEqual(self.container(rank)["State"]["ExitCode"], 0)

    def test_a_killed_node_is_started_again_and_not_for_ever(self) -> None:
        self.start()
        facts = self.container(1)
        self.assertEqual(facts["HostConfig"]["RestartPolicy"],
                         {"Name": "on-failure", "MaximumRetryCount": 3})
        os.kill(facts["State"]["Pid"], signal.SIGKILL)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while self.container(1)["RestartCount"] != 1:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.wait_until_ready()
        self.assert_serves()

    def test_what_is_missing_is_named(self) -> None:
        done = self.compose(0, "up", "--detach", NODE_RANK="")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("which node of cluster.yaml this machine is", done.stderr)
        done = self.compose(0, "up", "--detach", MODEL="/no/such/folder")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/no/such/folder", done.stderr)
        self.assertFalse(Path("/no").exists())
        own = self.variables[0]["CONFIG"]
        done = self.engines[0].docker("run", "--rm", "--network=host", "-v",
                                      f"{own}:/etc/sparkspan:ro", IMAGE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("NODE_RANK=0 for the first", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
