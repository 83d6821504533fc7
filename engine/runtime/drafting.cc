#include "engine/runtime/drafting.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/runtime/acceptance.h"
#include "engine/runtime/sampler.h"

namespace sparkspan::engine::runtime {

Drafting::Drafting(std::unique_ptr<draft::Drafter> drafter, std::int32_t sequences_max)
    : drafter_(std::move(drafter)),
      sequences_max_(static_cast<std::size_t>(sequences_max)),
      states_(sequences_max_ * static_cast<std::size_t>(drafter_->state_bytes())),
      held_back_(sequences_max_) {}

std::int64_t Drafting::ActivationBytes(std::int64_t rows) const {
  return drafter_->ActivationBytes(rows, static_cast<std::int64_t>(sequences_max_));
}

std::span<std::byte> Drafting::state(std::size_t slot) {
  const auto bytes = static_cast<std::size_t>(drafter_->state_bytes());
  return std::span(states_).subspan(slot * bytes, bytes);
}

void Drafting::AskOf(model::ForwardOptions* options) const {
  options->taps = drafter_->taps();
  options->keep_streams = drafter_->needs_streams();
}

void Drafting::Open(std::size_t slot) {
  const std::span<std::byte> bytes = state(slot);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  held_back_[slot].reset();
}

absl::Status Drafting::CommitHeldBack(std::span<const CommittedRows> rows) {
  std::vector<float> streams;
  std::vector<draft::CommittedSpan> spans;
  for (const CommittedRows& of : rows) {
    std::optional<HeldBack> held = std::exchange(held_back_[of.slot], std::nullopt);
    if (!held.has_value()) {
      continue;
    }
    CHECK_EQ(held->position + 1, of.first_position);
    streams.insert(streams.end(), held->streams.begin(), held->streams.end());
    spans.push_back({.state = state(of.slot),
                     .first_position = held->position,
                     .rows = 1,
                     .first_row = static_cast<std::int64_t>(spans.size()),
                     .next_tokens = of.tokens.first(1)});
  }
  return spans.empty() ? absl::OkStatus()
                       : drafter_->Commit({.taps = {}, .streams = streams}, spans);
}

absl::Status Drafting::Commit(const model::ForwardResult& target,
                              std::span<const CommittedRows> rows) {
  std::vector<draft::CommittedSpan> spans;
  next_tokens_.resize(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const CommittedRows& of = rows[i];
    std::vector<Token>& next = next_tokens_[i];
    next.assign(of.tokens.begin() + 1, of.tokens.end());
    auto count = static_cast<std::int64_t>(of.tokens.size());
    if (of.following.has_value()) {
      next.push_back(*of.following);
    } else if (drafter_->needs_streams()) {
      --count;  // Its partner comes with the next chunk.
      const std::size_t width = target.streams.size() / static_cast<std::size_t>(target.rows);
      const auto last =
          target.streams.begin() + static_cast<std::ptrdiff_t>(width) * (of.first_row + count);
      held_back_[of.slot] = {.position = of.first_position + count,
                             .streams = {last, last + static_cast<std::ptrdiff_t>(width)}};
    } else {
      next.push_back(of.tokens.back());  // Such a drafter does not look at it.
    }
    if (count > 0) {
      spans.push_back({.state = state(of.slot),
                       .first_position = of.first_position,
                       .rows = count,
                       .first_row = of.first_row,
                       .next_tokens = next});
    }
  }
  return spans.empty() ? absl::OkStatus()
                       : drafter_->Commit({.taps = target.taps, .streams = target.streams}, spans);
}

absl::Status Drafting::Propose(std::span<const CommittedRows> rows,
                               std::vector<Proposal>* proposals) {
  std::vector<draft::DraftRequest> requests;
  for (const CommittedRows& of : rows) {
    if (of.propose_with == nullptr) {
      continue;
    }
    const SamplingParams& params = *of.propose_with;
    requests.push_back(
        {.state = state(of.slot),
         .anchor = *of.following,
         .anchor_position = of.first_position + static_cast<std::int64_t>(of.tokens.size()),
         .temperature = IsGreedy(params) ? 0.0f : params.temperature,
         .seed = params.seed,
         .noise = params.acceptance == AcceptanceRule::kSharedNoise ? draft::DraftNoise::kShared
                                                                    : draft::DraftNoise::kOwn,
         .keep_logits = IsRejectionSampled(params)});
  }
  proposals->assign(requests.size(), {});
  if (requests.empty()) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(drafter_->Draft(requests, &drafted_));
  const auto block = static_cast<std::size_t>(drafter_->block());
  const auto part = [&](const auto& values, std::size_t index, std::size_t size) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(index * size);
    return std::vector(begin, begin + static_cast<std::ptrdiff_t>(size));
  };
  const auto keepers = static_cast<std::size_t>(
      std::count_if(requests.begin(), requests.end(), [](const auto& r) { return r.keep_logits; }));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Proposal& proposal = (*proposals)[i];
    proposal.tokens = part(drafted_.tokens, i, block);
    if (!drafted_.confidence.empty()) {
      proposal.confidence = part(drafted_.confidence, i, block);
    }
    if (requests[i].keep_logits) {
      proposal.logits = part(drafted_.logits, kept++, drafted_.logits.size() / keepers);
    }
    for (const float confidence : proposal.confidence) {
      if (!std::isfinite(confidence)) {
        return absl::DataLossError(
            absl::StrFormat("the drafter's confidence at position %d is %g: its arithmetic has "
                            "gone wrong",
                            requests[i].anchor_position,
                            confidence));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Drafting::Run(const model::ForwardResult& target,
                           std::span<const CommittedRows> rows,
                           std::vector<Proposal>* proposals) {
  RETURN_IF_ERROR(CommitHeldBack(rows));
  RETURN_IF_ERROR(Commit(target, rows));
  return Propose(rows, proposals);
}

}  // namespace sparkspan::engine::runtime
