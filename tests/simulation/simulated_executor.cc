#include "tests/simulation/simulated_executor.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/status.h"

namespace sparkspan::tests {
namespace {

constexpr std::size_t kBlockTokens = 256;
constexpr std::uint64_t kVocabulary = 997;

absl::Status Impossible(const char* what, engine::SequenceId id) {
  return absl::InvalidArgumentError(absl::StrFormat("sequence %d: %s", id.value(), what));
}

}  // namespace

engine::Token TokenAfter(const std::vector<engine::Token>& history) {
  std::uint64_t hash = history.size();
  for (const engine::Token token : history) {
    hash = engine::CombineHash(hash, static_cast<std::uint64_t>(token));
  }
  return static_cast<engine::Token>(hash % kVocabulary);
}

void SimulatedExecutor::Reset(engine::Epoch epoch) {
  sequences_.clear();
  owner_.assign(owner_.size(), std::nullopt);
  epoch_ = epoch;
  last_step_ = engine::Step(0);
  is_corrupt_ = false;
}

absl::StatusOr<engine::runtime::StepResult> SimulatedExecutor::Run(
    const engine::runtime::StepPlan& plan) {
  if (plan.epoch != epoch_ || plan.step.value() != last_step_.value() + 1) {
    return absl::FailedPreconditionError(
        absl::StrFormat("step %d of epoch %d after step %d of epoch %d",
                        plan.step.value(),
                        plan.epoch.value(),
                        last_step_.value(),
                        epoch_.value()));
  }
  for (const engine::SequenceId id : plan.close) {
    RETURN_IF_ERROR(Close(id));
  }
  for (const engine::runtime::SequenceOpen& open : plan.open) {
    RETURN_IF_ERROR(Open(open));
  }
  for (const engine::runtime::BlockGrant& grant : plan.grants) {
    RETURN_IF_ERROR(Grant(grant));
  }
  engine::runtime::StepResult result;
  result.epoch = epoch_;
  result.step = plan.step;
  result.rank = rank_;
  for (const engine::runtime::RowSpan& span : plan.spans) {
    RETURN_IF_ERROR(RunSpan(span, &result));
  }
  for (const engine::runtime::SequenceTokens& tokens : result.sequences) {
    result.digest =
        engine::CombineHash(result.digest, static_cast<std::uint64_t>(tokens.tokens.front().token));
  }
  last_step_ = plan.step;
  return result;
}

absl::Status SimulatedExecutor::Close(engine::SequenceId id) {
  if (sequences_.erase(id) == 0) {
    return Impossible("closed, but not open", id);
  }
  for (std::optional<engine::SequenceId>& owner : owner_) {
    if (owner == id) {
      owner.reset();
    }
  }
  return absl::OkStatus();
}

absl::Status SimulatedExecutor::Open(const engine::runtime::SequenceOpen& open) {
  if (sequences_.size() == static_cast<std::size_t>(sequences_max_)) {
    return Impossible("no state is left", open.sequence);
  }
  return sequences_.emplace(open.sequence, Sequence()).second
             ? absl::OkStatus()
             : Impossible("opened a second time", open.sequence);
}

absl::Status SimulatedExecutor::Grant(const engine::runtime::BlockGrant& grant) {
  const auto found = sequences_.find(grant.sequence);
  if (found == sequences_.end()) {
    return Impossible("granted blocks, but not open", grant.sequence);
  }
  for (const std::int32_t block : grant.blocks) {
    std::optional<engine::SequenceId>& owner = owner_.at(static_cast<std::size_t>(block));
    if (owner.has_value()) {
      return Impossible("granted another's block", grant.sequence);
    }
    owner = grant.sequence;
  }
  found->second.blocks += grant.blocks.size();
  return absl::OkStatus();
}

absl::Status SimulatedExecutor::RunSpan(const engine::runtime::RowSpan& span,
                                        engine::runtime::StepResult* result) {
  const auto found = sequences_.find(span.sequence);
  if (found == sequences_.end()) {
    return Impossible("has rows, but is not open", span.sequence);
  }
  Sequence& sequence = found->second;
  if (span.first_position != static_cast<std::int64_t>(sequence.history.size())) {
    return Impossible("rows at another position than its end", span.sequence);
  }
  if (const auto* literal = std::get_if<std::vector<engine::Token>>(&span.tokens)) {
    sequence.history.insert(sequence.history.end(), literal->begin(), literal->end());
  } else if (sequence.last_committed.has_value()) {
    sequence.history.push_back(*sequence.last_committed);
  } else {
    return Impossible("nothing was committed yet", span.sequence);
  }
  sequence.last_committed.reset();
  if (sequence.history.size() > sequence.blocks * kBlockTokens) {
    return Impossible("more rows than its blocks hold", span.sequence);
  }
  if (span.sample) {
    engine::Token token = TokenAfter(sequence.history);
    token += std::exchange(is_corrupt_, false) ? 1 : 0;
    sequence.last_committed = token;
    engine::runtime::SequenceTokens tokens;
    tokens.sequence = span.sequence;
    tokens.position = static_cast<std::int64_t>(sequence.history.size());
    tokens.tokens.push_back({token, {}, {}});
    result->sequences.push_back(std::move(tokens));
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::tests
