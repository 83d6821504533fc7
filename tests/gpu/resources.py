#!/usr/bin/env python3
"""Compiles every CUDA kernel for every chip and records what it takes; no GPU needed.

For each kernel, instance and architecture: registers, spills, stack, shared memory, blocks that fit
an SM, and a census of the machine instructions. Fails on a spill, on local memory, on an access
that must find out which memory it is for (sm_12x), on a stream narrower than eight bytes, and on a
limit that a kernel states for itself in the lines above it:

    // Limits: 200 registers; blocks per SM on sm_12x 3 <1>, 2 <2>, 2 <6>; 4 weights before the wait.

Every instance keeps to the registers. <1> stands for the instances whose last template argument is
1 (none: for all), and so many of their blocks must fit an SM of a GB10. So many loads of weights
must stand before the last wait for the launch before, because the machine's compiler has moved them
behind it where it was allowed to. A kernel whose stored format knows only words says "streams
words".

Usage: tests/gpu/resources.py [--architectures 121a,120a,90a] [--write docs/performance/resources.csv]
Run from the repository root; needs nvcc and a C++ compiler.
"""

import argparse
import csv
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

# Per SM: registers, warps, blocks, shared bytes.
CHIPS = {
    "121a": (65536, 48, 24, 100 * 1024),
    "120a": (65536, 48, 24, 100 * 1024),
    "90a": (65536, 64, 32, 228 * 1024),
}
SHARED_BYTES_PER_BLOCK = {"121a": 101376, "120a": 101376, "90a": 232448}
SHARED_RESERVED_PER_BLOCK = 1024

# Low twelve bits of a 16-byte SASS instruction, by probing one-instruction kernels; compared with
# what nvdisasm (PyPI's nvidia-cuda-nvdisasm) says of these kernels.
LOAD_GLOBAL, LOAD_GLOBAL_256 = 0x981, 0x97E
BRANCH, BARRIER, DEPENDENCY_WAIT = 0x947, 0xB1D, 0x82E
OPCODES = {
    0x23C: "mma", 0x27A: "mma", 0x47A: "mma", 0x47F: "mma",
    LOAD_GLOBAL: "load_global", LOAD_GLOBAL_256: "load_global",
    0x986: "store_global", 0x980: "generic", 0x985: "generic",
    0x83B: "load_matrix", 0x984: "load_shared", 0x388: "store_shared", 0x988: "store_shared",
    0xFAE: "async_copy", 0x3BA: "async_copy", BARRIER: "barrier",
    0xF89: "shuffle", 0x389: "shuffle", 0x589: "shuffle", 0x989: "shuffle",
    0x9A8: "atomic_global", DEPENDENCY_WAIT: "dependency_wait", 0x3BC: "prefetch",
    0x23E: "convert", 0x983: "local", 0x387: "local",
}
# Of loads: all, those of 16 and of 8 bytes, narrower ones within loops; streams (read once) and
# those of them that stand before a wait.
CENSUS = ["mma", "load_global", "load_128", "load_64", "narrow_in_loops", "streams",
          "streams_before_wait", "store_global", "generic", "load_matrix", "load_shared",
          "store_shared", "async_copy", "shuffle", "barrier", "convert", "atomic_global",
          "dependency_wait", "prefetch", "local"]
COLUMNS = ["kernel", "architecture", "registers", "spill_bytes", "stack_bytes", "threads",
           "shared_bytes", "blocks_per_sm", "instructions"] + CENSUS


class Instruction:
    """The sixteen bytes of one, as far as the census reads them."""

    def __init__(self, code: bytes, at: int):
        low, self.high = struct.unpack_from("<QQ", code, at)
        self.opcode = low & 0xFFF
        # Signed, in units of four bytes, in three pieces.
        offset = (self.high & 0x3FFFF) << 38 | low >> 34 << 8 | low >> 16 & 0xFF
        self.target = at + 16 + 4 * (offset - ((offset >> 55) << 56))

    def is_load(self) -> bool:
        return self.opcode in (LOAD_GLOBAL, LOAD_GLOBAL_256)

    def load_bytes(self) -> int:
        if self.opcode == LOAD_GLOBAL_256:
            return 32
        return {6: 16, 5: 8, 4: 4, 3: 2, 2: 2, 1: 1, 0: 1}[self.high >> 9 & 7]

    def is_stream(self) -> bool:
        return self.is_load() and bool(self.high >> 22 & 1)


