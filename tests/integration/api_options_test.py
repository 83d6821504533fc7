#!/usr/bin/env python3
"""The API as cluster.yaml shapes it, on real processes: a KV pool smaller than the context, keys,
options; and requests that must not harm others.

    python3 tests/integration/api_options_test.py
"""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from local_cluster import LocalCluster  # noqa: E402
from local_server import chat_body  # noqa: E402

CONTEXT = 2048
VOCABULARY = 1024
COUNT = "Count from 7 to 15."
COUNTED = "7, 8, 9, 10, 11, 12, 13, 14, 15"
KEY = {"Authorization": "Bearer secret"}


def ask(cluster, text, headers=None, **fields):
    return cluster.request("POST", "/v1/chat/completions", chat_body(text, **fields),
                           headers=headers)


class SmallPoolTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(
            LocalCluster(limits={"kv_memory": "512KiB"},
                         api={"accept_any_model_name": True, "max_tokens_cap": 9,
                              "reasoning_field": "reasoning", "body_bytes_max": "64KiB",
                              "allowed_origins": ["https://a.example"]}))
        cls.cluster.wait("ready", cls.cluster.is_ready)

    def test_requests_are_cut_to_the_pool_and_the_length_is_said(self):
        length = self.cluster.request("GET", "/v1/models")[1]["data"][0]["max_model_len"]
        self.assertLess(length, CONTEXT)
        status = self.cluster.status()
        self.assertEqual(status["context_length"], length)
        self.assertEqual(status["context_length_configured"], CONTEXT)
        self.assertIn(f"holds {length} tokens", status["context_cut"])
        self.assertIn(status["context_cut"], self.cluster.head.log.read_text())
        code, answer = ask(self.cluster, COUNT, max_tokens=100_000)
        self.assertEqual((code, answer["choices"][0]["message"]["content"]), (200, COUNTED))
        prompt = [5] * (length - 3)
        code, answer = self.cluster.request(
            "POST", "/v1/completions", {"prompt": prompt, "max_tokens": 50, "ignore_eos": True})
        self.assertEqual((code, answer["usage"]["completion_tokens"]), (200, 3))
        code, answer = self.cluster.request(
            "POST", "/v1/completions", {"prompt": [5] * length, "max_tokens": 1})
        self.assertEqual((code, answer["error"]["code"]), (400, "context_length_exceeded"))

    def test_the_demo_models_encoding_is_found(self):
        self.assertEqual(self.cluster.status()["encoding_profile"], "0731")
        self.assertIn("encoding profile 0731", self.cluster.head.log.read_text())
        text = self.cluster.request("POST", "/apply-template", {
            "messages": [{"role": "user", "content": "q"}], "reasoning_effort": "max"})[1]["prompt"]
        self.assertIn("Beyond maximum", text)

    def test_options_of_the_api_are_in_force(self):
        body = chat_body(COUNT, model="gpt-4", chat_template_kwargs={"thinking": True},
                         ignore_eos=True)
        del body["max_tokens"]
        code, answer = self.cluster.request("POST", "/v1/chat/completions", body)
        self.assertEqual((code, answer["usage"]["completion_tokens"]), (200, 9))
        message = answer["choices"][0]["message"]
        self.assertIn("reasoning", message)
        self.assertNotIn("reasoning_content", message)
        self.assertEqual(ask(self.cluster, "x" * 70_000)[0], 413)

    def test_a_request_that_leaves_no_token_is_refused_and_harms_nobody(self):
        epoch = self.cluster.status()["epoch"]
        for fields in ({"stop_token_ids": list(range(VOCABULARY))},
                       {"stop_token_ids": [7], "allowed_token_ids": [7]}):
            code, answer = ask(self.cluster, "hi", min_tokens=1, **fields)
            self.assertEqual((code, answer["error"]["param"]), (400, "stop_token_ids"))
        self.assertEqual(ask(self.cluster, COUNT)[0], 200)
        self.assertEqual(self.cluster.status()["epoch"], epoch)


class KeyTest(unittest.TestCase):
    def test_strangers_learn_which_rank_is_lost_and_no_more(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            keys.write("secret\n")
            keys.flush()
            with LocalCluster(api={"keys_file": keys.name}) as cluster:
                cluster.wait("ready", cluster.is_ready)
                cluster.workers[1].kill()
                cluster.wait("lost", lambda: not cluster.is_ready())
                for path in ("/health", "/ready"):
                    message = cluster.request("GET", path)[1]["error"]["message"]
                    self.assertIn("engine is degraded", message)
                    for secret in ("127.0.0.1", "node local", "lo)"):
                        self.assertNotIn(secret, message)
                    full = cluster.request("GET", path, headers=KEY)[1]["error"]["message"]
                    self.assertIn("rank 1 (node local, 127.0.0.1", full)


if __name__ == "__main__":
    unittest.main(verbosity=2)
