#!/usr/bin/env python3
"""House rules as a test over the source tree. Run from the repository root.

Each rule is a function from the tracked files to complaints. What is allowed to break one stands in
exceptions.txt beside this file, one a line: rule, path, reason.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE_SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
LINE_COLUMNS_MAX = 100
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

# Rooms of the engine that stand above others may be included by those below, never the reverse.
# A room may include itself, whatever is listed for it, and the standard library.
ALLOWED_INCLUDES = {
    "proto": set(),
    "kernels": {"kernels"},
    "engine/base": set(),
    "engine/tensor": {"engine/base", "kernels"},
    "engine/text": {"engine/base"},
    "engine/fabric": {"engine/base"},
    "engine/identity": {"engine/base"},
    "engine/config": {"engine/base", "engine/fabric", "engine/identity"},
    "engine/doctor": {"engine/base", "engine/fabric", "engine/identity", "engine/config"},
    "engine/collective": {"engine/base", "engine/fabric"},
    "engine/weights": {"engine/base", "engine/tensor", "kernels"},
    "engine/cache": {"engine/base", "engine/tensor", "engine/weights", "kernels"},
    "engine/model": {"engine/base", "engine/tensor", "engine/weights", "engine/cache",
                     "engine/collective", "kernels"},
    "engine/draft": {"engine/base", "engine/tensor", "engine/weights", "engine/cache",
                     "engine/collective", "engine/model", "kernels"},
    "engine/schedule": {"engine/base", "engine/runtime/plan.h", "engine/runtime/plan_check.h"},
    "engine/runtime": {"engine/base", "engine/tensor", "engine/weights", "engine/cache",
                       "engine/collective", "engine/model", "engine/draft", "kernels", "proto"},
    "engine/calibrate": {"engine/base", "engine/runtime", "engine/schedule"},
    # The numerics profile is a value that a worker chooses and compares.
    "worker": {"engine", "proto", "kernels/numerics"},
    "head": {"engine", "proto"},
    # The doctor asks workers as the head does.
    "deploy": {"engine", "proto", "kernels", "deploy", "head/cluster/worker_examiner.h",
               "head/cluster/session_key.h"},
    "tests": {"engine", "head", "worker", "kernels", "proto", "deploy", "tests"},
}

# Third-party headers stop at the door: where each may be included.
THIRD_PARTY_DOORS = {
    r"httplib\.h": r"^head/http/|^tests/",
    r"yaml-cpp/": r"^engine/config/[^/]*\.cc$",
    r"nlohmann/": r"\.cc$|^tests/",
    r"pcre2\.h": r"^engine/text/[^/]*\.cc$",
    r"grpc(pp|\+\+)?/|grpc/": r"^(worker|head/cluster|head/program|tests)/|^head/main\.cc$"
                              r"|^deploy/cli/[^/]*\.cc$|^head/[^/]*\.cc$",
    r"hwy/": r"^kernels/cpu/",
    r"boost/": r"^kernels/simt/",
    r"xxhash\.h": r"^engine/base/[^/]*\.cc$",
    r"openssl/": r"\.cc$",
    r"(cuda|cuda_runtime|cuda_fp8|cuda_bf16|nccl)\.h": r"^kernels/simt/|\.cu$|^engine/device/cuda/"
                                                       r"|^engine/collective/nccl",
}

BANNED = [
    (re.compile(r"\bstd::j?thread\b(?!::)"), "use engine::Thread, which has a name",
     re.compile(r"^engine/base/thread\.|^tests/")),
    (re.compile(r"\b(usleep|nanosleep|sleep_for|sleep_until)\s*\("),
     "wait on a condition with a deadline", re.compile(r"^tests/")),
    (re.compile(r"(?<![\w:.])s?rand\s*\("), "use engine/base/random.h or <random>",
     re.compile(r"^$")),
    (re.compile(r"\bassert\s*\("), "use CHECK, which is on in release builds",
     re.compile(r"static_assert")),
    (re.compile(r"\bstd::cout\b"), "write through a stream that is passed in, or LOG",
     re.compile(r"^deploy/cli/")),
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "finish it or write down why not in docs/",
     re.compile(r"^$")),
]

VAGUE_NAMES = re.compile(r"(^|[_/])(utils?|common|misc|helpers?|managers?)([_./]|$)")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(root|home/\w+|work|mnt/\w+)/[\w.]+")


def tracked_files() -> list[Path]:
    out = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True).stdout
    files = [Path(name) for name in out.decode().split("\0") if name]
    return [file for file in files if file.is_file()]


def read(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()


def is_source(path: Path) -> bool:
    return path.suffix in SOURCE_SUFFIXES


def room_of(path: Path) -> str:
    parts = path.parts
    return "/".join(parts[:2]) if parts[0] == "engine" and len(parts) > 2 else parts[0]


def may_include(room: str, target: str) -> bool:
    allowed = ALLOWED_INCLUDES.get(room)
    if allowed is None:
        return False
    return any(target == name or target.startswith(name + "/") for name in allowed | {room})


def check_includes(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in filter(is_source, files):
        for number, line in enumerate(read(path), 1):
            match = re.match(r'\s*#include\s+(["<])([^">]+)[">]', line)
            if not match:
                continue
            quote, target = match.groups()
            first = target.split("/")[0]
            if quote == '"' and first in {"proto", "kernels", "engine", "worker", "head", "deploy"}:
                if not may_include(room_of(path), target):
                    yield path, f"{number}: {room_of(path)} must not include {target}"
            for header, door in THIRD_PARTY_DOORS.items():
                if re.match(header, target) and not re.search(door, str(path)):
                    yield path, f"{number}: {target} may not be included here"


def check_banned(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in filter(is_source, files):
        for number, line in enumerate(read(path), 1):
            code = line.split("//")[0] if "TODO" not in line else line
            for pattern, remedy, allowed in BANNED:
                if pattern.search(code) and not allowed.search(str(path)) \
                        and "static_assert" not in code:
                    yield path, f"{number}: {pattern.search(code).group(0)}: {remedy}"


def check_length(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in filter(is_source, files):
        lines = read(path)
        if len(lines) > FILE_LINES_MAX:
            yield path, f"{len(lines)} lines, more than {FILE_LINES_MAX}: split it by subject"
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_COLUMNS_MAX and "#include" not in line and "http" not in line:
                yield path, f"{number}: {len(line)} columns, more than {LINE_COLUMNS_MAX}"


def check_function_length(files: list[Path]) -> Iterator[tuple[Path, str]]:
    """A function is what opens with a brace at the end of an unindented line, up to '}'."""
    for path in filter(is_source, files):
        start, name = 0, ""
        for number, line in enumerate(read(path), 1):
            opens = re.match(r"^[A-Za-z].*\)[^;]*\{$|^    [^ ].*\)[^;=]*\{$", line)
            if opens and not line.startswith(("namespace", "struct", "class", "enum", "extern")):
                start, name = number, line.strip()
            elif line == "}" and start:
                if number - start > FUNCTION_LINES_MAX:
                    yield path, f"{start}: {number - start} lines in {name}"
                start = 0


def check_names(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in files:
        if VAGUE_NAMES.search(str(path)):
            yield path, "a name that says nothing of the subject"


def check_machine_paths(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in files:
        if path.parts[:2] == ("tests", "data") or path.suffix in {".safetensors", ".json", ".png"}:
            continue
        for number, line in enumerate(read(path), 1):
            if MACHINE_PATHS.search(line):
                yield path, f"{number}: an absolute path of one machine"


def check_headers(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in files:
        if path.suffix in {".h", ".cuh"} and "#pragma once" not in read(path)[:40]:
            yield path, "no #pragma once"


def check_docs_links(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in files:
        if path.suffix != ".md" or path.parts[:2] == ("tests", "data"):
            continue
        for number, line in enumerate(read(path), 1):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
                if re.match(r"[a-z]+:", target):
                    continue
                if not (path.parent / target).exists():
                    yield path, f"{number}: link to {target}, which does not exist"


def check_listed_sources(files: list[Path]) -> Iterator[tuple[Path, str]]:
    """A source that no CMake file names is dead."""
    listed = "\n".join("\n".join(read(path)) for path in files
                       if path.name == "CMakeLists.txt" or path.suffix == ".cmake")
    for path in files:
        if path.suffix in {".cc", ".cu"} and path.name not in listed:
            yield path, "no CMake file names it"


RULES = {
    "includes": check_includes,
    "banned": check_banned,
    "length": check_length,
    "function-length": check_function_length,
    "names": check_names,
    "machine-paths": check_machine_paths,
    "headers": check_headers,
    "docs-links": check_docs_links,
    "listed-sources": check_listed_sources,
}


def read_exceptions(path: Path) -> dict[tuple[str, str], str]:
    exceptions = {}
    for line in read(path):
        if line and not line.startswith("#"):
            rule, name, reason = line.split(maxsplit=2)
            exceptions[(rule, name)] = reason
    return exceptions


def main() -> int:
    files = tracked_files()
    exceptions = read_exceptions(Path(__file__).with_name("exceptions.txt"))
    used, complaints = set(), 0
    for rule, check in RULES.items():
        for path, complaint in check(files):
            key = (rule, str(path))
            if key in exceptions:
                used.add(key)
                continue
            print(f"{path}:{complaint}  [{rule}]")
            complaints += 1
    for rule, name in exceptions.keys() - used:
        print(f"tests/tidy/exceptions.txt: '{rule} {name}' is needed no more: remove it")
        complaints += 1
    print(f"{len(files)} files, {len(RULES)} rules, {complaints} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
