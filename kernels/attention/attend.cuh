#pragma once

#include "kernels/attention/attention.h"
#include "kernels/attention/latent.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// Attention over a list of stored entries. A block takes one row, 32 of its heads and a stretch of
// the list, in tiles of 32: the entries are widened to bf16 in shared memory once and serve
// all heads both as keys and as values, while the next tile's travel. A second kernel joins the
// splits in order.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kAttendWarps = 8;
constexpr int kAttendThreads = kAttendWarps * 32;
constexpr int kTileEntries = 32;
// Eight elements of padding put the rows of a matrix load into different banks.
constexpr int kLatentPitch = kHeadDim + 8;
constexpr int kWeightPitch = kTileEntries + 8;
constexpr int kColumnTiles = kHeadDim / kAttendWarps / 8;  // of the output, per warp
constexpr int kHeadTiles = kHeadsPerBlock / 16;
constexpr float kNoScore = -3.0e38F;
// As many as most stretches have; longer ones look up the next half of the ring in time.
constexpr int kEntriesAhead = 2 * kSplitEntries;

struct AttendShared {
  simt::SharedMatrix<std::uint16_t, kHeadsPerBlock, kHeadDim, kLatentPitch> q;
  simt::SharedMatrix<std::uint16_t, kTileEntries, kHeadDim, kLatentPitch> kv;
  simt::SharedMatrix<float, kHeadsPerBlock, kTileEntries, kTileEntries + 1> score;
  simt::SharedMatrix<std::uint16_t, kHeadsPerBlock, kTileEntries, kWeightPitch> weight;
  simt::SharedArray<float, kHeadsPerBlock> rescale;
  // A ring: where this tile's entries lie and those of the tiles after it, null past the stretch.
  // Each is looked up once, long before its bytes are asked for.
  simt::SharedArray<const std::uint8_t*, kEntriesAhead> entry;
};

// The i-th entry of a row's list.
SIMT_DEVICE const std::uint8_t* find_entry(const AttentionArguments& arguments, int row, int i) {
  const int in_window = arguments.window_count[row];
  if (i < in_window) {
    return arguments.window.Entry(
        arguments.window_slots[static_cast<std::int64_t>(row) * arguments.window_max + i]);
  }
  const int index =
      arguments.compressed_slots[static_cast<std::int64_t>(row) * arguments.compressed_max + i -
                                 in_window];
  const int page = index / arguments.compressed.entries_per_page;
  return arguments.compressed.Entry(
      arguments.page_table[static_cast<std::int64_t>(row) * arguments.pages_max + page],
      index % arguments.compressed.entries_per_page);
}

// Looks up `count` entries from the `first` on and puts them into the ring at `place`.
SIMT_DEVICE void find_entries(AttendShared& shared,
                              const AttentionArguments& arguments,
                              int row,
                              int first,
                              int end,
                              int count,
                              int place) {
  for (int i : simt::block_stride(count)) {
    shared.entry[place + i] = first + i < end ? find_entry(arguments, row, first + i) : nullptr;
  }
}

// Four e4m3 bytes times a power of two, as two words of bf16: exact.
SIMT_DEVICE Words<2> widen_four(std::uint32_t bytes, float scale) {
  float value[4];
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    value[i] = simt::e4m3_to_float(static_cast<std::uint8_t>(bytes >> (8 * i))) * scale;
  }
  return {{simt::pack_exact_bf16(value[0], value[1]), simt::pack_exact_bf16(value[2], value[3])}};
}

// A lane carries the same eight dimensions of every fourth entry of a tile.
constexpr int kChunkDims = 8;
constexpr int kChunksOfEntry = kHeadDim / kChunkDims;
constexpr int kEntriesAtOnce = kAttendThreads / kChunksOfEntry;
constexpr int kChunksPerLane = kTileEntries / kEntriesAtOnce;

SIMT_DEVICE int chunk_dimension() {
  return simt::thread_index() % kChunksOfEntry * kChunkDims;
}

// A lane's share of a tile as it is stored, on its way from memory while the tile before is
// multiplied. Places past the list are zeros.
struct StoredChunks {
  Words<2> low[kChunksPerLane];   // eight codes, or the first four bf16
  Words<2> high[kChunksPerLane];  // the other four bf16
  std::uint32_t scale[kChunksPerLane];
};

