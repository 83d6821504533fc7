#!/usr/bin/env python3
"""Deletes each barrier and wait of each shipped kernel in turn and shows that the tests notice.

The emulator can ignore a barrier by its place, so nothing is compiled again. A deletion counts as
caught when one of the test programs fails. Exits with an error below --required percent.

Usage: tests/gpu/delete_barriers.py build/release/tests/unit/kernels/families/kernels_families_test \
           build/release/tests/unit/kernels/simt/kernels_simt_test
Run from the repository root.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Which tests meet a barrier of a file: the rest need not run for it. Shared headers run them all.
TESTS = {
    "attend.cuh": "*Attention*",
    "expert.cuh": "*Experts*",
    "group_rows.cuh": "*Grouping*",
    "hyper_connection.cuh": "*HyperConnection*",
    "feed_forward.cuh": "*Route*:*FusedExperts*",
    "linear_tile.cuh": "*Linear*",
    "projections.cuh": "*Latents*:*Queries*:*Output*",
    "filter.cuh": "*Sample*",
    "sample.cuh": "*Sample*",
    "sampling.cuh": "*Pick*:*Accept*",
    "top_k.cuh": "*TopK*",
}


def run(program: Path, environment: dict[str, str], tests: str) -> int:
    return subprocess.run([str(program), f"--gtest_filter={tests}", "--gtest_fail_fast",
                           "--gtest_brief=1"], env=os.environ | environment,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def source_line(place: str) -> str:
    name, line = place.rsplit(":", 1)
    path = next(Path("kernels").glob(f"*/{name}"))
    return re.sub(r"\s+", " ", path.read_text().splitlines()[int(line) - 1]).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="tests of the kernels")
    parser.add_argument("dialect", type=Path, help="tests of the dialect's own reductions")
    parser.add_argument("--required", type=float, default=95)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "barriers"
        if run(options.program, {"SPARKSPAN_BARRIER_LIST": str(listing)}, "*") != 0:
            sys.exit("the tests fail before anything is deleted")
        places = sorted(set(listing.read_text().split()))
    rows = []
    for place in places:
        tests = TESTS.get(place.rsplit(":", 1)[0], "*")
        deletion = {"SPARKSPAN_DELETED_BARRIER": place}
        caught = run(options.program, deletion, tests) != 0 or \
            run(options.dialect, deletion, "Emulator.Reductions*") != 0
        rows.append({"barrier": place, "source": source_line(place),
                     "caught": "yes" if caught else "no"})
        print(f"{place}: {'caught' if caught else 'NOT CAUGHT'}")
    caught = sum(row["caught"] == "yes" for row in rows)
    percent = 100 * caught / len(rows)
    print(f"{caught} of {len(rows)} deletions caught: {percent:.1f} %, {options.required} % required")
    if options.write:
        with options.write.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["barrier", "source", "caught"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return 0 if percent >= options.required else 1


if __name__ == "__main__":
    sys.exit(main())
