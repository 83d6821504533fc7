#!/usr/bin/env python3
"""Predicts milliseconds per step on a pair of DGX Sparks from bytes, launches and exchanges.

A model, not a measurement: no GPU has run these kernels yet. Each phase costs the larger of its
bytes at its expected share of the bus and its arithmetic, plus a fixed cost per launch; an
exchange costs its latency. The floor is the bytes that formats require, at the whole bus. Standard
library only.

Usage: docs/performance/predict.py [--write docs/performance/prediction.csv] [--levers]
"""

import argparse
import csv
import sys
from dataclasses import dataclass

RANKS = 2
BUS_BYTES_PER_S = 232e9        # what a saturating read reaches of GB10's 273 GB/s
LAUNCH_S = 0.5e-6              # a node of a captured graph
RAMP_S = 1.5e-6                # start and tail that programmatic launches do not hide
RAMP_WITH_WEIGHTS_S = 0.7e-6   # the same where a kernel asks for weights before it waits
FUSED_ROWS = 48                # up to here products are finished by their last block
PREFETCH_BYTES = 6e6           # next weights asked for while an exchange is waited for
PREFETCH_SHARE = 0.7           # of an exchange's wait that they recover
EXCHANGE_BASE_S = 16e-6        # one-shot between two ranks, small payload
EXCHANGE_BYTES_PER_S = 10e9    # beyond it
SM_BYTES_PER_S = 80e9          # one SM from L2
SMS = 48
TENSOR_FLOPS = 188e12          # FP8 mma, dense
# Attention multiplies in bf16, and its block loads, scores, weighs and adds by turns.
ATTENTION_FLOPS = 0.5 * 118e12

LAYERS, WINDOW_ONLY, OVERLAP, DENSE = 43, 2, 21, 20
HASHED_LAYERS = 3
HIDDEN, HEADS, HEAD_DIM = 4096, 64, 512
Q_RANK, O_RANK, O_GROUPS = 1024, 1024, 8
EXPERTS, CHOICES, INTERMEDIATE = 256, 6, 2048
VOCABULARY, MARKOV_RANK = 129280, 256
INDEX_HEADS, INDEX_DIM, TOP_K = 64, 128, 512
WINDOW, ENTRY_BYTES, KEY_BYTES = 128, 584, 68
DRAFT_STAGES, DRAFT_ROWS = 3, 5
STREAMS, MIXES = 4, 24
E2M1_BYTES = 0.5 + 1 / 32      # with its scales
SPLIT_ENTRIES, SPLITS_MAX = 64, 24
TOP_K_PART_KEYS = 16384

# Expected share of the bus: large streams, small ones that start and end within microseconds.
# 0.94 is what a published engine's expert kernels reach of its streaming rate on another chip.
EXPERTS_SHARE, HEAD_SHARE, LARGE, MEDIUM, SMALL = 0.94, 0.92, 0.90, 0.80, 0.60

# What is not built; --levers shows what it would be worth.
SHARES_LATENTS = False         # wq_a, wkv and compressors cut into columns, gathered by an exchange
WIRE_BYTES = 4                 # of an element of a partial sum


@dataclass
class Phase:
    name: str
    count: float        # times a step
    bytes: float        # that its formats require, each time, this rank
    share: float        # of the bus
    launches: int
    flop_s: float = 0.0       # arithmetic, at its rate
    waits_first: bool = True  # nothing is asked for before the launch before ends
    scratch_bytes: float = 0.0  # besides: what it writes and reads back, as far as the L2 lets it
    scratch_s: float = 0.0      # besides: what is read from the L2 by few SMs

    def floor_s(self) -> float:
        return self.count * self.bytes / BUS_BYTES_PER_S

    def predicted_s(self) -> float:
        moved = (self.bytes + self.scratch_bytes) / (BUS_BYTES_PER_S * self.share)
        ramp = RAMP_S if self.waits_first else RAMP_WITH_WEIGHTS_S
        return self.count * (max(moved, self.flop_s) + self.scratch_s
                             + self.launches * (LAUNCH_S + ramp))


