#include "kernels/sampling/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "kernels/reference/linear.h"
#include "kernels/sampling/draft.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

struct Case {
  const char* name;
  int vocabulary;
  int first_token;
  bool biased;
  bool masked;
  bool tied;
};

class Pick : public testing::TestWithParam<Case> {};

TEST_P(Pick, TakesTheLargestScoreWithTheEnginesNoise) {
  const Case& c = GetParam();
  constexpr int kRows = 3;
  const std::vector<PickRow> settings = {
      {0, 0, 1, 2}, {0.8F, 1, 0x123456789ABCDEFULL, 4000000000000ULL}, {1.3F, 0, 77, 900000}};
  auto logits = RandomFloats(At(kRows * c.vocabulary), 95, 3);
  const auto bias = RandomFloats(At(kRows * c.vocabulary), 96);
  if (c.tied) {
    for (float& logit : logits) {
      logit = std::round(logit);
    }
  }
  const int words = (c.vocabulary + 31) / 32;
  std::vector<std::uint32_t> allowed(At(kRows * words));
  std::mt19937 random(97);
  std::generate(
      allowed.begin(), allowed.end(), [&] { return static_cast<std::uint32_t>(random()); });
  emulator::Report report;
  const auto tokens = InFiveOrders<std::int32_t>(
      [&] {
        std::vector<Picked> partial(At(kRows * PickBlocks(c.vocabulary)));
        std::vector<Picked> picked(kRows);
        EmulatePick({{logits.data(),
                      c.biased ? bias.data() : nullptr,
                      c.masked ? allowed.data() : nullptr,
                      c.vocabulary,
                      c.first_token},
                     settings.data(),
                     kRows,
                     partial.data(),
                     picked.data()});
        std::vector<std::int32_t> out;
        for (const Picked& pick : picked) {
          out.push_back(pick.token);
        }
        return out;
      },
      &report);
  ExpectTraffic({"Pick"}, report, {});
  std::vector<std::int32_t> expected;
  for (int row = 0; row < kRows; ++row) {
    int best = -1;
    float best_score = 0;
    for (int i = 0; i < c.vocabulary; ++i) {
      if (c.masked && (allowed[At(row * words + i / 32)] >> (i % 32) & 1U) == 0) {
        continue;
      }
      float score = logits[At(row * c.vocabulary + i)];
      score += c.biased ? bias[At(row * c.vocabulary + i)] : 0;
      const PickRow& s = settings[At(row)];
      if (s.temperature > 0) {
        const float u = engine::UniformFloat(s.seed,
                                             s.position,
                                             static_cast<engine::RandomPurpose>(s.purpose),
                                             static_cast<std::uint32_t>(c.first_token + i));
        score = score / s.temperature - std::log(-std::log(u));
      }
      if (best < 0 || score > best_score) {
        best = c.first_token + i;
        best_score = score;
      }
    }
    expected.push_back(best);
  }
  Comparison({"Pick"}, "the largest score with UniformFloat's noise").Equal(tokens, expected);
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         Pick,
                         testing::Values(Case{"one_token", 1, 5, false, false, false},
                                         Case{"ragged", 333, 64640, true, false, false},
                                         Case{"ties", 700, 0, false, false, true},
                                         Case{"masked", 4100, 7, true, true, false},
                                         Case{"blocks", 9000, 0, false, false, true}),
                         [](const auto& each) { return each.param.name; });

TEST(Pick, NothingAllowedIsMinusOne) {
  const std::vector<float> logits(40, 1);
  const std::vector<std::uint32_t> allowed(2, 0);
  const std::vector<PickRow> settings(1, PickRow{1, 0, 0, 0});
  std::vector<Picked> partial(1);
  std::vector<Picked> picked(1);
  emulator::Emulation emulation;
  EmulatePick({{logits.data(), nullptr, allowed.data(), 40, 0},
               settings.data(),
               1,
               partial.data(),
               picked.data()});
  EXPECT_EQ(picked[0].token, -1);
}

