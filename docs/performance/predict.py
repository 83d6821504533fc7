#!/usr/bin/env python3
"""Predicts milliseconds per step on a pair of DGX Sparks from bytes, launches and exchanges.

A model, not a measurement: no GPU has run these kernels yet. Each phase costs the largest of its
bytes at its expected share of the bus, its arithmetic, its instructions at the rate that they can
be issued and the chain of waits that no other work hides, plus what follows its last byte and a
fixed cost per launch; an exchange costs its latency, by NCCL and by a one-shot exchange of our own,
neither of which exists here yet. The floor is the bytes that formats require, at the whole bus.

[M] measured elsewhere on the named chip, [D] derived from shapes or machine code, [E] estimated.
Standard library only.

Usage: docs/performance/predict.py [--write docs/performance/prediction.csv] [--levers]
"""

import argparse
import contextlib
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
SM_BYTES_PER_S = 80e9          # [E] one SM from L2
SMS = 48
TENSOR_FLOPS = 188e12          # FP8 mma, dense
ISSUED_PER_S = SMS * 4 * 2.4e9  # [D] instructions of warps

# Exchanges of a step's partial sums between two ranks.
# NCCL, tuned, on two DGX Sparks [M] (NVIDIA/dgx-spark-playbooks#103; the last on four Sparks,
# b12x docs/rocenante.md): payload bytes, seconds. Its kernels let nothing start early.
NCCL = [(8e3, 32e-6), (16e3, 32e-6), (32e3, 38.5e-6), (48e3, 52e-6), (64e3, 66.5e-6),
        (1.5e6, 877e-6)]
# One-shot writes of our own: 23 us at 48 KB on four Sparks [M] (the same), 12 to 18 between two [E].
ONE_SHOT_BASE_S, ONE_SHOT_BYTES_PER_S = 16e-6, 10e9

# Chains that one block works off while the rest of the chip is idle.
# Thor's are as its owner published them (patrickbdevaney/deepseek-v4-flash-0731-cuda).
SELECT_S = 39e-6               # [M] Thor: radix select of 3072 keys by 256 threads
SELECT_KEYS = 3072
PRE_S = 16.5e-6                # [M] Thor: 20 Sinkhorn iterations in 16 lanes, and the mixed input
MIXED_INPUT_S = 3.4e-6         # [E] of that without Sinkhorn: one block's sum, norm, quantisation
LATENCY_S = 0.8e-6             # [E] a load from DRAM
ATTEND_TILE_S = 1e-6           # [E] 32 entries: four barriers, two products, the exponentials
FINISH_S = 1e-6                # [E] of a row by the block that completes a product
SCORE_INSTRUCTIONS = 434       # [D] of a warp for a tile of eight keys, in the machine code
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
SHARES_LATENTS = False         # wkv, compressors and indexer cut over ranks, gathered meanwhile
ONE_SHOT = False               # instead of NCCL
WIRE_BYTES = 4                 # of an element of a partial sum
JOINS_IN_LAST_BLOCK = False    # attention's stretches, without a second launch
PRE_IN_LAST_BLOCK = False      # the mixed input made by the last block of the mix
SINKHORN_BESIDE = False        # in a block of the launch behind it: only the return needs it
SHARED_WITH_ROUTE = False      # the shared expert's w1 and w3 in the router's launch
DRAFT_HEAD_BYTES = 1.0         # an element
SERIAL = 1.0                   # of the chains above


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
    issue_s: float = 0.0        # instructions, at the rate of their issue
    chain_s: float = 0.0        # waits one after the other that bytes may hide
    tail_s: float = 0.0         # what one block does after the last byte

    def floor_s(self) -> float:
        return self.count * self.bytes / BUS_BYTES_PER_S

    def predicted_s(self) -> float:
        moved = (self.bytes + self.scratch_bytes) / (BUS_BYTES_PER_S * self.share)
        ramp = RAMP_S if self.waits_first else RAMP_WITH_WEIGHTS_S
        return self.count * (max(moved, self.flop_s, self.issue_s, SERIAL * self.chain_s)
                             + SERIAL * self.tail_s + self.launches * (LAUNCH_S + ramp))


def distinct_experts(sequences: float, tokens: float) -> float:
    """Experts touched: adjacent tokens of a sequence share many (6 t^0.666, a measured fit)."""
    touched = CHOICES * tokens ** 0.666
    return EXPERTS * (1 - (1 - touched / EXPERTS) ** sequences)


