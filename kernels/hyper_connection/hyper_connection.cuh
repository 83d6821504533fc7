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

struct PreShared {
  simt::SharedArray<float, kRowWarps> partial;
  simt::SharedArray<float, kMixPartials> mix;
  simt::SharedArray<float, kStreams> pre;
  simt::SharedArray<std::uint16_t, kPreHiddenMax> input;  // u of this row
};

struct Eight {
  float value[8];
};

SIMT_DEVICE Eight load_eight_bf16(const std::uint16_t* from) {
  const Words<4> words = simt::load_vector<4>(from);
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

// A block takes 256 columns of fn, a warp some of its rows: fn stays in registers while the tokens
// pass. fn is read once for up to 96 rows.
// Limits: 64 registers.
SIMT_KERNEL(kRowThreads, 4) mix(MixArguments arguments) {
  const int columns = kStreams * arguments.hidden;
  const int split = simt::block_index();
  const int splits = simt::grid_blocks();
  const int first_row = simt::block_index_y() * kMixRowsPerBlock;
  const int last_row =
      first_row + kMixRowsPerBlock < arguments.rows ? first_row + kMixRowsPerBlock : arguments.rows;
  const int column = split * kMixColumnsPerBlock + simt::lane_index() * kColumnsPerLane;
  for (int j = simt::warp_index(); j <= arguments.mixes; j += kRowWarps) {
    const bool is_squares = j == arguments.mixes;
    Eight weights = {};
    if (!is_squares) {
      const float* from = arguments.fn + static_cast<std::int64_t>(j) * columns + column;
      const Words<4> low = simt::load_streaming<4>(from);
      const Words<4> high = simt::load_streaming<4>(from + 4);
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        weights.value[i] = simt::float_of_bits(low.word[i]);
        weights.value[4 + i] = simt::float_of_bits(high.word[i]);
      }
    }
    for (int row = first_row; row < last_row; ++row) {
      const Eight x =
          load_eight_bf16(arguments.streams + static_cast<std::int64_t>(row) * columns + column);
      const float sum = is_squares ? dot(x, x) : dot(x, weights);
      if (simt::lane_index() == 0) {
        const std::int64_t at = static_cast<std::int64_t>(row) * splits + split;
        arguments.partial[at * kMixPartials + j] = sum;
      }
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
  const int j = simt::thread_index();
  if (j <= arguments.mixes) {
    const float* from = arguments.partial + static_cast<std::int64_t>(row) * splits * kMixPartials;
    float sum = 0;
    for (int split = 0; split < splits; ++split) {
      sum += from[split * kMixPartials + j];
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
    arguments.post[row * kStreams + lane] =
        2.0F * sigmoid(m * arguments.scale[1] + arguments.base[at]);
  }
  const int cell = lane % (kStreams * kStreams);
  const int at = 2 * kStreams + cell;
  const float m = shared.mix[at] * r;
  const float c = sinkhorn(m * arguments.scale[2] + arguments.base[at],
                           arguments.sinkhorn_iterations,
                           arguments.epsilon);
  if (lane == cell) {
    arguments.comb[row * kStreams * kStreams + cell] = c;
  }
}

// One block a row: weights, mixed input, norm and quantisation without leaving the chip.
// Limits: 40 registers.
SIMT_KERNEL(kRowThreads) pre(PreArguments arguments) {
  auto& shared = simt::shared<PreShared>();
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
  const int row = simt::block_index();
  const int hidden = arguments.hidden;
  const float* gates = arguments.post + row * kStreams;
  const float* comb = arguments.comb + row * kStreams * kStreams;
  const std::int64_t first = static_cast<std::int64_t>(row) * kStreams * hidden;
  for (int i : simt::block_stride(hidden / 4)) {
    Four y = {};
    for (int part = 0; part < arguments.parts; ++part) {
      const std::int64_t at =
          (static_cast<std::int64_t>(part) * arguments.rows + row) * hidden + 4 * i;
      const Words<4> words = simt::load_vector<4>(arguments.partial_sums + at);
      SIMT_UNROLL
      for (int e = 0; e < 4; ++e) {
        y.value[e] += simt::float_of_bits(words.word[e]);
      }
    }
    Four h[kStreams];
    SIMT_UNROLL
    for (int s = 0; s < kStreams; ++s) {
      h[s] = load_four_bf16(arguments.streams + first + s * hidden + 4 * i);
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
      store_four_bf16(arguments.out + first + j * hidden + 4 * i, out);
    }
  }
}

inline int run_mix(const MixArguments& arguments, void* stream) {
  const int row_blocks = (arguments.rows + kMixRowsPerBlock - 1) / kMixRowsPerBlock;
  const GridShape grid{.blocks = {kStreams * arguments.hidden / kMixColumnsPerBlock, row_blocks, 1},
                       .threads = kRowThreads};
  return simt::launch<simt::NoShared>(grid, stream, mix, arguments);
}
inline int run_pre(const PreArguments& arguments, void* stream) {
  if (arguments.norm.width > kPreHiddenMax) {
    return kInvalidArguments;
  }
  const GridShape grid{.blocks = {arguments.norm.rows, 1, 1}, .threads = kRowThreads};
  return simt::launch<PreShared>(grid, stream, pre, arguments);
}
inline int run_post(const PostArguments& arguments, void* stream) {
  const GridShape grid{.blocks = {arguments.rows, 1, 1}, .threads = kRowThreads};
  return simt::launch<simt::NoShared>(grid, stream, post, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
