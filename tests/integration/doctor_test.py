#!/usr/bin/env python3
"""The doctor between Sparks out of network namespaces, and what a cluster says of its links.

    python3 tests/integration/doctor_test.py

SPARKSPAN_BIN names the folder of the programs (default build/release/bin). Needs the right to make
network namespaces (root), and says so when it has not.
"""

import contextlib
import json
import re
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from local_server import PROGRAM  # noqa: E402
from namespaces_test import CONTROL_PORT, DATA_PORT, config_for  # noqa: E402
from spark_network import SparkCluster, SparkNetwork, why_not  # noqa: E402

# What only a test that fails waits for.
SECONDS_MAX = 240


def patient_config(network):
    """A probe takes the link's bandwidth, and the machine's: nobody is taken for dead meanwhile."""
    return re.sub(r"timeouts: \{.*\}",
                  "timeouts: {heartbeat_ms: 200, silence_ms: 60000, step_ms: 120000, "
                  "start_ms: 240000}", config_for(network))


@unittest.skipIf(why_not(), why_not())
class BetweenNodesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.network = cls.enterClassContext(SparkNetwork(2))
        cls.config = patient_config(cls.network)
        cls.file = Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "cluster.yaml"
        cls.file.write_text(cls.config)

    def command(self, name, *flags):
        return [str(PROGRAM), "doctor", "--cluster", str(self.file), "--node", name, *flags]

    def peers(self):
        """The findings of `doctor --peers` on the head's node, by id."""
        done = self.network.run("spark1", *self.command("spark1", "--peers", "--json"), timeout=300)
        self.assertIn(done.returncode, (0, 3, 4), done.stderr)
        findings = {}
        for finding in json.loads(done.stdout)["findings"]:
            findings.setdefault(finding["id"], []).append(finding)
        return findings

    def assert_outcomes(self, findings, check, outcome, subjects):
        self.assertEqual([(one["subject"], one["outcome"]) for one in findings.get(check, [])],
                         [(subject, outcome) for subject in subjects], findings.get(check))

    def assert_links_were_measured(self, findings):
        planes = ["control, node spark2", "bootstrap, node spark2"]
        for check in ("tcp.reach", "tcp.back", "tcp.mtu", "tcp.counters"):
            self.assert_outcomes(findings, check, "pass", planes)
        for check in ("tcp.round-trip", "tcp.bandwidth"):
            self.assert_outcomes(findings, check, "info", planes)
            print([one["found"] for one in findings[check]])
        # Control and data, each there and back.
        self.assert_outcomes(findings, "tcp.ports", "pass", [planes[0]] * 2 + [planes[1]] * 2)
        ports = {one["found"].rpartition(":")[2] for one in findings["tcp.ports"]}
        self.assertEqual(ports, {str(CONTROL_PORT), str(DATA_PORT)})

    def wait_for(self, look):
        """What `look` gives once it is something."""
        deadline = time.monotonic() + SECONDS_MAX
        while not (seen := look()):
            self.assertLess(time.monotonic(), deadline, "it does not come")
            time.sleep(0.1)
        return seen

    @contextlib.contextmanager
    def cluster(self):
        with SparkCluster(self.network, self.config, PROGRAM) as cluster:
            cluster.wait_until_ready()
            yield cluster

    def status(self, cluster):
        return json.loads(cluster.curl("/status.json")[1])

    def path_faults(self, cluster, rank):
        return [one["path_fault"] for one in self.status(cluster)["ranks"][rank]["interfaces"]
                if one["path_fault"]]

    def test_running_workers_answer(self):
        with self.cluster():
            findings = self.peers()
        self.assert_outcomes(findings, "peer.daemon", "pass", ["node spark2"])
        self.assert_links_were_measured(findings)
        # What the other node complains of is shown as its own.
        told = [int(number) for number in re.findall(r"\d+", findings["peer.daemon"][0]["found"])]
        shown = [one for some in findings.values() for one in some
                 if one["subject"].startswith("node spark2: ")]
        self.assertEqual(len(shown), sum(told), findings["peer.daemon"])

    def test_a_standing_doctor_answers_where_no_worker_runs(self):
        answering = self.network.start("spark2", *self.command("spark2", "--answer"))
        try:
            findings = self.wait_for(
                lambda: (lambda seen: seen if len(seen["tcp.reach"]) == 2 else None)(self.peers()))
        finally:
            answering.kill()
            answering.wait()
        self.assert_outcomes(findings, "peer.daemon", "info", ["node spark2"])
        self.assert_links_were_measured(findings)

    def test_an_mtu_that_shrinks_is_named_by_the_cluster_and_the_doctor(self):
        data = self.network.qsfp("spark2", 1)
        with self.cluster() as cluster:
            shown = self.status(cluster)["ranks"][1]["interfaces"][1]
            self.assertEqual((shown["name"], shown["mtu"], shown["net"]), (data, 9000, "TCP"))
            self.assertRegex(shown["network_namespace"], r"^net:\[\d+\]$")
            self.network.ip("spark2", "link", "set", data, "mtu", "1400")
            try:
                fault = self.wait_for(lambda: self.path_faults(cluster, 1))[0]
                self.assertIn(f"interface {data} has MTU 1400, it had 9000", fault)
                findings = self.peers()
            finally:
                self.network.ip("spark2", "link", "set", data, "mtu", "9000")
            self.wait_for(lambda: not self.path_faults(cluster, 1))
        self.assert_outcomes(findings, "peer.mtu", "failure", ["node spark2"])
        bootstrap = findings["tcp.mtu"][1]
        self.assertEqual((bootstrap["subject"], bootstrap["outcome"]),
                         ("bootstrap, node spark2", "failure"))
        self.assertIn("packets of at most 1400 bytes", bootstrap["found"])

    def test_a_route_to_a_peer_that_leaves_the_interface_is_named(self):
        route = (self.network.address("spark2", self.network.qsfp("spark2", 1)) + "/32",
                 "dev", "wlP9s9")
        with self.cluster() as cluster:
            self.network.ip("spark1", "route", "add", *route)
            try:
                fault = self.wait_for(lambda: self.path_faults(cluster, 0))[0]
                self.assertIn("leaves by wlP9s9", fault)
            finally:
                self.network.ip("spark1", "route", "del", *route)
            self.wait_for(lambda: not self.path_faults(cluster, 0))

    def test_after_a_failure_the_node_of_the_lost_link_is_looked_at(self):
        data = self.network.qsfp("spark2", 1)
        with self.cluster() as cluster:
            self.network.set_link("spark2", data, "down")
            try:
                def finding():
                    failure = self.status(cluster)["last_failure"]
                    return failure and [one for one in failure["findings"]
                                        if one["subject"].startswith(f"node spark2: {data}")
                                        and one["id"] == "interface.link"]
                found = self.wait_for(finding)
                self.assertEqual(found[0]["outcome"], "failure")
            finally:
                self.network.set_link("spark2", data, "up")


if __name__ == "__main__":
    unittest.main(verbosity=2)
