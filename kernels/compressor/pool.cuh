#pragma once

#include "kernels/attention/latent.cuh"
#include "kernels/compressor/compressor.h"
#include "kernels/indexer/index_vector.cuh"
#include "kernels/simt/simt.h"

// Entries, keys and ring slots of a compressor, one at a time.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// One token's value and gate of one channel.
struct Candidate {
  float value;
  float gate;
};

// Reads candidates of the entry that `row` completes.
class Candidates {
 public:
  SIMT_DEVICE Candidates(const CompressorRows& rows, int row)
      : rows_(rows),
        row_(row),
        position_(rows.positions[row]),
        oldest_row_(rows.chunk_rows[row]),
        ring_(rows.rings + rows.sequences[row] * rows.ring_stride) {}

  SIMT_DEVICE int position() const { return position_; }

  SIMT_DEVICE Candidate at(int position, int channel) const {
    const int row = row_ - (position_ - position);
    if (row >= oldest_row_) {
      const float* from = rows_.projected + static_cast<std::int64_t>(row) * 2 * rows_.width;
      return {simt::load(from + channel),
              simt::load(from + rows_.width + channel) +
                  rows_.ape[position % rows_.ratio * rows_.width + channel]};
    }
    const float* from = ring_ + static_cast<std::int64_t>(position % rows_.slots) * 2 * rows_.width;
    return {simt::load(from + channel), simt::load(from + rows_.width + channel)};
  }

  // The pooled value of channel c of d, in two walks over the tokens: largest gate, then sums.
  SIMT_DEVICE float pool(int c, int d) const {
    const bool overlaps = rows_.width == 2 * d;
    const int count = overlaps ? 2 * rows_.ratio : rows_.ratio;
    const int first = position_ - count + 1;
    const auto channel = [&](int position) {
      return overlaps && position > position_ - rows_.ratio ? d + c : c;
    };
    const int begin = first < 0 ? 0 : first;
    float largest = at(begin, channel(begin)).gate;
    for (int position = begin + 1; position <= position_; ++position) {
      largest = simt::maximum(largest, at(position, channel(position)).gate);
    }
    float sum = 0;
    float weights = 0;
    for (int position = begin; position <= position_; ++position) {
      const Candidate candidate = at(position, channel(position));
      const float weight = simt::exp(candidate.gate - largest);
      sum = simt::fma(weight, candidate.value, sum);
      weights += weight;
    }
    return simt::divide(sum, weights);
  }

 private:
  const CompressorRows& rows_;
  int row_;
  int position_;
  int oldest_row_;
  const float* ring_;
};

// The block makes one attention entry, two channels a lane.
SIMT_DEVICE void make_entry(const CompressArguments& arguments,
                            int entry,
                            simt::SharedArray<float, kLatentWarps>& partial) {
  const Candidates candidates(arguments.rows, arguments.boundary_rows[entry]);
  const int c = latent_dimension();
  const Pair pooled = round_pair({candidates.pool(c, kHeadDim), candidates.pool(c + 1, kHeadDim)});
  const Pair normalized = normalize_latent(pooled, arguments.gain, arguments.epsilon, partial);
  store_entry(normalized,
              arguments.rope + static_cast<std::int64_t>(entry) * kRopeDim,
              arguments.pages,
              arguments.slots[entry]);
}

// The warp makes one index key, four channels a lane.
SIMT_DEVICE void make_key(const CompressArguments& arguments, int entry) {
  const Candidates candidates(arguments.rows, arguments.boundary_rows[entry]);
  const int c = simt::lane_index() * 4;
  IndexVector x;
  float squares = 0;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    x.value[i] = simt::round_to_bf16(candidates.pool(c + i, kIndexDim));
    squares = simt::fma(x.value[i], x.value[i], squares);
  }
  squares = simt::warp_sum(squares);
  const float scale =
      simt::rsqrt(simt::divide(squares, static_cast<float>(kIndexDim)) + arguments.epsilon);
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    x.value[i] *= scale * simt::bf16_to_float(arguments.gain[c + i]);
  }
  round_index_vector(x);
  rotate_index_vector(x, arguments.rope + static_cast<std::int64_t>(entry) * kRopeDim);
  hadamard(x);
  const int slot = arguments.slots[entry];
  const int per_page = arguments.index.keys_per_page;
  std::uint8_t* key = arguments.index.base + slot / per_page * arguments.index.page_stride +
                      static_cast<std::int64_t>(slot % per_page) * kIndexKeyBytes;
  store_index_vector(x, key, key + kIndexCodeBytes);
}

// The block keeps one row's projections.
SIMT_DEVICE void write_ring(const RingWriteArguments& arguments, int row) {
  const CompressorRows& rows = arguments.rows;
  const int position = rows.positions[row];
  const int replacing = row + rows.slots;
  if (replacing < arguments.row_count && rows.chunk_rows[replacing] == rows.chunk_rows[row]) {
    return;
  }
  float* to = rows.rings + rows.sequences[row] * rows.ring_stride +
              static_cast<std::int64_t>(position % rows.slots) * 2 * rows.width;
  const float* from = rows.projected + static_cast<std::int64_t>(row) * 2 * rows.width;
  const float* ape = rows.ape + position % rows.ratio * rows.width;
  for (int i : simt::block_stride(rows.width)) {
    simt::store(to + i, simt::load(from + i));
    simt::store(to + rows.width + i, simt::load(from + rows.width + i) + ape[i]);
  }
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
