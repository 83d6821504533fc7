// Included once per instruction set, inside hwy's target namespace machinery: the sixteen partial
// sums of a dot product as vectors, and the decoding of stored formats into them.
#if defined(SPARKSPAN_KERNELS_CPU_LANES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SPARKSPAN_KERNELS_CPU_LANES_INL_H
#undef SPARKSPAN_KERNELS_CPU_LANES_INL_H
#else
#define SPARKSPAN_KERNELS_CPU_LANES_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/numerics/formats.h"

HWY_BEFORE_NAMESPACE();
namespace sparkspan::kernels::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most eight lanes: one decode serves every instruction set, and sixteen partial sums are two or
// four vectors.
using FloatTag = hn::CappedTag<float, 8>;
using FloatVector = hn::Vec<FloatTag>;
using ByteTag = hn::FixedTag<std::uint8_t, 16>;
using ByteVector = hn::Vec<ByteTag>;

constexpr std::size_t kSums = 16;
constexpr std::size_t kVectorLanes = hn::MaxLanes(FloatTag());
constexpr std::size_t kParts = kSums / kVectorLanes;

// Sixteen neighbouring elements, or sixteen partial sums.
struct Sixteen {
  FloatVector part[kParts];
};

HWY_INLINE Sixteen LoadSixteen(const float* from) {
  Sixteen value;
  for (std::size_t p = 0; p < kParts; ++p) {
    value.part[p] = hn::LoadU(FloatTag(), from + p * kVectorLanes);
  }
  return value;
}

HWY_INLINE void StoreSixteen(const Sixteen& value, float* to) {
  for (std::size_t p = 0; p < kParts; ++p) {
    hn::StoreU(value.part[p], FloatTag(), to + p * kVectorLanes);
  }
}

HWY_INLINE Sixteen ZeroSixteen() {
  Sixteen value;
  for (std::size_t p = 0; p < kParts; ++p) {
    value.part[p] = hn::Zero(FloatTag());
  }
  return value;
}

// The one tree: sums i and i + 8, then i and i + 4, i + 2, i + 1.
HWY_INLINE float ReduceSixteen(const float* sums) {
  float eight[8];
  for (std::size_t i = 0; i < 8; ++i) {
    eight[i] = sums[i] + sums[i + 8];
  }
  const float a = (eight[0] + eight[4]) + (eight[2] + eight[6]);
  const float b = (eight[1] + eight[5]) + (eight[3] + eight[7]);
  return a + b;
}

HWY_INLINE float ReduceSixteen(const Sixteen& sums) {
  float stored[kSums];
  StoreSixteen(sums, stored);
  return ReduceSixteen(stored);
}

// Rounds fp32 to bf16 and back, ties to even. NaNs are not preserved: none arise.
HWY_INLINE FloatVector RoundVector(FloatVector value) {
  const hn::RebindToUnsigned<FloatTag> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7FFFu)), odd);
  return hn::BitCast(FloatTag(), hn::And(rounded, hn::Set(du, 0xFFFF0000u)));
}

// Eight fp16 values to fp32.
template <class HalfVector>
HWY_INLINE void PromoteEight(HalfVector halves, FloatVector* out) {
  if constexpr (kVectorLanes == 8) {
    out[0] = hn::PromoteTo(FloatTag(), halves);
  } else {
    const hn::FixedTag<hwy::float16_t, 4> d4;
    out[0] = hn::PromoteTo(FloatTag(), hn::LowerHalf(d4, halves));
    out[1] = hn::PromoteTo(FloatTag(), hn::UpperHalf(d4, halves));
  }
}

// e4m3 codes as fp16 of 2^-8 their value: sign, exponent and mantissa fall into place one bit
// below the top of a 16-bit word; the arithmetic shift doubles the sign, the mask removes its copy.
HWY_INLINE Sixteen DecodeE4m3Sixteen(const std::uint8_t* codes) {
  const ByteTag d8;
  const hn::FixedTag<std::int16_t, 8> d16;
  const hn::FixedTag<hwy::float16_t, 8> dh;
  const ByteVector bytes = hn::LoadU(d8, codes);
  const auto mask = hn::Set(d16, static_cast<std::int16_t>(0xBFFF));
  const auto low = hn::BitCast(d16, hn::InterleaveLower(d8, hn::Zero(d8), bytes));
  const auto high = hn::BitCast(d16, hn::InterleaveUpper(d8, hn::Zero(d8), bytes));
  Sixteen value;
  PromoteEight(hn::BitCast(dh, hn::And(hn::ShiftRight<1>(low), mask)), value.part);
  PromoteEight(hn::BitCast(dh, hn::And(hn::ShiftRight<1>(high), mask)), value.part + kParts / 2);
  return value;
}
// What DecodeE4m3Sixteen leaves to multiply by.
constexpr float kE4m3Factor = 256.0f;

