#include "kernels/sampling/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "engine/base/random.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/sampling/sampled_step.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Sample, NumbersPurposesAsTheEngine) {
  EXPECT_EQ(kSamplePurpose, static_cast<std::uint32_t>(engine::RandomPurpose::kSample));
  EXPECT_EQ(kAcceptPurpose, static_cast<std::uint32_t>(engine::RandomPurpose::kAccept));
  EXPECT_EQ(kResidualPurpose, static_cast<std::uint32_t>(engine::RandomPurpose::kResidual));
}

// ---- The header's rules, by sorting, in double precision. ----

struct Kept {
  std::vector<int> tokens;      // the likeliest first
  std::vector<double> weights;  // of those
  double mass = 0;
};

Kept Filtered(const float* scores, int vocabulary, const SampleRow& row) {
  std::vector<int> order;
  for (int token = 0; token < vocabulary; ++token) {
    if (scores[token] != -kInfinity) {
      order.push_back(token);
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
  Kept kept;
  const auto weight = [&](int token) {
    return std::exp((static_cast<double>(scores[token]) - scores[order[0]]) / row.temperature);
  };
  for (const int token : order) {
    if (weight(token) >= row.min_p && (row.top_k == 0 || kept.tokens.size() < At(row.top_k))) {
      kept.tokens.push_back(token);
    }
  }
  double whole = 0;
  for (const int token : kept.tokens) {
    whole += weight(token);
  }
  std::size_t stay = 0;
  for (double before = 0; stay < kept.tokens.size(); ++stay) {
    if (stay > 0 && row.top_p < 1 && before >= static_cast<double>(row.top_p) * whole) {
      break;
    }
    before += weight(kept.tokens[stay]);
    kept.weights.push_back(weight(kept.tokens[stay]));
  }
  kept.tokens.resize(stay);
  kept.mass = std::accumulate(kept.weights.begin(), kept.weights.end(), 0.0);
  return kept;
}

double Noise(const SampleRow& row, std::uint32_t purpose, int token) {
  const float u = engine::UniformFloat(row.seed,
                                       row.position,
                                       static_cast<engine::RandomPurpose>(purpose),
                                       static_cast<std::uint32_t>(token));
  return -std::log(-std::log(u));
}

int ExpectedToken(const float* scores, int vocabulary, const SampleRow& row) {
  if (row.temperature == 0) {
    return static_cast<int>(std::max_element(scores, scores + vocabulary) - scores);
  }
  int best = -1;
  double best_score = 0;
  for (const int token : Filtered(scores, vocabulary, row).tokens) {
    const double score = scores[token] / row.temperature + Noise(row, kSamplePurpose, token);
    if (best < 0 || score > best_score || (score == best_score && token < best)) {
      best = token;
      best_score = score;
    }
  }
  return best;
}

// ---- Filters. ----

struct Case {
  const char* name;
  int vocabulary;
  std::vector<int> cuts;
  float step;  // logits are multiples of it, so that there are ties; 0: no ties
};

// Every filter alone and with the others, at values that cut little, much, and not at all.
std::vector<SampleRow> AllFilters(int vocabulary) {
  struct Filters {
    float min_p;
    float top_p;
    int top_k;
  };
  std::vector<SampleRow> rows;
  for (const Filters& filters : {Filters{0, 1, 0},
                                 {0.05F, 1, 0},
                                 {0, 1, 1},
                                 {0, 1, 17},
                                 {0, 0.7F, 0},
                                 {0, 1e-6F, 0},
                                 {0, 0.99F, vocabulary + 5},
                                 {0, 0.6F, 40},
                                 {0.02F, 0.9F, 11},
                                 {0.2F, 0.75F, 0},
                                 {1, 0.5F, 3}}) {
    const auto n = static_cast<unsigned>(rows.size());
    rows.push_back({0.5F + 0.2F * static_cast<float>(n % 5),
                    filters.min_p,
                    filters.top_p,
                    filters.top_k,
                    -1,
                    -1,
                    0x9E3779B97F4A7C15ULL * (n + 1),
                    (std::uint64_t{1} << 40) + n});
  }
  rows.push_back({0, 0.5F, 0.5F, 2, -1, -1, 1, 1});  // greedy, whatever else it says
  return rows;
}

class SampleFilters : public testing::TestWithParam<Case> {};

TEST_P(SampleFilters, KeepWhatSortingKeeps) {
  const Case& c = GetParam();
  SampledStep step;
  step.vocabulary = c.vocabulary;
  step.cuts = c.cuts;
  step.settings = AllFilters(c.vocabulary);
  const int rows = static_cast<int>(step.settings.size());
  step.logits = RandomFloats(At(rows * c.vocabulary), 7, 3);
  for (std::size_t i = 0; i < step.logits.size(); ++i) {
    if (c.step > 0) {
      step.logits[i] = std::round(step.logits[i] / c.step) * c.step;
    }
    if (i % 5 == 2 && c.vocabulary > 5) {
      step.logits[i] = -kInfinity;
    }
  }
  emulator::Report report;
  const auto tokens = InFiveOrders<std::int32_t>([&] { return step.Tokens(); }, &report);
  ExpectTraffic({"MeasureScores", "CountScores", "DrawTokens", "Accept"}, report, {});
  std::vector<std::int32_t> expected;
  for (int row = 0; row < rows; ++row) {
    expected.push_back(ExpectedToken(
        step.logits.data() + row * c.vocabulary, c.vocabulary, step.settings[At(row)]));
  }
  Comparison({"MeasureScores", "CountScores", "DrawTokens"}, "the filters, by sorting")
      .Equal(tokens, expected);
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         SampleFilters,
                         testing::Values(Case{"one_token", 1, {0}, 0},
                                         Case{"ragged", 333, {0}, 0},
                                         Case{"ties", 500, {0}, 1},
                                         Case{"signed_zeros", 64, {0}, 8},
                                         Case{"two_ranks", 600, {0, 301}, 1}),
                         [](const auto& each) { return each.param.name; });

// Some stretches and ranks, few rows: who holds a tie is what matters.
TEST(Sample, TiesAtTheThresholdStayFromTheLowestTokenOn) {
  constexpr int kTokens = 2 * kLogitsPerBlock + 100;
  SampledStep step;
  step.vocabulary = kTokens;
  step.cuts = {0, 5000, 5002};
  step.logits.assign(At(3 * kTokens), 0.5F);  // all equal
  for (int i = 0; i < kTokens; i += 100) {
    step.logits[At(kTokens + i)] = 4;  // 83 of them above the others
  }
  // By count, by mass, and both.
  step.settings = {{1, 0, 1, 5100, -1, -1, 3, 4},
                   {1, 0, 0.5F, 0, -1, -1, 5, 6},
                   {1, 0, 0.5F, 7000, -1, -1, 7, 8}};
  // Each position draws another token: together they show where the kept ones end.
  std::set<std::int32_t> drawn[3];
  for (int position = 0; position < 6; ++position) {
    for (int row = 0; row < 3; ++row) {
      step.settings[At(row)].position = static_cast<std::uint64_t>(position);
    }
    emulator::Emulation emulation({static_cast<std::uint64_t>(position), DeletedSite()});
    const auto tokens = step.Tokens();
    EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
    for (int row = 0; row < 3; ++row) {
      EXPECT_EQ(tokens[At(row)],
                ExpectedToken(step.logits.data() + row * kTokens, kTokens, step.settings[At(row)]))
          << "row " << row << " at " << position;
      drawn[row].insert(tokens[At(row)]);
    }
  }
  EXPECT_GT(drawn[0].size(), 3U);
}

TEST(Sample, AnswersForTheWholeVocabularyOfTheModel) {
  constexpr int kTokens = 129280;
  SampledStep step;
  step.vocabulary = kTokens;
  step.cuts = {0, kTokens / 2};
  step.logits = RandomFloats(At(2 * kTokens), 11, 2);
  step.settings = {{0.9F, 0, 0.95F, 0, -1, -1, 21, 5}, {1.1F, 1e-3F, 0.9F, 4000, -1, -1, 22, 6}};
  emulator::Emulation emulation({5, DeletedSite()});
  const auto tokens = step.Tokens();
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
  for (int row = 0; row < 2; ++row) {
    EXPECT_EQ(tokens[At(row)],
              ExpectedToken(step.logits.data() + row * kTokens, kTokens, step.settings[At(row)]));
  }
}

TEST(Sample, ARowIsWhatItIsAlone) {
  constexpr int kTokens = 700;
  SampledStep all;
  all.vocabulary = kTokens;
  all.settings = AllFilters(kTokens);
  all.drafters = RandomFloats(3 * kTokens, 13, 2);
  for (int row = 0; row < 3; ++row) {  // the first rows judge drafts, too
    all.settings[At(row)].drafter_row = row;
    all.settings[At(row)].draft = 5 * row;
  }
  const int rows = static_cast<int>(all.settings.size());
  all.logits = RandomFloats(At(rows * kTokens), 12, 2);
  emulator::Emulation emulation;
  const auto together = all.Choices();
  for (int row = 0; row < rows; row += row < 3 ? 1 : 4) {
    SampledStep alone = all;
    alone.logits.assign(all.logits.begin() + row * kTokens,
                        all.logits.begin() + (row + 1) * kTokens);
    alone.settings = {all.settings[At(row)]};
    const RowChoice choice = alone.Choices()[0];
    EXPECT_EQ(std::memcmp(&choice, &together[At(row)], sizeof(choice)), 0) << "row " << row;
  }
}

TEST(Sample, SaysWhatCannotBeChosen) {
  SampledStep step;
  step.vocabulary = 6;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  step.logits = {-kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity,
                 1,          2,          nan,        4,          5,          6,
                 1,          2,          3,          4,          5,          kInfinity,
                 -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity};
  const SampleRow filtered{1, 0.1F, 0.9F, 3, -1, -1, 1, 1};
  const SampleRow plain{1, 0, 1, 0, -1, -1, 1, 1};
  step.settings = {filtered, filtered, plain, plain};
  const auto tokens = InFiveOrders<std::int32_t>([&] { return step.Tokens(); });
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{-1, -2, -2, -1}));
}

