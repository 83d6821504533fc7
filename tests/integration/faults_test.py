"""Kills and stops the daemons of a cluster that serves, and measures how soon it is noticed and how
soon service is back.

    python3 tests/integration/faults_test.py [FAULTS]     (20)

What must hold decides: the right rank is named, a request in flight ends with an error and never
with a wrong or silently short answer, service comes back with right answers, and no process keeps
descriptors, threads or memory. Times are printed, as percentiles, and decide nothing.
"""

from __future__ import annotations

import random
import signal
import statistics
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from local_cluster import SECONDS_MAX, LocalCluster, Process  # noqa: E402
from local_server import chat_body  # noqa: E402

FAULTS = int(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 20
RANKS = 2
SILENCE_MS = 1000  # A cluster's own limit, since how soon faults are noticed is what is measured.
COUNT = "Count from 7 to 15."
COUNTED = "7, 8, 9, 10, 11, 12, 13, 14, 15"
MEBIBYTE = 1 << 20
# An allocator keeps what it had; a leak of a session's buffers at every fault would pass this soon.
RESIDENT_GROWTH_MAX = 24 * MEBIBYTE
THREADS_GROWTH_MAX = 2  # gRPC's pools breathe


class InFlight(threading.Thread):
    """A request that would go on for long, read as it comes."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__(daemon=True)
        self.cluster = cluster
        self.running = threading.Event()
        self.error: str | None = None
        self.ended_at = 0.0
        self.finish_reason: str | None = None

    def run(self) -> None:
        for event in self.cluster.stream(COUNT, max_tokens=1500, ignore_eos=True):
            if "error" in event:
                self.error = event["error"]["message"]
                self.ended_at = time.time()
            else:
                self.running.set()
                self.finish_reason = event["choices"][0].get("finish_reason") or self.finish_reason
        self.ended_at = self.ended_at or time.time()
        self.running.set()


def percentiles(values: list[float]) -> str:
    if len(values) < 2:
        return ", ".join(f"{value:.2f} s" for value in values)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return (f"p50 {cuts[49]:.2f} s, p90 {cuts[89]:.2f} s, p99 {cuts[98]:.2f} s, "
            f"max {max(values):.2f} s of {len(values)}")


class FaultsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.random = random.Random(20261126)
        self.detection: dict[str, list[float]] = {}
        self.recovery: dict[str, list[float]] = {}
        self.false_alarms = 0
        self.baselines: dict[int, tuple[int, int, int]] = {}

    def measure(self, process: Process) -> tuple[int, int, int]:
        return process.descriptors(), process.threads(), process.resident_bytes()

    def note_baselines(self, cluster: LocalCluster) -> None:
        for process in cluster.processes:
            if process.pid not in self.baselines:
                self.baselines[process.pid] = self.measure(process)

    def wait_for_service(self, cluster: LocalCluster) -> float:
        """An epoch that is lost before the answer, to a process that stalled, is a false alarm: it
        is counted, and service comes back from it too."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            at = cluster.wait("service", cluster.is_ready)
            status, answer = cluster.request("POST", "/v1/chat/completions", chat_body(COUNT))
            if status == 200:
                self.assertEqual(answer["choices"][0]["message"]["content"], COUNTED)
                return at
            self.assertEqual(status, 503, answer)
            self.assertLess(time.monotonic(), deadline, answer)
            self.false_alarms += 1

    def running_request(self, cluster: LocalCluster) -> InFlight:
        request = InFlight(cluster)
        request.start()
        self.assertTrue(request.running.wait(SECONDS_MAX), "no token came")
        time.sleep(self.random.uniform(0, 0.3))
        return request

    def assert_broken_off(self, request: InFlight) -> None:
        """Its client has learned of the end, and not by an answer."""
        request.join(SECONDS_MAX)
        self.assertFalse(request.is_alive(), "the client still waits")
        self.assertIsNone(request.finish_reason, "it looks as if it had been answered")

    @staticmethod
    def lost_ranks(status: dict[str, Any]) -> set[int]:
        return {rank["rank"] for rank in status["ranks"] if rank["state"] == "lost"}

    def lose_rank(self, cluster: LocalCluster, kind: str) -> None:
        victim = self.random.randrange(RANKS)
        worker = cluster.workers[victim]
        request = self.running_request(cluster)
        struck = time.time()
        if kind == "rank killed":
            worker.kill()
        else:
            worker.signal(signal.SIGSTOP)
        noticed = cluster.wait("notice", lambda: victim in self.lost_ranks(cluster.status()))
        status = cluster.status()
        self.detection.setdefault(kind, []).append(noticed - struck)
        self.assertFalse(cluster.is_ready())
        # Another rank beside it was a stalled process.
        self.false_alarms += len(self.lost_ranks(status) - {victim})
        self.assertIn(f"rank {victim}", status["detail"])
        self.assert_broken_off(request)
        self.assertIsNotNone(request.error, "the request in flight ended without an error")
        survivors = {other.pid for other in cluster.workers if other is not worker}
        returned = time.time()
        if kind == "rank killed":
            worker.start()
        else:
            worker.signal(signal.SIGCONT)
        self.recovery.setdefault(kind, []).append(self.wait_for_service(cluster) - returned)
        self.assertEqual(survivors, {other.pid for other in cluster.workers if other is not worker})

    def lose_head(self, cluster: LocalCluster, kind: str) -> None:
        request = self.running_request(cluster)
        struck = time.time()
        if kind == "head killed":
            cluster.head.kill()
        else:
            cluster.head.signal(signal.SIGSTOP)
        noticed = []
        for worker in cluster.workers:
            cluster.wait("notice", lambda w=worker: w.logged_at("epoch .* ends:", struck) is not None)
            noticed.append(worker.logged_at("epoch .* ends:", struck))
        self.detection.setdefault(kind, []).append(max(noticed) - struck)
        loads = [worker.log.read_text().count("loaded in") for worker in cluster.workers]
        returned = time.time()
        if kind == "head killed":
            cluster.head.start()
        else:
            cluster.head.signal(signal.SIGCONT)
        self.assert_broken_off(request)
        if kind == "head stopped":
            self.assertIsNotNone(request.error, "the request in flight ended without an error")
        # A head that was stopped must find out that it has lost its ranks before it is asked.
        if kind == "head stopped":
            cluster.wait("the head's notice",
                         lambda: cluster.head.logged_at("is lost", struck) is not None)
        self.recovery.setdefault(kind, []).append(self.wait_for_service(cluster) - returned)
        self.assertEqual(loads, [worker.log.read_text().count("loaded in")
                                 for worker in cluster.workers], "weights were loaded again")

    def check_baselines(self, cluster: LocalCluster) -> None:
        for process in cluster.processes:
            descriptors, threads, resident = self.baselines[process.pid]
            cluster.wait(f"descriptors and threads of {process.name} at most {descriptors} and "
                         f"{threads} + {THREADS_GROWTH_MAX}",
                         lambda p=process, d=descriptors, t=threads: p.descriptors() <= d and
                         p.threads() <= t + THREADS_GROWTH_MAX, pause=0.2)
            growth = process.resident_bytes() - resident
            print(f"{process.name}: {descriptors} descriptors, {threads} threads, "
                  f"{resident / MEBIBYTE:.0f} MiB and {growth / MEBIBYTE:+.1f} MiB since")
            self.assertLess(growth, RESIDENT_GROWTH_MAX, process.name)

    def test_every_fault_is_noticed_named_and_survived(self) -> None:
        kinds = ["rank killed", "rank stopped", "rank killed", "head killed", "rank stopped",
                 "head stopped"]
        with LocalCluster(RANKS, SILENCE_MS) as cluster:
            self.wait_for_service(cluster)
            self.note_baselines(cluster)
            for number in range(FAULTS):
                kind = kinds[number % len(kinds)]
                if kind.startswith("rank"):
                    self.lose_rank(cluster, kind)
                else:
                    self.lose_head(cluster, kind)
                self.note_baselines(cluster)
            for kind in sorted(self.detection):
                print(f"{kind}: noticed after {percentiles(self.detection[kind])}; service back "
                      f"after {percentiles(self.recovery[kind])}")
            noticed = [value for values in self.detection.values() for value in values]
            back = [value for values in self.recovery.values() for value in values]
            print(f"all: noticed after {percentiles(noticed)}; service back after "
                  f"{percentiles(back)}; {self.false_alarms} false alarms")
            self.check_baselines(cluster)


if __name__ == "__main__":
    unittest.main(verbosity=2)
