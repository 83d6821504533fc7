#!/usr/bin/env python3
"""Predicts milliseconds per step on a pair of DGX Sparks from bytes, launches and exchanges.

A model, not a measurement: no GPU has run these kernels yet. Each phase costs the larger of its
bytes at its expected share of the bus and its arithmetic, plus a fixed cost per launch; an
exchange costs its latency. The floor is the bytes alone at the whole bus. Standard library only.

Usage: docs/performance/predict.py [--write docs/performance/prediction.csv]
"""

import argparse
import csv
import sys
from dataclasses import dataclass

RANKS = 2
BUS_BYTES_PER_S = 232e9        # what a saturating read reaches of GB10's 273 GB/s
LAUNCH_S = 0.5e-6              # a node of a captured graph
RAMP_S = 1.5e-6                # start and tail that programmatic launches do not hide
EXCHANGE_BASE_S = 16e-6        # one-shot between two ranks, small payload
EXCHANGE_BYTES_PER_S = 10e9    # beyond it
SM_BYTES_PER_S = 80e9          # one SM from L2
TENSOR_FLOPS = 188e12          # FP8 mma, dense

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
SPLIT_ENTRIES = 64

# Expected share of the bus: large streams, small ones that start and end within microseconds.
LARGE, MEDIUM, SMALL = 0.90, 0.80, 0.60


@dataclass
class Phase:
    name: str
    count: float        # times a step
    bytes: float        # each time, this rank
    share: float        # of the bus
    launches: int
    flops: float = 0.0

    def floor_s(self) -> float:
        return self.count * self.bytes / BUS_BYTES_PER_S

    def predicted_s(self) -> float:
        stream = max(self.bytes / (BUS_BYTES_PER_S * self.share), self.flops / TENSOR_FLOPS)
        return self.count * (stream + self.launches * (LAUNCH_S + RAMP_S))


def distinct_experts(sequences: float, tokens: float) -> float:
    """Experts touched: adjacent tokens of a sequence share many (6 t^0.666, a measured fit)."""
    touched = CHOICES * tokens ** 0.666
    return EXPERTS * (1 - (1 - touched / EXPERTS) ** sequences)


def attention_bytes(rows: int, entries: int) -> tuple[float, float]:
    """Stored entries a row reads, and the partial results that its splits write and read back."""
    splits = -(-entries // SPLIT_ENTRIES)
    partial = splits * HEADS / RANKS * (HEAD_DIM + 2) * 4 * 2
    # Partial results of a few rows stay in the 24 MB of L2: charged at a quarter.
    return rows * entries * ENTRY_BYTES, rows * partial / 4


def layer_phases(rows: int, sequences: int, context: int) -> list[Phase]:
    h, n = HIDDEN, RANKS
    tokens = rows / sequences
    experts = distinct_experts(sequences, tokens)
    expert = 3 * h * INTERMEDIATE / n * E2M1_BYTES
    keys = context // 4
    dense = context // 128
    phases = [
        Phase("mix of streams (pre, norm, quantise, post)", 2 * LAYERS,
              MIXES * STREAMS * h * 4 + rows * STREAMS * h * 2 * 4, SMALL, 3),
        Phase("wq_a and wkv", LAYERS, (Q_RANK + HEAD_DIM) * h, SMALL, 1),
        Phase("q norm, kv norm, rope, entry write", LAYERS, rows * (Q_RANK + HEAD_DIM) * 4, SMALL, 2),
        Phase("wq_b", LAYERS, HEADS / n * HEAD_DIM * Q_RANK, LARGE, 1),
        Phase("q per head norm and rope", LAYERS, rows * HEADS / n * HEAD_DIM * 4, SMALL, 1),
        Phase("compressor, ratio 4", OVERLAP, 2 * 2 * HEAD_DIM * h * 2, LARGE, 3),
        Phase("compressor, ratio 128", DENSE, 2 * HEAD_DIM * h * 2, MEDIUM, 3),
        # The indexer's products share launches with wq_b and with the compressor's.
        Phase("indexer wq_b", OVERLAP, INDEX_HEADS * INDEX_DIM * Q_RANK, LARGE, 1),
        Phase("indexer compressor and head weights", OVERLAP,
              (2 * 2 * INDEX_DIM + INDEX_HEADS) * h * 2, LARGE, 2),
        Phase("index scores", OVERLAP, sequences * keys * KEY_BYTES + rows * keys * 4, MEDIUM, 1,
              rows * keys * INDEX_HEADS * INDEX_DIM * 2),
        # One block a row reads the scores five times, as fast as one SM can from L2.
        Phase("top k", OVERLAP, max(rows / 4, BUS_BYTES_PER_S * SMALL / SM_BYTES_PER_S)
              * keys * 4 * 5, SMALL, 1),
    ]
    for name, count, entries in (("window attention", WINDOW_ONLY, WINDOW),
                                 ("sparse attention, ratio 4", OVERLAP,
                                  WINDOW + min(TOP_K, keys)),
                                 ("attention, ratio 128", DENSE, WINDOW + dense)):
        stored, partial = attention_bytes(rows, min(entries, WINDOW + context))
        phases.append(Phase(name, count, stored + partial, SMALL, 2,
                            rows * entries * HEADS / n * HEAD_DIM * 4))
    phases += [
        Phase("wo_a, grouped", LAYERS, O_GROUPS / n * O_RANK * HEADS / O_GROUPS * HEAD_DIM, LARGE, 1),
        Phase("wo_b", LAYERS, h * O_GROUPS / n * O_RANK, LARGE, 2),
        Phase("router", LAYERS - HASHED_LAYERS, EXPERTS * h * 2, SMALL, 3),
        Phase("routed experts", LAYERS, experts * expert, LARGE, 2, rows * CHOICES * 3 * h
              * INTERMEDIATE / n * 2),
        Phase("shared expert", LAYERS, 3 * h * INTERMEDIATE / n, MEDIUM, 2),
        Phase("sum of experts", LAYERS, rows * (CHOICES + 2) * h * 4, SMALL, 1),
        Phase("head", 1, VOCABULARY / n * h * 2, LARGE, 5),
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
    stored, partial = attention_bytes(rows, WINDOW + DRAFT_ROWS)
    return [
        Phase("draft: main projection", 1, h * 3 * h, LARGE, 3),
        Phase("draft: stages", DRAFT_STAGES, stage + stored + partial, MEDIUM, 20),
        Phase("draft: head", 1, VOCABULARY / n * h * 2, LARGE, 2),
        Phase("draft: markov steps", DRAFT_ROWS, VOCABULARY / n * MARKOV_RANK * 2
              + rows / DRAFT_ROWS * VOCABULARY / n * 8, MEDIUM, 4),
    ]


def exchange_s(count: int, bytes_each: float) -> float:
    return count * (EXCHANGE_BASE_S + bytes_each / EXCHANGE_BYTES_PER_S)


def predict(rows: int, sequences: int, context: int, draft: bool):
    phases = layer_phases(rows, sequences, context) + (draft_phases(sequences) if draft else [])
    exchanges = exchange_s(2 * LAYERS + 1, rows * HIDDEN * 4)
    if draft:
        exchanges += exchange_s(2 * DRAFT_STAGES + DRAFT_ROWS, sequences * DRAFT_ROWS * HIDDEN * 4)
    launches = sum(phase.count * phase.launches for phase in phases)
    trunk = sum(phase.count * phase.launches for phase in layer_phases(rows, sequences, context)
                if phase.name != "head")
    return phases, exchanges, launches, trunk / LAYERS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write")
    options = parser.parse_args()
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
