// Drafts against the reference in float64, step by step along its sequences and round by round
// along its greedy traces, on one rank and on several.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <mutex>

#include "engine/collective/local_communicator.h"
#include "kernels/reference/quantise.h"
#include "tests/golden/draft_run.h"
#include "tests/golden_path.h"

namespace sparkspan::tests {
namespace {

using engine::Token;
using engine::collective::Communicator;
using engine::draft::DraftResult;
using engine::model::Device;

constexpr double kTolerance = 1e-3;  // of logits and confidences
constexpr double kGap = 1e-3;  // between the two largest logits: closer ones may change places
constexpr double kRingTolerance = 2e-4;

double MaxError(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double error = 0.0;
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    const double difference = std::fabs(static_cast<double>(actual[i]) - expected[i]);
    error = std::isnan(difference) ? 1e30 : std::max(error, difference);
  }
  return error;
}

float TopGap(std::span<const float> logits) {
  std::vector<float> sorted(logits.begin(), logits.end());
  std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
  return sorted[0] - sorted[1];
}

Token Largest(std::span<const float> logits) {
  return static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::vector<float> DecodedRing(const DraftSet& set,
                               const kernels::numerics::NumericsProfile& numerics,
                               std::span<const std::byte> state) {
  const kernels::OpsShape& shape = set.checkpoint->shape().ops;
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const auto bytes =
      static_cast<std::size_t>(kernels::EntryBytes(numerics, shape.head_dim, shape.rope_dim));
  std::vector<float> ring(static_cast<std::size_t>(shape.window) * dim);
  for (std::size_t slot = 0; slot < static_cast<std::size_t>(shape.window); ++slot) {
    kernels::reference::DecodeEntry(
        numerics, &state[slot * bytes], shape.rope_dim, std::span(ring).subspan(slot * dim, dim));
  }
  return ring;
}

struct RunOptions {
  std::string what;
  int ranks = 1;
  bool experts_whole = false;
  Device device = Device::kCpu;
  std::int64_t chunk = 1 << 20;
};

class GoldenDraft : public ::testing::Test {
 protected:
  static DraftingRank::Options RankOptions(const RunOptions& options) {
    DraftingRank::Options rank;
    rank.model.numerics = kernels::numerics::kUnquantised;
    rank.model.device = options.device;
    rank.model.rewind_rows_max = 8;
    rank.experts_whole = options.experts_whole;
    return rank;
  }

  // What a rank found at the steps of a prompt.
  struct Steps {
    std::vector<float> target_logits, logits, confidence, ring;
    std::vector<Token> drafts;

    bool operator==(const Steps&) const = default;
  };

  // Every step of a prompt, on every rank.
  std::vector<Steps> RunSteps(const DraftSet& set, const std::string& name, const RunOptions& run) {
    const DraftSet::Prompt& prompt = set.prompts.at(name);
    std::vector<Steps> steps(static_cast<std::size_t>(run.ranks));
    const auto body = [&](int index, Communicator* communicator) {
      DraftingRank rank(*set.checkpoint, RankOptions(run), communicator);
      Steps& found = steps[static_cast<std::size_t>(index)];
      const auto append = [](const auto& from, auto& to) {
        to.insert(to.end(), from.begin(), from.end());
      };
      // The rings are stored as of the prompt but its last token, which is the first step's.
      rank.Prefill(prompt.sequence, 0, prompt.length - 1, run.chunk);
      found.ring = DecodedRing(set, kernels::numerics::kUnquantised, rank.draft_state());
      const auto end = static_cast<std::int64_t>(prompt.sequence.size());
      for (std::int64_t anchor = prompt.length; anchor < end; ++anchor) {
        rank.Prefill(prompt.sequence, anchor - 1, anchor, 1);
        append(rank.forward().logits, found.target_logits);
        const DraftResult result =
            rank.Draft(anchor, prompt.sequence[static_cast<std::size_t>(anchor)]);
        append(result.logits, found.logits);
        append(result.confidence, found.confidence);
        append(result.tokens, found.drafts);
      }
      return absl::OkStatus();
    };
    EXPECT_TRUE(engine::collective::RunRankThreads(run.ranks, body).ok());
    for (const Steps& other : steps) {
      EXPECT_TRUE(other == steps[0]) << "ranks differ";
    }
    return steps;
  }

  void CompareSteps(const DraftSet& set, const std::string& name, const RunOptions& run) {
    const Steps found = RunSteps(set, name, run)[0];
    const std::string prefix = "hp/" + name + "/";
    const bool mtp = set.checkpoint->shape().draft == engine::weights::DraftKind::kMtp;
    const auto logits = set.vectors->Floats(prefix + (mtp ? "mtp_logits" : "logits"));
    const double target =
        MaxError(found.target_logits, set.vectors->Floats(prefix + "target_logits"));
    const double drafted = MaxError(found.logits, logits);
    double confidence = 0.0;
    if (mtp) {
      EXPECT_TRUE(found.confidence.empty());
    } else {
      confidence = MaxError(found.confidence, set.vectors->Floats(prefix + "confidence"));
    }
    const std::string ring_name = prefix + (mtp ? "ring_after_prefill" : "ring0_after_prefill");
    if (set.vectors->Has(ring_name)) {
      const double ring = MaxError(found.ring, set.vectors->Floats(ring_name));
      std::printf(
          "%s %s: ring %.1e of %.0e\n", run.what.c_str(), name.c_str(), ring, kRingTolerance);
      EXPECT_LE(ring, kRingTolerance);
    }
    std::size_t close = 0;
    const std::size_t vocabulary = set.vocabulary();
    ASSERT_EQ(found.drafts.size() * vocabulary, logits.size());
    for (std::size_t i = 0; i < found.drafts.size(); ++i) {
      const auto row = std::span(logits).subspan(i * vocabulary, vocabulary);
      if (TopGap(row) > kGap) {
        EXPECT_EQ(found.drafts[i], Largest(row)) << name << ", draft " << i;
      } else {
        ++close;
      }
    }
    std::printf(
        "%s %s: logits of the target %.1e, of drafts %.1e, confidence %.1e of %.0e; "
        "%zu drafts, %zu too close to call\n",
        run.what.c_str(),
        name.c_str(),
        target,
        drafted,
        confidence,
        kTolerance,
        found.drafts.size(),
        close);
    EXPECT_LE(target, kTolerance);
    EXPECT_LE(drafted, kTolerance);
    EXPECT_LE(confidence, kTolerance);
  }

  // Greedy speculative decoding along the stored trace: drafts are verified in rows that are then
  // rewound, and only accepted rows are committed.
  void FollowTrace(const DraftSet& set, const std::string& name, const RunOptions& run) {
    const DraftSet::Prompt& prompt = set.prompts.at(name);
    const auto body = [&](int index, Communicator* communicator) {
      DraftingRank rank(*set.checkpoint, RankOptions(run), communicator);
      rank.Prefill(prompt.sequence, 0, prompt.length, run.chunk);
      for (const DraftSet::Round& round : prompt.trace) {
        const std::int64_t anchor = round.anchor_position;
        const Token token = prompt.sequence[static_cast<std::size_t>(anchor)];
        const DraftResult drafted = rank.Draft(anchor, token);
        EXPECT_EQ(drafted.tokens, round.drafts) << name << ", anchor at " << anchor;
        std::vector<Token> rows = {token};
        rows.insert(rows.end(), drafted.tokens.begin(), drafted.tokens.end());
        rank.Run(anchor, rows);
        std::vector<Token> chosen;  // after each row, up to the first that is not the draft
        for (std::size_t row = 0; row < rows.size(); ++row) {
          chosen.push_back(Largest(
              std::span(rank.forward().logits).subspan(row * set.vocabulary(), set.vocabulary())));
          if (row + 1 == rows.size() || chosen.back() != rows[row + 1]) {
            break;
          }
        }
        EXPECT_EQ(static_cast<std::int64_t>(chosen.size()) - 1, round.accepted)
            << name << ", anchor at " << anchor;
        rank.Commit(anchor, chosen);
      }
      if (index == 0) {
        std::printf(
            "%s %s: %zu rounds as stored\n", run.what.c_str(), name.c_str(), prompt.trace.size());
      }
      return absl::OkStatus();
    };
    EXPECT_TRUE(engine::collective::RunRankThreads(run.ranks, body).ok());
  }
};

#define LOAD_OR_SKIP(set, name)                          \
  const auto folder = GoldenPath(name);                  \
  if (!folder) {                                         \
    GTEST_SKIP() << "no golden data '" << (name) << "'"; \
  }                                                      \
  const DraftSet set = LoadDraftSet(*folder)

TEST_F(GoldenDraft, EveryPromptOfDsparkA) {
  LOAD_OR_SKIP(set, "dspark-a");
  for (const auto& [name, prompt] : set.prompts) {
    CompareSteps(set, name, {.what = "dspark-a cpu"});
    FollowTrace(set, name, {.what = "dspark-a cpu"});
  }
  CompareSteps(set, "p9", {.what = "dspark-a, 2 ranks", .ranks = 2, .chunk = 5});
  CompareSteps(set, "p9", {.what = "dspark-a, reference", .device = Device::kReference});
}

TEST_F(GoldenDraft, DsparkCOnEveryNumberOfRanks) {
  LOAD_OR_SKIP(set, "dspark-c");
  for (const int ranks : {1, 2, 3, 4}) {
    const RunOptions run{
        .what = "dspark-c, " + std::to_string(ranks) + " ranks", .ranks = ranks, .chunk = 50};
    for (const auto& [name, prompt] : set.prompts) {
      CompareSteps(set, name, run);
    }
    FollowTrace(set, ranks == 1 ? "p190" : "p6", run);
  }
  for (const int ranks : {2, 3}) {
    const RunOptions run{.what = "dspark-c, " + std::to_string(ranks) + " ranks, experts whole",
                         .ranks = ranks,
                         .experts_whole = true};
    CompareSteps(set, "p6", run);
  }
}

TEST_F(GoldenDraft, MtpA) {
  LOAD_OR_SKIP(set, "mtp-a");
  for (const auto& [name, prompt] : set.prompts) {
    CompareSteps(set, name, {.what = "mtp-a", .chunk = 64});
    FollowTrace(set, name, {.what = "mtp-a"});
  }
  CompareSteps(set, "p123", {.what = "mtp-a, 3 ranks", .ranks = 3});
}

}  // namespace
}  // namespace sparkspan::tests
