#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/runtime/cluster.h"

namespace sparkspan::engine::runtime {

absl::StatusOr<StepResult> AgreeResults(std::span<const StepResult> results) {
  if (results.empty()) {
    return absl::InternalError("a step without any rank's result");
  }
  const StepResult& first = results.front();
  std::map<std::uint64_t, std::vector<std::int32_t>> ranks_by_digest;
  StepResult agreed = first;
  for (std::size_t rank = 0; rank < results.size(); ++rank) {
    const StepResult& result = results[rank];
    if (result.rank.value() != static_cast<std::int32_t>(rank) || result.epoch != first.epoch ||
        result.step != first.step) {
      return absl::InternalError(
          absl::StrFormat("expected rank %d's result of epoch %d step %d, got rank %d's of epoch "
                          "%d step %d",
                          rank,
                          first.epoch.value(),
                          first.step.value(),
                          result.rank.value(),
                          result.epoch.value(),
                          result.step.value()));
    }
    ranks_by_digest[result.digest].push_back(result.rank.value());
    agreed.times.forward_ns = std::max(agreed.times.forward_ns, result.times.forward_ns);
    agreed.times.exchange_ns = std::max(agreed.times.exchange_ns, result.times.exchange_ns);
    agreed.times.sample_ns = std::max(agreed.times.sample_ns, result.times.sample_ns);
    agreed.times.draft_ns = std::max(agreed.times.draft_ns, result.times.draft_ns);
    agreed.times.total_ns = std::max(agreed.times.total_ns, result.times.total_ns);
  }
  if (ranks_by_digest.size() > 1) {
    std::vector<std::string> parties;
    for (const auto& [digest, ranks] : ranks_by_digest) {
      parties.push_back(absl::StrFormat("%016x on rank %s", digest, absl::StrJoin(ranks, ", ")));
    }
    return absl::DataLossError(
        absl::StrFormat("ranks disagree on step %d of epoch %d: digest %s; a memory or software "
                        "fault, no token of this step was sent",
                        first.step.value(),
                        first.epoch.value(),
                        absl::StrJoin(parties, "; ")));
  }
  return agreed;
}

}  // namespace sparkspan::engine::runtime