def compile_unit(source: Path, architecture: str, folder: Path) -> tuple[Path, str]:
    cubin = folder / f"{source.stem}_{architecture}.cubin"
    command = ["nice", "-n", "5", "nvcc", "-std=c++20", "--fmad=false", "-Werror", "all-warnings",
               "-I.", "-gencode", f"arch=compute_{architecture},code=sm_{architecture}", "-cubin",
               "-Xptxas", "-v", "-o", str(cubin), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{source} for {architecture}:\n{done.stderr}")
    return cubin, done.stderr


def parse_ptxas(text: str) -> dict[str, dict[str, int]]:
    kernels: dict[str, dict[str, int]] = {}
    name = ""
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            name = match.group(1)
            kernels[name] = {}
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                                r"(\d+) bytes spill loads", line):
            stack, stores, loads = map(int, match.groups())
            kernels.setdefault(name, {}).update(stack_bytes=stack, spill_bytes=stores + loads)
        elif match := re.search(r"Used (\d+) registers", line):
            kernels[name]["registers"] = int(match.group(1))
    return kernels


def sections(data: bytes):
    offset = struct.unpack_from("<Q", data, 0x28)[0]
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]
    for header in headers:
        at = headers[names][4] + header[0]
        yield data[at:data.index(b"\0", at)].decode(), data[header[4]:header[4] + header[5]]


def census(cubin: Path) -> dict[str, dict[str, int]]:
    return {name.removeprefix(".text."): count_instructions(code)
            for name, code in sections(cubin.read_bytes()) if name.startswith(".text.")}


