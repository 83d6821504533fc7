#!/usr/bin/env python3
"""Sparks out of network namespaces: what is declared carries everything, and nothing else does.

    python3 tests/integration/namespaces_test.py

SPARKSPAN_BIN names the folder of the programs (default build/release/bin). Needs the right to make
network namespaces (root), and says so when it has not.
"""

import contextlib
import glob
import json
import os
import socket
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from local_server import MODEL, PROGRAM, chat_body  # noqa: E402
from spark_network import SparkCluster, SparkNetwork, why_no_drops, why_not  # noqa: E402

COUNT = "Count from 7 to 15."
COUNTED = "7, 8, 9, 10, 11, 12, 13, 14, 15"
CONTROL_PORT, DATA_PORT = 7100, 7200
RESERVE_MIB = 64
# For what must happen at all.
SECONDS_MAX = 240
# What a link that nobody uses may show: the kernel's own talk with its neighbours.
KERNEL_TALK = {"arp", "ipv6 neighbour discovery", "igmp"}
# A step may last longer than any test waits: only news of the link, or the socket's own error, ends
# one sooner. How soon is printed.
STEP_MS = 3_600_000
# Ten times what a cluster has: a process of a busy machine is no dead one.
SILENCE_MS = 10_000


def config_for(network: SparkNetwork, control: int | str = 0, bootstrap: int | str = 1) -> str:
    """cluster.yaml of the network: control and bootstrap by half of the cage, or by interface."""
    def pin(name: str, plane: int | str) -> str:
        interface = network.qsfp(name, plane) if isinstance(plane, int) else plane
        return f"{{interface: {interface}, address: {network.address(name, interface)}}}"

    nodes = "".join(
        f"  - name: {name}\n    control: {pin(name, control)}\n"
        f"    bootstrap: {pin(name, bootstrap)}\n    data: tcp\n"
        f"    ranks: [{{rank: {rank}, device: {{cpu_threads: 1}}, control_port: {CONTROL_PORT}, "
        f"data_port: {DATA_PORT}}}]\n" for rank, name in enumerate(network.names))
    return (f"version: 1\ncluster: namespaces\nhead: spark1\nmodel:\n  path: {Path(MODEL).resolve()}\n"
            "  served_names: [demo]\n  encoding_profile: preview\n  default_thinking: \"on\"\n"
            "numerics: quantised\nexperts: split\ndraft: none\n"
            "limits: {context_length: 2048, sequences: 2, step_rows: 512, kv_tokens: 4096, "
            f"memory_reserve: {RESERVE_MIB}MiB}}\n"
            "api: {address: 127.0.0.1, port: 8000, tls: {plaintext: true}}\n"
            "control_tls: {plaintext: true}\n"
            f"timeouts: {{heartbeat_ms: 200, silence_ms: {SILENCE_MS}, step_ms: {STEP_MS}, "
            "start_ms: 240000}\n"
            f"nodes:\n{nodes}")


