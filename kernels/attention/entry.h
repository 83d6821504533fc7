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

enum class EntryFormat : std::uint8_t {
  // 448 e4m3 then 64 bf16, 576 bytes; 8 bytes of scales (7 UE8M0 and a zero) after the page's data.
  kE4m3,
  // 512 bf16, 1024 bytes.
  kBf16,
};

SIMT_HOST_DEVICE constexpr int EntryBytes(EntryFormat format) {
  return format == EntryFormat::kE4m3 ? 576 : 1024;
}
constexpr int kEntryScaleBytes = 8;

// Entry s lies in page s / entries_per_page. A page holds the data of its entries, then their
// scales. Page starts are 16-byte aligned.
struct EntryPages {
  std::uint8_t* base;
  std::int64_t page_stride;  // bytes
  int entries_per_page;
  EntryFormat format;

  SIMT_HOST_DEVICE std::uint8_t* Data(int slot) const {
    return base + slot / entries_per_page * page_stride +
           static_cast<std::int64_t>(slot % entries_per_page) * EntryBytes(format);
  }
  SIMT_HOST_DEVICE std::uint8_t* Scales(int slot) const {
    return base + slot / entries_per_page * page_stride +
           static_cast<std::int64_t>(entries_per_page) * EntryBytes(format) +
           slot % entries_per_page * kEntryScaleBytes;
  }
};

// cos and sin of a row's 32 rotation angles, made on the host so that every device uses the same
// bits: [rows][cos, sin][32]. Dimension pairs are neighbours: (2i, 2i + 1) of the last 64.
using RopeRows = const float*;
constexpr int kRopePairs = kRopeDim / 2;

}  // namespace sparkspan::kernels