TEST(Accept, CountsTheDraftsThatTheModelItselfPicks) {
  // Sequences of 3, 0, 5 and 2 drafts, whose rows lie one after the other.
  const std::vector<std::int32_t> target = {11, 12, 99, 14, 50, 1, 2, 3, 4, 5, 6, 70, 71, 72};
  const std::vector<std::int32_t> drafts = {11, 12, 13, -1, -1, -1, -1, -1, -1, -1,
                                            1,  2,  3,  4,  5,  71, 71, -1, -1, -1};
  const std::vector<std::int32_t> first_row = {0, 4, 5, 11};
  const std::vector<std::int32_t> count = {3, 0, 5, 2};
  // Two ranks, of which in turn one and the other has the better token, or both the same score.
  std::vector<Picked> picked(2 * target.size());
  for (std::size_t row = 0; row < target.size(); ++row) {
    const bool first = row % 2 == 0;
    picked[row] = {first ? 2.0F : 1.0F, first ? target[row] : 7};
    picked[target.size() + row] = {2.0F, first ? target[row] + 100 : target[row]};
  }
  emulator::Report report;
  const auto out = InFiveOrders<std::int32_t>(
      [&] {
        std::vector<std::int32_t> result(8);
        EmulateAccept({picked.data(),
                       nullptr,
                       2,
                       static_cast<int>(target.size()),
                       drafts.data(),
                       first_row.data(),
                       count.data(),
                       4,
                       5,
                       result.data(),
                       result.data() + 4});
        return result;
      },
      &report);
  ExpectTraffic({"Accept"}, report, {});
  Comparison({"Accept"}, "counted by hand").Equal(out, {2, 0, 5, 0, 99, 50, 6, 70});
}

TEST(DraftTurn, JoinsThePicksAndPreparesTheNextPosition) {
  constexpr int kSequences = 3;
  constexpr int kRanks = 2;
  constexpr int kDrafts = 4;
  constexpr int kTurn = 2;
  constexpr int kTokens = 9;
  constexpr int kMarkov = 256;
  constexpr int kHidden = 384;
  // The better score, the other rank's, and a tie.
  const std::vector<Picked> picked = {{2, 1}, {1, 2}, {3, 8}, {1, 5}, {4, 6}, {3, 7}};
  const std::vector<std::int32_t> tokens = {1, 6, 7};
  const auto w1 = RandomBf16(kTokens * kMarkov, 71);
  const auto h = RandomBf16(kSequences * kDrafts * kHidden, 72);
  const auto proj = RandomBf16(kHidden + kMarkov, 73);
  std::vector<std::int32_t> drafts;
  std::vector<std::uint16_t> e;
  emulator::Report report;
  const auto confidence = InFiveOrders<float>(
      [&] {
        drafts.assign(kSequences * kDrafts, -1);
        e.assign(kSequences * kMarkov, 0);
        std::vector<float> out(kSequences * kDrafts, 0);
        EmulateDraftTurn({picked.data(),
                          nullptr,
                          kRanks,
                          kSequences,
                          kTurn,
                          kDrafts,
                          drafts.data(),
                          w1.data(),
                          kMarkov,
                          e.data(),
                          h.data(),
                          kHidden,
                          proj.data(),
                          out.data()});
        return out;
      },
      &report);
  ExpectTraffic({"DraftTurn"}, report, {});
  StoredWeight weight;
  weight.rows = 1;
  weight.columns = kHidden + kMarkov;
  weight.data = reinterpret_cast<const std::byte*>(proj.data());
  std::vector<std::int32_t> expected_drafts(drafts.size(), -1);
  std::vector<std::uint16_t> expected_e;
  std::vector<float> expected(confidence.size(), 0);
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    const int token = tokens[At(sequence)];
    expected_drafts[At(sequence * kDrafts + kTurn - 1)] = token;
    const auto row = RowOf(w1, token, kMarkov);
    expected_e.insert(expected_e.end(), row.begin(), row.end());
    std::vector<float> x = Widened(RowOf(h, sequence * kDrafts + kTurn, kHidden));
    const auto markov = Widened(row);
    x.insert(x.end(), markov.begin(), markov.end());
    reference::Linear(weight, x, RowOf(expected, sequence * kDrafts + kTurn, 1));
  }
  const Comparison copies({"DraftTurn"}, "the best pick and its row");
  copies.Equal(drafts, expected_drafts);
  copies.Equal(e, expected_e);
  Comparison({"DraftTurn"}, "Linear").RelativeRms(confidence, expected);
}

}  // namespace
}  // namespace sparkspan::kernels
