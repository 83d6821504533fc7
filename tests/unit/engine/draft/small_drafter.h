#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "engine/collective/local_communicator.h"
#include "engine/draft/make_drafter.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"
#include "kernels/numerics/formats.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

// Drafters of small random checkpoints, fed with random rows in place of a target's.
namespace sparkspan::tests {

inline engine::weights::ModelShape SmallMtpShape() {
  engine::weights::ModelShape shape = SmallShape();
  shape.draft = engine::weights::DraftKind::kMtp;
  shape.draft_stages = 1;
  shape.stage_ratios = 1;
  return shape;
}

// A generated checkpoint, loaded for one rank of some.
class SmallDrafters {
 public:
  explicit SmallDrafters(const engine::weights::ModelShape& shape) {
    EXPECT_TRUE(
        engine::weights::GenerateCheckpoint(shape, folder_.path(), {.single_file = true}).ok());
    checkpoint_ = engine::weights::Checkpoint::Open(folder_.path()).value();
  }

  const engine::weights::ModelShape& shape() const { return checkpoint_->shape(); }
  const engine::weights::Checkpoint& checkpoint() const { return *checkpoint_; }

  // Loaded once: the ranks of a group make theirs at the same time, so load before.
  std::shared_ptr<const engine::weights::RankWeights> Load(
      const engine::weights::RankShare& share = {}) {
    auto& loaded = loaded_[{share.rank, share.ranks, share.experts_whole}];
    if (loaded == nullptr) {
      loaded = engine::weights::LoadRank(*checkpoint_, share, {.draft = true}).value();
    }
    return loaded;
  }

  std::unique_ptr<engine::draft::Drafter> Make(const engine::model::ModelOptions& options,
                                               int mtp_block = 1) {
    return engine::draft::MakeDrafter(
               *Load(), {engine::draft::KindOf(shape()), mtp_block}, options, nullptr)
        .value();
  }

 private:
  TemporaryFolder folder_;
  std::shared_ptr<const engine::weights::Checkpoint> checkpoint_;
  std::map<std::tuple<int, int, bool>, std::shared_ptr<const engine::weights::RankWeights>> loaded_;
};

// What a target would have given: rows of taps or streams with bf16 values, and tokens.
struct SmallTarget {
  std::size_t width = 0;
  std::vector<float> rows;
  std::vector<engine::Token> next_tokens;

  SmallTarget(const engine::draft::Drafter& drafter,
              const engine::weights::ModelShape& shape,
              std::size_t count,
              std::uint32_t seed)
      : width(static_cast<std::size_t>(shape.ops.hidden) *
              (drafter.needs_streams() ? static_cast<std::size_t>(shape.ops.streams)
                                       : drafter.taps().size())) {
    std::mt19937 random(seed);
    std::normal_distribution<float> value;
    for (std::size_t i = 0; i < count * width; ++i) {
      rows.push_back(kernels::numerics::RoundToBf16(value(random)));
    }
    for (std::size_t i = 0; i < count; ++i) {
      next_tokens.push_back(
          static_cast<engine::Token>(random() % static_cast<std::uint32_t>(shape.vocabulary)));
    }
  }

  engine::draft::TargetRows Rows() const { return {rows, rows}; }
};

// One sequence of a drafter.
struct SmallSequence {
  const SmallTarget* target;
  std::vector<std::byte> state;
  std::int64_t length = 0;  // committed

  SmallSequence(const engine::draft::Drafter& drafter, const SmallTarget& rows)
      : target(&rows), state(static_cast<std::size_t>(drafter.state_bytes())) {}

  // The next rows, from their places in the target's.
  engine::draft::CommittedSpan Take(std::int64_t rows) {
    const engine::draft::CommittedSpan span{
        state,
        length,
        rows,
        length,
        std::span(target->next_tokens)
            .subspan(static_cast<std::size_t>(length), static_cast<std::size_t>(rows))};
    length += rows;
    return span;
  }

  void Commit(engine::draft::Drafter& drafter, std::int64_t rows) {
    const engine::draft::CommittedSpan span = Take(rows);
    const absl::Status status = drafter.Commit(target->Rows(), {&span, 1});
    EXPECT_TRUE(status.ok()) << status.message();
  }

  engine::draft::DraftRequest Request() {
    engine::draft::DraftRequest request;
    request.state = state;
    request.anchor = target->next_tokens[static_cast<std::size_t>(length - 1)];
    request.anchor_position = length;
    request.keep_logits = true;
    return request;
  }
};

inline engine::draft::DraftResult DraftOf(engine::draft::Drafter& drafter,
                                          std::vector<engine::draft::DraftRequest> requests) {
  engine::draft::DraftResult result;
  const absl::Status status = drafter.Draft(requests, &result);
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

}  // namespace sparkspan::tests
