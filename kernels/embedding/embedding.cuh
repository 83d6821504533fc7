#pragma once

#include "kernels/embedding/embedding.h"
#include "kernels/norm/row.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// One block a row, four columns a thread at a time.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Limits: 32 registers.
SIMT_KERNEL(kRowThreads) embed(EmbedArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const int at = arguments.tokens[row] - arguments.first_token;
  const bool here = at >= 0 && at < arguments.table_rows;
  for (int i : simt::block_stride(arguments.hidden / 4)) {
    Four x = {};
    if (here) {
      x = load_four_bf16(arguments.table + static_cast<std::int64_t>(at) * arguments.hidden +
                         4 * i);
    }
    simt::store_vector<4>(arguments.out + static_cast<std::int64_t>(row) * arguments.hidden + 4 * i,
                          Words<4>{{simt::bits_of(x.value[0]),
                                    simt::bits_of(x.value[1]),
                                    simt::bits_of(x.value[2]),
                                    simt::bits_of(x.value[3])}});
  }
}

// Limits: 40 registers.
SIMT_KERNEL(kRowThreads) open_streams(OpenStreamsArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  for (int i : simt::block_stride(arguments.hidden / 4)) {
    Four x = {};
    for (int part = 0; part < arguments.parts; ++part) {
      const std::int64_t at =
          (static_cast<std::int64_t>(part) * arguments.rows + row) * arguments.hidden + 4 * i;
      const Words<4> words = simt::load_vector<4>(arguments.partial_sums + at);
      SIMT_UNROLL
      for (int e = 0; e < 4; ++e) {
        x.value[e] += simt::float_of_bits(words.word[e]);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      const std::int64_t at = (static_cast<std::int64_t>(row) * kStreams + s) * arguments.hidden;
      store_four_bf16(arguments.streams + at + 4 * i, x);
    }
  }
}

// Limits: 32 registers.
SIMT_KERNEL(kRowThreads) stream_mean(StreamMeanArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  for (int i : simt::block_stride(arguments.hidden / 4)) {
    Four sum = {};
    for (int s = 0; s < kStreams; ++s) {
      const std::int64_t at = (static_cast<std::int64_t>(row) * kStreams + s) * arguments.hidden;
      const Four h = load_four_bf16(arguments.streams + at + 4 * i);
      SIMT_UNROLL
      for (int e = 0; e < 4; ++e) {
        sum.value[e] += h.value[e];
      }
    }
    SIMT_UNROLL
    for (int e = 0; e < 4; ++e) {
      sum.value[e] *= 1.0F / kStreams;
    }
    store_four_bf16(arguments.out + static_cast<std::int64_t>(row) * arguments.out_pitch + 4 * i,
                    sum);
  }
}

inline GridShape row_grid(int rows) {
  return {.blocks = {rows, 1, 1}, .threads = kRowThreads, .dependent = true};
}
inline int run_embed(const EmbedArguments& arguments, void* stream) {
  return simt::launch<simt::NoShared>(row_grid(arguments.rows), stream, embed, arguments);
}
inline int run_open_streams(const OpenStreamsArguments& arguments, void* stream) {
  return simt::launch<simt::NoShared>(row_grid(arguments.rows), stream, open_streams, arguments);
}
inline int run_stream_mean(const StreamMeanArguments& arguments, void* stream) {
  return simt::launch<simt::NoShared>(row_grid(arguments.rows), stream, stream_mean, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