SIMT_DEVICE StoredChunks ask_for_entries(AttendShared& shared, int first_in_ring) {
  const int dimension = chunk_dimension();
  const bool plain = dimension < kPlainDim;
  const int offset = plain ? dimension : kEntryRope + (dimension - kPlainDim) * 2;
  StoredChunks chunks = {};
  SIMT_UNROLL
  for (int i = 0; i < kChunksPerLane; ++i) {
    const int place = i * kEntriesAtOnce + simt::thread_index() / kChunksOfEntry;
    const std::uint8_t* entry = shared.entry[first_in_ring + place];
    if (entry == nullptr) {
      continue;
    }
    chunks.low[i] = simt::load_streaming<2>(entry + offset);
    if (plain) {
      chunks.scale[i] = *simt::global(entry + kEntryScales + dimension / kEntryGroup);
    } else {
      chunks.high[i] = simt::load_streaming<2>(entry + offset + 8);
    }
  }
  return chunks;
}

// Widens a tile to bf16 in shared memory.
SIMT_DEVICE void store_entries(AttendShared& shared, const StoredChunks& chunks) {
  const int dimension = chunk_dimension();
  SIMT_UNROLL
  for (int i = 0; i < kChunksPerLane; ++i) {
    Words<2> low = chunks.low[i];
    Words<2> high = chunks.high[i];
    if (dimension < kPlainDim) {
      const float scale = simt::ue8m0_to_float(chunks.scale[i]);
      high = widen_four(low.word[1], scale);
      low = widen_four(low.word[0], scale);
    }
    const int place = i * kEntriesAtOnce + simt::thread_index() / kChunksOfEntry;
    simt::store_shared<4>(shared.kv.from(place, dimension),
                          Words<4>{{low.word[0], low.word[1], high.word[0], high.word[1]}});
  }
}

// The lane's row of a 16 x 16 operand made of four 8 x 8 matrices, and its column.
SIMT_DEVICE int matrix_row() {
  return simt::lane_index() % 16;
}
SIMT_DEVICE int matrix_column() {
  return simt::lane_index() / 16 * 8;
}

// Warp w scores 16 heads against 8 entries.
SIMT_DEVICE void score_tile(AttendShared& shared, int first, int count) {
  const int warp = simt::warp_index();
  const int lane = simt::lane_index();
  const int head_tile = warp / 4 * 16;
  const int entry_tile = warp % 4 * 8;
  float sum[4] = {};
  for (int k = 0; k < kHeadDim; k += 32) {
    // Four matrices of the same eight entries: k to k + 31.
    const Words<4> keys =
        simt::load_matrix_x4(shared.kv.from(entry_tile + lane % 8, k + lane / 8 * 8));
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const Words<4> heads = simt::load_matrix_x4(
          shared.q.from(head_tile + matrix_row(), k + half * 16 + matrix_column()));
      simt::mma_bf16_m16n8k16(sum, heads, Words<2>{{keys.word[2 * half], keys.word[2 * half + 1]}});
    }
  }
  constexpr float kScale = 0.044194173824159216F;  // 1 / sqrt(512)
  simt::for_each(sum, [&](int head, int entry, float value) {
    const bool live = first + entry_tile + entry < count;
    shared.score(head_tile + head, entry_tile + entry) = live ? value * kScale : kNoScore;
  });
}

struct HeadStats {
  float largest = kNoScore;
  float sum = 0;
};

// Warp w turns four heads' scores into weights relative to the largest so far.
SIMT_DEVICE void weigh_tile(AttendShared& shared, HeadStats (&stats)[4], int first, int count) {
  const int lane = simt::lane_index();
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int head = simt::warp_index() * 4 + i;
    const float score = shared.score(head, lane);
    const float largest = simt::maximum(stats[i].largest, simt::warp_max(score));
    const float weight = first + lane < count ? simt::exp(score - largest) : 0.0F;
    const float factor = simt::exp(stats[i].largest - largest);
    stats[i].sum = simt::fma(stats[i].sum, factor, simt::warp_sum(weight));
    stats[i].largest = largest;
    shared.weight(head, lane) = simt::float_to_bf16(weight);
    if (lane == 0) {
      shared.rescale[head] = factor;
    }
  }
}

