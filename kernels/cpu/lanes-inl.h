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

// Sixteen partial sums are one vector, two or four.
using FloatTag = hn::CappedTag<float, 16>;
using FloatVector = hn::Vec<FloatTag>;
using ByteTag = hn::FixedTag<std::uint8_t, 16>;
using ByteVector = hn::Vec<ByteTag>;

constexpr std::size_t kSums = 16;
constexpr std::size_t kVectorLanes = hn::MaxLanes(FloatTag());
constexpr std::size_t kParts = kSums / kVectorLanes;

// Sixteen neighbouring elements, or sixteen partial sums.
struct Sixteen {
  // GCC compiles an implicit constructor for the baseline, which cannot call the vector's.
  HWY_INLINE Sixteen() {}

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

#if !HWY_CAP_GE512
// Eight fp16 values to fp32, in one vector or two. They come as words: Highway 1.0.3 divides
// vectors of fp16 on x86 only.
template <class WordVector>
HWY_INLINE void PromoteEight(WordVector words, FloatVector* out) {
  const hn::Rebind<hwy::float16_t, FloatTag> dh;
  if constexpr (kVectorLanes == 8) {
    out[0] = hn::PromoteTo(FloatTag(), hn::BitCast(dh, words));
  } else {
    const hn::Half<hn::DFromV<WordVector>> d4;
    out[0] = hn::PromoteTo(FloatTag(), hn::BitCast(dh, hn::LowerHalf(d4, words)));
    out[1] = hn::PromoteTo(FloatTag(), hn::BitCast(dh, hn::UpperHalf(d4, words)));
  }
}
#endif

// e4m3 codes in the upper bytes of 16-bit words as fp16 of 2^-8 their value: sign, exponent and
// mantissa fall into place one bit lower; the arithmetic shift doubles the sign, the mask removes
// its copy.
template <class D16, class V>
HWY_INLINE hn::Vec<D16> HalvesOfE4m3(D16 d16, V upper) {
  const auto mask = hn::Set(d16, static_cast<std::int16_t>(0xBFFF));
  return hn::And(hn::ShiftRight<1>(hn::BitCast(d16, upper)), mask);
}
// What those halves leave to multiply by.
constexpr float kE4m3Factor = 256.0f;

HWY_INLINE Sixteen DecodeE4m3Sixteen(const std::uint8_t* codes) {
  const ByteTag d8;
  const ByteVector bytes = hn::LoadU(d8, codes);
  Sixteen value;
#if HWY_CAP_GE512
  const hn::Rebind<std::uint16_t, FloatTag> du16;
  const hn::Rebind<std::int16_t, FloatTag> d16;
  const hn::Rebind<hwy::float16_t, FloatTag> dh;
  const auto upper = hn::ShiftLeft<8>(hn::PromoteTo(du16, bytes));
  value.part[0] = hn::PromoteTo(FloatTag(), hn::BitCast(dh, HalvesOfE4m3(d16, upper)));
#else
  const hn::FixedTag<std::int16_t, 8> d16;
  const auto low = hn::InterleaveLower(d8, hn::Zero(d8), bytes);
  const auto high = hn::InterleaveUpper(d8, hn::Zero(d8), bytes);
  PromoteEight(HalvesOfE4m3(d16, low), value.part);
  PromoteEight(HalvesOfE4m3(d16, high), value.part + kParts / 2);
#endif
  return value;
}

// The values of e2m1's codes.
alignas(64) constexpr float kE2m1Values[16] = {0.0f,
                                               0.5f,
                                               1.0f,
                                               1.5f,
                                               2.0f,
                                               3.0f,
                                               4.0f,
                                               6.0f,
                                               -0.0f,
                                               -0.5f,
                                               -1.0f,
                                               -1.5f,
                                               -2.0f,
                                               -3.0f,
                                               -4.0f,
                                               -6.0f};
// The upper bytes of their fp16 forms, whose lower bytes are zero.
alignas(16) constexpr std::uint8_t kE2m1Halves[16] = {
    0x00, 0x38, 0x3C, 0x3E, 0x40, 0x42, 0x44, 0x46, 0x80, 0xB8, 0xBC, 0xBE, 0xC0, 0xC2, 0xC4, 0xC6};

// Thirty-two e2m1 codes from sixteen bytes, in order, times a power of two.
HWY_INLINE void DecodeE2m1(const std::uint8_t* packed,
                           FloatVector scale,
                           Sixteen* first,
                           Sixteen* second) {
  const ByteTag d8;
  const ByteVector bytes = hn::LoadU(d8, packed);
#if HWY_CAP_GE512
  // Every lane gets the word that holds its code and shifts it down; the table of sixteen values
  // is scaled instead of what is looked up in it.
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::FixedTag<std::uint32_t, 4> du4;
  alignas(64) static constexpr std::uint32_t kShifts[16] = {
      0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28};
  alignas(64) static constexpr std::uint32_t kWords[16] = {
      0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const auto words = hn::ZeroExtendVector(
      du, hn::ZeroExtendVector(hn::FixedTag<std::uint32_t, 8>(), hn::BitCast(du4, bytes)));
  const auto low = hn::Load(du, kWords);
  const auto high = hn::Add(low, hn::Set(du, 2u));
  const auto shifts = hn::Load(du, kShifts);
  const auto nibble = hn::Set(du, 15u);
  const FloatVector table = hn::Mul(hn::Load(FloatTag(), kE2m1Values), scale);
  const auto decode = [&](auto which) HWY_ATTR {
    const auto spread = hn::TableLookupLanes(words, hn::IndicesFromVec(du, which));
    const auto codes = hn::And(hn::Shr(spread, shifts), nibble);
    return hn::TableLookupLanes(table, hn::IndicesFromVec(FloatTag(), codes));
  };
  first->part[0] = decode(low);
  second->part[0] = decode(high);
#else
  const hn::FixedTag<std::uint16_t, 8> d16;
  const ByteVector table = hn::Load(d8, kE2m1Halves);
  const ByteVector nibble = hn::Set(d8, 0x0F);
  const ByteVector even = hn::TableLookupBytes(table, hn::And(bytes, nibble));
  const ByteVector shifted = hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, bytes)));
  const ByteVector odd = hn::TableLookupBytes(table, hn::And(shifted, nibble));
  const auto promote = [&](ByteVector upper, Sixteen* value) HWY_ATTR {
    PromoteEight(hn::BitCast(d16, hn::InterleaveLower(d8, hn::Zero(d8), upper)), value->part);
    PromoteEight(hn::BitCast(d16, hn::InterleaveUpper(d8, hn::Zero(d8), upper)),
                 value->part + kParts / 2);
    for (std::size_t p = 0; p < kParts; ++p) {
      value->part[p] = hn::Mul(value->part[p], scale);
    }
  };
  promote(hn::InterleaveLower(d8, even, odd), first);
  promote(hn::InterleaveUpper(d8, even, odd), second);
#endif
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
