#include "kernels/reference/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {
namespace {

using numerics::CacheFormat;
using numerics::IndexFormat;

constexpr int kEntryGroup = 64;
constexpr int kKeyGroup = 32;

std::uint32_t ScaleOf(std::span<const float> group, float amax_min, float largest) {
  float amax = amax_min;
  for (const float value : group) {
    amax = std::max(amax, std::fabs(value));
  }
  return numerics::Ue8m0ScaleOf(amax, largest);
}

}  // namespace

void QuantiseE4m3(std::span<const float> x,
                  int group,
                  std::span<std::uint8_t> codes,
                  std::span<std::uint8_t> scales) {
  const auto size = static_cast<std::size_t>(group);
  for (std::size_t begin = 0, g = 0; begin < x.size(); begin += size, ++g) {
    const std::uint32_t scale =
        ScaleOf(x.subspan(begin, size), numerics::kE4m3AmaxMin, numerics::kE4m3Max);
    const float inverse = numerics::Ue8m0InverseOf(scale);
    scales[g] = static_cast<std::uint8_t>(scale);
    for (std::size_t i = begin; i < begin + size; ++i) {
      codes[i] = numerics::E4m3OfFloat(x[i] * inverse);
    }
  }
}

void QuantiseE2m1(std::span<const float> x,
                  int group,
                  std::span<std::uint8_t> codes,
                  std::span<std::uint8_t> scales) {
  const auto size = static_cast<std::size_t>(group);
  for (std::size_t begin = 0, g = 0; begin < x.size(); begin += size, ++g) {
    const std::uint32_t scale =
        ScaleOf(x.subspan(begin, size), numerics::kE2m1AmaxMin, numerics::kE2m1Max);
    const float inverse = numerics::Ue8m0InverseOf(scale);
    scales[g] = static_cast<std::uint8_t>(scale);
    for (std::size_t i = begin; i < begin + size; ++i) {
      codes[i] = static_cast<std::uint8_t>(numerics::E2m1OfFloat(x[i] * inverse));
    }
  }
}

void RoundThroughE4m3(std::span<float> x, int group) {
  const auto size = static_cast<std::size_t>(group);
  for (std::size_t begin = 0; begin < x.size(); begin += size) {
    const std::uint32_t code =
        ScaleOf(x.subspan(begin, size), numerics::kE4m3AmaxMin, numerics::kE4m3Max);
    const float inverse = numerics::Ue8m0InverseOf(code);
    const float scale = numerics::FloatOfUe8m0(code);
    for (float& value : x.subspan(begin, size)) {
      value = numerics::FloatOfE4m3(numerics::E4m3OfFloat(value * inverse)) * scale;
    }
  }
}

void RoundThroughE2m1(std::span<float> x, int group) {
  const auto size = static_cast<std::size_t>(group);
  for (std::size_t begin = 0; begin < x.size(); begin += size) {
    const std::uint32_t code =
        ScaleOf(x.subspan(begin, size), numerics::kE2m1AmaxMin, numerics::kE2m1Max);
    const float inverse = numerics::Ue8m0InverseOf(code);
    const float scale = numerics::FloatOfUe8m0(code);
    for (float& value : x.subspan(begin, size)) {
      value = numerics::FloatOfE2m1(numerics::E2m1OfFloat(value * inverse)) * scale;
    }
  }
}

void EncodeEntry(const numerics::NumericsProfile& profile,
                 std::span<const float> x,
                 int rope_dim,
                 std::byte* entry) {
  if (profile.cache == CacheFormat::kF32) {
    std::memcpy(entry, x.data(), x.size_bytes());
    return;
  }
  const std::size_t rope = static_cast<std::size_t>(rope_dim);
  const std::size_t plain = x.size() - rope;
  const std::size_t scales = plain / kEntryGroup;
  auto* codes = reinterpret_cast<std::uint8_t*>(entry);
  QuantiseE4m3(x.first(plain), kEntryGroup, {codes, plain}, {codes + plain, scales});
  const std::size_t padded = (plain + scales + 7) / 8 * 8;
  std::memset(codes + plain + scales, 0, padded - plain - scales);
  for (std::size_t i = 0; i < rope; ++i) {
    const std::uint16_t code = numerics::Bf16OfFloat(x[plain + i]);
    std::memcpy(entry + padded + 2 * i, &code, sizeof(code));
  }
}

void DecodeEntry(const numerics::NumericsProfile& profile,
                 const std::byte* entry,
                 int rope_dim,
                 std::span<float> x) {
  if (profile.cache == CacheFormat::kF32) {
    std::memcpy(x.data(), entry, x.size_bytes());
    return;
  }
  const std::size_t rope = static_cast<std::size_t>(rope_dim);
  const std::size_t plain = x.size() - rope;
  const std::size_t scales = plain / kEntryGroup;
  const auto* codes = reinterpret_cast<const std::uint8_t*>(entry);
  for (std::size_t i = 0; i < plain; ++i) {
    x[i] = numerics::FloatOfE4m3(codes[i]) * numerics::FloatOfUe8m0(codes[plain + i / kEntryGroup]);
  }
  const std::size_t padded = (plain + scales + 7) / 8 * 8;
  for (std::size_t i = 0; i < rope; ++i) {
    std::uint16_t code;
    std::memcpy(&code, entry + padded + 2 * i, sizeof(code));
    x[plain + i] = numerics::FloatOfBf16(code);
  }
}

void EncodeKey(const numerics::NumericsProfile& profile, std::span<const float> x, std::byte* key) {
  if (profile.index == IndexFormat::kF32) {
    std::memcpy(key, x.data(), x.size_bytes());
    return;
  }
  auto* bytes = reinterpret_cast<std::uint8_t*>(key);
  for (std::size_t begin = 0; begin < x.size(); begin += kKeyGroup) {
    std::uint8_t codes[kKeyGroup];
    QuantiseE2m1(x.subspan(begin, kKeyGroup),
                 kKeyGroup,
                 codes,
                 {bytes + x.size() / 2 + begin / kKeyGroup, 1});
    for (std::size_t i = 0; i < kKeyGroup; i += 2) {
      bytes[(begin + i) / 2] = static_cast<std::uint8_t>(codes[i] | codes[i + 1] << 4);
    }
  }
}

void DecodeKey(const numerics::NumericsProfile& profile, const std::byte* key, std::span<float> x) {
  if (profile.index == IndexFormat::kF32) {
    std::memcpy(x.data(), key, x.size_bytes());
    return;
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(key);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::uint32_t code = bytes[i / 2] >> (i % 2 * 4) & 0xFu;
    x[i] =
        numerics::FloatOfE2m1(code) * numerics::FloatOfUe8m0(bytes[x.size() / 2 + i / kKeyGroup]);
  }
}

}  // namespace sparkspan::kernels::reference
