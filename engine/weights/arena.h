#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"

namespace sparkspan::engine::weights {

// Memory for a rank's weights: anonymous pages, begun at a multiple of 2 MiB and offered to the
// kernel for huge ones, zero until written.
class Arena {
 public:
  static absl::StatusOr<std::shared_ptr<Arena>> Create(std::int64_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::span<std::byte> bytes() { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  Arena(std::byte* data, std::size_t size) : data_(data), size_(size) {}

  std::byte* data_;
  std::size_t size_;
};

}  // namespace sparkspan::engine::weights
