#include "engine/draft/draft_parts.h"

#include <gtest/gtest.h>

#include "kernels/reference/linear.h"
#include "tests/unit/engine/draft/small_drafter.h"

namespace sparkspan::engine::draft {
namespace {

std::vector<float> Row(const kernels::StoredWeight& weight, std::int64_t row) {
  std::vector<float> values(static_cast<std::size_t>(weight.columns));
  kernels::reference::DecodeRow(weight, row, values);
  return values;
}

// Each tensor by its kind: embedding, projections of taps and the first Markov
// factor on every rank, the second with the rows of the head.
TEST(DraftParts, AreDealtToRanks) {
  tests::SmallDrafters small(tests::SmallDsparkShape());
  const DraftParts whole = BindDraft(*small.Load());
  ASSERT_EQ(whole.stages.size(), 2u);
  EXPECT_EQ(whole.markov.w2.rows, 67);
  std::int64_t first = 0;
  for (int rank = 0; rank < 3; ++rank) {
    const DraftParts part = BindDraft(*small.Load({rank, 3}));
    EXPECT_EQ(part.embedding.rows, 67);
    EXPECT_EQ(part.tap_projection.columns, 2 * 256);
    EXPECT_EQ(part.markov.w1.rows, 67);
    EXPECT_EQ(part.markov.confidence.columns, 256 + 32);
    EXPECT_EQ(part.markov.w2.rows, part.head.rows);
    EXPECT_EQ(part.markov.w2.rows, part.vocabulary_shares[static_cast<std::size_t>(rank)]);
    EXPECT_EQ(Row(part.markov.w2, 3), Row(whole.markov.w2, first + 3));
    EXPECT_EQ(Row(part.head, 3), Row(whole.head, first + 3));
    EXPECT_EQ(part.stages[1].attention.sink.size(), static_cast<std::size_t>(part.shape.heads));
    first += part.head.rows;
  }
  EXPECT_EQ(first, 67);
}

}  // namespace
}  // namespace sparkspan::engine::draft