@unittest.skipIf(why_not(), why_not())
class PairTest(unittest.TestCase):
    """Two Sparks: the head's cable is in cage f0, the other end in cage f1."""

    @classmethod
    def setUpClass(cls):
        cls.network = cls.enterClassContext(SparkNetwork(2))

    def assert_only_declared(self, frames, declared):
        """`declared`: by Spark, the port that each declared interface may carry."""
        others = {}
        for name, interfaces in frames.items():
            for interface, kinds in interfaces.items():
                port = declared[name].get(interface)
                if interface == "lo":
                    continue
                for kind, count in kinds.items():
                    if kind in KERNEL_TALK:
                        others[kind] = others.get(kind, 0) + count
                    else:
                        self.assertEqual(kind, f"tcp {port}", f"{name} {interface}: {kinds}")
        print(f"beside declared traffic: {others}")

    def test_control_and_data_cross_declared_links_only(self):
        network = self.network
        halves = {name: (network.qsfp(name, 0), network.qsfp(name, 1)) for name in network.names}
        before = {name: network.bytes_of(name) for name in network.names}
        frames = {}
        with network.sniffed(frames):
            with SparkCluster(network, config_for(network), PROGRAM) as cluster:
                cluster.wait_until_ready()
                status, text = cluster.curl("/v1/chat/completions", chat_body(COUNT))
                self.assertEqual(status, 200, text)
                self.assertEqual(json.loads(text)["choices"][0]["message"]["content"], COUNTED)
                ranks = self.ranks_once_counted(cluster)
                rails = [rank["rails"] for rank in ranks]
                self.assertIn("cleared inherited NCCL_SOCKET_IFNAME=wlP9s9", cluster.log_text())
        # The head's own worker is reached inside the machine; the other one by the declared half.
        self.assertEqual(rails[1][0]["interface"], halves["spark1"][0])
        self.assertEqual(rails[1][0]["binding"], "device")
        # Each rank reaches the other from its own bootstrap half.
        for rank, name in enumerate(network.names):
            self.assertEqual(rails[rank][1]["plane"], "data")
            self.assertEqual(rails[rank][1]["interface"], halves[name][1])
            self.assertEqual(rails[rank][1]["binding"], "device")
            # Control and data are counted apart, each on its own interface.
            planes = {one["name"]: one["planes"] for one in ranks[rank]["interfaces"]}
            self.assertEqual(planes, {halves[name][0]: ["control"], halves[name][1]: ["data"]})
            data = ranks[rank]["interfaces"][1]
            self.assertGreaterEqual(data["sent_bytes"], rails[rank][1]["sent_bytes"])
        self.assert_only_declared(frames, {
            name: {control: CONTROL_PORT, data: DATA_PORT}
            for name, (control, data) in halves.items()})
        after = {name: network.bytes_of(name) for name in network.names}
        for name, (control, data) in halves.items():
            grown = {interface: after[name][interface] - before[name][interface]
                     for interface in after[name]}
            print(f"{name}: bytes {grown}")
            self.assertGreater(frames[name][control][f"tcp {CONTROL_PORT}"], 10)
            self.assertGreater(frames[name][data][f"tcp {DATA_PORT}"], 10)
            self.assertGreater(grown[control], 2_000)
            self.assertGreater(grown[data], 100_000)

    def ranks_once_counted(self, cluster):
        """Of the status, once the ranks have told what an answer took, and nothing moves: a rank
        reads the counts of its interfaces and of its connections one after the other."""
        deadline = time.monotonic() + SECONDS_MAX
        before = []
        while True:
            ranks = json.loads(cluster.curl("/status.json")[1])["ranks"]
            rails = [rail for rank in ranks for rail in rank["rails"] if rail["plane"] == "data"]
            sent = [rail["sent_bytes"] for rail in rails]
            if len(sent) == 2 and min(sent) > 50_000 and sent == before:
                return ranks
            self.assertLess(time.monotonic(), deadline, rails)
            before = sent
            time.sleep(1.5)  # A rank reports each second.

    def endless_request(self, cluster):
        """A request that runs, as the process of its client."""
        body = chat_body(COUNT, stream=True, max_tokens=1500, ignore_eos=True)
        client = self.network.start("spark1", "curl", "-sSN", "-m", "300", "-H",
                                    "Content-Type: application/json", "-d", json.dumps(body),
                                    cluster.API + "/v1/chat/completions")
        for _ in range(6):
            self.assertTrue(client.stdout.readline())
        return client

    def halves_only(self):
        """What each declared half may carry."""
        return {name: {self.network.qsfp(name, 0): CONTROL_PORT,
                       self.network.qsfp(name, 1): DATA_PORT} for name in self.network.names}

    def assert_serves_again(self, cluster):
        cluster.wait_until_ready()
        status, text = cluster.curl("/v1/chat/completions", chat_body(COUNT))
        self.assertEqual((status, COUNTED in text), (200, True), text)

    def test_a_cut_link_is_reported_at_once_and_nothing_goes_elsewhere(self):
        network = self.network
        for half, plane in ((1, "data"), (0, "control")):
            frames = {}
            with self.subTest(plane), SparkCluster(network, config_for(network), PROGRAM) as cluster:
                cluster.wait_until_ready()
                client = self.endless_request(cluster)
                with network.sniffed(frames):
                    began = time.monotonic()
                    network.set_link("spark2", network.qsfp("spark2", half), "down")
                    rest = client.communicate(timeout=SECONDS_MAX)[0]
                    took = time.monotonic() - began
                    ready = cluster.curl("/ready")[0]
                    reason = self.wait_for_ready_to_say(cluster, "lost its link")
                    # While everybody tries to find each other again.
                    time.sleep(3)
                    network.set_link("spark2", network.qsfp("spark2", half), "up")
                print(f"{plane} link down: the client's error after {took:.2f} s; /ready: {reason}")
                self.assertIn('"error"', rest)
                self.assertEqual(ready, 503)
                self.assertRegex(reason, f"interface {network.qsfp('spark1', half)} lost its link|"
                                         f"interface {network.qsfp('spark2', half)} lost its link")
                self.assertIn("lost its link", cluster.log_text())
                self.assert_only_declared(frames, self.halves_only())
                self.assert_serves_again(cluster)

    def test_an_idle_head_hears_of_a_cut_link_and_examines_itself(self):
        network = self.network
        with SparkCluster(network, config_for(network), PROGRAM) as cluster:
            cluster.wait_until_ready()
            lost_epoch = 0
            for half, plane in ((1, "data"), (0, "control")):
                interface = network.qsfp("spark2", half)
                began = time.monotonic()
                network.set_link("spark2", interface, "down")
                while cluster.curl("/ready")[0] == 200:
                    self.assertLess(time.monotonic() - began, SECONDS_MAX)
                took = time.monotonic() - began
                ready = cluster.curl("/ready")[0]
                reason = self.wait_for_ready_to_say(cluster, "lost its link")
                # The other end of the cable is the head's own.
                own = network.qsfp("spark1", half)
                status = self.status_after(
                    cluster, f"interface {own} lost its link; check the cable", lost_epoch)
                lost_epoch = status["last_failure"]["epoch"]
                network.set_link("spark2", interface, "up")
                print(f"{plane} link down while idle: /ready is 503 after {took:.2f} s: {reason}")
                self.assertEqual(ready, 503)
                self.assertIn("lost its link", status["last_failure"]["reason"])
                self.assertIn("lost its link", "".join(one["what"] for one in status["errors"]))
                findings = status["last_failure"]["findings"]
                self.assertTrue(any(one["id"] == "interface.link" and
                                    one["subject"].startswith(f"node spark1: {own}")
                                    for one in findings), findings)
                cluster.wait_until_ready()

    def status_after(self, cluster, fault, lost_epoch):
        """The status once an interface shows this fault, an epoch after this one is lost and the
        head's doctor has looked."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            status = json.loads(cluster.curl("/status.json")[1])
            interfaces = status["head"]["interfaces"] + [
                one for rank in status["ranks"] for one in rank["interfaces"]]
            failure = status["last_failure"]
            if (fault in [one["fault"] for one in interfaces] and failure
                    and failure["epoch"] > lost_epoch
                    and "being looked at" not in failure["examination"]):
                return status
            self.assertLess(time.monotonic(), deadline, status)
            time.sleep(0.05)

    def assert_nothing_was_started_again(self, cluster):
        for name, log in cluster.logs.items():
            text = log.read_text()
            self.assertEqual(text.count("loaded in"), 1, f"{name}: weights were loaded again")
            self.assertNotIn("; restart", text)

    def test_a_cable_that_is_pulled_and_put_back_makes_new_interfaces_which_serve(self):
        network = self.network
        with SparkCluster(network, config_for(network), PROGRAM) as cluster:
            cluster.wait_until_ready()
            for half, plane in ((1, "data"), (0, "control")):
                with self.subTest(plane):
                    with network.unplugged(half):
                        reason = self.wait_for_ready_to_say(cluster, "is gone")
                    print(f"{plane} cable out: {reason}")
                    began = time.monotonic()
                    self.assert_serves_again(cluster)
                    print(f"{plane} cable back: serves after {time.monotonic() - began:.2f} s")
            self.assert_nothing_was_started_again(cluster)

    def wait_for_ready_to_say(self, cluster, text):
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            status, reason = cluster.curl("/ready")
            if status == 503 and text in reason:
                return reason
            self.assertLess(time.monotonic(), deadline, f"{status} {reason}\n{cluster.log_text()}")
            time.sleep(0.1)

    def wait_for_log(self, cluster, name, text):
        deadline = time.monotonic() + SECONDS_MAX
        while text not in cluster.logs[name].read_text():
            self.assertLess(time.monotonic(), deadline, f"no '{text}'\n{cluster.log_text()}")
            time.sleep(0.1)

    def test_nodes_wait_for_a_link_that_is_down_when_they_start(self):
        network = self.network
        own = network.qsfp("spark1", 0)
        for half in (0, 1):
            network.set_link("spark2", network.qsfp("spark2", half), "down")
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            manager = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            manager.bind(f"{folder}/notify")
            manager.settimeout(SECONDS_MAX)
            cluster = stack.enter_context(SparkCluster(network, config_for(network), PROGRAM,
                                                       {"NOTIFY_SOCKET": f"{folder}/notify"}))
            # Told by log, manager and page, and all the while nobody gives up.
            for name in network.names:
                self.wait_for_log(cluster, name, f"waiting: node {name}: control.interface: "
                                                 f"interface {network.qsfp(name, 0)} (")
            while True:
                status = manager.recv(4096).decode()
                if f"waiting: pin: interface {own} (" in status and "is not up" in status:
                    break
            print(self.wait_for_ready_to_say(cluster, f"interface {own} ("))
            interfaces = json.loads(cluster.curl("/status.json")[1])["head"]["interfaces"]
            self.assertIn("is not up", interfaces[0]["fault"])
            manager.close()
            for half in (0, 1):
                network.set_link("spark2", network.qsfp("spark2", half), "up", wait=half == 1)
            self.assert_serves_again(cluster)
            self.assert_nothing_was_started_again(cluster)

    def test_nodes_wait_for_an_address_that_is_missing_when_they_start(self):
        network = self.network
        missing = [("spark1", 0), ("spark2", 1)]
        for name, half in missing:
            network.change_address(name, network.qsfp(name, half), "del")
        with SparkCluster(network, config_for(network), PROGRAM) as cluster:
            for name, half in missing:
                self.wait_for_log(cluster, name, "does not hold the declared address "
                                  + network.address(name, network.qsfp(name, half)))
            print(self.wait_for_ready_to_say(cluster, "does not hold the declared address"))
            for name, half in missing:
                network.change_address(name, network.qsfp(name, half), "add")
            self.assert_serves_again(cluster)
            self.assert_nothing_was_started_again(cluster)

    def test_a_rank_without_memory_gets_no_requests_and_then_ends(self):
        network = self.network
        with tempfile.NamedTemporaryFile("r+") as meminfo:
            def have(mebibytes):
                # In one write of one length: whoever reads meanwhile finds a number.
                os.pwrite(meminfo.fileno(), b"MemAvailable: %12d kB\n" % (mebibytes << 10), 0)

            have(100_000)
            prepare = {"spark2": f"mount --bind {meminfo.name} /proc/meminfo"}
            with SparkCluster(network, config_for(network), PROGRAM, prepare=prepare) as cluster:
                cluster.wait_until_ready()
                have(RESERVE_MIB // 2)
                reason = self.wait_for_ready_to_say(cluster, "rank 1 (node spark2): only 32 MiB of "
                                                             "memory are to be had")
                print(reason)
                have(100_000)
                self.assert_serves_again(cluster)
                self.assert_nothing_was_started_again(cluster)
                have(RESERVE_MIB // 8)
                self.wait_for_log(cluster, "spark2", "the rank ends before the machine freezes")
                self.wait_for_log(cluster, "spark2", "; restart 1 of 5")
                # Enough to live, not to load: it is not given up, and loads when there is more.
                have(RESERVE_MIB // 2)
                self.wait_for_log(cluster, "spark2", "loading waits for memory")
                have(100_000)
                self.assert_serves_again(cluster)
                self.assertEqual(cluster.logs["spark1"].read_text().count("loaded in"), 1)

    def test_an_address_counts_on_its_own_interface_only(self):
        network = self.network
        with SparkCluster(network, config_for(network), PROGRAM) as cluster:
            cluster.wait_until_ready()
            for name, half, plane in (("spark2", 1, "data"), ("spark1", 0, "control")):
                with self.subTest(plane):
                    own = network.qsfp(name, half)
                    network.change_address(name, own, "del")
                    network.change_address(name, own, "add", on="wlP9s9")
                    self.wait_for_ready_to_say(cluster, "is held by interface wlP9s9")
                    network.change_address(name, own, "del", on="wlP9s9")
                    network.change_address(name, own, "add")
                    self.assert_serves_again(cluster)
                    # A second holder is a fault while it is there, and none when it has left.
                    network.change_address(name, own, "add", on="wlP9s9")
                    self.wait_for_ready_to_say(cluster, "is held by interface wlP9s9")
                    network.change_address(name, own, "del", on="wlP9s9")
                    self.assert_serves_again(cluster)
            self.assert_nothing_was_started_again(cluster)

    def test_dropped_packets_are_reported_by_deadlines_and_nothing_goes_elsewhere(self):
        if why_no_drops():
            self.skipTest(why_no_drops())
        network = self.network
        for half, plane in ((1, "data"), (0, "control")):
            frames = {}
            with self.subTest(plane), SparkCluster(network, config_for(network), PROGRAM) as cluster:
                cluster.wait_until_ready()
                client = self.endless_request(cluster)
                with network.sniffed(frames):
                    began = time.monotonic()
                    with network.dropping(half):
                        rest = client.communicate(timeout=SECONDS_MAX)[0]
                        took = time.monotonic() - began
                        ready, reason = cluster.curl("/ready")
                        ranks = json.loads(cluster.curl("/status.json")[1])["ranks"]
                        time.sleep(3)
                print(f"{plane} packets dropped: the client's error after {took:.2f} s; /ready: "
                      f"{reason}")
                self.assertIn('"error"', rest)
                self.assertEqual(ready, 503)
                self.assertNotIn("lost its link", cluster.log_text())
                if plane == "data":
                    # Both answer the head: neither is lost, the connection is.
                    self.assertRegex(reason, r"the data connection between rank [01] ")
                    self.assertNotIn("lost", [rank["state"] for rank in ranks])
                else:
                    self.assertRegex(reason, r"rank 1 \(node spark2, [0-9.:]+\) is lost")
                    self.assertNotRegex(reason, r"rank 0 \([^)]*\) is lost")
                self.assert_only_declared(frames, self.halves_only())
                self.assert_serves_again(cluster)

    def test_control_may_use_the_management_port(self):
        network = self.network
        frames = {}
        with network.sniffed(frames):
            with SparkCluster(network, config_for(network, "enP7s7", 0), PROGRAM) as cluster:
                cluster.wait_until_ready()
                self.assertEqual(cluster.curl("/v1/chat/completions", chat_body(COUNT))[0], 200)
        self.assert_only_declared(frames, {
            name: {"enP7s7": CONTROL_PORT, network.qsfp(name, 0): DATA_PORT}
            for name in network.names})

    def test_wrong_and_ambiguous_names_refuse_to_start_and_list_candidates(self):
        network = self.network
        right = config_for(network)
        own = network.qsfp("spark1", 0)
        for wrong, meant in (("enp1s0f0", f"'{own}' begins so"),
                             ("ENP1S0F0NP0", f"'{own}' differs in case"),
                             ("enp1s0f1np1", "no interface is named exactly")):
            config = right.replace(f"interface: {own},", f"interface: {wrong},")
            with self.subTest(wrong), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(config)
                file.flush()
                for program in (["sparkspan-worker", "--rank", "0"], ["sparkspan-head"]):
                    done = network.run("spark1", str(PROGRAM.parent / program[0]), "--cluster",
                                       file.name, *program[1:])
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertIn(meant, done.stderr)
                    for candidate in (own, "enP7s7", "wlP9s9", "tailscale0"):
                        self.assertIn(f"{candidate} (up", done.stderr)

    def doctor(self, name, config):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(config)
            file.flush()
            done = self.network.run(name, str(PROGRAM), "doctor", "--cluster", file.name, "--node",
                                    name, "--json")
        self.assertIn(done.returncode, (0, 3, 4), done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["exit_code"], done.returncode)
        return report

    def test_the_doctor_asks_the_kernel_for_the_way_to_the_peer(self):
        network = self.network

        def routes():
            report = self.doctor("spark1", config_for(network))
            return {finding["subject"]: (finding["outcome"], finding["found"])
                    for finding in report["findings"] if finding["id"] == "route.peer"}

        control = "control, node spark2 (192.168.177.2)"
        self.assertEqual(routes()[control], ("pass", f"leaves by {network.qsfp('spark1', 0)}"))
        network.ip("spark1", "route", "add", "192.168.177.2/32", "dev", "wlP9s9")
        try:
            self.assertEqual(routes()[control], ("failure", "would leave by wlP9s9"))
        finally:
            network.ip("spark1", "route", "del", "192.168.177.2/32", "dev", "wlP9s9")

    def test_nccl_bootstraps_from_the_pinned_address(self):
        libraries = glob.glob("/usr/local/cuda*/lib*/libnccl.so.2") + glob.glob(
            "/usr/lib/*/libnccl.so.2")
        if not libraries:
            self.skipTest("NCCL is not installed")
        report = self.doctor("spark1", config_for(self.network))
        settings = next(finding["found"] for finding in report["findings"]
                        if finding["id"] == "nccl.settings")
        script = ("import ctypes, sys; data = ctypes.create_string_buffer(128); "
                  f"fault = ctypes.CDLL('{libraries[0]}').ncclGetUniqueId(data); "
                  "sys.stdout.write(f'{fault} ' + data.raw.hex())")
        done = self.network.run("spark1", "python3", "-c", script,
                                env=dict(setting.split("=", 1) for setting in settings.split()))
        fault, unique_id = done.stdout.split()[-2:]
        self.assertEqual(fault, "0", done.stderr)
        # 8 bytes of magic, then a sockaddr_in: family, port, address.
        address = socket.inet_ntoa(bytes.fromhex(unique_id)[12:16])
        self.assertEqual(address, self.network.address("spark1", self.network.qsfp("spark1", 1)))


@unittest.skipIf(why_not(), why_not())
class TripleTest(unittest.TestCase):
    """Three Sparks behind a switch."""

    def test_three_sparks_answer_over_declared_links(self):
        with SparkNetwork(3) as network:
            frames = {}
            with network.sniffed(frames):
                with SparkCluster(network, config_for(network), PROGRAM) as cluster:
                    cluster.wait_until_ready()
                    status, text = cluster.curl("/v1/chat/completions", chat_body(COUNT))
                    self.assertEqual((status, COUNTED in text), (200, True), text)
            for name in network.names:
                for interface, kinds in frames[name].items():
                    ports = {network.qsfp(name, 0): CONTROL_PORT, network.qsfp(name, 1): DATA_PORT}
                    spoken = {kind for kind in kinds if kind not in KERNEL_TALK}
                    if interface != "lo":
                        self.assertLessEqual(spoken, {f"tcp {ports.get(interface)}"},
                                             f"{name} {interface}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
