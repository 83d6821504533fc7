#pragma once

#include <cstdint>
#include <span>

#include "engine/weights/tensor_specs.h"

namespace sparkspan::engine::weights {

// Values of a random checkpoint: a pure function of seed, tensor name and place, so that shards can
// be written in any order and in parts. Thread-safe.
class RandomWeights {
 public:
  RandomWeights(std::uint64_t seed, int experts) : seed_(seed), experts_(experts) {}

  // Bytes [offset, offset + out.size()) of the tensor; offset is a multiple of 8.
  void Fill(const TensorSpec& spec, std::uint64_t offset, std::span<std::byte> out) const;

 private:
  void FillTable(const TensorSpec& spec, std::uint64_t offset, std::span<std::byte> out) const;

  std::uint64_t seed_;
  int experts_;
};

}  // namespace sparkspan::engine::weights
