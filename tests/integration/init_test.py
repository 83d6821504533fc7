#!/usr/bin/env python3
"""What `sparkspan init` proposes serves as it is: from the proposal to an answer, on one node.

    python3 tests/integration/init_test.py

SPARKSPAN_BIN names the folder of the programs (default build/release/bin).
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from local_server import MODEL, PROGRAM, chat_body, claim_ports, request  # noqa: E402

SECONDS_MAX = 120
# The ports that a proposal has; a test takes some that no other has.
PROPOSED_PORTS = ("port: 8000", "control_port: 7100", "data_port: 7200")


class InitTest(unittest.TestCase):
    def propose(self) -> tuple[str, int]:
        """cluster.yaml for this machine alone, with ports of this test's own, and the API's."""
        done = subprocess.run([PROGRAM, "init", "--name", "local", "--model-path",
                               Path(MODEL).resolve()], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = done.stdout
        ports = claim_ports(len(PROPOSED_PORTS))
        for proposed, port in zip(PROPOSED_PORTS, ports):
            self.assertEqual(text.count(proposed), 1, text)
            text = text.replace(proposed, f"{proposed.split(':')[0]}: {port}")
        return text, ports[0]

    @staticmethod
    def is_ready(port: int) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return request(port, "GET", "/ready")[0] == 200
        return False

    def test_the_proposal_for_one_node_serves(self) -> None:
        text, port = self.propose()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "cluster.yaml"
            # A small machine may not have the 4 GiB to spare that a node keeps free.
            file.write_text(text.replace("memory_reserve: 4294967296", "memory_reserve: 0"))
            doctor = subprocess.run([PROGRAM, "doctor", "--cluster", file], capture_output=True,
                                    text=True, timeout=120)
            self.assertIn(doctor.returncode, (0, 3), doctor.stdout + doctor.stderr)
            with (Path(folder) / "log").open("w+") as log:
                node = subprocess.Popen([PROGRAM, "node", "--cluster", file],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                try:
                    deadline = time.monotonic() + SECONDS_MAX
                    while not self.is_ready(port):
                        self.assertIsNone(node.poll(), Path(log.name).read_text())
                        self.assertLess(time.monotonic(), deadline, Path(log.name).read_text())
                        time.sleep(0.05)
                    status, answer = request(port, "POST", "/v1/chat/completions",
                                             chat_body("Count from 7 to 15."))
                    self.assertEqual(status, 200, answer)
                    self.assertEqual(answer["choices"][0]["message"]["content"],
                                     "7, 8, 9, 10, 11, 12, 13, 14, 15")
                    node.send_signal(signal.SIGTERM)
                    self.assertEqual(node.wait(60), 0, Path(log.name).read_text())
                finally:
                    node.kill()
                    node.wait()


if __name__ == "__main__":
    unittest.main(verbosity=2)
