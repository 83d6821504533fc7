#include "tests/golden/draft_run.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>

#include "engine/model/bind_weights.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::tests {
namespace {

void ThrowIfError(const absl::Status& status) {
  if (!status.ok()) {
    throw std::runtime_error(std::string(status.message()));
  }
}

}  // namespace

DraftSet LoadDraftSet(const std::filesystem::path& folder) {
  DraftSet set;
  set.checkpoint = engine::weights::Checkpoint::Open(folder).value();
  set.vectors = std::make_shared<const GoldenTensors>(folder / "vectors.safetensors");
  nlohmann::json cases;
  std::ifstream(folder / "vectors.json") >> cases;
  for (const auto& [name, entry] : cases.at("prompts").items()) {
    DraftSet::Prompt& prompt = set.prompts[name];
    prompt.length = entry.at("length");
    prompt.sequence = entry.at("sequence").get<std::vector<engine::Token>>();
    for (const auto& round : cases.at("greedy_spec_trace_hp").at(name)) {
      prompt.trace.push_back({round.at("anchor_pos"), round.at("draft"), round.at("accepted")});
    }
  }
  return set;
}

DraftingRank::DraftingRank(const engine::weights::Checkpoint& checkpoint,
                           const Options& options,
                           engine::collective::Communicator* communicator) {
  const engine::weights::RankShare share{communicator == nullptr ? 0 : communicator->rank().value(),
                                         communicator == nullptr ? 1 : communicator->size(),
                                         options.experts_whole,
                                         engine::weights::WidthUnitOf(options.model.numerics)};
  const auto loaded = engine::weights::LoadRank(checkpoint, share, {.draft = true}).value();
  model_ =
      engine::model::Model::Create(engine::model::BindWeights(*loaded), options.model, communicator)
          .value();
  drafter_ =
      engine::draft::MakeDrafter(*loaded,
                                 {engine::draft::KindOf(checkpoint.shape()), options.mtp_block},
                                 options.model,
                                 communicator)
          .value();
  table_.resize(static_cast<std::size_t>(engine::cache::KvPool::BlocksFor(options.length_max)));
  std::iota(table_.rbegin(), table_.rend(), 0);  // Blocks in an order that is not theirs.
  pool_ = engine::cache::KvPool::Create(model_->cache_layout(),
                                        static_cast<std::int32_t>(table_.size()))
              .value();
  state_ = std::make_unique<engine::cache::SequenceState>(model_->cache_layout());
  draft_state_.resize(static_cast<std::size_t>(drafter_->state_bytes()));
}

void DraftingRank::Run(std::int64_t position, std::span<const engine::Token> tokens) {
  engine::model::ForwardOptions forward;
  forward.taps = drafter_->taps();
  forward.keep_streams = drafter_->needs_streams();
  const engine::model::SequenceSpan span{
      state_.get(), table_, position, tokens, engine::model::LogitsRows::kAll};
  ThrowIfError(model_->Forward({&span, 1}, *pool_, forward, &forward_));
}

void DraftingRank::Commit(std::int64_t position, std::span<const engine::Token> next_tokens) {
  const engine::draft::CommittedSpan span{
      draft_state_, position, static_cast<std::int64_t>(next_tokens.size()), 0, next_tokens};
  ThrowIfError(drafter_->Commit({forward_.taps, forward_.streams}, {&span, 1}));
}

engine::draft::DraftResult DraftingRank::Draft(std::int64_t anchor_position, engine::Token anchor) {
  engine::draft::DraftRequest request;
  request.state = draft_state_;
  request.anchor = anchor;
  request.anchor_position = anchor_position;
  request.keep_logits = true;
  engine::draft::DraftResult result;
  ThrowIfError(drafter_->Draft({&request, 1}, &result));
  return result;
}

void DraftingRank::Prefill(std::span<const engine::Token> sequence,
                           std::int64_t begin,
                           std::int64_t end,
                           std::int64_t chunk) {
  while (begin < end) {
    const auto rows = static_cast<std::size_t>(std::min(chunk, end - begin));
    Run(begin, sequence.subspan(static_cast<std::size_t>(begin), rows));
    Commit(begin, sequence.subspan(static_cast<std::size_t>(begin) + 1, rows));
    begin += static_cast<std::int64_t>(rows);
  }
}

}  // namespace sparkspan::tests