def distinct_experts(sequences: float, tokens: float) -> float:
    """Experts touched: adjacent tokens of a sequence share many (6 t^0.666, a measured fit)."""
    touched = CHOICES * tokens ** 0.666
    return EXPERTS * (1 - (1 - touched / EXPERTS) ** sequences)


def partial_bytes(rows: int, entries: int) -> float:
    """Partial results that the stretches of a row's list write and read back."""
    units = -(-entries // SPLIT_ENTRIES)
    splits = -(-units // -(-units // SPLITS_MAX))
    # Those of a few rows stay in the 24 MB of L2: charged at a quarter.
    return rows * splits * HEADS / RANKS * (HEAD_DIM + 2) * 4 * 2 / 4


def attention(name: str, count: float, rows: int, readers: float, entries: int) -> Phase:
    """`readers` rows read entries of their own; others find theirs in the L2."""
    flops = rows * entries * HEADS / RANKS * HEAD_DIM * 4
    return Phase(name, count, readers * entries * ENTRY_BYTES, SMALL, 2, flops / ATTENTION_FLOPS,
                 scratch_bytes=partial_bytes(rows, entries))


def top_k_s(rows: int, keys: int) -> float:
    """A block reads its part of a row's scores five times, as fast as one SM can from L2; the last
    one of a row then the parts' candidates."""
    if keys <= TOP_K:
        return 0.0
    parts = -(-keys // TOP_K_PART_KEYS)
    waves = -(-rows * parts // SMS)
    candidates = parts * TOP_K if parts > 1 else 0
    return 5 * 4 * (waves * min(keys, TOP_K_PART_KEYS) + candidates) / SM_BYTES_PER_S


def layer_phases(rows: int, sequences: int, context: int) -> list[Phase]:
    h, n = HIDDEN, RANKS
    tokens = rows / sequences
    experts = distinct_experts(sequences, tokens)
    expert = 3 * h * INTERMEDIATE / n * E2M1_BYTES
    keys = context // 4
    dense = context // 128
    fused = rows <= FUSED_ROWS
    holders = n if SHARES_LATENTS else 1
    latents = (Q_RANK + HEAD_DIM) * h / holders
    compressor = 2 * 2 * HEAD_DIM * h * 2 / holders
    indexer = (2 * 2 * INDEX_DIM + INDEX_HEADS) * h * 2 / holders
    dense_compressor = 2 * HEAD_DIM * h * 2 / holders
    latents_share = MEDIUM if SHARES_LATENTS else LARGE
    finish = 1 if SHARES_LATENTS else 0
    queries = HEADS / n * HEAD_DIM * Q_RANK
    # Separate launches of what fused ones finish inside.
    norms, entry_writes, rings = (0, 0, 0) if fused else (1, 1, 2)
    phases = [
        Phase("return to streams and mix", 2 * LAYERS,
              MIXES * STREAMS * h * 4 + rows * STREAMS * h * 2 * 2, MEDIUM, 1 if fused else 2,
              waits_first=False),
        Phase("mixed input, norm, quantise", 2 * LAYERS, rows * STREAMS * h * 2, SMALL, 1),
        Phase("latents of window layers", WINDOW_ONLY, latents, MEDIUM,
              1 + norms + entry_writes + finish, waits_first=False),
        Phase("latents and compressor, ratio 128", DENSE, latents + dense_compressor,
              latents_share, (1 if fused else 6) + finish, waits_first=False),
        Phase("latents and compressors, ratio 4", OVERLAP, latents + compressor + indexer,
              latents_share, (1 if fused else 8) + finish, waits_first=False),
        Phase("queries", LAYERS, queries, LARGE, 1 if fused else 2, waits_first=False),
        Phase("index queries", OVERLAP, INDEX_HEADS * INDEX_DIM * Q_RANK, LARGE,
              0 if fused else 2, waits_first=False),
        Phase("index scores", OVERLAP, sequences * keys * KEY_BYTES, MEDIUM, 1,
              rows * keys * INDEX_HEADS * INDEX_DIM * 2 / TENSOR_FLOPS,
              scratch_bytes=rows * keys * 4),
        Phase("top k", OVERLAP, 0, SMALL, 0 if fused else 1, scratch_s=top_k_s(rows, keys)),
    ]
    # The window and the entries of ratio 128 are the same for all rows of a sequence.
    chosen = min(TOP_K, keys)
    phases += [
        attention("window attention", WINDOW_ONLY, rows, sequences, WINDOW),
        attention("sparse attention, ratio 4", OVERLAP, rows, rows, WINDOW + chosen),
        attention("attention, ratio 128", DENSE, rows, sequences, WINDOW + dense),
    ]
    group = O_GROUPS / n * O_RANK
    shared = 3 * h * INTERMEDIATE / n
    phases += [
        Phase("wo_a, grouped", LAYERS, group * HEADS / O_GROUPS * HEAD_DIM, LARGE,
              1 if fused else 2, waits_first=False),
        Phase("wo_b", LAYERS, h * group, LARGE, 1, waits_first=False),
        Phase("routing", LAYERS, EXPERTS * h * 2, SMALL, 1 if fused else 3, waits_first=False),
        Phase("experts", LAYERS, experts * expert + shared, EXPERTS_SHARE, 2 if fused else 5,
              rows * (CHOICES + 1) * 3 * h * INTERMEDIATE / n * 2 / TENSOR_FLOPS),
        Phase("head", 1, VOCABULARY / n * h * 2, HEAD_SHARE, 5, waits_first=False),
    ]
    return phases


def draft_phases(sequences: int) -> list[Phase]:
    h, n, rows = HIDDEN, RANKS, sequences * DRAFT_ROWS
    experts = distinct_experts(sequences, DRAFT_ROWS)
    attention = ((Q_RANK + HEAD_DIM) * h + HEADS / n * HEAD_DIM * Q_RANK
                 + O_GROUPS / n * O_RANK * HEADS / O_GROUPS * HEAD_DIM
                 + h * O_GROUPS / n * O_RANK)
    stage = (attention + 2 * MIXES * STREAMS * h * 4 + EXPERTS * h * 2 + 3 * h * INTERMEDIATE / n
             + experts * 3 * h * INTERMEDIATE / n * E2M1_BYTES)
    entries = WINDOW + DRAFT_ROWS
    return [
        Phase("draft: main projection", 1, h * 3 * h, LARGE, 3, waits_first=False),
        Phase("draft: stages", DRAFT_STAGES, stage + sequences * entries * ENTRY_BYTES, LARGE, 13,
              scratch_bytes=partial_bytes(rows, entries)),
        # Head and Markov weight in e4m3: the target verifies what they propose. The latter stays
        # in the L2 between its five readings.
        Phase("draft: head", 1, VOCABULARY / n * h, HEAD_SHARE, 2, waits_first=False),
        Phase("draft: markov weight", 1, VOCABULARY / n * MARKOV_RANK, MEDIUM, 0),
        Phase("draft: markov steps", DRAFT_ROWS, rows / DRAFT_ROWS * VOCABULARY / n * 8, MEDIUM, 4),
    ]


def exchange_s(count: int, bytes_each: float, prefetches: bool) -> float:
    """What exchanges cost beyond the weights that arrive meanwhile."""
    wait = EXCHANGE_BASE_S + bytes_each / EXCHANGE_BYTES_PER_S
    recovered = PREFETCH_SHARE * min(wait, PREFETCH_BYTES / BUS_BYTES_PER_S) if prefetches else 0
    return count * (wait - recovered)


def predict(rows: int, sequences: int, context: int, draft: bool):
    phases = layer_phases(rows, sequences, context) + (draft_phases(sequences) if draft else [])
    # Picks of tokens are a few bytes.
    exchanges = exchange_s(2 * LAYERS, rows * HIDDEN * WIRE_BYTES, True)
    exchanges += exchange_s(1, rows * 8, False)
    if SHARES_LATENTS:
        # Of a layer of ratio 4: bf16 latents, fp32 compressors and index weights.
        columns = (Q_RANK + HEAD_DIM) * 2 + (2 * 2 * (HEAD_DIM + INDEX_DIM) + INDEX_HEADS) * 4
        exchanges += exchange_s(LAYERS, rows * columns / RANKS, True)
    if draft:
        exchanges += exchange_s(2 * DRAFT_STAGES, sequences * DRAFT_ROWS * HIDDEN * WIRE_BYTES,
                                True)
        exchanges += exchange_s(DRAFT_ROWS, sequences * 8, False)
    launches = sum(phase.count * phase.launches for phase in phases)
    trunk = sum(phase.count * phase.launches for phase in layer_phases(rows, sequences, context)
                if phase.name != "head")
    return phases, exchanges, launches, trunk / LAYERS


BUS_OF_A_PUBLISHED_KERNEL = 0.978  # a product of one row on this chip
LEVERS = {
    "as built": {},
    "partial sums in bf16 on the wire": {"WIRE_BYTES": 2},
    "latents cut over ranks": {"SHARES_LATENTS": True},
    "both": {"WIRE_BYTES": 2, "SHARES_LATENTS": True},
    "all large streams at 0.94": {"LARGE": 0.94, "HEAD_SHARE": 0.94},
    "large streams at 0.978": dict.fromkeys(("EXPERTS_SHARE", "HEAD_SHARE", "LARGE"),
                                            BUS_OF_A_PUBLISHED_KERNEL),
    "latents cut over ranks, large streams at 0.978": {
        "SHARES_LATENTS": True,
        **dict.fromkeys(("EXPERTS_SHARE", "HEAD_SHARE", "LARGE"), BUS_OF_A_PUBLISHED_KERNEL)},
    "launches that cost nothing": {"LAUNCH_S": 0, "RAMP_S": 0, "RAMP_WITH_WEIGHTS_S": 0},
    "exchanges that cost nothing": {"EXCHANGE_BASE_S": 0, "EXCHANGE_BYTES_PER_S": 1e30},
}


def print_levers() -> None:
    """Milliseconds of a verification of six rows plus draft at 4K of context."""
    for name, changes in LEVERS.items():
        kept = {key: globals()[key] for key in changes}
        globals().update(changes)
        phases, exchanges, launches, _ = predict(6, 1, 4096, True)
        predicted = 1e3 * (sum(phase.predicted_s() for phase in phases) + exchanges)
        globals().update(kept)
        floor = 1e3 * sum(phase.floor_s() for phase in phases)
        print(f"{name},{floor:.1f},{predicted:.1f},{round(launches)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write")
    parser.add_argument("--levers", action="store_true")
    options = parser.parse_args()
    if options.levers:
        print("lever,floor_ms,predicted_ms,launches")
        print_levers()
        return 0
    # Rows, sequences, whether a draft follows.
    cases = [(1, 1, False), (6, 1, True), (16, 16, False), (36, 6, True), (96, 16, True)]
    columns = ["rows", "sequences", "draft", "context", "floor_ms", "predicted_ms", "launches",
               "launches_per_layer", "exchanges_ms", "largest_above_floor"]
    table = []
    for rows, sequences, draft in cases:
        for context in (4096, 65536, 262144, 1048576):
            phases, exchanges, launches, per_layer = predict(rows, sequences, context, draft)
            over = [(phase.predicted_s() - phase.floor_s(), phase.name) for phase in phases]
            over = sorted(over + [(exchanges, "exchanges")], reverse=True)[:3]
            table.append({
                "rows": rows, "sequences": sequences, "draft": "yes" if draft else "no",
                "context": context,
                "floor_ms": f"{1e3 * sum(phase.floor_s() for phase in phases):.1f}",
                "predicted_ms":
                    f"{1e3 * (sum(phase.predicted_s() for phase in phases) + exchanges):.1f}",
                "launches": round(launches),
                "launches_per_layer": f"{per_layer:.1f}",
                "exchanges_ms": f"{1e3 * exchanges:.1f}",
                "largest_above_floor": "; ".join(f"{name} {1e3 * cost:.1f} ms"
                                                 for cost, name in over)})
    out = open(options.write, "w", newline="") if options.write else sys.stdout
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
