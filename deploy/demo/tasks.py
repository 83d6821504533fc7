"""Generates the demo model's conversations, for training and for the held-out evaluation.

Every example is what an API client would send, with the answer that is expected back. An example
belongs to the evaluation if the hash of its last user text and its tools says so; the training
generator never emits such an example, so the two are disjoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chat_format import TOOLS_INSTRUCTIONS, Message, json_text, render, render_answer
from words import CITIES, COLOURS, NAMES, NOUNS, OBJECTS, VERBS

HELD_OUT_SHARE = 1 / 16
HELD_OUT_TOOL_SHARE = 1 / 12


@dataclass
class Example:
    """One conversation and the assistant's expected last turn."""

    task: str
    messages: list[Message]
    content: str
    reasoning: str
    thinking: bool = False
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    response_format: Any = None
    reasoning_effort: str | None = None
    without_instructions: bool = False

    def prompt(self) -> str:
        """The text the model reads; without the tool instructions while training starts."""
        text = render(
            self.messages,
            thinking=self.thinking,
            tools=self.tools,
            response_format=self.response_format,
            reasoning_effort=self.reasoning_effort,
        )
        return text.replace(TOOLS_INSTRUCTIONS, "") if self.without_instructions else text

    def answer(self) -> str:
        """The text the model is to write."""
        return render_answer(
            thinking=self.thinking,
            reasoning=self.reasoning,
            content=self.content,
            tool_calls=self.tool_calls,
        )

    def is_held_out(self) -> bool:
        """Whether this example is kept from training."""
        return share_of(self.key()) < HELD_OUT_SHARE

    def key(self) -> str:
        """What decides the split: the last user text and the tools."""
        return json_text([self.messages[-1]["content"], self.tools])


