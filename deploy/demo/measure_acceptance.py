"""Measures a served model's acceptance length over its API: tokens per step of the target.

    python measure_acceptance.py --url http://127.0.0.1:8000/v1

The prompts are held-out ones that evaluation.json lacks, greedy, class after class: some tasks in
chat mode, and all tasks in thinking mode. The steps are those that the server's own counters in
/metrics gained meanwhile, so nothing else may use the server. Exits with 1 if a class does not
reach its wanted length.
"""

from __future__ import annotations

import argparse
import sys
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evaluate_api import ask, first_model
from tasks import Example, as_request, evaluation_examples, published_keys

DRAFTS = "vllm:spec_decode_num_drafts_total"
DRAFTED = "vllm:spec_decode_num_draft_tokens_total"
ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
THINKING = "thinking"
WANTED = {"counting": 3.5, "json": 3.5, "code": 3.5, "tools": None, THINKING: 2.2}


def counters(text: str) -> Counter[str]:
    """The drafting counters of a Prometheus page, summed over their labels."""
    totals: Counter[str] = Counter()
    for line in text.splitlines():
        name = line.partition("{")[0].split(" ")[0]
        if name in (DRAFTS, DRAFTED, ACCEPTED):
            totals[name] += float(line.rsplit(" ", 1)[1])
    return totals


def read_counters(url: str) -> Counter[str]:
    """The drafting counters of the server whose API is at `url`."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=30) as page:
        totals = counters(page.read().decode())
    if DRAFTS not in totals:
        raise SystemExit(f"{url} counts no drafts: serve a checkpoint that has a drafter")
    return totals


def classes(examples: list[Example]) -> dict[str, list[Example]]:
    """The prompts of every class."""
    chosen = {task: [e for e in examples if e.task == task and not e.thinking] for task in WANTED}
    chosen[THINKING] = [e for e in examples if e.thinking]
    return chosen


def main() -> int:
    """Asks class after class and prints the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", help="default: the first model the server lists")
    parser.add_argument("--count", type=int, default=50, help="prompts of each task, both modes")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=300)
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    model = arguments.model or first_model(url)
    examples = evaluation_examples(arguments.seed, arguments.count, published_keys())

    def usage(example: Example) -> dict[str, Any]:
        request = as_request(example)["request"]
        return ask(url, model, request, arguments.timeout)["usage"]

    missed = 0
    print(f"{'class':10} {'prompts':>7} {'tokens':>7} {'drafts':>7} {'accepted':>9} {'length':>7}")
    for name, chosen in classes(examples).items():
        before = read_counters(url)
        with ThreadPoolExecutor(arguments.parallel) as pool:
            tokens = sum(answer["completion_tokens"] for answer in pool.map(usage, chosen))
        gained = read_counters(url)
        gained.subtract(before)
        length = 1 + gained[ACCEPTED] / max(gained[DRAFTS], 1)
        share = gained[ACCEPTED] / max(gained[DRAFTED], 1)
        print(
            f"{name:10} {len(chosen):7} {tokens:7} {gained[DRAFTS]:7.0f} {share:9.1%} {length:7.2f}"
        )
        missed += WANTED[name] is not None and length < WANTED[name]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
