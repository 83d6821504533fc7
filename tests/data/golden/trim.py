#!/usr/bin/env python3
"""Writes a golden set without the vectors that no test reads, as sets are committed here.

    python3 tests/data/golden/trim.py SET TARGET

SET is the folder of a whole set (its name says which); TARGET gets its vectors.safetensors with the
tensors below, bit for bit, beside copies of the other files; its README says so.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import sys
from pathlib import Path

READ_BY_TESTS = {
    "model-a": [
        r"hp/p\d+/(prefill_logits|decode_logits|decode0_h|h_last2|router_idx|router_gap)",
        r"hp/p\d+/(index_topk|index_gap)\.layer\d+",
        r"rf/p\d+/(prefill_logits|decode_logits)",
        r"(hp/p7|rf/p7|rf/p130)/h_all",
    ],
    "dspark-a": [
        r"hp/p\d+/(target_logits|logits|confidence|draft_ids|ring0_after_prefill)",
        r"hp/(p2|p9)/main_hidden",
        r"rf/p9/.*",
        r"rf/p270/(main_hidden|draft_ids|stage_h|router_gap|ring0_after_prefill)",
    ],
}
NOTE = """> Committed here without the vectors that no test reads (`../trim.py`). What follows, and
> vectors.json, describe the whole set.

"""


def trimmed(whole: bytes, patterns: list[str]) -> bytes:
    """Of the bytes of a safetensors file: one with the tensors of these names."""
    (header_bytes,) = struct.unpack_from("<Q", whole)
    header = json.loads(whole[8:8 + header_bytes])
    kept, data = {}, b""
    for name, entry in header.items():
        if name != "__metadata__" and not any(re.fullmatch(one, name) for one in patterns):
            continue
        kept[name] = entry
        if name != "__metadata__":
            first, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
            kept[name] = entry | {"data_offsets": [len(data), len(data) + end - first]}
            data += whole[first:end]
    text = json.dumps(kept, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main() -> int:
    if len(sys.argv) != 3 or Path(sys.argv[1]).name not in READ_BY_TESTS:
        print(__doc__, file=sys.stderr)
        return 2
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.copytree(source, target, dirs_exist_ok=True)
    vectors = target / "vectors.safetensors"
    whole = vectors.read_bytes()
    vectors.write_bytes(trimmed(whole, READ_BY_TESTS[source.name]))
    readme = target / "README.md"
    readme.write_text(NOTE + readme.read_text())
    print(f"{vectors}: {vectors.stat().st_size} of {len(whole)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
