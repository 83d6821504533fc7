// The quantised model against the reference's own roundings, one layer at a time: every layer is
// given the reference's input and its output compared. End to end this profile is chaotic on random
// weights, so that is only reported.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <numeric>

#include "tests/golden/golden_run.h"

namespace sparkspan::tests {
namespace {

using engine::model::Device;

constexpr double kLayerTolerance = 1e-2;
// The reference ran where the reciprocal root of a query head's norm is rounded twice in the last
// (tokens * heads) mod 32 elements of a tensor, an artefact of that machine which costs up to
// 1.3e-2 there: rows that hold such elements are judged by this.
constexpr double kArtefactTolerance = 2e-2;
constexpr std::size_t kArtefactElements = 32;

double RelativeRms(std::span<const float> actual, std::span<const float> expected) {
  double errors = 0.0;
  double squares = 1e-60;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = static_cast<double>(actual[i]) - expected[i];
    errors += difference * difference;
    squares += static_cast<double>(expected[i]) * expected[i];
  }
  return std::sqrt(errors / squares);
}

class QuantisedLayers : public ::testing::TestWithParam<Device> {};

// One prefill in which every layer's input is replaced by the reference's.
engine::model::ForwardTrace RunInjected(const GoldenSet& set,
                                        const std::string& prompt,
                                        std::span<const float> hidden,
                                        Device device) {
  engine::model::ModelOptions options;
  options.device = device;
  const std::vector<engine::Token> tokens = set.Tokens(prompt);
  const auto model = WholeModel(set, options);
  auto pool = *engine::cache::KvPool::Create(model->cache_layout(), 1);
  engine::cache::SequenceState state(model->cache_layout());
  const std::int32_t block = 0;
  const std::size_t layers = model->parts().layers.size();
  const std::size_t size = hidden.size() / (layers + 1);
  std::vector<engine::model::LayerInjection> inject;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    inject.push_back({static_cast<int>(layer), hidden.subspan(layer * size, size)});
  }
  engine::model::ForwardTrace trace;
  engine::model::ForwardOptions forward;
  forward.trace = &trace;
  forward.inject = inject;
  const engine::model::SequenceSpan span{&state, {&block, 1}, 0, tokens};
  engine::model::ForwardResult result;
  EXPECT_TRUE(model->Forward({&span, 1}, *pool, forward, &result).ok());
  return trace;
}

TEST_P(QuantisedLayers, FollowTheReferenceFromItsInputs) {
  const auto folder = GoldenPath("model-a");
  if (!folder) {
    GTEST_SKIP() << "no golden data 'model-a'";
  }
  const GoldenSet set = LoadGoldenSet(*folder);
  const auto heads = static_cast<std::size_t>(set.shape().heads);
  for (const std::string prompt : {"p7", "p130"}) {
    if (prompt == "p130" && GetParam() == Device::kReference) {
      continue;  // Minutes; p7 passes through the same code.
    }
    const std::vector<float> hidden = set.vectors->Floats("rf/" + prompt + "/h_all");
    const engine::model::ForwardTrace trace = RunInjected(set, prompt, hidden, GetParam());
    const std::size_t rows = set.Tokens(prompt).size();
    const std::size_t width = set.stream_width();
    const std::size_t touched = (rows * heads % kArtefactElements + heads - 1) / heads;
    const std::size_t clean = rows - touched;
    const auto layers = set.layers();
    EXPECT_EQ(RelativeRms(std::span(trace.hidden).first(rows * width),
                          std::span(hidden).first(rows * width)),
              0.0);
    for (std::size_t layer = 1; layer <= layers; ++layer) {
      const auto actual = std::span(trace.hidden).subspan(layer * rows * width, rows * width);
      const auto expected = std::span(hidden).subspan(layer * rows * width, rows * width);
      const double error = RelativeRms(actual.first(clean * width), expected.first(clean * width));
      const double touched_error =
          RelativeRms(actual.last(touched * width), expected.last(touched * width));
      std::printf("%s layer %zu: relative rms %.1e of %.0e; last %zu rows %.1e of %.0e\n",
                  prompt.c_str(),
                  layer - 1,
                  error,
                  kLayerTolerance,
                  touched,
                  touched_error,
                  kArtefactTolerance);
      EXPECT_LE(error, kLayerTolerance);
      EXPECT_LE(touched_error, kArtefactTolerance);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices,
                         QuantisedLayers,
                         ::testing::Values(Device::kCpu, Device::kReference),
                         [](const auto& tested) {
                           return tested.param == Device::kCpu ? "Cpu" : "Reference";
                         });

TEST(QuantisedModel, EndToEndIsReported) {
  const auto folder = GoldenPath("model-a");
  if (!folder) {
    GTEST_SKIP() << "no golden data 'model-a'";
  }
  const GoldenSet set = LoadGoldenSet(*folder);
  for (const std::string prompt : {"p1", "p7", "p130", "p300", "p700"}) {
    const RunOutput output = RunPrompt(set, prompt, RunOptions{});
    const double prefill =
        RelativeRms(output.prefill_logits, set.vectors->Floats("rf/" + prompt + "/prefill_logits"));
    const double decode =
        RelativeRms(output.decode_logits, set.vectors->Floats("rf/" + prompt + "/decode_logits"));
    std::printf(
        "%s: relative rms of logits, prefill %.1e, decode %.1e\n", prompt.c_str(), prefill, decode);
    // Far above the noise between two orders of addition (up to 1.2e-1), far below a mistake.
    EXPECT_LE(prefill, 0.3);
    EXPECT_LE(decode, 0.3);
  }
}

}  // namespace
}  // namespace sparkspan::tests