// ---- The rejection rule. ----

struct Judged {
  bool stands;
  int token;  // what is drawn where it does not
};

Judged ExpectedVerdict(const float* scores,
                       const float* drafter,
                       int vocabulary,
                       const SampleRow& row) {
  const Kept kept = Filtered(scores, vocabulary, row);
  const double largest = *std::max_element(drafter, drafter + vocabulary);
  std::vector<double> p(At(vocabulary)), q(At(vocabulary));
  double sum = 0;
  for (int token = 0; token < vocabulary; ++token) {
    sum += q[At(token)] = std::exp((drafter[token] - largest) / row.temperature);
  }
  for (double& each : q) {
    each /= sum;
  }
  for (std::size_t i = 0; i < kept.tokens.size(); ++i) {
    p[At(kept.tokens[i])] = kept.weights[i] / kept.mass;
  }
  const double u = engine::UniformFloat(row.seed, row.position, engine::RandomPurpose::kAccept, 0);
  int best = -1;
  double best_score = 0;
  for (int token = 0; token < vocabulary; ++token) {
    const double rest = p[At(token)] - q[At(token)];
    if (rest > 0) {
      const double score = std::log(rest) + Noise(row, kResidualPurpose, token);
      if (best < 0 || score > best_score) {
        best = token;
        best_score = score;
      }
    }
  }
  return {u * q[At(row.draft)] < p[At(row.draft)], best};
}

