// Whole layers of the golden model-a, and draft stages of dspark-a, composed from kernels only (the
// layers from separate launches and from fused ones), each fed the stored input of the reference
// and compared with its stored output.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "tests/golden_path.h"
#include "tests/unit/kernels/families/composed_layer.h"
#include "tests/unit/kernels/families/fused_layer.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

std::vector<std::uint16_t> ToBf16(std::span<const float> values) {
  std::vector<std::uint16_t> out(values.size());
  std::transform(values.begin(), values.end(), out.begin(), simt::float_to_bf16);
  return out;
}

std::vector<std::int32_t> Positions(int first, int count) {
  std::vector<std::int32_t> positions(At(count));
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

// The READMEs' limit of a single layer in rf.
void ExpectLayer(const std::vector<std::uint16_t>& out, std::span<const float> stored) {
  std::vector<float> actual(out.size());
  std::transform(out.begin(), out.end(), actual.begin(), simt::bf16_to_float);
  const std::vector<double> expected(stored.begin(), stored.end());
  ExpectRelativeRms(actual, expected, 1e-2);
}

class ModelA : public testing::TestWithParam<int> {};

TEST_P(ModelA, LayerOutputIsTheStoredOne) {
  constexpr int kRatios[kLayers] = {0, 0, 4, 128, 4, 128, 4};
  constexpr int kHashedLayers = 3;
  constexpr int kRows = 7;
  const auto folder = tests::GoldenPath("model-a");
  if (!folder) {
    GTEST_SKIP() << "the golden data of model-a is not here";
  }
  GoldenTensors tensors;
  tensors.Load(*folder / "model-00001-of-00002.safetensors");
  tensors.Load(*folder / "model-00002-of-00002.safetensors");
  tensors.Load(*folder / "vectors.safetensors");
  std::ifstream file(*folder / "vectors.json");
  const auto vectors = nlohmann::json::parse(file);
  const auto tokens = vectors["prompts"]["p7"]["tokens"].get<std::vector<std::int64_t>>();
  const auto states = tensors.Get<float>("rf/p7/h_all");
  const std::size_t size = At(kRows * kStreams * kHidden);
  const auto state = [&](int layer) { return std::span(states).subspan(At(layer) * size, size); };
  const int index = GetParam();
  emulator::Emulation emulation;
  const FusedLayer layer(tensors,
                         "layers." + std::to_string(index) + ".",
                         kRatios[index],
                         index < kHashedLayers,
                         8,
                         Positions(0, kRows));
  const auto fused = layer.Run(ToBf16(state(index)), tokens);
  ExpectLayer(fused, state(index + 1));
  EXPECT_EQ(layer.Layer::Run(ToBf16(state(index)), tokens), fused)
      << "fused launches have other bits than separate ones";
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
}

INSTANTIATE_TEST_SUITE_P(Layers, ModelA, testing::Range(0, kLayers));

class DsparkA : public testing::TestWithParam<int> {};

TEST_P(DsparkA, StageOutputIsTheStoredOne) {
  constexpr int kPrompt = 9;  // positions 0 to 8 are the trunk's, 9 to 13 the draft's
  constexpr int kBlock = 5;
  constexpr int kHeads = 4;
  const auto folder = tests::GoldenPath("dspark-a");
  if (!folder) {
    GTEST_SKIP() << "the golden data of dspark-a is not here";
  }
  GoldenTensors tensors;
  tensors.Load(*folder / "model.safetensors");
  tensors.Load(*folder / "vectors.safetensors");
  const auto states = tensors.Get<float>("rf/p9/stage_h");  // [step, stage, row, stream, hidden]
  const std::size_t size = At(kBlock * kStreams * kHidden);
  const int stage = GetParam();
  const std::string prefix = "mtp." + std::to_string(stage) + ".";
  emulator::Emulation emulation;

  auto hidden = tensors.Get<float>("rf/p9/main_hidden_prefill");
  const auto newest = tensors.Get<float>("rf/p9/main_hidden");
  hidden.insert(hidden.end(), newest.begin(), newest.begin() + 3 * kHidden);
  const Activation main_input =
      Layer(tensors, "mtp.0.", 0, false, kHeads, Positions(0, kPrompt)).MainInput(ToBf16(hidden));
  Layer layer(tensors, prefix, 0, false, kHeads, Positions(kPrompt, kBlock));
  layer.DraftAfter(
      Layer(tensors, prefix, 0, false, kHeads, Positions(0, kPrompt)).Entries(main_input));

  std::vector<std::uint16_t> streams;
  if (stage > 0) {
    streams = ToBf16(std::span(states).subspan(At(stage - 1) * size, size));
  } else {
    // The anchor and four noise tokens, embedded and copied to the four streams.
    std::ifstream file(*folder / "config.json");
    const auto noise = nlohmann::json::parse(file)["dspark_noise_token_id"].get<int>();
    const int anchor = tensors.Get<std::int32_t>("rf/p9/draft_ids")[0];
    const auto embedding = tensors.Get<std::uint16_t>("embed.weight");
    for (int copy = 0; copy < kBlock * kStreams; ++copy) {
      const auto row = embedding.begin() + (copy < kStreams ? anchor : noise) * kHidden;
      streams.insert(streams.end(), row, row + kHidden);
    }
  }
  ExpectLayer(layer.Run(streams, {}), std::span(states).subspan(At(stage) * size, size));
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
}

INSTANTIATE_TEST_SUITE_P(Stages, DsparkA, testing::Range(0, 3));

}  // namespace
}  // namespace sparkspan::kernels
