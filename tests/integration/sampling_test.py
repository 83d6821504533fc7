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
TEXT = "Sort"  # after which the demo model is sure of nothing


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


def penalised(logits, prompt, generated, logit_bias=None, repetition_penalty=1.0,
              frequency_penalty=0.0, presence_penalty=0.0):
    """What vLLM makes of a row whose sequence holds the given tokens."""
    row = list(logits)
    for token, bias in (logit_bias or {}).items():
        row[int(token)] += bias
    counts = Counter(generated)
    for token in set(prompt) | set(generated):
        row[token] = row[token] / repetition_penalty if row[token] > 0 \
            else row[token] * repetition_penalty
        row[token] -= frequency_penalty * counts[token]
        row[token] -= presence_penalty * (counts[token] > 0)
    return row


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
    draws = sum(counts.values())
    cells, rest_expected, rest_seen = [], 0.0, 0
    for token, share in distribution.items():
        if share * draws >= EXPECTED_MIN:
            cells.append((share * draws, counts[token]))
        else:
            rest_expected += share * draws
            rest_seen += counts[token]
    if rest_expected >= 1:
        cells.append((rest_expected, rest_seen))
    return sum((seen - wanted) ** 2 / wanted for wanted, seen in cells), len(cells)


class SamplingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = LocalServer("--max-num-seqs", "16", ranks=RANKS).__enter__()
        cls.prompt = cls.server.request("POST", "/tokenize", {"prompt": TEXT})[1]["tokens"]
        cls.logits = cls.score({"p": []})["p"][0]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    @classmethod
    def score(cls, decoded):
        """Per name the logits after the prompt and after each of the decoded tokens."""
        with tempfile.TemporaryDirectory() as folder:
            cases = Path(folder) / "in.json"
            cases.write_text(json.dumps(
                {"cases": [{"name": name, "tokens": cls.prompt, "decode_tokens": tokens}
                           for name, tokens in decoded.items()]}))
            out = Path(folder) / "out.safetensors"
            subprocess.run([PROGRAM, "score", "--model", MODEL, "--input", cases, "--output", out,
                            "--ranks", str(RANKS), "--numerics", "quantised"], check=True)
            rows = {}
            for name, tokens in decoded.items():
                first = read_f32(out, f"{name}.prefill_logits")
                later = read_f32(out, f"{name}.decode_logits") if tokens else ()
                rows[name] = [first] + [later[i:i + len(first)]
                                        for i in range(0, len(later), len(first))]
            return rows

    def complete(self, **fields):
        body = {"prompt": self.prompt, "ignore_eos": True, "return_token_ids": True, **fields}
        status, answer = self.server.request("POST", "/v1/completions", body)
        self.assertEqual(status, 200, answer)
        return answer

    def draw_texts(self, tokens, knobs):
        """How often each answer of so many tokens came, over the seeds."""
        def one(seed):
            answer = self.complete(max_tokens=tokens, seed=seed, **knobs)
            return tuple(answer["choices"][0]["token_ids"])

        with ThreadPoolExecutor(16) as pool:
            return Counter(pool.map(one, range(DRAWS)))

    def draw(self, knobs):
        return Counter({text[0]: count for text, count in self.draw_texts(1, knobs).items()})

    def assert_fits(self, name, counts, right, wrong):
        statistic, cells = chi_square(counts, right)
        limit = chi_square_limit(max(cells, 2))
        print(f"{name}: chi-square {statistic:.1f} of {cells} cells, limit {limit:.1f}")
        self.assertLess(statistic, limit)
        # The test can tell: what a likely mistake would give does not fit.
        statistic, cells = chi_square(counts, wrong)
        self.assertGreater(statistic, chi_square_limit(max(cells, 2)))

    def test_each_knob_gives_the_distribution_that_the_logits_imply(self):
        warm, hot = 0.7, 1.3
        for knobs in ({"temperature": warm},
                      {"temperature": hot},
                      {"temperature": hot, "top_k": 6},
                      {"temperature": hot, "top_p": 0.6},
                      {"temperature": hot, "min_p": 0.15}):
            with self.subTest(**knobs):
                counts = self.draw(knobs)
                # Without the knob the same draws do not fit, nor do those of the other temperature.
                mistake = {"temperature": warm if knobs == {"temperature": hot} else hot}
                self.assert_fits(f"{knobs}", counts, expected(self.logits, **knobs),
                                 expected(self.logits, **mistake))

    def test_bias_and_repetition_penalty_change_the_first_token_as_computed(self):
        largest = max(range(len(self.logits)), key=lambda token: self.logits[token])
        bias = {"logit_bias": {str(largest): -2.5, "11": 1.5}}
        # Biased upwards, tokens of the prompt are likely enough for the penalty to show.
        lifted = {str(token): self.logits[largest] - self.logits[token] for token in self.prompt}
        repetition = {"logit_bias": lifted, "repetition_penalty": 1.3}
        for knobs, mistake in ((bias, {}), (repetition, {"logit_bias": lifted})):
            with self.subTest(**knobs):
                counts = self.draw({"temperature": 1.5, **knobs})
                right = expected(penalised(self.logits, self.prompt, [], **knobs), 1.5)
                wrong = expected(penalised(self.logits, self.prompt, [], **mistake), 1.5)
                self.assert_fits(f"{knobs}", counts, right, wrong)

    def test_penalties_count_what_was_generated(self):
        """The third token, after two of the same, where a bias leaves two tokens to choose from."""
        likely = sorted(range(len(self.logits)), key=lambda token: -self.logits[token])[:24]
        rows = self.score({f"t{token}": [token, token] for token in likely})
        for name, size, total, mistaken in (("presence_penalty", 2.0, 2.0, 4.0),
                                            ("frequency_penalty", 1.5, 3.0, 1.5)):
            with self.subTest(name):
                def shares(first, other, lead):
                    """Of `first` as first, second and third token."""
                    gaps = [row[first] - row[other] + lead for row in rows[f"t{first}"]]
                    return [1 / (1 + math.exp(spent - gap))
                            for gap, spent in zip(gaps, (0, size, total))]

                def even(first, other):
                    row = rows[f"t{first}"][2]
                    return total - row[first] + row[other]

                # The pair that comes to a third token after two of the same most often, and then
                # is as likely to go either way.
                _, first, other = max(
                    (math.prod(shares(a, b, even(a, b))[:2]), a, b)
                    for a in likely for b in likely if a != b and abs(even(a, b)) < 20)
                lead = even(first, other)
                knobs = {"logit_bias": {str(first): 80 + lead / 2, str(other): 80 - lead / 2},
                         name: size}
                texts = self.draw_texts(3, knobs)
                thirds = Counter({text[2]: count for text, count in texts.items()
                                  if text[:2] == (first, first)})
                self.assertGreater(sum(thirds.values()), 100)
                row = penalised(rows[f"t{first}"][2], self.prompt, [first, first], **knobs)
                wrong = list(row)
                wrong[first] += total - mistaken
                self.assert_fits(f"{name} {size}", thirds, expected(row), expected(wrong))

    def test_a_bias_bans_and_forces(self):
        token = max(range(len(self.logits)), key=lambda token: self.logits[token])
        self.assertNotIn(token, self.draw({"logit_bias": {str(token): -100}}))
        rare = min(range(len(self.logits)), key=lambda token: self.logits[token])
        self.assertEqual(set(self.draw({"logit_bias": {str(rare): 100}})), {rare})

    def test_greedy_takes_the_largest_logit(self):
        best = max(range(len(self.logits)), key=lambda token: (self.logits[token], -token))
        self.assertEqual(set(self.draw({"temperature": 0})), {best})


if __name__ == "__main__":
    unittest.main(verbosity=2)
