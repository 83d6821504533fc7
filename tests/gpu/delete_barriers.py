#!/usr/bin/env python3
"""Deletes each barrier, wait and fence of each shipped kernel in turn and shows that the tests notice.

The emulator can ignore one by its place, so nothing is compiled again. A deletion counts as caught
when one of the test programs fails; one that no test passes, as not caught. Kinds of the dialect that
no shipped kernel uses are deleted from the dialect's own tests instead. Exits with an error below
--required percent of any kind.

Usage: tests/gpu/delete_barriers.py --dialect build/release/tests/unit/kernels/simt/kernels_simt_test \
           build/release/tests/unit/kernels/families/kernels_{families,golden}_test
Run from the repository root.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

KINDS = ["sync_block", "sync_warp", "named_barrier", "async_wait", "mbarrier_arrive",
         "mbarrier_wait", "dependency_wait", "fence_device"]
# How the sources spell those that are functions; an mbarrier's are methods.
SITE = re.compile(r"\b(?:simt::)?(sync_block|sync_warp|named_barrier|async_wait|dependency_wait|"
                  r"fence_device)(?:<\d+>)?\(")

# Which tests meet a file: the rest need not run for it. Shared headers run them all.
TESTS = {
    "attend.cuh": "*Attention*",
    "compressor.cuh": "*Compressor*",
    "draft.cuh": "*DraftTurn*",
    "embedding.cuh": "*Embed*:*OpenStreams*:*StreamMean*",
    "expert.cuh": "*Experts*",
    "experts.cuh": "*Experts*:*Combine*",
    "feed_forward.cuh": "*Route*:*FusedExperts*",
    "filter.cuh": "*Sample*",
    "group_rows.cuh": "*Grouping*",
    "grouping.cuh": "*Grouping*",
    "hyper_connection.cuh": "*HyperConnection*",
    "index_score.cuh": "*Index*",
    "linear_tile.cuh": "*Linear*",
    "prepare.cuh": "*EntryWrite*:*Query*",
    "projections.cuh": "*Latents*:*Queries*:*Output*",
    "rms_norm.cuh": "*RmsNorm*:*Quantize*",
    "router.cuh": "*Router*",
    "sample.cuh": "*Sample*",
    "sampling.cuh": "*Pick*:*Accept*",
    "select.cuh": "*Index*:*Select*",
    "top_k.cuh": "*TopK*",
}


def run(program: Path, environment: dict[str, str], tests: str = "*") -> int:
    return subprocess.run([str(program), f"--gtest_filter={tests}", "--gtest_fail_fast",
                           "--gtest_brief=1"], env=os.environ | environment,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def passed_sites(program: Path) -> dict[str, str]:
    """The kind of each site that the program's tests pass, by its place."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "sites"
        if run(program, {"SPARKSPAN_SITE_LIST": str(listing)}) != 0:
            sys.exit(f"the tests of {program} fail before anything is deleted")
        return dict(line.split() for line in set(listing.read_text().splitlines()))


def written_sites() -> dict[str, str]:
    """The kind of each site that the kernels' sources name, by its place."""
    sites = {}
    for path in [*Path("kernels").glob("*/*.cuh"), Path("kernels/simt/collective.h")]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split("//")[0]
            if found := SITE.search(code):
                sites[f"{path.name}:{number}"] = found[1]
    return sites


def source_line(place: str) -> str:
    name, line = place.rsplit(":", 1)
    path = next(path for folder in ("kernels", "tests/unit/kernels")
                for path in Path(folder).glob(f"*/{name}"))
    return re.sub(r"\s+", " ", path.read_text().splitlines()[int(line) - 1]).strip()


def is_caught(place: str, programs: list[Path], dialect: Path) -> bool:
    deletion = {"SPARKSPAN_DELETED_SITE": place}
    tests = TESTS.get(place.rsplit(":", 1)[0], "*")
    return run(dialect, deletion) != 0 or \
        any(run(program, deletion, tests) != 0 for program in programs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path, nargs="+", help="tests of the kernels")
    parser.add_argument("--dialect", type=Path, required=True, help="tests of the dialect itself")
    parser.add_argument("--required", type=float, default=95)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    passed = {}
    for program in options.programs:
        passed |= passed_sites(program)
    of_dialect = passed_sites(options.dialect)
    shipped = written_sites() | passed
    others = {place: kind for place, kind in of_dialect.items() if kind not in shipped.values()}
    rows = []
    for place, kind in sorted((shipped | others).items()):
        caught = (place in passed or place in of_dialect) and \
            is_caught(place, options.programs, options.dialect)
        rows.append({"site": place, "kind": kind, "source": source_line(place),
                     "caught": "yes" if caught else "no"})
        print(f"{place} {kind}: {'caught' if caught else 'NOT CAUGHT'}", flush=True)
    if options.write:
        with options.write.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["site", "kind", "source", "caught"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    written = Counter(row["kind"] for row in rows)
    caught = Counter(row["kind"] for row in rows if row["caught"] == "yes")
    worst = 100.0
    for kind in KINDS:
        percent = 100 * caught[kind] / written[kind] if written[kind] else 0.0
        worst = min(worst, percent)
        where = "shipped kernels" if kind in shipped.values() else "the dialect's tests"
        print(f"{kind}: {caught[kind]} of {written[kind]} deletions caught in {where}: "
              f"{percent:.1f} %, {options.required} % required")
    return 0 if worst >= options.required else 1


if __name__ == "__main__":
    sys.exit(main())