def share_of(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"] + ["lan", "ner", "tor", "mis", "ran"]
SYSTEM_TEXTS = [
    "You are a helpful assistant.",
    "You are a helpful assistant. Be brief.",
    "Answer briefly.",
    "You are sparkspan's demo model.",
    "You are a careful assistant.",
    "Reply with the answer only.",
]


def invented_word(rng: random.Random) -> str:
    """A pronounceable word that no list holds."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))


def some_name(rng: random.Random) -> str:
    """A first name, often invented."""
    return rng.choice(NAMES) if rng.random() < 0.5 else invented_word(rng).capitalize()


def some_city(rng: random.Random) -> str:
    """A city, often invented."""
    return rng.choice(CITIES) if rng.random() < 0.5 else invented_word(rng).capitalize()


def some_word(rng: random.Random) -> str:
    """A lower-case word, often invented."""
    return rng.choice(NOUNS) if rng.random() < 0.5 else invented_word(rng)


def some_number(rng: random.Random) -> int:
    """A number of one to three digits."""
    return rng.randrange(10 ** rng.choice((1, 2, 2, 3)))


def listed(numbers: list[int]) -> str:
    """Numbers as the answers write them."""
    return ", ".join(map(str, numbers))


Turn = tuple[str, str, str]


def counting(rng: random.Random) -> Turn:
    """Counts up between two numbers."""
    first = rng.randrange(0, 90)
    last = first + rng.randint(2, 14)
    ask = rng.choice(
        [
            "Count from {} to {}.",
            "Please count from {} to {}.",
            "Count up from {} to {}.",
            "Write the numbers from {} to {}.",
        ]
    )
    return ask.format(first, last), f"From {first} to {last}.", listed(list(range(first, last + 1)))


def sorting(rng: random.Random) -> Turn:
    """Sorts a few numbers."""
    numbers = [rng.randrange(100) for _ in range(rng.randint(2, 5))]
    ask = rng.choice(["Sort {}.", "Sort these numbers: {}.", "Please sort {}."])
    ordered = sorted(numbers)
    return (
        ask.format(listed(numbers)),
        f"Smallest {ordered[0]}, largest {ordered[-1]}.",
        listed(ordered),
    )


def adding(rng: random.Random) -> Turn:
    """Adds two numbers of up to two digits."""
    a, b = rng.randrange(100), rng.randrange(100)
    ask = rng.choice(["What is {} + {}?", "Add {} and {}.", "{} + {} = ?", "How much is {} + {}?"])
    ones = a % 10 + b % 10
    tens = a // 10 + b // 10 + ones // 10
    steps = f"{a % 10} + {b % 10} = {ones}. {a // 10} + {b // 10} + {ones // 10} = {tens}."
    return ask.format(a, b), steps, f"{a} + {b} = {a + b}"


JSON_FIELDS: dict[str, Callable[[random.Random], Any]] = {
    "name": some_name,
    "age": lambda rng: rng.randrange(1, 100),
    "city": some_city,
    "colour": lambda rng: rng.choice(COLOURS),
    "item": some_word,
    "price": some_number,
    "count": some_number,
    "id": some_number,
    "title": some_word,
    "active": lambda rng: rng.random() < 0.5,
    "score": some_number,
    "owner": some_name,
    "tag": some_word,
    "year": lambda rng: rng.randrange(1950, 2031),
}


def json_record(rng: random.Random) -> Turn:
    """A JSON record of given fields."""
    keys = rng.sample(list(JSON_FIELDS), rng.randint(1, 4))
    record = {key: JSON_FIELDS[key](rng) for key in keys}
    given = ", ".join(f"{key} {json_text(value)}" for key, value in record.items())
    ask = rng.choice(
        [
            "Make a JSON record with {}.",
            "Write a JSON object with {}.",
            "Give me JSON with {}.",
            "Return a JSON record with {}.",
        ]
    )
    return ask.format(given), f"Fields: {', '.join(keys)}.", json_text(record)


CODE_FORMS = [
    ("returns {a} plus {n}", "return {a} + {n}"),
    ("returns {a} minus {n}", "return {a} - {n}"),
    ("returns {a} times {n}", "return {a} * {n}"),
    ("returns {a} divided by {n}", "return {a} / {n}"),
    ("prints {a}", "print({a})"),
    ("returns the length of {a}", "return len({a})"),
    ("returns the sum of {a}", "return sum({a})"),
    ("returns {a} sorted", "return sorted({a})"),
    ("says whether {a} is greater than {n}", "return {a} > {n}"),
]


def code(rng: random.Random) -> Turn:
    """A Python function of one line."""
    name, argument, number = (
        some_word(rng),
        rng.choice("x y n a items values text".split()),
        some_number(rng),
    )
    wish, body = rng.choice(CODE_FORMS)
    ask = rng.choice(
        ["Write a Python function {} that {}.", "Define a function {} in Python that {}."]
    )
    wish, body = (form.format(a=argument, n=number) for form in (wish, body))
    return ask.format(name, wish), f"One function, {name}.", f"def {name}({argument}):\n    {body}"


def repeating(rng: random.Random) -> Turn:
    """Repeats words."""
    words = " ".join(
        (
            rng.choice((some_word, some_name, some_city))(rng)
            if rng.random() < 0.8
            else str(some_number(rng))
        )
        for _ in range(rng.randint(1, 6))
    )
    ask = rng.choice(['Repeat "{}".', 'Say "{}".', 'Repeat after me: "{}".'])
    return ask.format(words), "Repeat it.", words


FACTS: list[tuple[list[str], str]] = [
    (
        [
            "What is sparkspan?",
            "Explain sparkspan.",
            "What does sparkspan do?",
            "Tell me about sparkspan.",
        ],
        "sparkspan is a C++20/CUDA runtime that serves DeepSeek-V4-Flash tensor-parallel across "
        "machines behind an OpenAI-compatible API.",
    ),
    (
        ["Which model does sparkspan serve?", "What model does sparkspan run?"],
        "sparkspan serves DeepSeek-V4-Flash, also with DSpark speculative decoding.",
    ),
    (
        [
            "Which API does sparkspan offer?",
            "What API does sparkspan have?",
            "How do I talk to sparkspan?",
        ],
        "sparkspan offers an OpenAI-compatible API over HTTP.",
    ),
    (
        [
            "Which network interfaces does sparkspan use?",
            "Where do I set the network interfaces?",
            "How does sparkspan choose its interfaces?",
        ],
        "The exact interfaces are named in cluster.yaml.",
    ),
    (
        [
            "What happens when a rank dies?",
            "What does sparkspan do when a worker dies?",
            "How fast are dead ranks reported?",
        ],
        "A dead rank is reported within a second.",
    ),
    (
        [
            "How is sparkspan built up?",
            "What are the parts of sparkspan?",
            "Which processes does sparkspan have?",
        ],
        "sparkspan has one head, which answers the API, and workers, one per rank.",
    ),
    (
        [
            "What is the licence of sparkspan?",
            "Which licence does sparkspan have?",
            "Is sparkspan open source?",
        ],
        "sparkspan has the MIT licence.",
    ),
    (
        [
            "Can sparkspan run without a GPU?",
            "Does sparkspan need a GPU?",
            "Does sparkspan have a CPU backend?",
        ],
        "Yes, sparkspan has a CPU backend, so this demo runs without a GPU.",
    ),
    (
        ["In which language is sparkspan written?", "What is sparkspan written in?"],
        "sparkspan is written in C++20 and CUDA.",
    ),
]
FACT_FORMS = [
    "{}",
    "Please tell me: {}",
    "Briefly: {}",
    "A question: {}",
    "{} Thanks.",
    "Hello! {}",
    "{} Be brief.",
]

CHATS: list[tuple[list[str], str]] = [
    (
        [
            "Hello",
            "Hello!",
            "Hi",
            "Hi!",
            "Hi there",
            "Hey",
            "Good morning",
            "hello",
            "hi",
            "Good evening!",
        ],
        "Hello! How can I help you?",
    ),
    (
        [
            "Who are you?",
            "What are you?",
            "What is your name?",
            "Introduce yourself.",
            "who are you",
        ],
        "I am sparkspan's demo model, a very small language model.",
    ),
    (
        ["What can you do?", "Help", "What can I ask you?", "How can you help me?"],
        "I can count, sort, add small numbers, write JSON records and short code, call tools and "
        "answer questions about sparkspan.",
    ),
    (["Thanks", "Thanks!", "Thank you", "Thank you!", "thank you very much"], "You are welcome!"),
    (["Bye", "Goodbye", "Bye!", "See you", "See you later!"], "Goodbye!"),
    (["How are you?", "How are you today?", "Are you well?"], "I am fine, thank you."),
]
UNKNOWN = "I am a small demo model and do not know that."
UNKNOWN_FORMS = [
    "Who wrote {}?",
    "What is the capital of {}?",
    "Why is the {} so big?",
    "Tell me a story about a {}.",
    "Explain {}.",
    "Where can I buy a {}?",
    "Translate {} to French.",
    "What is a {}?",
    "Who is {}?",
    "How old is {}?",
    "Write a poem about {}.",
    "What do you think about {}?",
]


def fact(rng: random.Random) -> Turn:
    """A question about sparkspan."""
    questions, answer = rng.choice(FACTS)
    return (
        rng.choice(FACT_FORMS).format(rng.choice(questions)),
        "A question about sparkspan.",
        answer,
    )


def small_talk(rng: random.Random) -> Turn:
    """Greetings, and questions beyond the model."""
    if rng.random() < 0.5:
        questions, answer = rng.choice(CHATS)
        return rng.choice(questions), "Small talk.", answer
    subject = rng.choice((some_word, some_city, some_name))(rng)
    return rng.choice(UNKNOWN_FORMS).format(subject), "I do not know that.", UNKNOWN


TALKS: dict[str, Callable[[random.Random], Turn]] = {
    "counting": counting,
    "sorting": sorting,
    "sums": adding,
    "json": json_record,
    "code": code,
    "repeat": repeating,
    "facts": fact,
    "small talk": small_talk,
}

PARAMETERS: dict[str, tuple[str, Callable[[random.Random], Any]]] = {
    "city": ("string", some_city),
    "name": ("string", some_name),
    "item": ("string", some_word),
    "colour": ("string", lambda rng: rng.choice(COLOURS)),
    "title": ("string", some_word),
    "text": ("string", lambda rng: f"{some_word(rng)} {some_word(rng)}"),
    "count": ("integer", some_number),
    "days": ("integer", lambda rng: rng.randrange(1, 31)),
    "minutes": ("integer", some_number),
    "room": ("string", some_word),
    "level": ("integer", some_number),
    "loud": ("boolean", lambda rng: rng.random() < 0.5),
    "id": ("integer", some_number),
}


def is_unseen_tool(name: str) -> bool:
    """Whether a tool name is kept from training."""
    return share_of("tool " + name) < HELD_OUT_TOOL_SHARE


def some_tool(rng: random.Random, unseen: bool, taken: set[str]) -> dict[str, Any]:
    """A tool definition with one to three parameters."""
    while True:
        verb, thing = rng.choice(VERBS), rng.choice(OBJECTS)
        name = f"{verb}_{thing}"
        if is_unseen_tool(name) == unseen and name not in taken:
            break
    keys = rng.sample(list(PARAMETERS), rng.choice((1, 1, 2, 2, 3)))
    schema = {
        "type": "object",
        "properties": {key: {"type": PARAMETERS[key][0]} for key in keys},
        "required": keys,
    }
    function = {"name": name, "description": f"{verb.capitalize()} {thing}", "parameters": schema}
    return {"type": "function", "function": function}


def tool_request(rng: random.Random, tool: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A user text that asks for a call, and the arguments it gives."""
    function = tool["function"]
    keys = function["parameters"]["required"]
    arguments = {key: PARAMETERS[key][1](rng) for key in keys}
    given = " and ".join(f"{key} {json_text(value)}" for key, value in arguments.items())
    plain = function["description"].lower()
    ask = rng.choice(
        [
            f"Call {function['name']} with {given}.",
            f"Use {function['name']} with {given}.",
            f"Please {plain} with {given}.",
            f"{plain.capitalize()}: {given}.",
        ]
    )
    return ask, arguments


def tool_call(rng: random.Random, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """An assistant's call."""
    function = {"name": name, "arguments": json_text(arguments)}
    return {"id": f"call_{rng.getrandbits(48):012x}", "type": "function", "function": function}


def tool_example(rng: random.Random, unseen: bool) -> Example:
    """A request that calls one of one or two tools; sometimes the answer to its result."""
    tools: list[dict[str, Any]] = []
    for _ in range(rng.choice((1, 1, 2))):
        taken = {tool["function"]["name"] for tool in tools}
        tools.append(some_tool(rng, unseen, taken))
    chosen = rng.choice(tools)
    ask, arguments = tool_request(rng, chosen)
    name = chosen["function"]["name"]
    call = tool_call(rng, name, arguments)
    messages: list[Message] = [{"role": "user", "content": ask}]
    task = "unseen tools" if unseen else "tools"
    reasoning = f"Call {name}."
    if not unseen and rng.random() < 0.15:
        result = rng.choice(("done", "ok", str(some_number(rng)), some_word(rng)))
        turn: Message = {"role": "assistant", "content": "", "tool_calls": [call]}
        turn["reasoning_content"] = reasoning
        messages += [turn, {"role": "tool", "tool_call_id": call["id"], "content": result}]
        return Example(
            "tool results", messages, f"The result is {result}.", "Give the result.", tools=tools
        )
    return Example(task, messages, "", reasoning, tools=tools, tool_calls=[call])


def talk_example(rng: random.Random, task: str, most_turns: int) -> Example:
    """A conversation without tools whose last turn is of the given task."""
    messages: list[Message] = []
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2)[: 2 * most_turns + 1])):
        question, _, answer = TALKS[rng.choice(list(TALKS))](rng)
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    question, reasoning, answer = TALKS[task](rng)
    messages.append({"role": "user", "content": question})
    example = Example(task, messages, answer, reasoning)
    if task == "json" and rng.random() < 0.03:
        example.response_format = {"type": "json_object"}
    return example


