#!/usr/bin/env python3
"""First tokens through the API, judged by `sparkspan score`'s logits of the same prompt.

For each sampling knob the distribution of the first token over many seeds is compared with one
computed here from the logits, by a chi-square test. Seeds are fixed, so the verdict is too.
"""

import json
import math
import struct
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from local_server import MODEL, PROGRAM, LocalServer  # noqa: E402

RANKS = 2
DRAWS = 400
EXPECTED_MIN = 5  # tokens rarer than this share a cell
TEXT = "Count from"


def read_f32(file, name):
    data = Path(file).read_bytes()
    header_bytes = struct.unpack_from("<Q", data)[0]
    begin, end = json.loads(data[8:8 + header_bytes])[name]["data_offsets"]
    offset = 8 + header_bytes
    return struct.unpack(f"<{(end - begin) // 4}f", data[offset + begin:offset + end])


def softmax(logits, temperature):
    peak = max(logits)
    weights = [math.exp((x - peak) / temperature) for x in logits]
    total = sum(weights)
    return [w / total for w in weights]


def renormalised(probabilities, kept):
    total = sum(probabilities[token] for token in kept)
    return {token: probabilities[token] / total for token in kept}


def expected(logits, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """vLLM's order: temperature, min_p, top_k, top_p."""
    p = softmax(logits, temperature)
    kept = [t for t in range(len(p)) if p[t] >= min_p * max(p)]
    kept.sort(key=lambda t: (-p[t], t))
    if top_k > 0:
        kept = kept[:top_k]
    shares = renormalised(p, kept)
    chosen, before = [], 0.0
    for token in kept:
        if before >= top_p:
            break
        chosen.append(token)
        before += shares[token]
    return renormalised(p, chosen)


def chi_square_limit(cells):
    """The 99.99 % point of chi-square with cells - 1 degrees of freedom (Wilson and Hilferty)."""
    freedom = cells - 1
    return freedom * (1 - 2 / (9 * freedom) + 3.719 * math.sqrt(2 / (9 * freedom))) ** 3


def chi_square(counts, distribution):
    """The statistic, and its number of cells; a token outside the distribution is infinite."""
    if any(token not in distribution for token in counts):
        return math.inf, 2
    cells, rest_expected, rest_seen = [], 0.0, 0
    for token, share in distribution.items():
        if share * DRAWS >= EXPECTED_MIN:
            cells.append((share * DRAWS, counts[token]))
        else:
            rest_expected += share * DRAWS
            rest_seen += counts[token]
    if rest_expected >= 1:
        cells.append((rest_expected, rest_seen))
    return sum((seen - wanted) ** 2 / wanted for wanted, seen in cells), len(cells)


class SamplingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = LocalServer("--max-num-seqs", "16", ranks=RANKS).__enter__()
        cls.prompt = cls.server.request("POST", "/tokenize", {"prompt": TEXT})[1]["tokens"]
        with tempfile.TemporaryDirectory() as folder:
            cases = Path(folder) / "in.json"
            cases.write_text(json.dumps(
                {"cases": [{"name": "p", "tokens": cls.prompt, "decode_tokens": []}]}))
            out = Path(folder) / "out.safetensors"
            subprocess.run([PROGRAM, "score", "--model", MODEL, "--input", cases, "--output", out,
                            "--ranks", str(RANKS), "--numerics", "quantised"], check=True)
            cls.logits = read_f32(out, "p.prefill_logits")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def draw(self, knobs):
        def one(seed):
            body = {"prompt": self.prompt, "max_tokens": 1, "seed": seed, "ignore_eos": True,
                    "return_token_ids": True, **knobs}
            status, answer = self.server.request("POST", "/v1/completions", body)
            self.assertEqual(status, 200, answer)
            return answer["choices"][0]["token_ids"][0]

        with ThreadPoolExecutor(16) as pool:
            return Counter(pool.map(one, range(DRAWS)))

    def test_each_knob_gives_the_distribution_that_the_logits_imply(self):
        for knobs in ({"temperature": 1.0},
                      {"temperature": 1.8},
                      {"temperature": 1.8, "top_k": 6},
                      {"temperature": 1.8, "top_p": 0.6},
                      {"temperature": 1.8, "min_p": 0.15}):
            with self.subTest(**knobs):
                counts = self.draw(knobs)
                statistic, cells = chi_square(counts, expected(self.logits, **knobs))
                limit = chi_square_limit(max(cells, 2))
                print(f"{knobs}: chi-square {statistic:.1f} of {cells} cells, limit {limit:.1f}")
                self.assertLess(statistic, limit)
                if len(knobs) > 1:
                    # The test can tell: without the knob the same draws do not fit.
                    wrong, cells = chi_square(counts, expected(self.logits, temperature=1.8))
                    self.assertGreater(wrong, chi_square_limit(cells))

    def test_greedy_takes_the_largest_logit(self):
        best = max(range(len(self.logits)), key=lambda token: (self.logits[token], -token))
        self.assertEqual(set(self.draw({"temperature": 0})), {best})


if __name__ == "__main__":
    unittest.main(verbosity=2)
