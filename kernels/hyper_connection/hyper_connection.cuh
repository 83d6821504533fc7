#pragma once

#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/norm/row.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Rows that one block of the mix takes: more share fn's bytes, fewer wait for each other.
constexpr int kMixRowsPerBlock = 96;
constexpr int kColumnsPerLane = kMixColumnsPerBlock / 32;
// A block of the mix takes the same 64 columns of every stream, so that it can make them as well.
constexpr int kMixHiddenPerBlock = kMixColumnsPerBlock / kStreams;
constexpr int kMixRowsOfWarp = (kMixes + 1 + kRowWarps - 1) / kRowWarps;  // rows of fn a warp has
constexpr int kThreadsPerPostRow = kMixHiddenPerBlock / 4;
constexpr int kPostRows = kRowThreads / kThreadsPerPostRow;  // rows that a block makes at a time
constexpr int kMixSplitsMax = kPreHiddenMax / kMixHiddenPerBlock;

struct MixShared {
  // The new streams of a few rows, eight columns of padding apart.
  simt::SharedMatrix<std::uint16_t, kPostRows, kMixColumnsPerBlock, kMixColumnsPerBlock + 8>
      streams;
};

struct PreShared {
  simt::SharedArray<float, kMixSplitsMax * kMixPartials> parts;
  simt::SharedArray<float, kRowWarps> partial;
  simt::SharedArray<float, kMixPartials> mix;
  simt::SharedArray<float, kStreams> pre;
  simt::SharedArray<std::uint16_t, kPreHiddenMax> input;  // u of this row
};

struct Eight {
  float value[8];
};

SIMT_DEVICE Eight eight_of_bf16(const Words<4>& words) {
  Eight eight;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    eight.value[2 * i] = simt::low_bf16(words.word[i]);
    eight.value[2 * i + 1] = simt::high_bf16(words.word[i]);
  }
  return eight;
}

SIMT_DEVICE float dot(const Eight& a, const Eight& b) {
  float sum = 0;
  SIMT_UNROLL
  for (int i = 0; i < 8; ++i) {
    sum = simt::fma(a.value[i], b.value[i], sum);
  }
  return simt::warp_sum(sum);
}

// Four columns of a row's streams after a sublayer: store(stream, values).
template <class Store>
SIMT_DEVICE void return_to_streams(const PostArguments& arguments,
                                   int row,
                                   int column,
                                   const Store& store) {
  const int hidden = arguments.hidden;
  const float* gates = arguments.post + row * kStreams;
  const float* comb = arguments.comb + row * kStreams * kStreams;
  const std::int64_t first = static_cast<std::int64_t>(row) * kStreams * hidden;
  Four y = {};
  for (int part = 0; part < arguments.parts; ++part) {
    const std::int64_t at = (static_cast<std::int64_t>(part) * arguments.rows + row) * hidden;
    const Words<4> words = simt::load_vector<4>(arguments.partial_sums + at + column);
    SIMT_UNROLL
    for (int e = 0; e < 4; ++e) {
      y.value[e] += simt::float_of_bits(words.word[e]);
    }
  }
  Four h[kStreams];
  SIMT_UNROLL
  for (int s = 0; s < kStreams; ++s) {
    h[s] = load_four_bf16(arguments.streams + first + s * hidden + column);
  }
  SIMT_UNROLL
  for (int j = 0; j < kStreams; ++j) {
    Four out;
    SIMT_UNROLL
    for (int e = 0; e < 4; ++e) {
      float sum = gates[j] * simt::round_to_bf16(y.value[e]);
      SIMT_UNROLL
      for (int s = 0; s < kStreams; ++s) {
        sum = simt::fma(comb[s * kStreams + j], h[s].value[e], sum);
      }
      out.value[e] = sum;
    }
    store_four_bf16(arguments.out + first + j * hidden + column, out);
    store(j, out);
  }
}

