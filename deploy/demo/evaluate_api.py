"""Measures a served model over its OpenAI-compatible API with the held-out prompts.

    python evaluate_api.py --url http://127.0.0.1:8000/v1

For every task it prints how many answers are exactly the expected ones; for tool tasks also how
many calls are valid: a tool that was offered, with every required argument, no other argument, and
values of the declared types.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
}


def ask(url: str, model: str, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """The server's answer to a chat request."""
    body = json.dumps({"model": model, **request}).encode()
    headers = {"Content-Type": "application/json"}
    call = urllib.request.Request(f"{url}/chat/completions", body, headers)
    with urllib.request.urlopen(call, timeout=timeout) as answer:
        return json.load(answer)


def first_model(url: str) -> str:
    """The name of the model that is served."""
    with urllib.request.urlopen(f"{url}/models", timeout=30) as answer:
        return json.load(answer)["data"][0]["id"]


def is_valid_call(call: dict[str, Any], tools: list[dict[str, Any]]) -> bool:
    """Whether a call fits the schema of an offered tool."""
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    schema = schemas.get(call["function"]["name"])
    if schema is None:
        return False
    try:
        arguments = json.loads(call["function"]["arguments"])
    except json.JSONDecodeError:
        return False
    if not isinstance(arguments, dict) or set(schema["required"]) - set(arguments):
        return False
    for key, value in arguments.items():
        declared = schema["properties"].get(key)
        if declared is None or not isinstance(value, JSON_TYPES[declared["type"]]):
            return False
        if declared["type"] == "integer" and isinstance(value, bool):
            return False
    return True


def is_exact(message: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether the message is the expected one, content and calls."""
    calls = []
    for call in message.get("tool_calls") or []:
        try:
            arguments = json.loads(call["function"]["arguments"])
        except json.JSONDecodeError:
            return False
        calls.append({"name": call["function"]["name"], "arguments": arguments})
    content = message.get("content") or ""
    return content == expected["content"] and calls == expected.get("tool_calls", [])


def main() -> int:
    """Asks every prompt and prints the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", help="default: the first model the server lists")
    parser.add_argument("--cases", type=Path, default=Path(__file__).parent / "evaluation.json")
    parser.add_argument("--task", action="append", help="only this task; may be repeated")
    parser.add_argument("--limit", type=int, help="at most this many prompts of each task")
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--show-wrong", action="store_true")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    model = arguments.model or first_model(url)
    taken: Counter[str] = Counter()
    cases = []
    for case in json.loads(arguments.cases.read_text())["cases"]:
        task = case["task"]
        if arguments.task and task not in arguments.task:
            continue
        if arguments.limit is None or taken[task] < arguments.limit:
            taken[task] += 1
            cases.append(case)

    def answer(case: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = ask(url, model, case["request"], arguments.timeout)
            return reply["choices"][0]["message"]
        except (urllib.error.URLError, OSError) as error:
            return {"content": f"request failed: {error}", "failed": True}

    with ThreadPoolExecutor(arguments.parallel) as pool:
        messages = list(pool.map(answer, cases))
    right: Counter[str] = Counter()
    valid: Counter[str] = Counter()
    failed = sum(message.get("failed", False) for message in messages)
    for case, message in zip(cases, messages):
        exact = is_exact(message, case["expected"])
        right[case["task"]] += exact
        calls = message.get("tool_calls") or []
        tools = case["request"].get("tools", [])
        valid[case["task"]] += bool(calls) and all(is_valid_call(call, tools) for call in calls)
        if arguments.show_wrong and not exact:
            asked = case["request"]["messages"][-1]["content"]
            print(json.dumps({"asked": asked, "expected": case["expected"], "got": message}))
    print(f"{'task':14} {'prompts':>7} {'exact':>7} {'valid calls':>12}")
    for task, total in taken.items():
        share = f"{valid[task] / total:.1%}" if task.endswith("tools") else ""
        print(f"{task:14} {total:7} {right[task] / total:7.1%} {share:>12}")
    if failed:
        print(f"{failed} requests failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