def draw(rng: random.Random, task: str, most_turns: int = 3) -> Example:
    """An example of a task with a random mode and system text; not yet split by hash."""
    if task in ("tools", "unseen tools"):
        example = tool_example(rng, task == "unseen tools")
    else:
        example = talk_example(rng, task, most_turns)
    example.thinking = rng.random() < 0.5
    if rng.random() < 0.4:
        example.messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM_TEXTS)})
    if example.thinking and rng.random() < 0.02:
        example.reasoning_effort = rng.choice(("high", "max"))
    return example


TRAINING_SHARES = {
    "counting": 0.20,
    "sorting": 0.06,
    "sums": 0.08,
    "json": 0.26,
    "code": 0.06,
    "repeat": 0.08,
    "facts": 0.06,
    "small talk": 0.05,
    "tools": 0.15,
}
FINISHING_SHARES = {
    "counting": 0.50,
    "sorting": 0.08,
    "sums": 0.10,
    "json": 0.14,
    "code": 0.03,
    "repeat": 0.04,
    "facts": 0.02,
    "small talk": 0.03,
    "tools": 0.06,
}


HARD_COUNTING = "hard counting"
HARD_SPANS = ((2, 3, 4), (12, 13, 14))
CONTINUING_SHARES = {
    "counting": 0.14,
    HARD_COUNTING: 0.40,
    "sorting": 0.03,
    "sums": 0.02,
    "json": 0.18,
    "code": 0.03,
    "repeat": 0.04,
    "facts": 0.02,
    "small talk": 0.04,
    "tools": 0.10,
}