// The lane's eight columns of the rows of fn that its warp has; zeros past the last.
struct MixWeights {
  Eight row[kMixRowsOfWarp];
};
SIMT_DEVICE MixWeights load_mix_weights(const MixArguments& arguments, int column) {
  MixWeights weights = {};
  SIMT_UNROLL
  for (int i = 0; i < kMixRowsOfWarp; ++i) {
    const int j = simt::warp_index() + i * kRowWarps;
    if (j >= arguments.mixes) {
      continue;
    }
    const float* from =
        arguments.fn + static_cast<std::int64_t>(j) * kStreams * arguments.hidden + column;
    const Words<4> low = simt::load_weight<4>(from);
    const Words<4> high = simt::load_weight<4>(from + 4);
    SIMT_UNROLL
    for (int e = 0; e < 4; ++e) {
      weights.row[i].value[e] = simt::float_of_bits(low.word[e]);
      weights.row[i].value[4 + e] = simt::float_of_bits(high.word[e]);
    }
  }
  return weights;
}

SIMT_DEVICE void mix_row(const MixArguments& arguments,
                         const MixWeights& weights,
                         int row,
                         const Eight& x) {
  const std::int64_t at =
      (static_cast<std::int64_t>(row) * simt::grid_blocks() + simt::block_index()) * kMixPartials;
  SIMT_UNROLL
  for (int i = 0; i < kMixRowsOfWarp; ++i) {
    const int j = simt::warp_index() + i * kRowWarps;
    if (j <= arguments.mixes) {
      const float sum = j == arguments.mixes ? dot(x, x) : dot(x, weights.row[i]);
      if (simt::lane_index() == 0) {
        simt::store(arguments.partial + at + j, sum);
      }
    }
  }
}

// Each block asks for its share of the weights that come next.
SIMT_DEVICE void prefetch_next(const MixArguments& arguments) {
  constexpr std::int64_t kUnit = 16;
  const std::int64_t units = arguments.prefetch_bytes / kUnit;
  const std::int64_t each = (units + simt::grid_blocks() - 1) / simt::grid_blocks();
  const std::int64_t begin = each * simt::block_index();
  const std::int64_t end = begin + each < units ? begin + each : units;
  if (simt::thread_index() == 0 && simt::block_index_y() == 0 && begin < end) {
    simt::prefetch_l2(static_cast<const unsigned char*>(arguments.prefetch) + begin * kUnit,
                      static_cast<int>((end - begin) * kUnit));
  }
}

// A block takes 64 columns of each stream, a warp some rows of fn, which stay in registers while
// the tokens pass: fn is read once for up to 96 rows. With kPosts the streams are first made from
// the ones before the sublayer and its output.
// Limits: 128 registers; blocks per SM on sm_12x 4 <false>, 2 <true>; 8 weights before the wait.
template <bool kPosts>
SIMT_KERNEL(kRowThreads, 2)
mix(PostArguments post, MixArguments arguments) {
  auto& shared = simt::shared<MixShared>();
  simt::dependency_trigger();
  const int lane = simt::lane_index();
  const int lane_column = lane * kColumnsPerLane;  // of the block's four times 64
  const int first_column = simt::block_index() * kMixHiddenPerBlock;
  const int column = lane_column / kMixHiddenPerBlock * arguments.hidden + first_column +
                     lane_column % kMixHiddenPerBlock;
  const int first_row = simt::block_index_y() * kMixRowsPerBlock;
  const int last_row =
      first_row + kMixRowsPerBlock < arguments.rows ? first_row + kMixRowsPerBlock : arguments.rows;
  const MixWeights weights = load_mix_weights(arguments, column);
  prefetch_next(arguments);
  simt::dependency_wait();
  if constexpr (!kPosts) {
    for (int row = first_row; row < last_row; ++row) {
      mix_row(arguments,
              weights,
              row,
              eight_of_bf16(simt::load_vector<4>(
                  arguments.streams + static_cast<std::int64_t>(row) * kStreams * arguments.hidden +
                  column)));
    }
  } else {
    for (int row = first_row; row < last_row; row += kPostRows) {
      const int own = simt::thread_index() / kThreadsPerPostRow;
      const int own_column = simt::thread_index() % kThreadsPerPostRow * 4;
      if (row + own < last_row) {
        return_to_streams(post, row + own, first_column + own_column, [&](int s, const Four& out) {
          simt::store_shared<2>(shared.streams.from(own, s * kMixHiddenPerBlock + own_column),
                                Words<2>{{simt::pack_bf16(out.value[0], out.value[1]),
                                          simt::pack_bf16(out.value[2], out.value[3])}});
        });
      }
      simt::sync_block();
      for (int i = 0; i < kPostRows && row + i < last_row; ++i) {
        mix_row(arguments,
                weights,
                row + i,
                eight_of_bf16(simt::load_shared<4>(shared.streams.from(i, lane_column))));
      }
      simt::sync_block();
    }
  }
}

