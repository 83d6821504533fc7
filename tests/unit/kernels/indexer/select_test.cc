#include "kernels/indexer/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

// A long row, one that ends within a part, and one that needs no scores.
class Keys {
 public:
  static constexpr int kRows = 3;
  static constexpr int kChosen = 24;
  static constexpr int kPartKeys = 1024;

  Keys() {
    std::mt19937 random(91);
    const auto draw = [&](std::vector<std::uint8_t>& bytes, unsigned least, unsigned count) {
      std::generate(bytes.begin(), bytes.end(), [&] {
        return static_cast<std::uint8_t>(least + random() % count);
      });
    };
    draw(pool_, 0, 256);
    for (int key = 0; key < kPages * kKeysPerPage; ++key) {
      std::fill_n(pool_.begin() + key * kIndexKeyBytes + kIndexCodeBytes,
                  kIndexScaleBytes,
                  static_cast<std::uint8_t>(122 + random() % 6));
    }
    draw(codes_, 0, 256);
    draw(scales_, 124, 4);
  }

  std::vector<float> Scores(int blocks_max) {
    std::vector<float> scores(At(kRows) * kStride, -7);
    EmulateIndexScore(Score(scores, blocks_max));
    return scores;
  }

  std::vector<std::int32_t> Chosen(int blocks_max) {
    std::vector<float> scores(At(kRows) * kStride);
    std::vector<std::int32_t> chosen(At(kRows) * kChosen, 77);
    std::vector<std::int32_t> candidates(At(kRows) * kParts * kChosen);
    std::vector<float> candidate_scores(candidates.size());
    EmulateSelect({Score(scores, blocks_max),
                   {scores.data(),
                    kStride,
                    visible_.data(),
                    chosen.data(),
                    kRows,
                    kChosen,
                    kPartKeys,
                    candidates.data(),
                    candidate_scores.data(),
                    part_arrivals_.data()},
                   block_arrivals_.data()});
    EXPECT_EQ(part_arrivals_, std::vector<std::int32_t>(kRows, 0));
    EXPECT_EQ(block_arrivals_, std::vector<std::int32_t>(kRows * kParts, 0));
    return chosen;
  }

 private:
  static constexpr int kHeads = 4;
  static constexpr int kKeysPerPage = 64;
  static constexpr int kPages = 40;
  static constexpr int kStride = kPages * kKeysPerPage;
  static constexpr int kParts = (kStride + kPartKeys - 1) / kPartKeys;

  IndexScoreArguments Score(std::vector<float>& scores, int blocks_max) const {
    IndexScoreArguments arguments{
        codes_.data(),
        scales_.data(),
        weights_.data(),
        0.03125F,
        kRows,
        kHeads,
        {const_cast<std::uint8_t*>(pool_.data()), kKeysPerPage * kIndexKeyBytes, kKeysPerPage},
        table_.data(),
        kPages,
        visible_.data(),
        scores.data(),
        kStride};
    arguments.blocks_max = blocks_max;
    return arguments;
  }

  std::vector<std::int32_t> visible_ = {2500, 1300, kChosen};
  std::vector<std::uint8_t> pool_ =
      std::vector<std::uint8_t>(At(kPages * kKeysPerPage) * kIndexKeyBytes);
  std::vector<std::int32_t> table_ = [] {
    std::vector<std::int32_t> pages(At(kRows * kPages));
    for (std::size_t i = 0; i < pages.size(); ++i) {
      pages[i] = static_cast<std::int32_t>(i * 7 % kPages);
    }
    return pages;
  }();
  std::vector<std::uint8_t> codes_ =
      std::vector<std::uint8_t>(At(kRows * kHeads) * kIndexCodeBytes);
  std::vector<std::uint8_t> scales_ =
      std::vector<std::uint8_t>(At(kRows * kHeads) * kIndexScaleBytes);
  std::vector<float> weights_ = RandomFloats(At(kRows * kHeads), 92);
  std::vector<std::int32_t> block_arrivals_ = std::vector<std::int32_t>(kRows * kParts, 0);
  std::vector<std::int32_t> part_arrivals_ = std::vector<std::int32_t>(kRows, 0);
};

// A block for each 512 keys, several of them for one block with parts that two blocks share, and
// all of a row for one block: the same scores, and the same choice.
TEST(SelectBlocks, AnyNumberChoosesTheSame) {
  Keys keys;
  emulator::Emulation emulation({.deleted_site = DeletedSite()});
  const std::vector<float> scores = keys.Scores(kIndexBlocksMax);
  const std::vector<std::int32_t> chosen = keys.Chosen(kIndexBlocksMax);
  for (const int blocks_max : {1, 7, 9}) {
    EXPECT_EQ(keys.Scores(blocks_max), scores) << blocks_max << " blocks";
    EXPECT_EQ(keys.Chosen(blocks_max), chosen) << blocks_max << " blocks";
  }
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
  ASSERT_TRUE(std::is_sorted(chosen.begin(), chosen.begin() + Keys::kChosen));
  EXPECT_LT(chosen.front(), chosen[Keys::kChosen - 1]);
  for (int i = 0; i < Keys::kChosen; ++i) {
    EXPECT_EQ(chosen[At(2 * Keys::kChosen + i)], i);  // of the row that needs no scores
  }
}

TEST(SelectBlocks, ComeInAnyOrder) {
  Keys keys;
  InFiveOrders<std::int32_t>([&] { return keys.Chosen(7); });
}

TEST(SelectBlocks, AreAtLeastOne) {
  Keys keys;
  emulator::Emulation emulation;
  if (!kOnGpu) {
    EXPECT_DEATH(keys.Scores(0), "refused");
  }
}

}  // namespace
}  // namespace sparkspan::kernels
