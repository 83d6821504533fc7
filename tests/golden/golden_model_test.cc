// The unquantised model against the reference in float64: logits, routing and index choices, hidden
// states, for every prompt, on one rank and on several.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <set>

#include "tests/golden/golden_run.h"

namespace sparkspan::tests {
namespace {

using engine::model::Device;
using engine::model::ForwardTrace;

constexpr double kLogitTolerance = 1e-3;
constexpr double kHiddenTolerance = 1e-4;  // relative rms
constexpr float kTie = 1e-4f;              // choices closer than this may go either way

double MaxError(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double error = 0.0;
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    const double difference = std::fabs(static_cast<double>(actual[i]) - expected[i]);
    error = std::isnan(difference) ? 1e30 : std::max(error, difference);
  }
  return error;
}

double RelativeRms(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double errors = 0.0;
  double squares = 1e-60;
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    const double difference = static_cast<double>(actual[i]) - expected[i];
    errors += difference * difference;
    squares += static_cast<double>(expected[i]) * expected[i];
  }
  return std::sqrt(errors / squares);
}

// Chosen ids of a row as a set, without the padding.
std::multiset<std::int32_t> SetOf(const std::int32_t* ids, std::size_t count) {
  std::multiset<std::int32_t> chosen(ids, ids + count);
  chosen.erase(-1);
  return chosen;
}

class GoldenModel : public ::testing::Test {
 protected:
  // Compares a run with the set's vectors; `what` names it in the report.
  void Compare(const GoldenSet& set,
               const std::string& prompt,
               const RunOutput& output,
               const std::string& what) {
    const std::string prefix = "hp/" + prompt + "/";
    const double prefill =
        MaxError(output.prefill_logits, set.vectors->Floats(prefix + "prefill_logits"));
    const double decode =
        MaxError(output.decode_logits, set.vectors->Floats(prefix + "decode_logits"));
    CompareChoices(set, prompt, output);
    const double hidden = HiddenError(set, prompt, output);
    std::printf(
        "%s %s: logits prefill %.1e, decode %.1e of %.0e; hidden %.1e of %.0e; "
        "%zu choices compared, %zu too close to call\n",
        what.c_str(),
        prompt.c_str(),
        prefill,
        decode,
        kLogitTolerance,
        hidden,
        kHiddenTolerance,
        compared_,
        ties_);
    EXPECT_LE(prefill, kLogitTolerance);
    EXPECT_LE(decode, kLogitTolerance);
    EXPECT_LE(hidden, kHiddenTolerance);
  }