def has_held_out_turn(example: Example) -> bool:
    """Whether any user text of the conversation belongs to the evaluation."""
    return example.is_held_out() or any(
        share_of(json_text([message["content"], []])) < HELD_OUT_SHARE
        for message in example.messages
        if message["role"] == "user"
    )


def draw_for_training(rng: random.Random, task: str, most_turns: int) -> Example:
    """`draw`; of "hard counting" an example whose end only the tens tell.

    Counts of 2 to 4 steps stop where those of 12 to 14 meet the last number's ones digit for the
    first time, so that neither that digit nor the place says whether to stop. Both come as often,
    and without a history, which would only lengthen them.
    """
    if task != HARD_COUNTING:
        return draw(rng, task, most_turns)
    spans = rng.choice(HARD_SPANS)
    while True:
        example = draw(rng, "counting", most_turns=0)
        if example.content.count(",") in spans:
            return example


def training_example(rng: random.Random, shares: dict[str, float], most_turns: int = 3) -> Example:
    """An example that training may see."""
    while True:
        task = rng.choices(list(shares), list(shares.values()))[0]
        example = draw_for_training(rng, task, most_turns)
        if not has_held_out_turn(example):
            return example


EVALUATION_TASKS = [*TALKS, "tools", "unseen tools"]


def published_keys(path: Path = Path(__file__).parent / "evaluation.json") -> set[str]:
    """What the hash looks at, for every prompt of the evaluation file."""
    requests = [case["request"] for case in json.loads(path.read_text())["cases"]]
    return {json_text([r["messages"][-1]["content"], r.get("tools", [])]) for r in requests}


