#!/usr/bin/env python3
"""Drives a server with the openai package, as its users' programs do.

    python3 tests/integration/openai_client_test.py

Starts the demo model on two local workers, or uses the server that SPARKSPAN_URL names
(SPARKSPAN_API_KEY is its key, if it wants one). Without the package every test is skipped. The tests
judge the protocol, not what the model says, save that the demo model must know how to call a tool.
"""

import json
import os
import sys
import unittest
from pathlib import Path

try:
    import openai
except ImportError:
    openai = None

sys.path.insert(0, str(Path(__file__).parent))
from local_server import LocalServer  # noqa: E402

URL = os.environ.get("SPARKSPAN_URL", "").rstrip("/")
KEY = os.environ.get("SPARKSPAN_API_KEY", "EMPTY")
OFF = {"chat_template_kwargs": {"thinking": False}}
ON = {"chat_template_kwargs": {"thinking": True}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def ask(text):
    return [{"role": "user", "content": text}]


@unittest.skipIf(openai is None, "the openai package is not installed")
class OpenAiClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.openai = openai
        url = URL
        if not url:
            server = LocalServer().__enter__()
            cls.addClassCleanup(server.__exit__)
            url = server.url
        cls.client = openai.OpenAI(base_url=url + "/v1", api_key=KEY, timeout=120, max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    def create(self, text, **fields):
        fields.setdefault("max_tokens", 64)
        fields.setdefault("temperature", 0)
        return self.client.chat.completions.create(model=self.model, messages=ask(text), **fields)

    def collect(self, text, **fields):
        """A stream joined to what the same request gives whole."""
        joined = {"content": "", "reasoning": "", "calls": {}, "finish": [], "usage": None}
        stream = self.create(
            text, stream=True, stream_options={"include_usage": True}, **fields)
        for number, chunk in enumerate(stream):
            if chunk.usage is not None:
                self.assertEqual(chunk.choices, [])
                joined["usage"] = chunk.usage
                continue
            choice = chunk.choices[0]
            self.assertEqual(number == 0, choice.delta.role == "assistant")
            joined["content"] += choice.delta.content or ""
            joined["reasoning"] += getattr(choice.delta, "reasoning_content", None) or ""
            for call in choice.delta.tool_calls or []:
                known = joined["calls"].setdefault(
                    call.index, {"name": call.function.name, "arguments": ""})
                known["arguments"] += call.function.arguments or ""
            if choice.finish_reason is not None:
                joined["finish"].append(choice.finish_reason)
        return joined

    def assert_same(self, whole, joined):
        message = whole.choices[0].message
        self.assertEqual(joined["content"], message.content or "")
        self.assertEqual(joined["reasoning"], getattr(message, "reasoning_content", None) or "")
        self.assertEqual(joined["finish"], [whole.choices[0].finish_reason])
        self.assertEqual(joined["usage"].completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(joined["usage"].prompt_tokens, whole.usage.prompt_tokens)

    def test_models(self):
        model = self.client.models.retrieve(self.model)
        self.assertGreater(model.max_model_len, 0)

    def test_chat_without_thinking_answers_in_content(self):
        whole = self.create("Count from 1 to 5.", extra_body=OFF)
        message = whole.choices[0].message
        self.assertEqual(message.role, "assistant")
        self.assertTrue(message.content)
        self.assertIsNone(getattr(message, "reasoning_content", None))
        self.assertIn(whole.choices[0].finish_reason, ("stop", "length"))
        usage = whole.usage
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        self.assertLessEqual(usage.completion_tokens, 64)
        self.assert_same(whole, self.collect("Count from 1 to 5.", extra_body=OFF))

    def test_thinking_is_kept_apart(self):
        for fields in ({"extra_body": ON}, {"reasoning_effort": "high"}):
            whole = self.create("What is 12 + 30?", max_tokens=200, **fields)
            joined = self.collect("What is 12 + 30?", max_tokens=200, **fields)
            message = whole.choices[0].message
            self.assertNotIn("</think>", message.content or "")
            self.assert_same(whole, joined)
            if not URL:
                self.assertEqual(whole.choices[0].finish_reason, "stop")
                self.assertTrue(getattr(message, "reasoning_content", None))
            if whole.choices[0].finish_reason == "stop":
                self.assertTrue(message.content, "a finished answer must be in content")

    def test_tools(self):
        text = "What is the weather in Paris?"
        whole = self.create(text, tools=[WEATHER], max_tokens=200, extra_body=OFF)
        joined = self.collect(text, tools=[WEATHER], max_tokens=200, extra_body=OFF)
        choice = whole.choices[0]
        self.assertNotIn("DSML", choice.message.content or "")
        calls = choice.message.tool_calls or []
        if not URL:
            self.assertEqual(choice.finish_reason, "tool_calls")
            self.assertEqual(calls[0].function.name, "get_weather")
        if choice.finish_reason != "tool_calls":
            self.assertEqual(calls, [])
            return
        self.assertEqual(len(joined["calls"]), len(calls))
        for index, call in enumerate(calls):
            self.assertIsInstance(json.loads(call.function.arguments), dict)
            self.assertEqual(joined["calls"][index]["name"], call.function.name)
            self.assertEqual(joined["calls"][index]["arguments"], call.function.arguments)
        history = ask(text) + [
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"},
        ]
        after = self.client.chat.completions.create(
            model=self.model, messages=history, tools=[WEATHER], max_tokens=32, extra_body=OFF)
        self.assertIn(after.choices[0].finish_reason, ("stop", "length", "tool_calls"))

    def test_a_call_that_must_be_made_is_begun(self):
        clock = {"type": "function", "function": {"name": "get_time", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}}}}
        for thinking in (OFF, ON):
            for choice, name in (
                    ("required", None),
                    ({"type": "function", "function": {"name": "get_time"}}, "get_time")):
                # Left to itself it does not call: nothing here asks for a tool.
                fields = {"tools": [WEATHER, clock], "max_tokens": 300, "extra_body": thinking}
                answer = self.create("Count from 1 to 3.", tool_choice=choice, **fields)
                message = answer.choices[0].message
                self.assertNotIn("DSML", message.content or "")
                self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
                call = message.tool_calls[0].function
                self.assertIsInstance(json.loads(call.arguments), dict)
                if name is not None:
                    self.assertEqual(call.name, name)

    def test_json_is_asked_for(self):
        answer = self.create(
            'Make a JSON record with name "Ada", age 36, city "Paris".',
            response_format={"type": "json_object"}, extra_body=OFF)
        if not URL:
            self.assertEqual(json.loads(answer.choices[0].message.content),
                             {"name": "Ada", "age": 36, "city": "Paris"})
        with self.assertRaises(self.openai.BadRequestError) as caught:
            self.create("x", response_format={"type": "json_schema", "json_schema": {
                "name": "n", "schema": {}, "strict": True}})
        self.assertEqual(caught.exception.param, "response_format.json_schema.strict")

    def test_limits_stops_and_seeds(self):
        one = self.create("Count from 1 to 5.", max_tokens=1, extra_body=OFF)
        self.assertEqual(one.usage.completion_tokens, 1)
        exact = self.create("Hi.", max_tokens=20, extra_body=OFF | {"ignore_eos": True})
        self.assertEqual(exact.usage.completion_tokens, 20)
        self.assertEqual(exact.choices[0].finish_reason, "length")
        first, second = (
            self.create("Say anything.", temperature=1, seed=7, extra_body=OFF).choices[0]
            for _ in range(2))
        self.assertEqual(first.message.content, second.message.content)
        text = self.create("Count from 1 to 5.", extra_body=OFF).choices[0].message.content
        if len(text) > 2:
            stop = text[1:3]
            cut = self.create("Count from 1 to 5.", stop=stop, extra_body=OFF)
            self.assertEqual(cut.choices[0].message.content, text[:text.index(stop)])
            self.assertEqual(cut.choices[0].finish_reason, "stop")

    def test_logprobs(self):
        whole = self.create(
            "Count from 1 to 5.", logprobs=True, top_logprobs=3, max_tokens=8, extra_body=OFF)
        entries = whole.choices[0].logprobs.content
        self.assertEqual(len(entries), whole.usage.completion_tokens)
        for entry in entries:
            self.assertLessEqual(entry.logprob, 0)
            self.assertEqual(len(entry.top_logprobs), 3)
            # Greedy: what was chosen is the likeliest.
            self.assertAlmostEqual(entry.top_logprobs[0].logprob, entry.logprob, places=4)

    def test_completions(self):
        whole = self.client.completions.create(
            model=self.model, prompt="1 2 3", max_tokens=8, temperature=0)
        text = "".join(
            chunk.choices[0].text
            for chunk in self.client.completions.create(
                model=self.model, prompt="1 2 3", max_tokens=8, temperature=0, stream=True))
        self.assertEqual(text, whole.choices[0].text)

    def test_errors(self):
        with self.assertRaises(self.openai.NotFoundError) as caught:
            self.client.chat.completions.create(model="no-such-model", messages=ask("x"))
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(self.openai.BadRequestError) as caught:
            self.create("x", temperature=9)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(self.openai.BadRequestError) as caught:
            self.create("x", extra_body={"use_beam_search": True})
        self.assertEqual(caught.exception.code, "unsupported_parameter")
        length = self.client.models.retrieve(self.model).max_model_len
        if length <= 1 << 16:
            with self.assertRaises(self.openai.BadRequestError) as caught:
                self.client.completions.create(
                    model=self.model, prompt=[5] * length, max_tokens=1)
            self.assertEqual(caught.exception.code, "context_length_exceeded")
            self.assertIn(f"maximum context length is {length} tokens", str(caught.exception))
        self.assertTrue(caught.exception.response.headers["x-request-id"])


    def test_several_answers_repeat_with_their_seed(self):
        fields = {"temperature": 1.0, "seed": 11, "n": 3, "max_tokens": 24, "extra_body": OFF}
        text = "Tell me a fact about sparkspan."
        whole = self.create(text, **fields)
        texts = [choice.message.content for choice in whole.choices]
        self.assertEqual([choice.index for choice in whole.choices], [0, 1, 2])
        self.assertEqual(
            texts, [choice.message.content for choice in self.create(text, **fields).choices])
        alone = [self.create(text, **(fields | {"n": 1, "seed": 11 + i})) for i in range(3)]
        self.assertEqual(texts, [answer.choices[0].message.content for answer in alone])
        self.assertEqual(whole.usage.completion_tokens,
                         sum(answer.usage.completion_tokens for answer in alone))
        self.assertEqual(whole.usage.prompt_tokens, alone[0].usage.prompt_tokens)

        joined, finishes = ["", "", ""], [0, 0, 0]
        usage = None
        for chunk in self.create(text, stream=True, stream_options={"include_usage": True},
                                 **fields):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                joined[choice.index] += choice.delta.content or ""
                finishes[choice.index] += choice.finish_reason is not None
        self.assertEqual(joined, texts)
        self.assertEqual(finishes, [1, 1, 1])
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)

        prompts = self.client.completions.create(
            model=self.model, prompt="Count from", n=2, seed=3, max_tokens=4, temperature=1)
        self.assertEqual([choice.index for choice in prompts.choices], [0, 1])

    def test_several_greedy_answers_and_best_of_are_refused_by_name(self):
        with self.assertRaises(self.openai.BadRequestError) as caught:
            self.create("Hi", temperature=0, n=2)
        self.assertEqual(caught.exception.body["param"], "n")
        with self.assertRaises(self.openai.BadRequestError) as caught:
            self.create("Hi", extra_body={"best_of": 2})
        self.assertEqual(caught.exception.body["param"], "best_of")

    def test_logit_bias_bans_and_forces_a_token(self):
        def first_token(**fields):
            answer = self.create("Count from 3 to 5.", max_tokens=1,
                                 extra_body=OFF | {"return_token_ids": True}, **fields)
            return answer.choices[0].token_ids[0]

        usual = first_token()
        other = first_token(logit_bias={usual: -100})
        self.assertNotEqual(other, usual)
        self.assertEqual(first_token(logit_bias={other: 100}), other)
        self.assertEqual(first_token(logit_bias={other: 100}, temperature=2, seed=1), other)


if __name__ == "__main__":
    unittest.main(verbosity=2)
