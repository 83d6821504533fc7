#include "tests/unit/engine/runtime/guests.h"

#include <algorithm>
#include <utility>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/status.h"

namespace sparkspan::engine::runtime {

GuestHouse::GuestHouse(Cluster* cluster, std::vector<Guest> guests)
    : cluster_(cluster), guests_(std::move(guests)), stays_(guests_.size()) {
  for (std::int32_t block = 0; block < cluster->Shape().kv_blocks; ++block) {
    free_blocks_.push_back(block);
  }
}

void GuestHouse::PlanGuest(std::size_t index, StepPlan* plan) {
  const Guest& guest = guests_[index];
  Stay& stay = stays_[index];
  if (stay.left || step_ < guest.arrives) {
    return;
  }
  if (tokens_[guest.id].size() == guest.max_tokens) {
    plan->close.push_back(guest.id);
    free_blocks_.insert(free_blocks_.end(), stay.blocks.begin(), stay.blocks.end());
    stay.left = true;
    ++left_;
    return;
  }
  const std::size_t prompt = guest.prompt.size();
  RowSpan span;
  span.sequence = guest.id;
  span.first_position = static_cast<std::int64_t>(stay.rows);
  std::size_t rows = 1;
  if (stay.rows < prompt) {
    rows = std::min(guest.chunk, prompt - stay.rows);
    const auto first = guest.prompt.begin() + static_cast<std::ptrdiff_t>(stay.rows);
    span.tokens = std::vector<Token>(first, first + static_cast<std::ptrdiff_t>(rows));
  } else {
    span.tokens = LastCommitted{};
  }
  if (!std::exchange(stay.open, true)) {
    plan->open.push_back({guest.id, guest.sampling, static_cast<std::int64_t>(prompt)});
  }
  stay.rows += rows;
  span.sample = stay.rows >= prompt;
  BlockGrant grant{guest.id, {}};
  while (stay.blocks.size() * 256 < stay.rows) {  // as late as can be
    CHECK(!free_blocks_.empty());
    stay.blocks.push_back(free_blocks_.back());
    grant.blocks.push_back(free_blocks_.back());
    free_blocks_.pop_back();
  }
  if (!grant.blocks.empty()) {
    plan->grants.push_back(grant);
  }
  plan->spans.push_back(span);
}

StepPlan GuestHouse::Plan() {
  StepPlan plan;
  plan.epoch = cluster_->Shape().epoch;
  plan.step = engine::Step(static_cast<std::uint64_t>(step_) + 1);
  for (std::size_t i = 0; i < guests_.size(); ++i) {
    PlanGuest(i, &plan);
  }
  ++step_;
  return plan;
}

absl::StatusOr<StepResult> GuestHouse::Step(const StepPlan& plan) {
  RETURN_IF_ERROR(cluster_->Submit(plan));
  ASSIGN_OR_RETURN(StepResult result,
                   cluster_->Collect(SteadyClock().Now() + std::chrono::minutes(5)));
  for (const SequenceTokens& tokens : result.sequences) {
    auto& all = tokens_[tokens.sequence];
    all.insert(all.end(), tokens.tokens.begin(), tokens.tokens.end());
  }
  return result;
}

void GuestHouse::RunAll() {
  while (!done()) {
    const auto result = Step(Plan());
    CHECK(result.ok()) << result.status().message();
  }
}

}  // namespace sparkspan::engine::runtime
