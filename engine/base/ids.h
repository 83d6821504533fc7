#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>

// Integers that must not be mixed up. A StrongInt compares and hashes; arithmetic goes through
// value(), so that it shows.
namespace sparkspan::engine {

template <typename Tag, typename Integer>
class StrongInt {
 public:
  using ValueType = Integer;

  constexpr StrongInt() = default;
  constexpr explicit StrongInt(Integer value) : value_(value) {}

  constexpr Integer value() const { return value_; }
  constexpr auto operator<=>(const StrongInt&) const = default;

  friend std::ostream& operator<<(std::ostream& out, StrongInt id) { return out << id.value_; }

  template <typename H>
  friend H AbslHashValue(H state, StrongInt id) {
    return H::combine(std::move(state), id.value_);
  }

 private:
  Integer value_{};
};

using Token = std::int32_t;  // An id in the checkpoint's vocabulary.

using Rank = StrongInt<struct RankTag, std::int32_t>;             // 0 .. ranks-1
using Epoch = StrongInt<struct EpochTag, std::uint64_t>;          // one life of a cluster
using Step = StrongInt<struct StepTag, std::uint64_t>;            // counts plans inside an epoch
using SequenceId = StrongInt<struct SequenceTag, std::uint64_t>;  // never reused by a head

}  // namespace sparkspan::engine

template <typename Tag, typename Integer>
struct std::hash<sparkspan::engine::StrongInt<Tag, Integer>> {
  std::size_t operator()(sparkspan::engine::StrongInt<Tag, Integer> id) const noexcept {
    return std::hash<Integer>{}(id.value());
  }
};