class SampleRejection : public testing::TestWithParam<Case> {};

TEST_P(SampleRejection, LetsDraftsStandAndDrawsWhatIsLeft) {
  const Case& c = GetParam();
  constexpr int kSequences = 4;
  constexpr int kDrafts = 3;
  constexpr int kRowsEach = kDrafts + 1;
  SampledStep step;
  step.vocabulary = c.vocabulary;
  step.cuts = c.cuts;
  step.logits = RandomFloats(At(kSequences * kRowsEach * c.vocabulary), 17, 2);
  step.drafters = RandomFloats(At(kSequences * kDrafts * c.vocabulary), 18, 0.7F);
  std::vector<std::int32_t> drafts, first_row, counts;
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    first_row.push_back(sequence * kRowsEach);
    counts.push_back(sequence == 1 ? 2 : kDrafts);
    for (int i = 0; i < kRowsEach; ++i) {
      const int row = sequence * kRowsEach + i;
      SampleRow settings{0.6F + 0.1F * static_cast<float>(sequence),
                         sequence % 4 == 1 ? 0.05F : 0.0F,
                         sequence % 4 == 2 ? 0.8F : 1.0F,
                         sequence % 4 == 3 ? 20 : 0,
                         -1,
                         -1,
                         static_cast<std::uint64_t>(sequence) << 33,
                         static_cast<std::uint64_t>(row)};
      if (i < kDrafts) {
        // The drafter nearly knows the target.
        settings.drafter_row = sequence * kDrafts + i;
        for (int token = 0; token < c.vocabulary; ++token) {
          step.drafters[At(settings.drafter_row * c.vocabulary + token)] +=
              step.logits[At(row * c.vocabulary + token)];
        }
        const float* drafter = step.drafters.data() + settings.drafter_row * c.vocabulary;
        settings.draft = ExpectedToken(
            drafter, c.vocabulary, {settings.temperature, 0, 1, 0, -1, -1, 99, settings.position});
        drafts.push_back(settings.draft);
      }
      step.settings.push_back(settings);
    }
  }
  const auto out = InFiveOrders<std::int32_t>([&] {
    auto verdict = step.Verdicts(first_row, counts, drafts, kDrafts);
    verdict.accepted.insert(verdict.accepted.end(), verdict.next.begin(), verdict.next.end());
    return verdict.accepted;
  });
  int stood = 0;
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    int accepted = 0;
    int next = -1;
    for (int i = 0; next < 0; ++i) {
      const int row = sequence * kRowsEach + i;
      const SampleRow& settings = step.settings[At(row)];
      const float* scores = step.logits.data() + row * c.vocabulary;
      if (i == counts[At(sequence)] && settings.drafter_row < 0) {
        next = ExpectedToken(scores, c.vocabulary, settings);
        break;
      }
      const Judged judged =
          ExpectedVerdict(scores,
                          step.drafters.data() + settings.drafter_row * c.vocabulary,
                          c.vocabulary,
                          settings);
      if (!judged.stands) {
        next = judged.token;
      } else if (i == counts[At(sequence)]) {
        break;  // a row beyond the drafts that its sequence has
      } else {
        ++accepted;
      }
    }
    EXPECT_EQ(out[At(sequence)], accepted) << "sequence " << sequence;
    EXPECT_EQ(out[At(kSequences + sequence)], next) << "sequence " << sequence;
    stood += accepted;
  }
  std::printf("%d of %d drafts stand\n", stood, kSequences * kDrafts - 1);
  EXPECT_GT(stood, 0);
  EXPECT_LT(stood, kSequences * kDrafts - 1);
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         SampleRejection,
                         testing::Values(Case{"ragged", 333, {0}, 0},
                                         Case{"two_ranks", 600, {0, 203}, 0}),
                         [](const auto& each) { return each.param.name; });

// Where both agree nothing is left to draw of but the target itself, and every draft stands.
TEST(Sample, ADrafterThatIsTheTargetIsAlwaysRight) {
  constexpr int kTokens = 50;
  SampledStep step;
  step.vocabulary = kTokens;
  for (int row = 0; row < 8; ++row) {
    const auto logits = RandomFloats(kTokens, 30 + static_cast<unsigned>(row), 2);
    step.logits.insert(step.logits.end(), logits.begin(), logits.end());
    step.settings.push_back({1, 0, 1, 0, row, row, 5, static_cast<std::uint64_t>(row)});
  }
  step.drafters = step.logits;
  emulator::Emulation emulation;
  for (const RowChoice& choice : step.Choices()) {
    EXPECT_EQ(choice.verdict, kDraftStands);
    EXPECT_EQ(choice.residual_mass, 0U);
    EXPECT_GE(choice.token.token, 0);
  }
}

}  // namespace
}  // namespace sparkspan::kernels