def stretches(entries: int) -> tuple[int, int]:
    """Of a row's list: how many, and tiles of 32 entries in each."""
    units = -(-entries // SPLIT_ENTRIES)
    each = -(-units // SPLITS_MAX)
    return -(-units // each), 2 * each


PARTIAL_BYTES = HEADS / RANKS * (HEAD_DIM + 2) * 4


def partial_bytes(rows: int, entries: int) -> float:
    """Partial results that the stretches of a row's list write and read back."""
    # Those of a few rows stay in the 24 MB of L2: charged at a quarter.
    return rows * stretches(entries)[0] * PARTIAL_BYTES * 2 / 4


def attention(name: str, count: float, rows: int, readers: float, entries: int) -> Phase:
    """`readers` rows read entries of their own; others find theirs in the L2."""
    flops = rows * entries * HEADS / RANKS * HEAD_DIM * 4
    splits, tiles = stretches(entries)
    waves = -(-rows * splits // SMS)
    # How many, which slot, which page, the entry: one after the other; then tile by tile.
    chain = waves * (4 * LATENCY_S + tiles * ATTEND_TILE_S)
    join = splits * PARTIAL_BYTES / SM_BYTES_PER_S if JOINS_IN_LAST_BLOCK else 0
    return Phase(name, count, readers * entries * ENTRY_BYTES, SMALL,
                 1 if JOINS_IN_LAST_BLOCK else 2, flops / ATTENTION_FLOPS,
                 scratch_bytes=partial_bytes(rows, entries), chain_s=chain, tail_s=join)


def select_s(keys: int) -> float:
    """One block's: five passes over its keys, as fast as one SM reads the L2 beyond what was timed."""
    return SELECT_S + 5 * 4 * max(0, keys - SELECT_KEYS) / SM_BYTES_PER_S


def top_k_s(rows: int, keys: int) -> float:
    """A block selects in its part of a row's scores, the last one of a row in their candidates."""
    if keys <= TOP_K:
        return 0.0
    parts = -(-keys // TOP_K_PART_KEYS)
    waves = -(-rows * parts // SMS)
    join = select_s(parts * TOP_K) if parts > 1 else 0
    return waves * select_s(min(keys, TOP_K_PART_KEYS)) + join


def layer_phases(rows: int, sequences: int, context: int) -> list[Phase]:
    h, n = HIDDEN, RANKS
    tokens = rows / sequences
    experts = distinct_experts(sequences, tokens)
    expert = 3 * h * INTERMEDIATE / n * E2M1_BYTES
    keys = context // 4
    dense = context // 128
    fused = rows <= FUSED_ROWS
    holders = n if SHARES_LATENTS else 1
    latents = Q_RANK * h + HEAD_DIM * h / holders
    compressor = 2 * 2 * HEAD_DIM * h * 2 / holders
    indexer = (2 * 2 * INDEX_DIM + INDEX_HEADS) * h * 2 / holders
    dense_compressor = 2 * HEAD_DIM * h * 2 / holders
    finish = 1 if SHARES_LATENTS else 0
    queries = HEADS / n * HEAD_DIM * Q_RANK
    # Separate launches of what fused ones finish inside.
    norms, entry_writes, rings = (0, 0, 0) if fused else (1, 1, 2)
    phases = [
        Phase("return to streams and mix", 2 * LAYERS,
              MIXES * STREAMS * h * 4 + rows * STREAMS * h * 2 * 2, MEDIUM, 1 if fused else 2,
              waits_first=False),
        Phase("mixed input, norm, quantise", 2 * LAYERS, rows * STREAMS * h * 2, SMALL,
              0 if PRE_IN_LAST_BLOCK else 1,
              chain_s=MIXED_INPUT_S if SINKHORN_BESIDE else PRE_S,
              tail_s=(rows - 1) * FINISH_S if PRE_IN_LAST_BLOCK else 0),
        Phase("latents of window layers", WINDOW_ONLY, latents, MEDIUM,
              1 + norms + entry_writes + finish, waits_first=False),
        Phase("latents and compressor, ratio 128", DENSE, latents + dense_compressor,
              LARGE, (1 if fused else 6) + finish, waits_first=False),
        Phase("latents and compressors, ratio 4", OVERLAP, latents + compressor + indexer,
              LARGE, (1 if fused else 8) + finish, waits_first=False),
        Phase("queries", LAYERS, queries, LARGE, 1 if fused else 2, waits_first=False,
              tail_s=rows * FINISH_S if fused else 0),
        Phase("index queries", OVERLAP, INDEX_HEADS * INDEX_DIM * Q_RANK / holders, LARGE,
              0 if fused else 2, waits_first=False),
        Phase("index scores", OVERLAP, sequences * keys * KEY_BYTES, MEDIUM, 1,
              rows * keys * INDEX_HEADS * INDEX_DIM * 2 / TENSOR_FLOPS,
              scratch_bytes=rows * keys * 4,
              issue_s=rows * keys / 8 * SCORE_INSTRUCTIONS / ISSUED_PER_S),
        Phase("top k", OVERLAP, 0, SMALL, 0 if fused else 1, tail_s=top_k_s(rows, keys)),
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
    with_route = 2 / 3 * shared if SHARED_WITH_ROUTE else 0
    warps_of_rows = -(-rows // 8)
    phases += [
        Phase("wo_a, grouped", LAYERS, group * HEADS / O_GROUPS * HEAD_DIM, LARGE,
              1 if fused else 2, waits_first=False, tail_s=warps_of_rows * FINISH_S if fused else 0),
        Phase("wo_b", LAYERS, h * group, LARGE, 1, waits_first=False),
        Phase("routing", LAYERS, EXPERTS * h * 2 + with_route,
              LARGE if SHARED_WITH_ROUTE else SMALL, 1 if fused else 3, waits_first=False,
              # A warp chooses for a row; then the rows are grouped.
              tail_s=(warps_of_rows + 3) * FINISH_S if fused else 0),
        Phase("experts", LAYERS, experts * expert + shared - with_route, EXPERTS_SHARE,
              2 if fused else 5,
              rows * (CHOICES + 1) * 3 * h * INTERMEDIATE / n * 2 / TENSOR_FLOPS,
              tail_s=rows / 2 * FINISH_S if fused else 0),
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
        # As a layer's: two mixed inputs, finished queries, routing, experts' sums.
        Phase("draft: stages", DRAFT_STAGES, stage + sequences * entries * ENTRY_BYTES, LARGE, 13,
              scratch_bytes=partial_bytes(rows, entries),
              tail_s=2 * PRE_S + (rows + rows / 2 + 5) * FINISH_S),
        # Head and Markov weight in e4m3: the target verifies what they propose. The latter stays
        # in the L2 between its five readings.
        Phase("draft: head", 1, VOCABULARY / n * h * DRAFT_HEAD_BYTES, HEAD_SHARE, 2,
              waits_first=False),
        Phase("draft: markov weight", 1, VOCABULARY / n * MARKOV_RANK, MEDIUM, 0),
        Phase("draft: markov steps", DRAFT_ROWS, rows / DRAFT_ROWS * VOCABULARY / n * 8, MEDIUM, 4),
    ]


def nccl_s(payload: float) -> float:
    """Between the measured points in straight lines."""
    for (low, fast), (high, slow) in zip(NCCL, NCCL[1:]):
        if payload <= high:
            return fast + max(0.0, payload - low) / (high - low) * (slow - fast)
    (low, fast), (high, slow) = NCCL[-2:]
    return slow + (payload - high) / (high - low) * (slow - fast)


def exchange_s(payload: float, prefetches: bool) -> float:
    """What an exchange costs beyond the weights that arrive meanwhile."""
    if not ONE_SHOT:
        return nccl_s(payload)
    wait = ONE_SHOT_BASE_S + payload / ONE_SHOT_BYTES_PER_S
    return wait - (PREFETCH_SHARE * min(wait, PREFETCH_BYTES / BUS_BYTES_PER_S) if prefetches else 0)


def predict(rows: int, sequences: int, context: int, draft: bool):
    phases = layer_phases(rows, sequences, context) + (draft_phases(sequences) if draft else [])
    # Partial sums, and picks of tokens, which are a few bytes.
    sums = [(2 * LAYERS, rows)] + ([(2 * DRAFT_STAGES, sequences * DRAFT_ROWS)] if draft else [])
    picks = [(1, rows)] + ([(DRAFT_ROWS, sequences)] if draft else [])
    exchanges = sum(count * exchange_s(each * HIDDEN * WIRE_BYTES, True) for count, each in sums)
    exchanges += sum(count * exchange_s(each * 8, False) for count, each in picks)
    count = sum(count for count, _ in sums + picks)
    exchanges += count * LAUNCH_S
    launches = count + sum(phase.count * phase.launches for phase in phases)
    trunk = sum(phase.count * phase.launches for phase in layer_phases(rows, sequences, context)
                if phase.name != "head")
    return phases, exchanges, launches, trunk / LAYERS


@contextlib.contextmanager
def changed(**changes):
    """The model with other constants."""
    kept = {key: globals()[key] for key in changes}
    globals().update(changes)
    yield
    globals().update(kept)


def predicted_ms(rows: int, sequences: int, context: int, draft: bool) -> float:
    phases, exchanges, _, _ = predict(rows, sequences, context, draft)
    return 1e3 * (sum(phase.predicted_s() for phase in phases) + exchanges)


BUS_OF_A_PUBLISHED_KERNEL = 0.978  # a product of one row on this chip
LARGE_STREAMS = ("EXPERTS_SHARE", "HEAD_SHARE", "LARGE")
EXACT = {"ONE_SHOT": True, "SHARES_LATENTS": True, "SHARED_WITH_ROUTE": True,
         "SINKHORN_BESIDE": True}
LEVERS = {
    "as built, exchanges by NCCL": {},
    "NCCL, partial sums in bf16 on the wire": {"WIRE_BYTES": 2},
    "one-shot exchange (the rows below too)": {},
    "attention joined by its last block": {"JOINS_IN_LAST_BLOCK": True},
    "mixed input by the mix's last block": {"PRE_IN_LAST_BLOCK": True},
    "partial sums in bf16 on the wire": {"WIRE_BYTES": 2},
    "Sinkhorn beside the next launch's stream": {"SINKHORN_BESIDE": True},
    "shared expert's w1 and w3 with the router": {"SHARED_WITH_ROUTE": True},
    "wkv, compressors and indexer cut over ranks": {"SHARES_LATENTS": True},
    "drafter's head in MXFP4": {"DRAFT_HEAD_BYTES": E2M1_BYTES},
    "chains in half of Thor's time": {"SERIAL": 0.5},
    "launches that cost nothing": {"LAUNCH_S": 0, "RAMP_S": 0, "RAMP_WITH_WEIGHTS_S": 0},
    "all large streams at 0.94": {"LARGE": 0.94, "HEAD_SHARE": 0.94},
    "all large streams at 0.978": dict.fromkeys(LARGE_STREAMS, BUS_OF_A_PUBLISHED_KERNEL),
    "all that is exact: cut, with the router, Sinkhorn beside": EXACT,
    "that, and MXFP4, and chains halved": EXACT | {"DRAFT_HEAD_BYTES": E2M1_BYTES, "SERIAL": 0.5},
    "that, and large streams at 0.94": EXACT | {
        "DRAFT_HEAD_BYTES": E2M1_BYTES, "SERIAL": 0.5, "LARGE": 0.94, "HEAD_SHARE": 0.94},
    "that, and large streams at 0.978": EXACT | {
        "DRAFT_HEAD_BYTES": E2M1_BYTES, "SERIAL": 0.5,
        **dict.fromkeys(LARGE_STREAMS, BUS_OF_A_PUBLISHED_KERNEL)},
}


def print_levers() -> None:
    """Milliseconds of a verification of six rows plus draft at 4K of context."""
    for index, (name, changes) in enumerate(LEVERS.items()):
        with changed(**{"ONE_SHOT": index >= 2} | changes):
            phases, _, launches, _ = predict(6, 1, 4096, True)
            floor = 1e3 * sum(phase.floor_s() for phase in phases)
            print(f"{name},{floor:.1f},{predicted_ms(6, 1, 4096, True):.1f},{round(launches)}")


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
    columns = ["rows", "sequences", "draft", "context", "floor_ms", "nccl_ms", "one_shot_ms",
               "launches", "launches_per_layer", "nccl_exchanges_ms", "one_shot_exchanges_ms",
               "largest_above_floor_besides"]
    table = []
    for rows, sequences, draft in cases:
        for context in (4096, 65536, 262144, 1048576):
            step = (rows, sequences, context, draft)
            phases, nccl, launches, per_layer = predict(*step)
            with changed(ONE_SHOT=True):
                one_shot, one_shot_ms = predict(*step)[1], predicted_ms(*step)
            over = sorted(((phase.predicted_s() - phase.floor_s(), phase.name)
                           for phase in phases), reverse=True)[:3]
            table.append({
                "rows": rows, "sequences": sequences, "draft": "yes" if draft else "no",
                "context": context,
                "floor_ms": f"{1e3 * sum(phase.floor_s() for phase in phases):.1f}",
                "nccl_ms": f"{predicted_ms(*step):.1f}",
                "one_shot_ms": f"{one_shot_ms:.1f}",
                "launches": round(launches),
                "launches_per_layer": f"{per_layer:.1f}",
                "nccl_exchanges_ms": f"{1e3 * nccl:.1f}",
                "one_shot_exchanges_ms": f"{1e3 * one_shot:.1f}",
                "largest_above_floor_besides": "; ".join(f"{name} {1e3 * cost:.1f} ms"
                                                         for cost, name in over)})
    out = open(options.write, "w", newline="") if options.write else sys.stdout
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
