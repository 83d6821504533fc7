// The quantised drafter against the faithful reference, fed with the reference's own hidden states:
// random weights make longer chains chaotic (see the golden set's README).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "kernels/reference/quantise.h"
#include "tests/golden/draft_run.h"
#include "tests/golden_path.h"

namespace sparkspan::tests {
namespace {

using engine::Token;
using engine::draft::DraftResult;
using engine::model::Device;
using kernels::numerics::kQuantised;

class QuantisedDraft : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto folder = GoldenPath("dspark-a");
    if (!folder) {
      GTEST_SKIP() << "no golden data 'dspark-a'";
    }
    set_ = LoadDraftSet(*folder);
    loaded_ = engine::weights::LoadRank(*set_.checkpoint, {}, {.draft = true}).value();
  }

  std::unique_ptr<engine::draft::Drafter> Make(Device device) const {
    engine::model::ModelOptions options;
    options.numerics = kQuantised;
    options.device = device;
    return engine::draft::MakeDrafter(
               *loaded_, {engine::draft::DrafterKind::kDspark}, options, nullptr)
        .value();
  }

  // Rows of prompt p9, whose hidden states are stored from the first position on.
  void Commit(engine::draft::Drafter& drafter,
              std::vector<std::byte>& state,
              std::int64_t position,
              std::int64_t rows,
              std::span<const float> taps) const {
    const std::span<const Token> sequence = set_.prompts.at("p9").sequence;
    const engine::draft::CommittedSpan span{
        state,
        position,
        rows,
        0,
        sequence.subspan(static_cast<std::size_t>(position) + 1, static_cast<std::size_t>(rows))};
    ASSERT_TRUE(drafter.Commit({taps, {}}, {&span, 1}).ok());
  }

  DraftSet set_;
  std::shared_ptr<const engine::weights::RankWeights> loaded_;
};

// With the reference's rounding points the context is reproduced bit for bit.
TEST_F(QuantisedDraft, TheContextIsTheReferencesBitForBit) {
  const auto drafter = Make(Device::kReference);
  std::vector<std::byte> state(static_cast<std::size_t>(drafter->state_bytes()));
  Commit(*drafter, state, 0, 8, set_.vectors->Floats("rf/p9/main_hidden_prefill"));
  const std::vector<float> expected = set_.vectors->Floats("rf/p9/ring0_after_prefill");
  const kernels::OpsShape& shape = set_.checkpoint->shape().ops;
  const auto bytes =
      static_cast<std::size_t>(kernels::EntryBytes(kQuantised, shape.head_dim, shape.rope_dim));
  std::vector<float> row(static_cast<std::size_t>(shape.head_dim));
  for (std::size_t slot = 0; slot < 8; ++slot) {
    kernels::reference::DecodeEntry(kQuantised, &state[slot * bytes], shape.rope_dim, row);
    EXPECT_EQ(
        row,
        std::vector<float>(expected.begin() + static_cast<std::ptrdiff_t>(slot * row.size()),
                           expected.begin() + static_cast<std::ptrdiff_t>((slot + 1) * row.size())))
        << "slot " << slot;
  }
}

// The set's own two evaluations of this prompt, which differ in the order of additions, agree in 93
// of 100 drafts.
TEST_F(QuantisedDraft, MostDraftsAreTheReferences) {
  const auto hidden = set_.vectors->Floats("rf/p9/main_hidden");
  const auto expected = (*set_.vectors)["rf/p9/draft_ids"].As<std::int32_t>();
  const std::vector<Token>& sequence = set_.prompts.at("p9").sequence;
  for (const Device device : {Device::kReference, Device::kCpu}) {
    const auto drafter = Make(device);
    std::vector<std::byte> state(static_cast<std::size_t>(drafter->state_bytes()));
    Commit(*drafter, state, 0, 8, set_.vectors->Floats("rf/p9/main_hidden_prefill"));
    const std::size_t width = hidden.size() / 20;
    int equal = 0;
    for (std::size_t step = 0; step < 20; ++step) {
      const auto position = static_cast<std::int64_t>(8 + step);
      Commit(*drafter, state, position, 1, std::span(hidden).subspan(step * width, width));
      engine::draft::DraftRequest request;
      request.state = state;
      request.anchor = sequence[9 + step];
      request.anchor_position = position + 1;
      DraftResult result;
      ASSERT_TRUE(drafter->Draft({&request, 1}, &result).ok());
      for (std::size_t k = 0; k < 5; ++k) {
        equal += result.tokens[k] == expected[step * 6 + 1 + k] ? 1 : 0;
      }
    }
    std::printf("%s: %d of 100 drafts as the reference, at least 85\n",
                device == Device::kCpu ? "cpu" : "reference",
                equal);
    EXPECT_GE(equal, 85);
  }
}

}  // namespace
}  // namespace sparkspan::tests