SIMT_DEVICE float sigmoid(float x) {
  return simt::reciprocal(1.0F + simt::exp(-x));
}

// Sinkhorn on 16 lanes, lane 4i + j holding C[i][j]; the other 16 repeat them.
SIMT_DEVICE float sinkhorn(float logit, int iterations, float epsilon) {
  const auto row_sum = [](float c) {
    c += simt::shuffle_xor(c, 1);
    return c + simt::shuffle_xor(c, 2);
  };
  const auto column_sum = [](float c) {
    c += simt::shuffle_xor(c, 4);
    return c + simt::shuffle_xor(c, 8);
  };
  float largest = simt::maximum(logit, simt::shuffle_xor(logit, 1));
  largest = simt::maximum(largest, simt::shuffle_xor(largest, 2));
  float c = simt::exp(logit - largest);
  c = simt::divide(c, row_sum(c)) + epsilon;
  c = simt::divide(c, column_sum(c) + epsilon);
  for (int iteration = 1; iteration < iterations; ++iteration) {
    c = simt::divide(c, row_sum(c) + epsilon);
    c = simt::divide(c, column_sum(c) + epsilon);
  }
  return c;
}

// Adds the parts of the mix in order and turns them into the weights of this row.
SIMT_DEVICE void make_weights(PreShared& shared, const PreArguments& arguments, int row) {
  const int columns = kStreams * arguments.norm.width;
  const int splits = columns / kMixColumnsPerBlock;
  const float* from = arguments.partial + static_cast<std::int64_t>(row) * splits * kMixPartials;
  // All at once to shared memory: one after the other they would be waited for one by one.
  for (int i : simt::block_stride(splits * kMixPartials / 4)) {
    simt::store_shared<4>(shared.parts.from(4 * i), simt::load_vector<4>(from + 4 * i));
  }
  simt::sync_block();
  const int j = simt::thread_index();
  if (j <= arguments.mixes) {
    float sum = 0;
    for (int split = 0; split < splits; ++split) {
      sum += shared.parts[split * kMixPartials + j];
    }
    shared.mix[j] = sum;
  }
  simt::sync_block();
  if (simt::warp_index() != 0) {
    return;
  }
  const float squares = shared.mix[arguments.mixes];
  const float r =
      simt::rsqrt(simt::divide(squares, static_cast<float>(columns)) + arguments.norm.epsilon);
  const int lane = simt::lane_index();
  if (lane < kStreams) {
    const float m = shared.mix[lane] * r;
    shared.pre[lane] = sigmoid(m * arguments.scale[0] + arguments.base[lane]) + arguments.epsilon;
  }
  if (arguments.mixes == kHeadMixes) {
    return;
  }
  if (lane < kStreams) {
    const int at = kStreams + lane;
    const float m = shared.mix[at] * r;
    simt::store(arguments.post + row * kStreams + lane,
                2.0F * sigmoid(m * arguments.scale[1] + arguments.base[at]));
  }
  const int cell = lane % (kStreams * kStreams);
  const int at = 2 * kStreams + cell;
  const float m = shared.mix[at] * r;
  const float c = sinkhorn(m * arguments.scale[2] + arguments.base[at],
                           arguments.sinkhorn_iterations,
                           arguments.epsilon);
  if (lane == cell) {
    simt::store(arguments.comb + row * kStreams * kStreams + cell, c);
  }
}