// Warp w adds the weighted entries to its 64 columns of all heads.
SIMT_DEVICE void add_tile(AttendShared& shared, float (&out)[kHeadTiles][kColumnTiles][4]) {
  const int lane = simt::lane_index();
  const int first_column = simt::warp_index() * kColumnTiles * 8;
  SIMT_UNROLL
  for (int tile = 0; tile < kHeadTiles; ++tile) {
    const float upper = shared.rescale[tile * 16 + lane / 4];
    const float lower = shared.rescale[tile * 16 + lane / 4 + 8];
    SIMT_UNROLL
    for (int column = 0; column < kColumnTiles; ++column) {
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        out[tile][column][i] *= i < 2 ? upper : lower;
      }
    }
  }
  SIMT_UNROLL
  for (int k = 0; k < kTileEntries; k += 16) {
    Words<4> weights[kHeadTiles];
    SIMT_UNROLL
    for (int tile = 0; tile < kHeadTiles; ++tile) {
      weights[tile] =
          simt::load_matrix_x4(shared.weight.from(tile * 16 + matrix_row(), k + matrix_column()));
    }
    SIMT_UNROLL
    for (int column = 0; column < kColumnTiles; column += 2) {
      const Words<4> values = simt::load_matrix_transposed_x4(
          shared.kv.from(k + matrix_row(), first_column + column * 8 + matrix_column()));
      SIMT_UNROLL
      for (int tile = 0; tile < kHeadTiles; ++tile) {
        simt::mma_bf16_m16n8k16(
            out[tile][column], weights[tile], Words<2>{{values.word[0], values.word[1]}});
        simt::mma_bf16_m16n8k16(
            out[tile][column + 1], weights[tile], Words<2>{{values.word[2], values.word[3]}});
      }
    }
  }
}

SIMT_DEVICE void load_queries(AttendShared& shared,
                              const AttentionArguments& arguments,
                              int row,
                              int first_head) {
  constexpr int kChunks = kHeadDim / 8;
  for (int i : simt::block_stride(kHeadsPerBlock * kChunks)) {
    const int head = i / kChunks;
    const bool live = first_head + head < arguments.heads;
    const std::int64_t at =
        static_cast<std::int64_t>(row) * arguments.heads + (live ? first_head + head : 0);
    simt::async_copy(
        shared.q.from(head, i % kChunks * 8), arguments.q + at * kHeadDim + i % kChunks * 8, live);
  }
  simt::async_commit();
}

// Grid: rows, splits, groups of heads. Rows of a sequence that read the same entries stand side by
// side, so that all but the first find them in the L2.
// Limits: 176 registers.
SIMT_KERNEL(kAttendThreads) attend(AttentionArguments arguments, int splits) {
  auto& shared = simt::shared<AttendShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const int split = simt::block_index_y();
  const int first_head = simt::block_index_z() * kHeadsPerBlock;
  const int count = arguments.window_count[row] + arguments.compressed_count[row];
  const int stretch = SplitEntriesOf(count);
  const int begin = split * stretch;
  const int end = begin + stretch < count ? begin + stretch : count;
  if (begin >= end) {
    return;
  }
  find_entries(shared, arguments, row, begin, end, kEntriesAhead, 0);
  load_queries(shared, arguments, row, first_head);
  simt::sync_block();
  StoredChunks next = ask_for_entries(shared, 0);
  HeadStats stats[4];
  float out[kHeadTiles][kColumnTiles][4] = {};
  for (int first = begin; first < end; first += kTileEntries) {
    store_entries(shared, next);
    simt::async_wait<0>();
    simt::sync_block();
    const int done = first - begin;
    if (first + kTileEntries < end) {
      next = ask_for_entries(shared, (done + kTileEntries) % kEntriesAhead);
    }
    // All lanes have asked for the half of the ring that lies behind.
    constexpr int kHalf = kEntriesAhead / 2;
    if (done > 0 && done % kHalf == 0 && first + kHalf < end) {
      find_entries(
          shared, arguments, row, first + kHalf, end, kHalf, (done + kHalf) % kEntriesAhead);
    }
    score_tile(shared, first, end);
    simt::sync_block();
    weigh_tile(shared, stats, first, end);
    simt::sync_block();
    add_tile(shared, out);
    simt::sync_block();
  }
  const std::int64_t base = (static_cast<std::int64_t>(row) * splits + split) * arguments.heads;
  const int lane = simt::lane_index();
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int head = first_head + simt::warp_index() * 4 + i;
    if (lane == 0 && head < arguments.heads) {
      simt::store(arguments.partial_stats + (base + head) * 2, stats[i].largest);
      simt::store(arguments.partial_stats + (base + head) * 2 + 1, stats[i].sum);
    }
  }
  SIMT_UNROLL
  for (int tile = 0; tile < kHeadTiles; ++tile) {
    SIMT_UNROLL
    for (int column = 0; column < kColumnTiles; ++column) {
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Cell cell = Accumulator16x8::At(lane, i);
        const int head = first_head + tile * 16 + cell.row;
        if (head < arguments.heads) {
          simt::store(arguments.partial + (base + head) * kHeadDim +
                          (simt::warp_index() * kColumnTiles + column) * 8 + cell.column,
                      out[tile][column][i]);
        }
      }
    }
  }
}

