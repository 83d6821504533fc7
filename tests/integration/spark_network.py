"""Machines out of network namespaces, with the interfaces that a DGX Spark has.

Every "Spark" has the two halves of one cabled QSFP cage, the management port enP7s7, tailscale0, and
wlP9s9 with the default route: the decoy that a packet without a pin would take.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

DECOYS = {"enP7s7": "192.168.1", "wlP9s9": "192.168.0", "tailscale0": "100.64.0"}
TOOLS = ("ip", "nsenter", "unshare", "mount", "curl")

# Counts the frames of every interface of a namespace until SIGTERM, by what they carry.
SNIFFER = """
import json, signal, socket, struct, sys
counts = {}
def done(*_):
    print(json.dumps(counts), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, done)
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
print("listening", flush=True)
PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "ipv6 neighbour discovery"}
while True:
    frame, (interface, ethertype, *_) = sniffer.recvfrom(128)
    if ethertype == 0x0806:
        kind = "arp"
    elif ethertype == 0x0800 and len(frame) >= 34:
        kind = PROTOCOLS.get(frame[23], "ip " + str(frame[23]))
        at = 14 + 4 * (frame[14] & 15)
        if kind in ("tcp", "udp") and len(frame) >= at + 4:
            kind += " " + str(min(struct.unpack("!HH", frame[at:at + 4])))
    elif ethertype == 0x86DD and len(frame) >= 55:
        following = frame[54] if frame[20] == 0 else frame[20]
        kind = PROTOCOLS.get(following, "ipv6 " + str(following))
    else:
        kind = hex(ethertype)
    of_interface = counts.setdefault(interface, {})
    of_interface[kind] = of_interface.get(kind, 0) + 1
"""


def why_not() -> str:
    """Why namespaces cannot be made here; empty when they can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(["unshare", "-n", "-m", "mount", "-t", "sysfs", "none", "/sys"],
                           capture_output=True, text=True)
    if tried.returncode != 0:
        return f"no right to make network namespaces: {tried.stderr.strip()}"
    return ""


