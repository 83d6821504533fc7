#!/usr/bin/env python3
"""Counts what GoogleTest and unittest ran and names what they skipped, from ctest's log.

ctest sees a program whose tests skipped themselves as passed; this makes the skips visible and
ends with a line "N passed, N failed, N skipped".
"""

import re
import sys
from pathlib import Path


def main() -> int:
    log = Path(sys.argv[1]).read_text(errors="replace")
    passed = len(re.findall(r"^\[       OK \] ", log, re.MULTILINE))
    failed = set(re.findall(r"^\[  FAILED  \] (\S+?\.\S+)", log, re.MULTILINE))
    skipped = sorted(set(re.findall(r"^\[  SKIPPED \] (\S+) \(", log, re.MULTILINE)))
    reasons = dict(re.findall(r"^\[ RUN      \] (\S+)\n.*?: Skipped\n(.*)$", log, re.MULTILINE))
    # unittest: "test_name (module.Class.test_name) ... ok", or "... skipped 'why'".
    passed += len(re.findall(r"\.\.\. ok$|^ok$", log, re.MULTILINE))
    failed |= set(re.findall(r"^(?:FAIL|ERROR): (\S+ \(\S+\))", log, re.MULTILINE))
    reasons |= dict(re.findall(r"^(test_\S+) \(\S+\) \.\.\. skipped '(.*)'$", log, re.MULTILINE))
    skipped += [name for name in reasons if name not in skipped]
    programs = len(re.findall(r"^Test Passed\.$", log, re.MULTILINE))
    for name in skipped:
        print(f"skipped: {name}: {reasons.get(name, 'see the log for the reason')}")
    print(f"{programs} test programs passed")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