// One block a head of a row: joins the splits in order, adds the sink, rotates back.
// Limits: 40 registers.
SIMT_KERNEL(kLatentThreads) join_splits(AttentionArguments arguments, int splits) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index() / arguments.heads;
  const int head = simt::block_index() % arguments.heads;
  const int count = arguments.window_count[row] + arguments.compressed_count[row];
  const int stretch = SplitEntriesOf(count);
  const int live = count > 0 ? (count + stretch - 1) / stretch : 0;
  const auto at = [&](int split) {
    return (static_cast<std::int64_t>(row) * splits + split) * arguments.heads + head;
  };
  float largest = arguments.sink[head];
  for (int split = 0; split < live; ++split) {
    largest = simt::maximum(largest, arguments.partial_stats[at(split) * 2]);
  }
  float denominator = simt::exp(arguments.sink[head] - largest);
  Pair sum{0, 0};
  for (int split = 0; split < live; ++split) {
    const float factor = simt::exp(arguments.partial_stats[at(split) * 2] - largest);
    denominator = simt::fma(factor, arguments.partial_stats[at(split) * 2 + 1], denominator);
    const Words<2> words =
        simt::load_vector<2>(arguments.partial + at(split) * kHeadDim + latent_dimension());
    sum.low = simt::fma(factor, simt::float_of_bits(words.word[0]), sum.low);
    sum.high = simt::fma(factor, simt::float_of_bits(words.word[1]), sum.high);
  }
  Pair out = round_pair({simt::divide(sum.low, denominator), simt::divide(sum.high, denominator)});
  if (simt::warp_index() == kRopeWarp) {
    const float* rope = arguments.rope + static_cast<std::int64_t>(row) * kRopeDim;
    const int pair = simt::lane_index();
    out = rotate(out, rope[pair], -rope[kRopePairs + pair]);
  }
  simt::store_vector<1>(arguments.out + static_cast<std::int64_t>(simt::block_index()) * kHeadDim +
                            latent_dimension(),
                        Words<1>{{simt::pack_bf16(out.low, out.high)}});
}

inline int run_attention(const AttentionArguments& arguments, void* stream) {
  const int splits = SplitsOf(arguments);
  const GridShape grid{
      .blocks = {arguments.rows, splits, (arguments.heads + kHeadsPerBlock - 1) / kHeadsPerBlock},
      .threads = kAttendThreads,
      .dependent = true};
  const int error = simt::launch<AttendShared>(grid, stream, attend, arguments, splits);
  if (error != 0) {
    return error;
  }
  const GridShape join{.blocks = {arguments.rows * arguments.heads, 1, 1},
                       .threads = kLatentThreads,
                       .dependent = true};
  return simt::launch<simt::NoShared>(join, stream, join_splits, arguments, splits);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
