#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/attention/entry.h"

// The shapes and the first contents of tests/gpu/decode_layer.h.
namespace sparkspan::kernels {

// A rank's share of the model, of two, but for its experts: as many as fit a buffer.
namespace decode {
constexpr int kHidden = 4096;
constexpr int kHeads = 32;
constexpr int kQRank = 1024;
constexpr int kOGroups = 4;
constexpr int kORank = 1024;
constexpr int kRatio = 4;
constexpr int kTopK = 512;
constexpr int kWindow = 128;
constexpr int kPageEntries = 64;
constexpr int kExperts = 64;
constexpr int kChoices = 6;
constexpr int kIntermediate = 1024;
constexpr float kEpsilon = 1e-6F;
constexpr int kWindowSlots = 256;
constexpr int kRingSlots = 64;
}  // namespace decode

// Bytes that are small and finite as e4m3, e2m1, bf16 and fp32 alike: bit 6 of each is zero.
inline std::byte SmallByte(std::mt19937& random) {
  return static_cast<std::byte>(random() & 0xBFU);
}

// What the device's memory will hold, laid out while the arguments learn their addresses.
class DecodeImage {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 28;

  explicit DecodeImage(std::byte* device) : device_(device), bytes_(kBytes) {}

  template <class T>
  T* Zeros(std::size_t count) {
    const std::size_t at = (used_ + 255) / 256 * 256;
    used_ = at + count * sizeof(T);
    if (used_ > bytes_.size()) {
      std::fprintf(stderr,
                   "a layer of so many rows and tokens needs more than the image's bytes\n");
      std::abort();
    }
    return reinterpret_cast<T*>(device_ + at);
  }
  template <class T>
  T* Values(const std::vector<T>& values) {
    T* placed = Zeros<T>(values.size());
    std::memcpy(bytes_.data() + (reinterpret_cast<std::byte*>(placed) - device_),
                values.data(),
                values.size() * sizeof(T));
    return placed;
  }
  // value(i) for each of `count`.
  template <class T, class Value>
  T* Each(std::size_t count, const Value& value) {
    std::vector<T> values(count);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = static_cast<T>(value(static_cast<int>(i)));
    }
    return Values(values);
  }
  template <class T>
  T* Filled(std::size_t count, T value) {
    return Values(std::vector<T>(count, value));
  }
  // bf16 between 1 and 2.
  std::uint16_t* Gain(std::size_t count) {
    return Each<std::uint16_t>(count, [&](int) { return 0x3F80U | (random_() & 0x7FU); });
  }
  // bf16 of either sign, between a half and two.
  std::uint16_t* Noise(std::size_t count) {
    return Each<std::uint16_t>(count, [&](int) { return 0x3F00U | (random_() & 0x80FFU); });
  }
  float* Rope(int rows) {
    return Each<float>(static_cast<std::size_t>(rows) * kRopeDim, [](int i) {
      const double angle = (i / kRopeDim + 1) / std::pow(10000.0, i % kRopePairs / 32.0);
      return i % kRopeDim < kRopePairs ? std::cos(angle) : std::sin(angle);
    });
  }

  std::size_t used() const { return used_; }
  const std::byte* bytes() const { return bytes_.data(); }

 private:
  std::byte* device_;
  std::vector<std::byte> bytes_;
  std::size_t used_ = 0;
  std::mt19937 random_{17};
};

}  // namespace sparkspan::kernels
