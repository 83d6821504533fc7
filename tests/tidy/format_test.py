#!/usr/bin/env python3
"""Every C++ and CUDA source is as clang-format writes it. Run from the repository root.

    python3 tests/tidy/format_test.py

Releases of clang-format differ in details, so only one counts: the one of tests/requirements.txt.
"""

import shutil
import subprocess
import sys
import unittest
from pathlib import Path

RELEASE = "14."


def clang_format() -> str | None:
    """The program of that release: beside this Python (a virtual environment), or on the path."""
    beside = Path(sys.executable).parent / "clang-format"
    for name in (str(beside), "clang-format-14", "clang-format"):
        program = shutil.which(name)
        if program is None:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        if f"version {RELEASE}" in version:
            return program
    return None


class FormatTest(unittest.TestCase):
    def test_sources_are_as_clang_format_writes_them(self):
        program = clang_format()
        if program is None:
            self.skipTest(f"no clang-format {RELEASE}x: pip install -r tests/requirements.txt")
        listed = subprocess.run(["git", "ls-files", "*.h", "*.cc", "*.cu", "*.cuh"],
                                check=True, capture_output=True, text=True).stdout.split()
        sources = [name for name in listed if Path(name).is_file()]
        self.assertGreater(len(sources), 100)
        done = subprocess.run([program, "--dry-run", *sources], capture_output=True, text=True)
        complaints = [line for line in done.stderr.splitlines() if "clang-format-violations" in line]
        self.assertEqual(complaints, [], "run clang-format -i on these files")
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
