#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

// How numbers are kept and rounded, as one versioned value (docs/decisions/0001). Everything that
// must agree on it compares the hash: the handshake of ranks, caches on disk, prepared weights.
namespace sparkspan::kernels::numerics {

enum class ActivationFormat : std::uint8_t { kF32 = 0, kBf16 = 1 };

// What a linear with FP8 or FP4 weights does to its input.
enum class ActivationQuantisation : std::uint8_t {
  kNone = 0,
  kE4m3Group128 = 1,  // e4m3 codes, one ue8m0 scale per 128 inputs
};

// How window and compressed entries are stored.
enum class CacheFormat : std::uint8_t {
  kF32 = 0,  // head_dim fp32
  kE4m3Bf16Rope =
      1,  // e4m3 with a ue8m0 scale per 64 for the non-rope part, bf16 for the rope part
};

// How index keys (and the index queries they meet) are stored.
enum class IndexFormat : std::uint8_t {
  kF32 = 0,
  kE2m1Group32 = 1,  // e2m1 with a ue8m0 scale per 32, after the Hadamard rotation
};

struct NumericsProfile {
  // Raised whenever the same profile yields other bits: an order of additions, a rounding point.
  static constexpr std::uint32_t kVersion = 1;

  std::string_view name;
  ActivationFormat activation = ActivationFormat::kBf16;
  ActivationQuantisation quantisation = ActivationQuantisation::kE4m3Group128;
  CacheFormat cache = CacheFormat::kE4m3Bf16Rope;
  IndexFormat index = IndexFormat::kE2m1Group32;

  // bf16 rounding where the reference rounds.
  constexpr bool rounds() const { return activation == ActivationFormat::kBf16; }
  constexpr bool quantises() const { return quantisation != ActivationQuantisation::kNone; }

  // FNV-1a over the version and every field but the name.
  constexpr std::uint64_t Hash() const {
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (const std::uint32_t value : {kVersion,
                                      static_cast<std::uint32_t>(activation),
                                      static_cast<std::uint32_t>(quantisation),
                                      static_cast<std::uint32_t>(cache),
                                      static_cast<std::uint32_t>(index)}) {
      for (int shift = 0; shift < 32; shift += 8) {
        hash = (hash ^ (value >> shift & 0xFFu)) * 0x100000001B3u;
      }
    }
    return hash;
  }
};

// The profile of proof: weights decoded exactly, nothing else narrowed.
inline constexpr NumericsProfile kUnquantised{"unquantised",
                                              ActivationFormat::kF32,
                                              ActivationQuantisation::kNone,
                                              CacheFormat::kF32,
                                              IndexFormat::kF32};

// What the published reference computes, and what serving uses.
inline constexpr NumericsProfile kQuantised{"quantised",
                                            ActivationFormat::kBf16,
                                            ActivationQuantisation::kE4m3Group128,
                                            CacheFormat::kE4m3Bf16Rope,
                                            IndexFormat::kE2m1Group32};

// The profile of that name, "unquantised" or "quantised".
constexpr std::optional<NumericsProfile> ProfileOf(std::string_view name) {
  if (name == kUnquantised.name) {
    return kUnquantised;
  }
  if (name == kQuantised.name) {
    return kQuantised;
  }
  return std::nullopt;
}

}  // namespace sparkspan::kernels::numerics
