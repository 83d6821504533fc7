#pragma once

#include <cstdint>

#include "kernels/simt/words.h"

// Stored attention entries: one latent of 512 numbers is key and value of all heads; its last 64
// are roped. Attention reads these bytes and nothing else, so decode, prefill and a restored
// cache agree.
namespace sparkspan::kernels {

constexpr int kHeadDim = 512;
constexpr int kRopeDim = 64;
constexpr int kPlainDim = kHeadDim - kRopeDim;
constexpr int kEntryGroup = 64;  // plain dimensions that share a scale

// An entry's bytes, as kernels/cache_layout.h has them: 448 e4m3 codes, 7 UE8M0 scales, one zero,
// 64 bf16. Eight-byte aligned.
constexpr int kEntryScales = kPlainDim;
constexpr int kEntryRope = kPlainDim + 8;
constexpr int kEntryBytes = kEntryRope + kRopeDim * 2;

// Entry s is the (s mod entries_per_page)-th of page s / entries_per_page: a page is a KV block, or
// the one ring of a sequence's window.
struct EntryPages {
  std::uint8_t* base;        // the layer's entries in the first page; 8-byte aligned
  std::int64_t page_stride;  // bytes, a multiple of 8
  int entries_per_page;

  SIMT_HOST_DEVICE std::uint8_t* Entry(int slot) const {
    return Entry(slot / entries_per_page, slot % entries_per_page);
  }
  SIMT_HOST_DEVICE std::uint8_t* Entry(int page, int place) const {
    return base + page * page_stride + static_cast<std::int64_t>(place) * kEntryBytes;
  }
};

// cos and sin of a row's 32 rotation angles, made on the host so that every device uses the same
// bits: [rows][cos, sin][32]. Dimension pairs are neighbours: (2i, 2i + 1) of the last 64.
using RopeRows = const float*;
constexpr int kRopePairs = kRopeDim / 2;

}  // namespace sparkspan::kernels