def count_instructions(code: bytes) -> dict[str, int]:
    counts = dict.fromkeys(CENSUS, 0)
    program = [Instruction(code, at) for at in range(0, len(code), 16)]
    counts["instructions"] = len(program)
    loops = [(one.target // 16, here) for here, one in enumerate(program)
             if one.opcode == BRANCH and one.target < here * 16]
    loop_ends = {end for _, end in loops}
    streams_since_break = 0  # barriers and loops end what leads up to a wait
    counts["narrowest_stream"] = 32
    for here, one in enumerate(program):
        if kind := OPCODES.get(one.opcode):
            counts[kind] += 1
        if one.opcode == DEPENDENCY_WAIT:
            counts["streams_before_wait"] += streams_since_break
        if one.opcode in (DEPENDENCY_WAIT, BARRIER) or here in loop_ends:
            streams_since_break = 0
        if one.is_load():
            size = one.load_bytes()
            counts["load_128"] += size == 16
            counts["load_64"] += size == 8
            counts["narrow_in_loops"] += size < 8 and any(begin <= here < end
                                                          for begin, end in loops)
        if one.is_stream():
            counts["streams"] += 1
            counts["narrowest_stream"] = min(counts["narrowest_stream"], size)
            streams_since_break += 1
    return counts


def demangle(name: str) -> str:
    text = subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip()
    text = text.replace("sparkspan::kernels::cuda::", "").replace("void ", "")
    depth = 0
    for i, letter in enumerate(text):  # cut the parameters, keep the template arguments
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return text[:i]
    return text


class Limits:
    """What a kernel's comment promises; see the top of this file."""

    def __init__(self, text: str):
        self.registers = 0
        self.blocks: dict[str, int] = {}
        self.weights = 0
        self.streams_words = False
        for clause in re.sub(r"\s*\n//\s*", " ", text).split("; "):
            if match := re.fullmatch(r"(\d+) registers", clause):
                self.registers = int(match.group(1))
            elif match := re.fullmatch(r"(\d+) weights before the wait", clause):
                self.weights = int(match.group(1))
            elif clause == "streams words":
                self.streams_words = True
            elif match := re.fullmatch(r"blocks per SM on sm_12x (.*)", clause):
                for each in match.group(1).split(", "):
                    count, _, instance = each.partition(" ")
                    self.blocks[instance.strip("<>")] = int(count)
            else:
                sys.exit(f"not a limit: {clause!r}")

    def broken_by(self, kernel: str, row: dict) -> list[str]:
        last_argument = kernel.removesuffix(">").rpartition(", ")[2].rpartition("<")[2]
        blocks = self.blocks.get(last_argument, self.blocks.get("", 0))
        broken = []
        if row["registers"] > self.registers:
            broken.append(f"{row['registers']} registers, states {self.registers}")
        if row["architecture"].startswith("12") and row["blocks_per_sm"] < blocks:
            broken.append(f"{row['blocks_per_sm']} blocks fit an SM, states {blocks}")
        if row["streams_before_wait"] < self.weights:
            broken.append(f"{row['streams_before_wait']} weights are asked for before the wait, "
                          f"states {self.weights}")
        if row["narrowest_stream"] < (4 if self.streams_words else 8):
            broken.append(f"streams in pieces of {row['narrowest_stream']} bytes")
        return broken


class Sources:
    """What the kernels' own texts say: limits, thread counts, shared structs."""

    def __init__(self, files: list[Path]):
        self.limits: dict[str, Limits] = {}
        self.threads: dict[str, str] = {}
        self.shared: dict[str, str] = {}
        self.files = files
        for path in files:
            text = path.read_text()
            for match in re.finditer(
                    r"// Limits: ([^.]*)\.\n(?:template <[^>]*>\n)?"
                    r"SIMT_KERNEL\(.*?\)\s*(\w+)\(", text):
                self.limits[match.group(2)] = Limits(match.group(1))
            for match in re.finditer(r"^SIMT_KERNEL\((.*)\)\s*(\w+)\(", text, re.M):
                self.threads[match.group(2)] = match.group(1).split(",")[0]
            for match in re.finditer(r"simt::launch<([\w:]+(?:<\w+>)?)>\(\s*[^;]*?stream,\s*(\w+)", text):
                self.shared[match.group(2)] = match.group(1)

    def evaluate(self, folder: Path) -> dict[str, tuple[int, int]]:
        """Threads and shared bytes by kernel, by asking the C++ compiler."""
        program = folder / "sizes.cc"
        lines = [f'#include "{path}"' for path in self.files]
        lines += ["#include <cstdio>", "#include <type_traits>",
                  "using namespace sparkspan::kernels;",
                  "template <class T> int Bytes() { return std::is_empty_v<T> ? 0 : "
                  "static_cast<int>(sizeof(T)); }", "int main() {"]
        for kernel, threads in self.threads.items():
            shared = self.shared.get(kernel, "simt::NoShared")
            lines.append(f'std::printf("{kernel} %d %d\\n", {threads}, Bytes<{shared}>());')
        program.write_text("\n".join(lines + ["}"]))
        subprocess.run(["c++", "-std=c++20", "-fsyntax-only", "-I.", str(program)], check=True)
        binary = folder / "sizes"
        # Nothing is launched, so the emulator behind the headers is left out.
        subprocess.run(["c++", "-std=c++20", "-O1", "-I.", "-Wl,--unresolved-symbols=ignore-all",
                        "-o", str(binary), str(program)], check=True)
        out = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
        rows = (line.split() for line in out.splitlines())
        return {name: (int(threads), int(shared)) for name, threads, shared in rows}


def blocks_per_sm(architecture: str, registers: int, threads: int, shared: int) -> int:
    total_registers, warps_max, blocks_max, shared_max = CHIPS[architecture]
    warps = threads // 32
    per_warp = (registers * 32 + 255) // 256 * 256
    return min(total_registers // (per_warp * warps), warps_max // warps, blocks_max,
               shared_max // (shared + SHARED_RESERVED_PER_BLOCK))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", default="121a,120a,90a")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    sources = Sources(sorted(Path("kernels").glob("*/*.cuh")))
    rows, complaints = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = sources.evaluate(folder)
        for unit in sorted(Path("kernels").glob("*/*.cu")):
            for architecture in options.architectures.split(","):
                cubin, text = compile_unit(unit, architecture, folder)
                counts = census(cubin)
                for mangled, used in parse_ptxas(text).items():
                    kernel = demangle(mangled)
                    base = kernel.split("<")[0]
                    threads, shared = sizes[base]
                    row = {"kernel": kernel, "architecture": architecture, "threads": threads,
                           "shared_bytes": shared, **used, **counts.get(mangled, {})}
                    row["blocks_per_sm"] = blocks_per_sm(architecture, used["registers"], threads,
                                                         shared)
                    rows.append(row)
                    where = f"{kernel} for {architecture}"
                    if used["spill_bytes"] or used["stack_bytes"] or row.get("local"):
                        complaints.append(f"{where}: spills {used['spill_bytes']} bytes, stack "
                                          f"{used['stack_bytes']} bytes")
                    limits = sources.limits.get(base)
                    if limits is None:
                        complaints.append(f"{where}: states no limit of registers")
                    else:
                        complaints += [f"{where}: {what}" for what in limits.broken_by(kernel, row)]
                    if row["generic"] and architecture.startswith("12"):
                        complaints.append(f"{where}: {row['generic']} accesses do not know that "
                                          "they go to global memory: say simt::global")
                    if shared > SHARED_BYTES_PER_BLOCK[architecture]:
                        complaints.append(f"{where}: {shared} bytes of shared memory, the chip has "
                                          f"{SHARED_BYTES_PER_BLOCK[architecture]}")
                    if row["blocks_per_sm"] < 1:
                        complaints.append(f"{where}: no block fits an SM")
    rows.sort(key=lambda row: (row["kernel"], row["architecture"]))
    if options.write:
        with options.write.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"{len(rows)} kernel instances, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
