#include "engine/runtime/rank_position.h"

#include <string_view>
#include <tuple>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::runtime {
namespace {

std::string_view NameOf(Collective collective) {
  switch (collective) {
    case Collective::kNone:
      return "no exchange";
    case Collective::kAllReduce:
      return "all-reduce";
    case Collective::kAllGather:
      return "all-gather";
  }
  return "exchange";
}

}  // namespace

bool RankPosition::IsAheadOf(const RankPosition& other) const {
  // Inside an exchange comes before the computation that follows it.
  return std::tuple(begun, finished, exchanges, !exchanging) >
         std::tuple(other.begun, other.finished, other.exchanges, !other.exchanging);
}

std::string Describe(const RankPosition& position) {
  if (position.begun == position.finished) {
    return position.begun.value() == 0
               ? "before its first step"
               : absl::StrFormat("idle after step %d", position.finished.value());
  }
  if (position.exchanges == 0) {
    return absl::StrFormat("in step %d, before its first exchange", position.begun.value());
  }
  return absl::StrFormat("in step %d, %s %s %d",
                         position.begun.value(),
                         position.exchanging ? "inside" : "computing after",
                         NameOf(position.collective),
                         position.exchanges);
}

}  // namespace sparkspan::engine::runtime