 private:
  void CompareChoices(const GoldenSet& set, const std::string& prompt, const RunOutput& output) {
    compared_ = ties_ = 0;
    const std::string prefix = "hp/" + prompt + "/";
    const auto layers = set.layers();
    const auto chosen = static_cast<std::size_t>(set.shape().experts_per_token);
    const auto topk = static_cast<std::size_t>(set.shape().index_topk);
    const auto router = (*set.vectors)[prefix + "router_idx"].As<std::int32_t>();
    const auto router_gap = set.vectors->Floats(prefix + "router_gap");
    const std::size_t positions = router_gap.size() / layers;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const std::string index_name = prefix + "index_topk.layer" + std::to_string(layer);
      const bool indexed = set.vectors->Has(index_name);
      const auto index =
          indexed ? (*set.vectors)[index_name].As<std::int32_t>() : std::vector<std::int32_t>();
      const auto index_gap =
          indexed ? set.vectors->Floats(prefix + "index_gap.layer" + std::to_string(layer))
                  : std::vector<float>();
      std::size_t position = 0;
      for (std::size_t step = 0; step < output.traces.size(); ++step) {
        const std::size_t rows = output.trace_rows[step];
        for (std::size_t row = 0; row < rows; ++row, ++position) {
          const std::size_t at = layer * positions + position;
          Check(&output.traces[step].router[(layer * rows + row) * chosen],
                &router[at * chosen],
                chosen,
                router_gap[at],
                "router of layer ",
                layer,
                position);
          if (indexed) {
            Check(&output.traces[step].index[(layer * rows + row) * topk],
                  &index[position * topk],
                  topk,
                  index_gap[position],
                  "index of layer ",
                  layer,
                  position);
          }
        }
      }
      EXPECT_EQ(position, positions);
    }
  }

  void Check(const std::int32_t* actual,
             const std::int32_t* expected,
             std::size_t count,
             float gap,
             const char* what,
             std::size_t layer,
             std::size_t position) {
    if (gap < kTie) {
      ++ties_;
      return;
    }
    ++compared_;
    EXPECT_EQ(SetOf(actual, count), SetOf(expected, count))
        << what << layer << ", position " << position;
  }

  // The largest relative rms over layers, of the last prompt positions and the first decode step.
  double HiddenError(const GoldenSet& set, const std::string& prompt, const RunOutput& output) {
    const std::string prefix = "hp/" + prompt + "/";
    const auto layers = set.layers();
    const std::size_t width = set.stream_width();
    const std::vector<float> first_decode = set.vectors->Floats(prefix + "decode0_h");
    const std::vector<float> last = set.vectors->Floats(prefix + "h_last2");
    const std::size_t kept = last.size() / (layers + 1) / width;
    const std::size_t decode_step = output.traces.size() - set.DecodeTokens(prompt).size();
    const std::size_t rows = output.trace_rows[decode_step - 1];
    double error = 0.0;
    for (std::size_t layer = 0; layer <= layers; ++layer) {
      const auto row = [&](std::size_t step, std::size_t index) {
        return std::span<const float>(output.traces[step].hidden)
            .subspan((layer * output.trace_rows[step] + index) * width, width);
      };
      error = std::max(
          error,
          RelativeRms(row(decode_step, 0), std::span(first_decode).subspan(layer * width, width)));
      for (std::size_t i = 0; i < std::min(kept, rows); ++i) {
        const auto expected = std::span(last).subspan((layer * kept + kept - 1 - i) * width, width);
        error = std::max(error, RelativeRms(row(decode_step - 1, rows - 1 - i), expected));
      }
    }
    return error;
  }

  std::size_t compared_ = 0;
  std::size_t ties_ = 0;
};

RunOptions Unquantised(Device device) {
  RunOptions options;
  options.model.numerics = kernels::numerics::kUnquantised;
  options.model.device = device;
  return options;
}

#define LOAD_OR_SKIP(set, name)                          \
  const auto folder = GoldenPath(name);                  \
  if (!folder) {                                         \
    GTEST_SKIP() << "no golden data '" << (name) << "'"; \
  }                                                      \
  const GoldenSet set = LoadGoldenSet(*folder)

TEST_F(GoldenModel, EveryPromptOfModelA) {
  LOAD_OR_SKIP(set, "model-a");
  for (const std::string prompt : {"p1", "p7", "p130", "p300", "p700"}) {
    Compare(set, prompt, RunPrompt(set, prompt, Unquantised(Device::kCpu)), "model-a cpu");
  }
}

TEST_F(GoldenModel, ShortPromptsOnTheReferenceDevice) {
  LOAD_OR_SKIP(set, "model-a");
  for (const std::string prompt : {"p1", "p7"}) {
    Compare(set, prompt, RunPrompt(set, prompt, Unquantised(Device::kReference)), "model-a ref");
  }
}

TEST_F(GoldenModel, EveryPromptOfModelCOnEveryNumberOfRanks) {
  LOAD_OR_SKIP(set, "model-c");
  for (const std::string prompt : {"p6", "p131", "p290"}) {
    for (const int ranks : {1, 2, 3, 4, 8}) {
      for (const bool whole : {false, true}) {
        RunOptions options = Unquantised(Device::kCpu);
        options.ranks = ranks;
        options.experts_whole = whole;
        const RunOutput output = RunPrompt(set, prompt, options);
        Compare(set,
                prompt,
                output,
                "model-c " + std::to_string(ranks) + (whole ? " ranks whole" : " ranks split"));
        for (const auto& digests : output.digests) {
          EXPECT_EQ(digests, output.digests[0]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace sparkspan::tests
