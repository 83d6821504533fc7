// The drafter's head and its left-to-right correction, from kernels only, on two ranks' halves of
// the vocabulary: the drafts and confidences that dspark-a stores.

#include "kernels/sampling/draft.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/linear/linear.h"
#include "tests/golden_path.h"
#include "tests/unit/kernels/families/bf16_product.h"
#include "tests/unit/kernels/families/golden_tensors.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

constexpr int kHidden = 256;
constexpr int kVocabulary = 512;
constexpr int kRanks = 2;
constexpr int kPart = kVocabulary / kRanks;
constexpr int kDrafts = 5;
constexpr int kStoredMarkov = 64;
constexpr int kMarkov = 128;  // padded: a product's k is a multiple of 128

// [rows, columns] padded with zeros to `width` columns.
std::vector<std::uint16_t> Padded(const std::vector<std::uint16_t>& matrix, int columns) {
  const int rows = static_cast<int>(matrix.size()) / columns;
  std::vector<std::uint16_t> out(At(rows * kMarkov), 0);
  for (int row = 0; row < rows; ++row) {
    std::copy_n(matrix.begin() + row * columns, columns, out.begin() + row * kMarkov);
  }
  return out;
}

// The last stage's streams to the head's input, before and after its norm.
struct HeadInput {
  std::vector<std::uint16_t> mixed = std::vector<std::uint16_t>(kDrafts * kHidden);
  std::vector<std::uint16_t> normalized = mixed;
};
HeadInput Collapse(const GoldenTensors& tensors, const std::vector<std::uint16_t>& streams) {
  const auto fn = tensors.Get<float>("mtp.2.hc_head_fn");
  const auto base = tensors.Get<float>("mtp.2.hc_head_base");
  const auto scale = tensors.Get<float>("mtp.2.hc_head_scale");
  const auto gain = tensors.Get<std::uint16_t>("mtp.2.norm.weight");
  std::vector<float> partial(At(kDrafts * kStreams * kHidden / kMixColumnsPerBlock * kMixPartials));
  HeadInput head;
  EmulateMix({streams.data(), fn.data(), kDrafts, kHidden, kHeadMixes, partial.data()});
  EmulatePre(
      {streams.data(),
       partial.data(),
       base.data(),
       scale.data(),
       kHeadMixes,
       20,
       1e-6F,
       {nullptr, gain.data(), 1e-6F, kDrafts, kHidden, head.normalized.data(), nullptr, nullptr},
       nullptr,
       nullptr,
       head.mixed.data()});
  return head;
}

TEST(DraftTurn, DraftsWhatTheReferenceDrafts) {
  const auto folder = tests::GoldenPath("dspark-a");
  if (!folder) {
    GTEST_SKIP() << "the golden data of dspark-a is not here";
  }
  GoldenTensors tensors;
  tensors.Load(*folder / "model.safetensors");
  tensors.Load(*folder / "vectors.safetensors");
  const auto stage = tensors.Get<float>("rf/p9/stage_h");  // [step, stage, row, stream, hidden]
  const auto ids = tensors.Get<std::int32_t>("rf/p9/draft_ids");
  const auto confidences = tensors.Get<float>("rf/p9/confidence");
  const auto w1 =
      Padded(tensors.Get<std::uint16_t>("mtp.2.markov_head.markov_w1.weight"), kStoredMarkov);
  const auto w2 =
      Padded(tensors.Get<std::uint16_t>("mtp.2.markov_head.markov_w2.weight"), kStoredMarkov);
  auto proj = tensors.Get<std::uint16_t>("mtp.2.confidence_head.proj.weight");
  proj.resize(kHidden + kMarkov, 0);
  const auto head = tensors.Get<std::uint16_t>("head.weight");
  constexpr int kStageSize = kDrafts * kStreams * kHidden;

  for (const int step : {0, 1}) {
    std::vector<std::uint16_t> streams(kStageSize);
    std::transform(stage.begin() + (step * 3 + 2) * kStageSize,
                   stage.begin() + (step * 3 + 3) * kStageSize,
                   streams.begin(),
                   simt::float_to_bf16);
    std::vector<float> confidence(kDrafts);
    const auto drafts = InFiveOrders<std::int32_t>([&] {
      const HeadInput input = Collapse(tensors, streams);
      std::vector<std::byte> heads[kRanks], biases[kRanks];
      std::vector<float> logits[kRanks];
      for (int rank = 0; rank < kRanks; ++rank) {
        const auto part = [&](const std::vector<std::uint16_t>& whole, int k) {
          return PreparedBf16(
              {whole.begin() + rank * kPart * k, whole.begin() + (rank + 1) * kPart * k}, kPart, k);
        };
        heads[rank] = part(head, kHidden);
        biases[rank] = part(w2, kMarkov);
        logits[rank] = Bf16Product(heads[rank], kPart, kHidden, input.normalized, kDrafts);
      }
      std::vector<std::int32_t> out(kDrafts, -1);
      std::vector<std::uint16_t> e(kMarkov);
      std::vector<Picked> picked(kRanks);
      // On the heap, where a GPU reaches it too.
      const std::vector<std::int32_t> anchor = {ids[At(step * (kDrafts + 1))]};
      const std::vector<PickRow> greedy(1);
      std::vector<Picked> partial(1);
      for (int turn = 0; turn <= kDrafts; ++turn) {
        const bool last = turn == kDrafts;
        EmulateDraftTurn({turn == 0 ? nullptr : picked.data(),
                          anchor.data(),
                          kRanks,
                          1,
                          turn,
                          kDrafts,
                          out.data(),
                          w1.data(),
                          kMarkov,
                          last ? nullptr : e.data(),
                          input.mixed.data(),
                          kHidden,
                          proj.data(),
                          confidence.data()});
        for (int rank = 0; rank < kRanks && !last; ++rank) {
          const auto bias = Bf16Product(biases[rank], kPart, kMarkov, e, 1);
          EmulatePick(
              {{logits[rank].data() + turn * kPart, bias.data(), nullptr, kPart, rank * kPart},
               greedy.data(),
               1,
               partial.data(),
               &picked[At(rank)]});
        }
      }
      return out;
    });
    for (int k = 0; k < kDrafts; ++k) {
      EXPECT_EQ(drafts[At(k)], ids[At(step * (kDrafts + 1) + k + 1)]) << "step " << step;
      EXPECT_NEAR(confidence[At(k)], confidences[At(step * kDrafts + k)], 5e-3) << k;
    }
  }
}

}  // namespace
}  // namespace sparkspan::kernels
