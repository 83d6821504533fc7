#include "tests/unit/engine/runtime/served_texts.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <utility>

#include "engine/base/clock.h"
#include "engine/runtime/embedded_cluster.h"

namespace sparkspan::engine::runtime {
namespace {

constexpr std::chrono::minutes kPatience{5};
constexpr std::int32_t kBlocks = 48;
constexpr std::int64_t kRows = 160;

// Made up, so that the hardware policy has something to weigh.
schedule::StepCosts SomeCosts() {
  schedule::StepCosts costs;
  costs.rows = schedule::CostCurve::Create({{1, 100}, {8, 120}, {32, 320}}).value();
  costs.drafts = schedule::CostCurve::Create({{1, 10}, {8, 20}}).value();
  return costs;
}

}  // namespace

Texts ServeTexts(const std::vector<Asked>& asked,
                 const Serving& serving,
                 schedule::ScheduleStats* stats) {
  EmbeddedClusterOptions options;
  options.ranks = serving.ranks;
  options.executor = {
      .kv_blocks = kBlocks, .sequences_max = serving.running_max, .step_rows_max = kRows};
  options.load = serving.load;
  const SteadyClock clock;
  const auto cluster = EmbeddedCluster::Create(std::move(options), clock.Now() + kPatience);
  EXPECT_TRUE(cluster.ok()) << cluster.status().message();
  schedule::SchedulerOptions planning;
  planning.kv_blocks = kBlocks;
  planning.running_max = serving.running_max;
  planning.step_rows_max = kRows;
  planning.context_tokens_max = 4096;
  planning.waiting_max = static_cast<std::int32_t>(asked.size());
  planning.draft_tokens_max = (*cluster)->Shape().draft_tokens_max;
  planning.verification = serving.policy;
  planning.epoch = Epoch(1);
  auto scheduler = schedule::Scheduler::Create(planning);
  EXPECT_TRUE(scheduler.ok()) << scheduler.status().message();
  scheduler->SetStepCosts(SomeCosts());
  Texts texts(asked.size());
  std::map<SequenceId, std::size_t> owner;
  std::size_t admitted = 0;
  for (int step = 0; admitted < asked.size() || scheduler->HasWork(); ++step) {
    while (admitted < asked.size() &&
           (step >= static_cast<int>(admitted) * serving.steps_between || !scheduler->HasWork())) {
      schedule::Request request;
      request.prompt = asked[admitted].prompt;
      request.sampling = asked[admitted].sampling;
      request.max_tokens = asked[admitted].max_tokens;
      owner[scheduler->Admit(std::move(request), clock.Now()).value()] = admitted++;
    }
    EXPECT_TRUE((*cluster)->Submit(scheduler->Plan(clock.Now())).ok());
    const auto result = (*cluster)->Collect(clock.Now() + kPatience);
    EXPECT_TRUE(result.ok()) << result.status().message();
    if (!result.ok()) {
      break;
    }
    const std::vector<schedule::TokenEvent> events = scheduler->Absorb(*result).value();
    for (const schedule::TokenEvent& event : events) {
      auto& text = texts[owner.at(event.sequence)];
      text.insert(text.end(), event.tokens.begin(), event.tokens.end());
    }
  }
  if (stats != nullptr) {
    *stats = scheduler->Stats();
  }
  return texts;
}

}  // namespace sparkspan::engine::runtime
