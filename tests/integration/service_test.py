#!/usr/bin/env python3
"""`sparkspan node` as a service: what it tells its manager by the protocol of sd_notify, and that
systemd accepts the unit.

    python3 tests/integration/service_test.py
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from local_cluster import BIN, LocalCluster  # noqa: E402

UNIT = Path("deploy/systemd/sparkspan-node.service")
WATCHDOG_SECONDS = 8
HANGS = "worker 1: gives no sign of life"
# systemd's own measure of what a service could do if it were taken over: 0 (nothing) to 10.
EXPOSURE_MAX = 2.0


def signs_of_the_hanging(messages: list[str]) -> int:
    """Signs of life given while the newest status says that a program gives none. A node that did
    not run itself takes its word back first."""
    hangs, signs = False, 0
    for message in messages:
        if message.startswith("STATUS="):
            hangs = HANGS in message
        signs += hangs and message == "WATCHDOG=1"
    return signs


class Manager:
    """The receiving end: a datagram socket under an abstract name."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("")
        self.address = "@" + self.socket.getsockname()[1:].decode()

    def heard(self, seconds: float) -> list[str]:
        """All that comes within the time."""
        messages = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                messages.append(self.socket.recv(4096).decode())
            except TimeoutError:
                break
        return messages

    def wait_for(self, wanted: str, seconds: float = 120) -> list[str]:
        """All that comes until a message has `wanted` in it."""
        messages = []
        deadline = time.monotonic() + seconds
        while not messages or wanted not in messages[-1]:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {wanted} in {seconds} s, but {messages}")
            messages += self.heard_one(left)
        return messages

    def heard_one(self, seconds: float) -> list[str]:
        self.socket.settimeout(seconds)
        try:
            return [self.socket.recv(4096).decode()]
        except TimeoutError:
            return []


class NotifyTest(unittest.TestCase):
    def test_ready_signs_of_life_and_stopping(self) -> None:
        manager = Manager()
        cluster = LocalCluster()  # its folder, file and certificates; `node` starts the programs
        file = str(Path(cluster.folder.name) / "cluster.yaml")
        variables = {"NOTIFY_SOCKET": manager.address, "NODE_RANK": "0",
                     "WATCHDOG_USEC": str(WATCHDOG_SECONDS * 1_000_000)}
        with manager.socket, cluster.folder, tempfile.TemporaryFile() as log, subprocess.Popen(
                [BIN / "sparkspan", "node", "--cluster", file], env=os.environ | variables,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log) as node:
            try:
                before = manager.wait_for("READY=1")
                self.assertIn("weights are resident", "".join(before))
                # Which of the two comes first is up to the machine.
                if "head: ready" not in "".join(before):
                    manager.wait_for("head: ready")
                manager.wait_for("WATCHDOG=1")

                workers = self.processes_of(node.pid, "sparkspan-worker")
                self.assertEqual(len(workers), 2)
                os.kill(workers[1], signal.SIGSTOP)
                hangs = manager.wait_for(HANGS)[-1:] + manager.heard(2 * WATCHDOG_SECONDS)
                print(f"in {2 * WATCHDOG_SECONDS} s of a hanging worker: {hangs}")
                self.assertEqual(signs_of_the_hanging(hangs), 0)
                os.kill(workers[1], signal.SIGCONT)
                if "head: ready" not in "".join(manager.wait_for("WATCHDOG=1")):
                    manager.wait_for("head: ready")

                node.send_signal(signal.SIGTERM)
                manager.wait_for("STOPPING=1")
                self.assertEqual(node.wait(60), 0)
            finally:
                for pid in self.processes_of(node.pid, "sparkspan-worker"):
                    os.kill(pid, signal.SIGCONT)
                node.kill()

    @staticmethod
    def processes_of(parent: int, name: str) -> list[int]:
        out = subprocess.run(["pgrep", "-P", str(parent), "-f", name], capture_output=True,
                             text=True).stdout
        return [int(pid) for pid in out.split()]


@unittest.skipIf(shutil.which("systemd-analyze") is None, "systemd-analyze is not installed")
class UnitTest(unittest.TestCase):
    def analyse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """On a copy whose program exists."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / UNIT.name
            copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
            return subprocess.run(["systemd-analyze", *arguments, str(copy)], capture_output=True,
                                  text=True)

    def test_systemd_knows_every_key(self) -> None:
        done = self.analyse("verify")
        complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
        self.assertEqual((done.returncode, complaints), (0, []), done.stderr)

    def test_it_may_do_little(self) -> None:
        out = self.analyse("security", "--offline=yes", "--no-pager").stdout
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", out)
        assert found is not None, out
        print(f"exposure {found.group(1)}, at most {EXPOSURE_MAX}")
        self.assertLessEqual(float(found.group(1)), EXPOSURE_MAX)


if __name__ == "__main__":
    unittest.main(verbosity=2)
