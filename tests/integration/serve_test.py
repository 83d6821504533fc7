#!/usr/bin/env python3
"""`sparkspan serve` with the demo model: real processes, real sockets.

    python3 tests/integration/serve_test.py

SPARKSPAN_BIN names the folder of the programs (default build/release/bin).
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from local_server import MODEL, PROGRAM, LocalServer, chat_body, claim_port  # noqa: E402

COUNT = "Count from 7 to 15."
COUNTED = "7, 8, 9, 10, 11, 12, 13, 14, 15"
RUNNING_MAX, WAITING_MAX = 8, 4
ENDLESS = {"max_tokens": 1500, "ignore_eos": True}


class ServingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = LocalServer("--max-num-seqs", str(RUNNING_MAX),
                                 "--max-waiting-requests", str(WAITING_MAX)).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_two_workers_answer(self):
        choice = self.server.chat(COUNT)
        self.assertEqual(choice["message"]["content"], COUNTED)
        self.assertEqual(choice["finish_reason"], "stop")
        status = self.server.status()
        self.assertEqual(status["state"], "ready")
        self.assertEqual([rank["state"] for rank in status["ranks"]], ["ready", "ready"])
        programs = self.server.children()
        self.assertEqual(len(programs["sparkspan-worker"]), 2)
        self.assertEqual(len(programs["sparkspan-head"]), 1)

    def test_thinking_is_kept_apart(self):
        choice = self.server.chat("What is 12 + 30?", chat_template_kwargs={"thinking": True},
                                  max_tokens=200)
        self.assertEqual(choice["finish_reason"], "stop")
        self.assertTrue(choice["message"]["reasoning_content"])
        self.assertEqual(choice["message"]["reasoning"], choice["message"]["reasoning_content"])
        self.assertTrue(choice["message"]["content"])
        self.assertNotIn("think>", choice["message"]["content"])

    def test_a_request_among_others_is_the_request_alone(self):
        prompts = [(f"Count from {n} to {n + 7}.", n) for n in range(8)]

        def ask(prompt):
            text, seed = prompt
            choice = self.server.chat(text, temperature=1.3, seed=seed, logprobs=True,
                                      top_logprobs=2, max_tokens=40)
            return choice["message"]["content"], choice["logprobs"]

        alone = [ask(prompt) for prompt in prompts]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(ask, prompts))
        self.assertEqual(alone, together)

    def test_a_client_that_leaves_frees_its_sequence(self):
        for number, _ in enumerate(self.server.events(COUNT, **ENDLESS)):
            if number == 3:
                self.assertEqual(self.server.status()["running"], 1)
                break
        self.server.wait_for_status(running=0)
        self.assertEqual(self.server.status()["kv_blocks_used"], 0)

    def test_more_than_may_run_and_wait_is_refused(self):
        with contextlib.ExitStack() as leave:
            for _ in range(RUNNING_MAX + WAITING_MAX):
                client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                leave.callback(client.close)
                client.request("POST", "/v1/chat/completions", json.dumps(
                    chat_body(COUNT, stream=True, **ENDLESS)), {"Content-Type": "application/json"})
            self.server.wait_for_status(running=RUNNING_MAX, waiting=WAITING_MAX)
            status, answer = self.server.request("POST", "/v1/chat/completions", chat_body(COUNT))
            self.assertEqual((status, answer["error"]["code"]), (429, "queue_full"))
        self.server.wait_for_status(running=0)

    def test_what_does_not_fit_waits_and_what_never_fits_is_refused(self):
        length = self.server.request("GET", "/v1/models")[1]["data"][0]["max_model_len"]
        status, answer = self.server.request(
            "POST", "/v1/completions", {"prompt": [5] * (length + 1), "max_tokens": 1})
        self.assertEqual(status, 400)
        self.assertEqual(answer["error"]["code"], "context_length_exceeded")
        body = {"prompt": "1 2 3", "max_tokens": 60, "ignore_eos": True, "temperature": 0}
        ask = lambda _=None: self.server.request("POST", "/v1/completions", body)  # noqa: E731
        alone = ask()[1]["choices"][0]["text"]
        running = [self.server.events(COUNT, **ENDLESS) for _ in range(RUNNING_MAX)]
        for stream in running:
            next(stream)
        with ThreadPoolExecutor(WAITING_MAX) as pool:
            waiting = [pool.submit(ask) for _ in range(WAITING_MAX)]
            self.server.wait_for_status(waiting=WAITING_MAX)
            self.assertEqual(self.server.status()["running"], RUNNING_MAX)
            self.assertFalse(any(request.done() for request in waiting))
            for stream in running:
                stream.close()
            for request in waiting:
                status, answer = request.result()
                self.assertEqual(status, 200)
                self.assertEqual(answer["choices"][0]["text"], alone)

    def test_many_idle_clients_take_no_place(self):
        with contextlib.ExitStack() as idle:
            for _ in range(400):
                idle.enter_context(socket.create_connection(("127.0.0.1", self.server.port)))
            self.assertEqual(self.server.request("GET", "/health")[0], 200)
            self.assertEqual(self.server.chat(COUNT)["message"]["content"], COUNTED)

    def test_a_browser_gets_the_page_and_its_policy_fits(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})
            answer = connection.getresponse()
            page = answer.read().decode()
        policy = answer.getheader("Content-Security-Policy")
        for tag in ("script", "style"):
            inside = page.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            self.assertIn(f"{tag}-src 'sha256-{digest}'", policy)
        self.assertIn("The API is under /v1", self.server.request("GET", "/")[1])
        # What the script reads is there, with the ranks' interfaces.
        status = self.server.status()
        for field in set(re.findall(r"status\.(\w+)", page)) - {"json"}:
            self.assertIn(field, status)
        self.assertEqual([one["name"] for rank in status["ranks"] for one in rank["interfaces"]],
                         ["lo", "lo"])

    def test_metrics_count(self):
        def counts():
            page = self.server.request("GET", "/metrics")[1]
            return {name: float(value) for name, value in re.findall(
                r"^([\w:]+(?:\{[^}]*\})?) (\S+)$", page, re.MULTILINE)}

        self.server.wait_for_status(running=0)
        before = counts()
        usage = self.server.request("POST", "/v1/chat/completions", chat_body(COUNT))[1]["usage"]
        self.server.wait_for_status(running=0)  # The client may know of the end before the engine.
        after = counts()
        labels = '{model_name="demo",engine="0"}'

        def grew(name, label=labels):
            return after[name + label] - before[name + label]

        self.assertEqual(grew("vllm:generation_tokens_total"), usage["completion_tokens"])
        self.assertEqual(grew("vllm:prompt_tokens_total"), usage["prompt_tokens"])
        self.assertEqual(grew("vllm:request_generation_tokens_sum"), usage["completion_tokens"])
        for name in ("time_to_first_token_seconds", "e2e_request_latency_seconds",
                     "request_prompt_tokens", "request_params_n"):
            self.assertEqual(grew(f"vllm:{name}_count"), 1, name)
        self.assertEqual(grew("vllm:inter_token_latency_seconds_count"),
                         usage["completion_tokens"] - 1)
        self.assertEqual(
            grew("vllm:request_success_total",
                 labels[:-1] + ',finished_reason="stop"}'), 1)
        self.assertEqual(after["vllm:num_requests_running" + labels], 0)
        self.assertEqual(after["vllm:kv_cache_usage_perc" + labels], 0)


class LifeTest(unittest.TestCase):
    def assert_gone(self, pids):
        for pid in pids:
            with self.assertRaises(ProcessLookupError, msg=f"process {pid} is still there"):
                os.kill(pid, 0)

    def test_a_signal_ends_everything_with_status_0(self):
        with LocalServer() as server:
            pids = [pid for group in server.children().values() for pid in group]
            self.assertEqual(len(pids), 3)
            self.assertEqual(server.stop(), 0)
            self.assert_gone(pids)

    def test_a_running_request_ends_before_the_server_does(self):
        with LocalServer() as server:
            events = server.events(COUNT, max_tokens=100, ignore_eos=True)
            next(events)
            server.process.send_signal(signal.SIGTERM)
            rest = list(events)
            self.assertNotIn("error", rest[-1])
            self.assertEqual(rest[-1]["choices"][0]["finish_reason"], "length")
            self.assertEqual(server.wait(), 0)

    def test_clients_that_only_send_hold_up_no_stop(self):
        with LocalServer() as server:
            address = ("127.0.0.1", server.port)
            with socket.create_connection(address), socket.create_connection(address) as header, \
                    socket.create_connection(address) as body:
                header.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHos")
                body.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                             b"Content-Length: 100000\r\n\r\n{")
                server.process.send_signal(signal.SIGTERM)
                # The supervisor would kill a head that hangs, but not before 40 s.
                self.assertEqual(server.process.wait(30), 0)

    def test_a_killed_worker_is_an_error_to_clients_and_named(self):
        with LocalServer() as server:
            events = server.events(COUNT, **ENDLESS)
            for _ in range(3):
                next(events)
            os.kill(server.children()["sparkspan-worker"][1], signal.SIGKILL)
            errors = [event["error"] for event in events if "error" in event]
            self.assertEqual(len(errors), 1)
            self.assertEqual(server.wait(), 1)
            self.assertIn("was ended by signal 9", server.log_text())

    def test_three_and_four_ranks_answer_too(self):
        for ranks in (1, 3, 4):
            with LocalServer("--experts", "whole", ranks=ranks) as server:
                self.assertEqual(server.chat(COUNT)["message"]["content"], COUNTED)

    def test_wrong_flags_are_named(self):
        for flags, what in ((["--ranks", "9"], "--ranks 9"),
                            (["--no-such-flag", "1"], "--no-such-flag"),
                            (["--max-model-len", "99999999"], "--max-model-len")):
            done = subprocess.run([PROGRAM, "serve", "--model-path", MODEL, *flags],
                                  capture_output=True, text=True, timeout=60)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn(what, done.stderr)

    def test_ranks_that_the_model_cannot_be_dealt_to_are_refused(self):
        done = subprocess.run(
            [PROGRAM, "serve", "--model-path", MODEL, "--ranks", "5", "--port", str(claim_port())],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("1 to 4", done.stderr)

    def test_a_port_in_use_is_named(self):
        with LocalServer() as server:
            done = subprocess.run(
                [PROGRAM, "serve", "--model-path", MODEL, "--port", str(server.port)],
                capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn(str(server.port), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