// One block a row: weights, mixed input, norm and quantisation without leaving the chip.
// Limits: 40 registers.
SIMT_KERNEL(kRowThreads) pre(PreArguments arguments) {
  auto& shared = simt::shared<PreShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const int hidden = arguments.norm.width;
  make_weights(shared, arguments, row);
  simt::sync_block();
  const std::uint16_t* streams =
      arguments.streams + static_cast<std::int64_t>(row) * kStreams * hidden;
  for (int i : simt::block_stride(hidden / 4)) {
    Four u = {};
    for (int s = 0; s < kStreams; ++s) {
      const Four h = load_four_bf16(streams + s * hidden + 4 * i);
      const float weight = shared.pre[s];
      SIMT_UNROLL
      for (int e = 0; e < 4; ++e) {
        u.value[e] = simt::fma(weight, h.value[e], u.value[e]);
      }
    }
    simt::store_shared<2>(shared.input.from(4 * i),
                          Words<2>{{simt::pack_bf16(u.value[0], u.value[1]),
                                    simt::pack_bf16(u.value[2], u.value[3])}});
    if (arguments.mixed != nullptr) {
      store_four_bf16(arguments.mixed + static_cast<std::int64_t>(row) * hidden + 4 * i, u);
    }
  }
  // No barrier: the norm gives a thread the very columns that it just wrote.
  const auto load = [&](int column) {
    const Words<2> words = simt::load_shared<2>(shared.input.from(column));
    return Four{{simt::low_bf16(words.word[0]),
                 simt::high_bf16(words.word[0]),
                 simt::low_bf16(words.word[1]),
                 simt::high_bf16(words.word[1])}};
  };
  normalize_row(load, arguments.norm, row, shared.partial);
}

// One block a row; a thread reads its columns of all streams before it writes any.
// Limits: 48 registers.
SIMT_KERNEL(kRowThreads) post(PostArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  for (int i : simt::block_stride(arguments.hidden / 4)) {
    return_to_streams(arguments, simt::block_index(), 4 * i, [](int, const Four&) {});
  }
}

inline GridShape grid_of(const MixArguments& arguments) {
  const int row_blocks = (arguments.rows + kMixRowsPerBlock - 1) / kMixRowsPerBlock;
  return {.blocks = {arguments.hidden / kMixHiddenPerBlock, row_blocks, 1},
          .threads = kRowThreads,
          .dependent = true};
}
inline int run_mix(const MixArguments& arguments, void* stream) {
  return simt::launch<MixShared>(
      grid_of(arguments), stream, mix<false>, PostArguments{}, arguments);
}
inline int run_post_mix(const PostMixArguments& arguments, void* stream) {
  if (arguments.post.out != arguments.mix.streams || arguments.post.rows != arguments.mix.rows ||
      arguments.post.hidden != arguments.mix.hidden) {
    return kInvalidArguments;
  }
  return simt::launch<MixShared>(
      grid_of(arguments.mix), stream, mix<true>, arguments.post, arguments.mix);
}
inline int run_pre(const PreArguments& arguments, void* stream) {
  if (arguments.norm.width > kPreHiddenMax) {
    return kInvalidArguments;
  }
  const GridShape grid{
      .blocks = {arguments.norm.rows, 1, 1}, .threads = kRowThreads, .dependent = true};
  return simt::launch<PreShared>(grid, stream, pre, arguments);
}
inline int run_post(const PostArguments& arguments, void* stream) {
  const GridShape grid{.blocks = {arguments.rows, 1, 1}, .threads = kRowThreads, .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, post, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
