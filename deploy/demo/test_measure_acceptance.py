"""Checks the measurement over the API against a server that counts in a known way."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import measure_acceptance
from measure_acceptance import ACCEPTED, DRAFTED, DRAFTS

PAGE = """# HELP {drafts} Drafts.
# TYPE {drafts} counter
{drafts}{{model_name="demo"}} {steps}
{drafted}{{model_name="demo"}} {all}
{accepted}{{model_name="demo"}} {hits}
vllm:spec_decode_num_accepted_tokens_per_pos_total{{position="0"}} 12345
"""
TOKENS = 13


class Server(BaseHTTPRequestHandler):
    """Answers every request with `TOKENS` tokens from 2 drafts; 3.0 in thinking mode, else 4.0."""

    steps, hits = 7, 5

    def do_GET(self) -> None:
        """The counters, or the list of models."""
        page = PAGE.format(
            drafts=DRAFTS,
            drafted=DRAFTED,
            accepted=ACCEPTED,
            steps=float(Server.steps),
            all=float(5 * Server.steps),
            hits=float(Server.hits),
        )
        self.reply(page if self.path == "/metrics" else json.dumps({"data": [{"id": "demo"}]}))

    def do_POST(self) -> None:
        """A completion."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Server.steps += 2
        Server.hits += 4 if request["chat_template_kwargs"]["thinking"] else 6
        self.reply(json.dumps({"usage": {"completion_tokens": TOKENS}}))

    def reply(self, text: str) -> None:
        """Sends a page."""
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def measured(url: str, count: int) -> tuple[int, dict[str, list[str]]]:
    """The exit status and the table's cells by class."""
    printed = io.StringIO()
    sys.argv = ["measure_acceptance.py", "--url", url, "--count", str(count)]
    with contextlib.redirect_stdout(printed):
        status = measure_acceptance.main()
    rows = [line.split() for line in printed.getvalue().splitlines()[1:]]
    return status, {row[0]: row[1:] for row in rows}


def main() -> int:
    """Runs the checks."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    status, rows = measured(url, 4)
    assert status == 0
    assert list(rows) == list(measure_acceptance.WANTED)
    for name, (prompts, tokens, drafts, _, length) in rows.items():
        assert int(drafts) == 2 * int(prompts) and int(tokens) == TOKENS * int(prompts)
        assert length == ("3.00" if name == "thinking" else "4.00"), (name, length)
    measure_acceptance.WANTED["thinking"] = 3.1
    assert measured(url, 4)[0] == 1
    server.shutdown()
    print("acceptance over the API: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
