#include "engine/draft/scripted_drafter.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::draft {

ScriptedDrafter::ScriptedDrafter(int block, Script script)
    : block_(block), script_(std::move(script)) {}

ScriptedDrafter::ScriptedDrafter(std::unique_ptr<Drafter> inner, Script script)
    : block_(inner->block()), inner_(std::move(inner)), script_(std::move(script)) {}

DrafterKind ScriptedDrafter::kind() const {
  return inner_ == nullptr ? DrafterKind::kNone : inner_->kind();
}

std::span<const int> ScriptedDrafter::taps() const {
  return inner_ == nullptr ? std::span<const int>() : inner_->taps();
}

bool ScriptedDrafter::needs_streams() const {
  return inner_ != nullptr && inner_->needs_streams();
}

std::int64_t ScriptedDrafter::state_bytes() const {
  return inner_ == nullptr ? 0 : inner_->state_bytes();
}

std::int64_t ScriptedDrafter::ActivationBytes(std::int64_t rows, std::int64_t requests) const {
  return inner_ == nullptr ? 0 : inner_->ActivationBytes(rows, requests);
}

absl::Status ScriptedDrafter::Commit(const TargetRows& target,
                                     std::span<const CommittedSpan> spans) {
  return inner_ == nullptr ? absl::OkStatus() : inner_->Commit(target, spans);
}

absl::Status ScriptedDrafter::Draft(std::span<const DraftRequest> requests, DraftResult* result) {
  const auto block = static_cast<std::size_t>(block_);
  for (const DraftRequest& request : requests) {
    if (request.temperature != 0.0f) {
      return absl::InvalidArgumentError(
          absl::StrFormat("temperature is %g: a scripted drafter serves greedy requests only",
                          request.temperature));
    }
  }
  if (inner_ != nullptr) {
    RETURN_IF_ERROR(inner_->Draft(requests, result));
  } else {
    *result = {};
    result->tokens.assign(requests.size() * block, 0);
  }
  result->confidence.resize(requests.size() * block, 0.0f);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    script_(requests[i],
            std::span(result->tokens).subspan(i * block, block),
            std::span(result->confidence).subspan(i * block, block));
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::draft