// The upper bytes of the fp16 forms of e2m1 codes, whose lower bytes are zero.
HWY_INLINE Sixteen PromoteUpperBytes(ByteVector upper) {
  const ByteTag d8;
  const hn::FixedTag<hwy::float16_t, 8> dh;
  Sixteen value;
  PromoteEight(hn::BitCast(dh, hn::InterleaveLower(d8, hn::Zero(d8), upper)), value.part);
  PromoteEight(hn::BitCast(dh, hn::InterleaveUpper(d8, hn::Zero(d8), upper)),
               value.part + kParts / 2);
  return value;
}

// Thirty-two e2m1 codes from sixteen bytes, in order.
HWY_INLINE void DecodeE2m1(const std::uint8_t* packed, Sixteen* first, Sixteen* second) {
  alignas(16) static constexpr std::uint8_t kUpper[16] = {0x00,
                                                          0x38,
                                                          0x3C,
                                                          0x3E,
                                                          0x40,
                                                          0x42,
                                                          0x44,
                                                          0x46,
                                                          0x80,
                                                          0xB8,
                                                          0xBC,
                                                          0xBE,
                                                          0xC0,
                                                          0xC2,
                                                          0xC4,
                                                          0xC6};
  const ByteTag d8;
  const hn::FixedTag<std::uint16_t, 8> d16;
  const ByteVector table = hn::Load(d8, kUpper);
  const ByteVector nibble = hn::Set(d8, 0x0F);
  const ByteVector bytes = hn::LoadU(d8, packed);
  const ByteVector even = hn::TableLookupBytes(table, hn::And(bytes, nibble));
  const ByteVector shifted = hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, bytes)));
  const ByteVector odd = hn::TableLookupBytes(table, hn::And(shifted, nibble));
  *first = PromoteUpperBytes(hn::InterleaveLower(d8, even, odd));
  *second = PromoteUpperBytes(hn::InterleaveUpper(d8, even, odd));
}

HWY_INLINE Sixteen DecodeBf16Sixteen(const std::byte* codes) {
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  const auto* from = reinterpret_cast<const std::uint16_t*>(codes);
  Sixteen value;
  for (std::size_t p = 0; p < kParts; ++p) {
    const auto bits = hn::PromoteTo(du, hn::LoadU(d16, from + p * kVectorLanes));
    value.part[p] = hn::BitCast(FloatTag(), hn::ShiftLeft<16>(bits));
  }
  return value;
}

HWY_INLINE void Scale(Sixteen* value, FloatVector scale) {
  for (std::size_t p = 0; p < kParts; ++p) {
    value->part[p] = hn::Mul(value->part[p], scale);
  }
}

HWY_INLINE void MultiplyAdd(const Sixteen& a, const Sixteen& b, Sixteen* sum) {
  for (std::size_t p = 0; p < kParts; ++p) {
    sum->part[p] = hn::MulAdd(a.part[p], b.part[p], sum->part[p]);
  }
}

// sums[i][j] (+)= w row i times x row j, over `columns`, a multiple of 16; sums: [kW][kX][16].
template <int kW, int kX>
HWY_INLINE void DotTile(const float* const* w,
                        const float* const* x,
                        std::size_t columns,
                        float* sums) {
  Sixteen tile[kW][kX];
  for (int i = 0; i < kW; ++i) {
    for (int j = 0; j < kX; ++j) {
      tile[i][j] = LoadSixteen(sums + (i * kX + j) * static_cast<int>(kSums));
    }
  }
  for (std::size_t k = 0; k < columns; k += kSums) {
    for (std::size_t p = 0; p < kParts; ++p) {
      const std::size_t at = k + p * kVectorLanes;
      FloatVector row[kW];
      for (int i = 0; i < kW; ++i) {
        row[i] = hn::LoadU(FloatTag(), w[i] + at);
      }
      for (int j = 0; j < kX; ++j) {
        const FloatVector value = hn::LoadU(FloatTag(), x[j] + at);
        for (int i = 0; i < kW; ++i) {
          tile[i][j].part[p] = hn::MulAdd(row[i], value, tile[i][j].part[p]);
        }
      }
    }
  }
  for (int i = 0; i < kW; ++i) {
    for (int j = 0; j < kX; ++j) {
      StoreSixteen(tile[i][j], sums + (i * kX + j) * static_cast<int>(kSums));
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sparkspan::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif
