#pragma once

// A sequence that passes through a compressor in chunks of any lengths.

#include <cmath>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "kernels/compressor/compressor.h"
#include "tests/unit/kernels/simt/closeness.h"

namespace sparkspan::kernels {

// A sequence's projections, and everything a launch needs around them.
struct Sequence {
  int ratio;
  int d;
  int width;
  int slots;
  std::vector<float> projected;  // [tokens, 2, width]
  std::vector<float> ape;
  std::vector<std::uint16_t> gain;
};

// The rotations of some entries, one row of cosines and sines an entry: (first entry, count).
using EntryAngles = std::function<std::vector<float>(int, int)>;

// What a compressor leaves behind: the stored bytes of all entries, and its sequence's ring.
struct Fed {
  std::vector<std::uint8_t> stored;
  std::vector<float> ring;
};

// Feeds the tokens chunk by chunk, for all entries that they complete.
inline Fed Feed(const Sequence& s,
                const std::vector<int>& chunks,
                int entries_max,
                const EntryAngles& angles) {
  const bool index = s.d == kIndexDim;
  const int entry_bytes = index ? kIndexKeyBytes : kEntryBytes;
  std::vector<std::uint8_t> stored(At(entries_max * entry_bytes));
  // The second of two sequences' rings; what it holds at first must not matter.
  const std::int64_t stride = s.slots * 2 * s.width;
  std::vector<float> rings(static_cast<std::size_t>(2 * stride), NAN);
  int position = 0;
  for (const int length : chunks) {
    std::vector<std::int32_t> positions, chunk_rows(At(length), 0), sequences(At(length), 1);
    std::vector<std::int32_t> boundaries, slots;
    for (int row = 0; row < length; ++row) {
      positions.push_back(position + row);
      if ((position + row + 1) % s.ratio == 0) {
        boundaries.push_back(row);
        slots.push_back((position + row) / s.ratio);
      }
    }
    const CompressorRows rows{s.projected.data() + At(position * 2 * s.width),
                              s.ape.data(),
                              positions.data(),
                              chunk_rows.data(),
                              sequences.data(),
                              rings.data(),
                              stride,
                              s.slots,
                              s.ratio,
                              s.width};
    const int entries = static_cast<int>(boundaries.size());
    if (entries > 0) {
      const auto rope = angles(slots.front(), entries);
      CompressArguments arguments{};
      arguments.rows = rows;
      arguments.boundary_rows = boundaries.data();
      arguments.slots = slots.data();
      arguments.entries = entries;
      arguments.gain = s.gain.data();
      arguments.rope = rope.data();
      arguments.epsilon = 1e-6F;
      if (index) {
        arguments.index = {stored.data(), 0, 1 << 20};
        EmulateCompressKeys(arguments);
      } else {
        arguments.pages = {stored.data(), 0, 1 << 20};
        EmulateCompressEntries(arguments);
      }
    }
    EmulateRingWrite({rows, length});
    position += length;
  }
  return {std::move(stored), {rings.begin() + stride, rings.end()}};
}

}  // namespace sparkspan::kernels