def why_no_drops() -> str:
    """Why packets cannot be made to vanish here while the link stays up; empty when they can."""
    if shutil.which("tc") is None:
        return "not installed: tc"
    tried = subprocess.run(["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "blackhole"],
                           capture_output=True, text=True)
    return f"the kernel has no qdisc that drops all: {tried.stderr.strip()}" if tried.returncode else ""


class SparkNetwork:
    """`count` Sparks; used as a context. Two are joined by a cable (f0 of the first to f1 of the
    second), more by a switch (f0 of each)."""

    def __init__(self, count: int) -> None:
        self.tag = f"ss{os.getpid()}-"
        self.names = [f"spark{i + 1}" for i in range(count)]
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "SparkNetwork":
        with contextlib.ExitStack() as on_error:
            on_error.callback(self.__exit__)
            self._build()
            on_error.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for name in [*self.names, "lan"]:
            subprocess.run(["ip", "netns", "del", self.tag + name], capture_output=True)

    def qsfp(self, name: str, half: int) -> str:
        """The interface of the half (0 or 1) of the cabled cage of a Spark."""
        cage = 1 if len(self.names) == 2 and name == "spark2" else 0
        return f"{'enP2p1' if half else 'enp1'}s0f{cage}np{cage}"

    def address(self, name: str, interface: str) -> str:
        last = self.names.index(name) + 1
        if interface in DECOYS:
            return f"{DECOYS[interface]}.{last}"
        return f"192.168.{178 if interface.startswith('enP2') else 177}.{last}"

    def set_link(self, name: str, interface: str, state: str, wait: bool = True) -> None:
        """Up: returns when every cable says so, unless told not to wait."""
        self.ip(name, "link", "set", interface, state)
        if state == "up" and wait:
            self._wait_until_up()

    def change_address(self, name: str, interface: str, change: str, on: str = "") -> None:
        """`change` (add, del) of the address that belongs to the interface, on it or on another."""
        self.ip(name, "address", change, self.address(name, interface) + "/24", "dev",
                on or interface)

    @contextlib.contextmanager
    def unplugged(self, half: int):
        """The cable of this half is out, which removes its interface at both ends. When it is back
        in they are new ones of the same names."""
        self.ip("spark1", "link", "del", self.qsfp("spark1", half))
        try:
            yield
        finally:
            self._plug(half)
            for name in self.names:
                self._configure(name, self.qsfp(name, half))
            self._wait_until_up()

    @contextlib.contextmanager
    def dropping(self, half: int):
        """Every packet into the cable of this half vanishes, at both ends; its link stays up."""
        ends = [(name, self.qsfp(name, half)) for name in self.names]
        for name, interface in ends:
            self._tc(name, "replace", "dev", interface, "root", "blackhole")
        try:
            yield
        finally:
            for name, interface in ends:
                self._tc(name, "del", "dev", interface, "root")

    def _tc(self, name: str, *args: str) -> None:
        subprocess.run(["tc", "-n", self.tag + name, "qdisc", *args], check=True,
                       capture_output=True, text=True)

    def _wait_until_up(self) -> None:
        """The kernel says that a link is up as late as a second after it is."""
        deadline = time.monotonic() + 60
        for name in self.names:
            for interface in (*DECOYS, self.qsfp(name, 0), self.qsfp(name, 1)):
                while self._operstate(name, interface) != "UP":
                    if time.monotonic() > deadline:
                        raise AssertionError(f"{interface} of {name} does not come up")
                    time.sleep(0.05)

    def _operstate(self, name: str, interface: str) -> str:
        out = subprocess.run(["ip", "-n", self.tag + name, "-j", "link", "show", interface],
                             check=True, capture_output=True, text=True).stdout
        return json.loads(out)[0]["operstate"]

    def ip(self, name: str, *args: str) -> None:
        self._ip("-n", self.tag + name, *args)

    def enter(self, name: str) -> list[str]:
        """What a command follows to run in the namespace, with mounts of its own."""
        return ["nsenter", f"--net=/run/netns/{self.tag}{name}", "unshare", "-m"]

    def command(self, name: str, *args: str) -> list[str]:
        """A command in the namespace, with the sysfs that belongs to it."""
        return [*self.enter(name), "sh", "-c", 'mount -t sysfs none /sys && exec "$@"', "sh", *args]

    def run(self, name: str, *args: str, env: dict[str, str] | None = None,
            timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(name, *args), capture_output=True, text=True,
                              timeout=timeout, env=None if env is None else os.environ | env)

    def start(self, name: str, *args: str, env: dict[str, str] | None = None,
              log: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(self.command(name, *args), stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.DEVNULL if log is subprocess.PIPE else log,
                                   text=True, env=None if env is None else os.environ | env)
        self.processes.append(process)
        return process

    def bytes_of(self, name: str) -> dict[str, int]:
        """Bytes sent and received by each interface."""
        out = subprocess.run(["ip", "-n", self.tag + name, "-s", "-j", "link"], check=True,
                             capture_output=True, text=True).stdout
        return {link["ifname"]: link["stats64"]["tx"]["bytes"] + link["stats64"]["rx"]["bytes"]
                for link in json.loads(out)}

    @contextlib.contextmanager
    def sniffed(self, frames: dict[str, dict[str, dict[str, int]]]):
        """Fills `frames` with the frames seen inside: Spark, interface, kind."""
        sniffers = {name: self.start(name, "python3", "-c", SNIFFER) for name in self.names}
        for sniffer in sniffers.values():
            assert sniffer.stdout is not None and sniffer.stdout.readline() == "listening\n"
        try:
            yield
        finally:
            for name, sniffer in sniffers.items():
                sniffer.send_signal(signal.SIGTERM)
                frames[name] = json.loads(sniffer.communicate(timeout=60)[0])

    def _build(self) -> None:
        for name in [*self.names, "lan"]:
            self._ip("netns", "add", self.tag + name)
            self._ip("-n", self.tag + name, "link", "set", "lo", "up")
        for decoy in DECOYS:
            self._bridge(decoy)
        if len(self.names) == 2:
            for half in (0, 1):
                self._plug(half)
        else:
            for half in (0, 1):
                self._bridge(self.qsfp("spark1", half))
        for name in self.names:
            for interface in [*DECOYS, self.qsfp(name, 0), self.qsfp(name, 1)]:
                self._configure(name, interface)
            self.ip(name, "route", "add", "default", "via", DECOYS["wlP9s9"] + ".254")
        self._wait_until_up()

    def _plug(self, half: int) -> None:
        self._veth("spark1", self.qsfp("spark1", half), "spark2", self.qsfp("spark2", half))

    def _configure(self, name: str, interface: str) -> None:
        mtu = "9000" if "s0f" in interface else "1500"
        self.ip(name, "link", "set", interface, "mtu", mtu, "up")
        self.change_address(name, interface, "add")

    def _bridge(self, interface: str) -> None:
        """A switch that joins `interface` of every Spark, as the gateway of the decoy's network."""
        lan = self.tag + "lan"
        bridge = "br-" + interface[-10:]
        self._ip("-n", lan, "link", "add", bridge, "type", "bridge")
        for number, name in enumerate(self.names):
            port = f"p{number}-{interface[-10:]}"
            self._veth(name, interface, "lan", port)
            self._ip("-n", lan, "link", "set", port, "master", bridge)
            self._ip("-n", lan, "link", "set", port, "mtu", "9000", "up")
        self._ip("-n", lan, "link", "set", bridge, "up")
        if interface == "wlP9s9":
            self._ip("-n", lan, "address", "add", DECOYS[interface] + ".254/24", "dev", bridge)

    def _veth(self, first: str, interface: str, second: str, other: str) -> None:
        self._ip("link", "add", "name", interface, "netns", self.tag + first, "type", "veth",
                 "peer", "name", other, "netns", self.tag + second)

    @staticmethod
    def _ip(*args: str) -> None:
        done = subprocess.run(["ip", *args], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"ip {' '.join(args)}: {done.stderr}")


class SparkCluster:
    """`sparkspan node` on every Spark of a network; used as a context."""

    API = "http://127.0.0.1:8000"

    def __init__(self, network: SparkNetwork, config: str, program: Path,
                 env: dict[str, str] | None = None, prepare: dict[str, str] | None = None) -> None:
        """`env` is added to every node's environment; `prepare` are shell commands, by Spark, that
        run before its node, among mounts that are its own."""
        self.network = network
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "cluster.yaml"
        file.write_text(config)
        self.logs = {name: Path(self.folder.name) / f"{name}.log" for name in network.names}
        self.nodes = {}
        for rank, name in enumerate(network.names):
            with self.logs[name].open("w") as log:
                command = (prepare or {}).get(name, "true")
                self.nodes[name] = network.start(
                    name, "sh", "-c", f'{command} && exec "$@"', "sh", str(program), "node",
                    "--cluster", str(file), log=log,
                    env={"NODE_RANK": str(rank), "NCCL_SOCKET_IFNAME": "wlP9s9"} | (env or {}))

    def __enter__(self) -> "SparkCluster":
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes.values():
            if node.poll() is None:
                node.send_signal(signal.SIGTERM)
        for node in self.nodes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(60)
        self.folder.cleanup()

    def curl(self, path: str, body: Any = None, timeout: float = 120) -> tuple[int, str]:
        """Status and text of one call, from the head's own machine."""
        args = ["curl", "-sS", "-m", str(timeout), "-w", "\n%{http_code}", self.API + path]
        if body is not None:
            args += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        done = self.network.run(self.network.names[0], *args, timeout=timeout + 30)
        text, _, status = done.stdout.rpartition("\n")
        return int(status or 0), text

    def wait_until_ready(self, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while self.curl("/ready", timeout=10)[0] != 200:
            ended = [name for name, node in self.nodes.items() if node.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"not ready; ended: {ended}\n" + self.log_text())
            time.sleep(0.2)

    def log_text(self) -> str:
        return "\n".join(f"== {name}\n{log.read_text()}" for name, log in self.logs.items())