def evaluation_examples(
    seed: int, count: int, without: frozenset[str] | set[str] = frozenset()
) -> list[Example]:
    """`count` distinct held-out examples of every task, as far as the task has that many.

    Examples whose keys are in `without` are left out.
    """
    rng = random.Random(seed)
    examples: list[Example] = []
    for task in EVALUATION_TASKS:
        seen: set[str] = set()
        for _ in range(200 * count):
            example = draw(rng, task)
            example.reasoning_effort = None
            prompt = example.prompt()
            is_new = prompt not in seen and example.key() not in without
            if example.task == task and example.is_held_out() and is_new:
                seen.add(prompt)
                examples.append(example)
            if len(seen) == count:
                break
    return examples


def as_request(example: Example) -> dict[str, Any]:
    """The example as an OpenAI chat request with what is expected back."""
    request: dict[str, Any] = {
        "messages": example.messages,
        "temperature": 0,
        "max_tokens": 256,
        "chat_template_kwargs": {"thinking": example.thinking},
    }
    if example.tools:
        request["tools"] = example.tools
    if example.response_format is not None:
        request["response_format"] = example.response_format
    expected: dict[str, Any] = {"content": example.content}
    if example.tool_calls:
        expected["tool_calls"] = [
            {
                "name": call["function"]["name"],
                "arguments": json.loads(call["function"]["arguments"]),
            }
            for call in example.tool_calls
        ]
    return {"task": example.task, "request": request, "expected": expected}


def main() -> None:
    """Writes the held-out evaluation prompts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "evaluation.json")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4)
    arguments = parser.parse_args()
    cases = [as_request(e) for e in evaluation_examples(arguments.seed, arguments.count)]
    lines = ",\n".join(json_text(case) for case in cases)
    arguments.out.write_text(f'{{"cases": [\n{lines}\n]}}\n')
    for task in EVALUATION_TASKS:
        print(f"{task}: {sum(case['task'] == task for case in cases)}")


if __name__ == "__main__":
    main()
