"""Checks the chat encoding against the golden cases made with the official encoder."""

from __future__ import annotations

import json
import sys

from chat_format import render
from golden import golden_path

INTERNAL_ROLES = {"developer"}


def is_covered(case: dict) -> bool:
    """Whether a case uses only what `chat_format` renders."""
    messages = case["messages"]
    return (
        "error" not in case
        and "context" not in case
        and case.get("add_bos", True)
        and case["source"] != "project-rule"
        and not any(m["role"] in INTERNAL_ROLES or "task" in m for m in messages)
        and not any(isinstance(m.get("content"), list) for m in messages)
    )


def main() -> int:
    """Compares every covered case; prints and returns a failure count."""
    path = golden_path("chat_cases.json")
    if path is None:
        print("SKIPPED: no golden chat cases (set SPARKSPAN_GOLDEN_DIR)")
        return 0
    cases = [case for case in json.loads(path.read_text())["cases"] if is_covered(case)]
    failures = 0
    for case in cases:
        effort = case["reasoning_effort"]
        if case["profile"] == "preview":
            effort = "high" if effort == "max" else None
        text = render(
            [dict(m) for m in case["messages"]],
            thinking=case["thinking_mode"] == "thinking",
            tools=case.get("tools"),
            reasoning_effort=effort,
            drop_thinking=case["drop_thinking"],
        )
        if text != case["prompt"]:
            failures += 1
            print(f"FAILED {case['id']}\n  want {case['prompt']!r}\n  got  {text!r}")
    print(f"{len(cases) - failures} of {len(cases)} covered chat cases equal")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
