#!/usr/bin/env python3
"""Compiles every CUDA kernel for every chip and records what it takes; no GPU needed.

For each kernel, instance and architecture: registers, spills, stack, shared memory, blocks that fit
an SM, and a census of the machine instructions. Fails on a spill, on local memory, and on a limit
that a kernel states for itself in the line above it:

    // Limits: 168 registers.

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
OPCODES = {
    0x23C: "mma", 0x27A: "mma", 0x47A: "mma", 0x47F: "mma",
    0x981: "load_global", 0x97E: "load_global",
    0x986: "store_global",
    0x83B: "load_matrix", 0x984: "load_shared", 0x388: "store_shared", 0x988: "store_shared",
    0xFAE: "async_copy", 0x3BA: "async_copy", 0xB1D: "barrier",
    0xF89: "shuffle", 0x389: "shuffle", 0x589: "shuffle", 0x989: "shuffle",
    0x9A8: "atomic_global", 0x82E: "dependency_wait", 0x3BC: "prefetch",
    0x23E: "convert", 0x983: "local", 0x387: "local",
}
CENSUS = ["mma", "load_global", "store_global", "load_matrix", "load_shared", "store_shared",
          "async_copy", "shuffle", "barrier", "convert", "atomic_global", "dependency_wait",
          "prefetch", "local"]
COLUMNS = ["kernel", "architecture", "registers", "spill_bytes", "stack_bytes", "threads",
           "shared_bytes", "blocks_per_sm", "instructions"] + CENSUS


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
    result = {}
    for name, code in sections(cubin.read_bytes()):
        if not name.startswith(".text."):
            continue
        counts = dict.fromkeys(CENSUS, 0)
        words = [struct.unpack_from("<Q", code, at)[0] for at in range(0, len(code), 16)]
        for word in words:
            if kind := OPCODES.get(word & 0xFFF):
                counts[kind] += 1
        counts["instructions"] = len(words)
        result[name.removeprefix(".text.")] = counts
    return result


def demangle(name: str) -> str:
    text = subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip()
    text = text.replace("sparkspan::kernels::cuda::", "").replace("void ", "")
    depth = 0
    for i, letter in enumerate(text):  # cut the parameters, keep the template arguments
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return text[:i]
    return text


class Sources:
    """What the kernels' own texts say: limits, thread counts, shared structs."""

    def __init__(self, files: list[Path]):
        self.limits: dict[str, int] = {}
        self.threads: dict[str, str] = {}
        self.shared: dict[str, str] = {}
        self.files = files
        for path in files:
            text = path.read_text()
            for match in re.finditer(
                    r"// Limits: (\d+) registers\.\n(?:template <[^>]*>\n)?"
                    r"SIMT_KERNEL\(.*?\)\s*(\w+)\(", text):
                self.limits[match.group(2)] = int(match.group(1))
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
                    limit = sources.limits.get(base)
                    if limit is None:
                        complaints.append(f"{where}: states no limit of registers")
                    elif used["registers"] > limit:
                        complaints.append(f"{where}: {used['registers']} registers, states {limit}")
                    if shared > SHARED_BYTES_PER_BLOCK[architecture]:
                        complaints.append(f"{where}: {shared} bytes of shared memory, the chip has "
                                          f"{SHARED_BYTES_PER_BLOCK[architecture]}")
                    if row["blocks_per_sm"] < 1:
                        complaints.append(f"{where}: no block fits an SM")
    rows.sort(key=lambda row: (row["kernel"], row["architecture"]))
    if options.write:
        with options.write.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({column: row.get(column, 0) for column in COLUMNS} for row in rows)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"{len(rows)} kernel instances, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
