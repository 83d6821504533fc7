"""The DeepSeek-V4 chat encoding: API messages to the text that the model reads.

Covers what an OpenAI-compatible server renders: system, user, assistant and tool messages,
thinking and chat mode, request tools, response_format and the reasoning efforts of release 0731.
The product-internal parts of the official encoder (task tokens, the developer role, rendering
after an already encoded context) are left out.
"""

from __future__ import annotations

import json
from typing import Any

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
REMINDER = "<｜latest_reminder｜>"
THINK = "<think>"
END_THINK = "</think>"
DSML = "｜DSML｜"

Message = dict[str, Any]

EFFORT_TEXTS: dict[str, str] = {
    "high": (
        "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
        "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
        "resolve the root cause, rigorously stress-testing your logic against all potential paths, "
        "edge cases, and adversarial scenarios.\n"
        "Explicitly write out your entire deliberation process, documenting every intermediate "
        "step, considered alternative, and rejected hypothesis to ensure absolutely no assumption "
        "is left unchecked.\n\n"
    ),
    "max": (
        "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
        "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
        "exhaustively decompose the problem into its most fundamental components, trace every "
        "causal chain to its root, and resolve the underlying cause rather than any surface "
        "symptom.\n"
        "Do not stop reasoning until you have independently verified the solution from multiple "
        "angles and are certain that no assumption remains unchecked and no error remains "
        "undiscovered.\n\n"
    ),
}

TOOLS_TEXT = """## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by \
writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types \
(numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning \
inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

{schemas}

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
"""

TOOLS_INSTRUCTIONS = TOOLS_TEXT[: TOOLS_TEXT.index("### Available Tool Schemas")]

FORMAT_TEXT = (
    "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n{schema}"
)


def json_text(value: Any) -> str:
    """JSON as the encoding writes it: `, ` and `: ` separators, non-ASCII characters raw."""
    return json.dumps(value, ensure_ascii=False)


def call_arguments(arguments: Any) -> dict[str, Any]:
    """The argument object of a call in the history."""
    if not isinstance(arguments, str):
        return arguments or {}
    if not arguments:
        return {}
    try:
        value = json.loads(arguments)
    except json.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def render_parameter(key: str, value: Any) -> str:
    """One argument of a call: strings as they are, all else as JSON."""
    kind, text = ("true", value) if isinstance(value, str) else ("false", json_text(value))
    return f'<{DSML}parameter name="{key}" string="{kind}">{text}</{DSML}parameter>'


def render_calls(tool_calls: list[dict[str, Any]]) -> str:
    """The markup of an assistant's tool calls, with the blank line in front."""
    invokes = []
    for call in tool_calls:
        function = call["function"]
        parameters = "\n".join(
            render_parameter(key, value)
            for key, value in call_arguments(function.get("arguments")).items()
        )
        invokes.append(f'<{DSML}invoke name="{function["name"]}">\n{parameters}\n</{DSML}invoke>')
    return f"\n\n<{DSML}tool_calls>\n" + "\n".join(invokes) + f"\n</{DSML}tool_calls>"


def attach_request_options(
    messages: list[Message], tools: list[dict[str, Any]] | None, response_format: Any
) -> list[Message]:
    """Puts request tools and the response format on the first system message, made if absent."""
    attached = [dict(message) for message in messages]
    if not tools and response_format is None:
        return attached
    if not attached or attached[0]["role"] != "system":
        attached.insert(0, {"role": "system", "content": ""})
    if tools:
        attached[0]["tools"] = tools
    if response_format is not None:
        attached[0]["response_format"] = response_format
    return attached


def merge_user_turns(messages: list[Message]) -> list[Message]:
    """Joins tool results and neighbouring user texts to one user turn of blocks each.

    The results of several calls are put in the order of the calls.
    """
    merged: list[Message] = []
    for message in messages:
        if message["role"] not in ("user", "tool"):
            merged.append(message)
            continue
        block = {"role": message["role"], "text": message.get("content") or ""}
        if message["role"] == "tool":
            block["id"] = message.get("tool_call_id")
        if merged and merged[-1]["role"] == "user":
            merged[-1]["blocks"].append(block)
        else:
            merged.append({"role": "user", "blocks": [block]})
    call_order: dict[str, int] = {}
    for message in merged:
        if message["role"] == "assistant" and message.get("tool_calls"):
            call_order = {
                call["id"]: index
                for index, call in enumerate(message["tool_calls"])
                if "id" in call
            }
        elif message["role"] == "user":
            places = [i for i, block in enumerate(message["blocks"]) if block["role"] == "tool"]
            if len(places) > 1 and call_order:
                results = sorted(
                    (message["blocks"][i] for i in places),
                    key=lambda block: call_order.get(block["id"], 0),
                )
                for place, block in zip(places, results):
                    message["blocks"][place] = block
    return merged


def render_block(block: dict[str, str]) -> str:
    """One block of a user turn."""
    return (
        f"<tool_result>{block['text']}</tool_result>" if block["role"] == "tool" else block["text"]
    )


def render(
    messages: list[Message],
    *,
    thinking: bool,
    tools: list[dict[str, Any]] | None = None,
    response_format: Any = None,
    reasoning_effort: str | None = None,
    drop_thinking: bool = True,
) -> str:
    """The whole prompt, ending in the header of the assistant's turn where one is due."""
    turns = merge_user_turns(attach_request_options(messages, tools, response_format))
    keep = not drop_thinking or any(turn.get("tools") for turn in turns)
    last_user = max((i for i, turn in enumerate(turns) if turn["role"] == "user"), default=-1)
    text = BOS
    if thinking:
        text += EFFORT_TEXTS.get(reasoning_effort or "", "")
    for index, turn in enumerate(turns):
        role = turn["role"]
        content = turn.get("content") or ""
        if role == "system":
            text += content
            if turn.get("tools"):
                schemas = "\n".join(json_text(tool["function"]) for tool in turn["tools"])
                text += "\n\n" + TOOLS_TEXT.replace("{schemas}", schemas)
            if turn.get("response_format") is not None:
                schema = json_text(turn["response_format"])
                text += "\n\n" + FORMAT_TEXT.replace("{schema}", schema)
        elif role == "user":
            text += USER + "\n\n".join(render_block(block) for block in turn["blocks"])
        elif role == "latest_reminder":
            text += REMINDER + content
        else:
            if thinking and (keep or index > last_user):
                text += (turn.get("reasoning_content") or "") + END_THINK
            text += content
            if turn.get("tool_calls"):
                text += render_calls(turn["tool_calls"])
            if not turn.get("wo_eos"):
                text += EOS
        following = turns[index + 1]["role"] if index + 1 < len(turns) else None
        if role == "user" and following in (None, "assistant", "latest_reminder"):
            text += ASSISTANT + (THINK if thinking and (keep or index >= last_user) else END_THINK)
    return text


def render_answer(
    *, thinking: bool, reasoning: str, content: str, tool_calls: list[dict[str, Any]]
) -> str:
    """The text that the model is to write after the prompt."""
    text = reasoning + END_THINK if thinking else ""
    text += content
    if tool_calls:
        text += render_calls(tool_calls)
    return text + EOS
