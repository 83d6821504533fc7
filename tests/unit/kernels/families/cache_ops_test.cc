// The golden vectors of what caches hold and attention makes of it, against kernels. Rope tables
// are made on the host (kernels/reference/rope.h, which its own tests hold against the golden
// tables); compressor4_from3's entries are of a shape that no kernel makes, 128 dimensions
// unrotated, so only its ring is compared.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/compressor/compressor.h"
#include "kernels/indexer/index_score.h"
#include "kernels/indexer/index_vector.cuh"
#include "kernels/indexer/select.h"
#include "kernels/indexer/top_k.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/quantise.h"
#include "kernels/simt/launch.h"
#include "tests/unit/kernels/compressor/compressor_feed.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/golden_ops.h"
#include "tests/unit/kernels/families/layer_operands.h"

namespace sparkspan::kernels {
namespace {

// Of the READMEs: what was rounded once, and what was rounded on the way.
constexpr double kRoundedLimit = 4e-3;

std::vector<float> NoRotation(int rows) {
  std::vector<float> rope;
  for (int row = 0; row < rows; ++row) {
    rope.insert(rope.end(), kRopePairs, 1.0F);
    rope.insert(rope.end(), kRopePairs, 0.0F);
  }
  return rope;
}

std::vector<float> DecodedEntries(const std::vector<std::uint8_t>& stored) {
  std::vector<float> values(stored.size() / kEntryBytes * kHeadDim);
  for (int entry = 0; entry < static_cast<int>(stored.size()) / kEntryBytes; ++entry) {
    reference::DecodeEntry(numerics::kQuantised,
                           std::as_bytes(RowOf(stored, entry, kEntryBytes)).data(),
                           kRopeDim,
                           RowOf(values, entry, kHeadDim));
  }
  return values;
}
std::vector<float> DecodedKeys(const std::vector<std::uint8_t>& stored) {
  std::vector<float> values(stored.size() / kIndexKeyBytes * kIndexDim);
  for (int key = 0; key < static_cast<int>(stored.size()) / kIndexKeyBytes; ++key) {
    reference::DecodeKey(numerics::kQuantised,
                         std::as_bytes(RowOf(stored, key, kIndexKeyBytes)).data(),
                         RowOf(values, key, kIndexDim));
  }
  return values;
}

// Attention over a single entry is the entry, rotated back by the row's angles.
TEST_F(GoldenOps, Rope) {
  const auto x = Get<float>("rope/apply.x");
  const auto positions = Get<std::int32_t>("rope/apply.positions");
  const int rows = static_cast<int>(x.size()) / kRopeDim;
  std::vector<std::uint8_t> entries(At(rows * kEntryBytes));
  for (int row = 0; row < rows; ++row) {
    std::vector<float> entry(kPlainDim, 0);
    const auto values = RowOf(x, row, kRopeDim);
    entry.insert(entry.end(), values.begin(), values.end());
    reference::EncodeEntry(numerics::kQuantised,
                           entry,
                           kRopeDim,
                           std::as_writable_bytes(RowOf(entries, row, kEntryBytes)).data());
  }
  for (const bool inverse : {true, false}) {
    std::vector<float> rope;
    for (int row = 0; row < rows; ++row) {
      AddRope(rope, true, positions[At(row / (rows / static_cast<int>(positions.size())))]);
      if (!inverse) {
        std::transform(
            rope.end() - kRopePairs, rope.end(), rope.end() - kRopePairs, std::negate<>());
      }
    }
    std::vector<std::int32_t> own(At(rows)), none(At(rows), 0), one(At(rows), 1);
    std::iota(own.begin(), own.end(), 0);
    const std::vector<std::uint16_t> q(At(rows * kHeadDim), simt::float_to_bf16(1));
    const std::vector<float> no_sink = {-1e30F};
    std::vector<float> partial(q.size()), stats(At(rows * 2));
    std::vector<std::uint16_t> out(q.size());
    AttentionArguments a{};
    a.q = q.data();
    a.window = {entries.data(), 0, 1 << 20};
    a.window_slots = own.data();
    a.window_count = one.data();
    a.window_max = 1;
    a.compressed = a.window;
    a.compressed_slots = none.data();
    a.page_table = none.data();
    a.compressed_count = none.data();
    a.sink = no_sink.data();
    a.rope = rope.data();
    a.rows = rows;
    a.heads = 1;
    a.partial = partial.data();
    a.partial_stats = stats.data();
    a.out = out.data();
    EmulateAttention(a);
    std::vector<std::uint16_t> rotated;
    for (int row = 0; row < rows; ++row) {
      const auto values = RowOf(out, row, kHeadDim).last(kRopeDim);
      rotated.insert(rotated.end(), values.begin(), values.end());
    }
    ExpectBf16Close(rotated, Doubles(inverse ? "rope/apply.inverse" : "rope/apply.forward"), 1);
  }
}

TEST_F(GoldenOps, HadamardOfIndexQueries) {
  const auto x = Get<std::uint16_t>("hadamard/x");
  const int heads = static_cast<int>(x.size()) / kIndexDim;
  const auto rope = NoRotation(1);
  std::vector<std::uint8_t> codes(At(heads * kIndexCodeBytes)),
      scales(At(heads * kIndexScaleBytes));
  EmulateIndexQuery({x.data(), rope.data(), 1, heads, codes.data(), scales.data()});
  const std::vector<float> y = Widened(Get<std::uint16_t>("hadamard/rf.y"));
  for (int head = 0; head < heads; ++head) {
    std::vector<std::byte> expected(kIndexKeyBytes);
    reference::EncodeKey(numerics::kQuantised, RowOf(y, head, kIndexDim), expected.data());
    std::vector<std::uint8_t> key;
    const auto own_codes = RowOf(codes, head, kIndexCodeBytes);
    const auto own_scales = RowOf(scales, head, kIndexScaleBytes);
    key.insert(key.end(), own_codes.begin(), own_codes.end());
    key.insert(key.end(), own_scales.begin(), own_scales.end());
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(key)), expected)) << "vector " << head;
  }
}

// No launch quantises to e2m1 what it has not rotated, so the vectors meet the function that
// queries and keys share in a kernel of their own.
void quantize_index_vectors(const std::uint16_t* x, std::uint8_t* codes, std::uint8_t* scales) {
  const int vector = simt::block_index();
  const int first = vector * kIndexDim + simt::lane_index() * 4;
  store_index_vector({{simt::bf16_to_float(x[first]),
                       simt::bf16_to_float(x[first + 1]),
                       simt::bf16_to_float(x[first + 2]),
                       simt::bf16_to_float(x[first + 3])}},
                     codes + vector * kIndexCodeBytes,
                     scales + vector * kIndexScaleBytes);
}
TEST_F(GoldenOps, QuantisationOfIndexVectors) {
  const auto x = Get<std::uint16_t>("act_quant_fp4_32/x");
  const int vectors = static_cast<int>(x.size()) / kIndexDim;
  std::vector<std::uint8_t> packed(x.size() / 2), scales(x.size() / kIndexGroup);
  const GridShape grid{.blocks = {vectors, 1, 1}, .threads = 32};
  simt::launch<simt::NoShared>(
      grid, quantize_index_vectors, x.data(), packed.data(), scales.data());
  std::vector<std::uint8_t> codes;
  for (const std::uint8_t pair : packed) {
    codes.push_back(pair & 15U);
    codes.push_back(pair >> 4);
  }
  EXPECT_EQ(codes, Get<std::uint8_t>("act_quant_fp4_32/code"));
  EXPECT_EQ(scales, Get<std::uint8_t>("act_quant_fp4_32/scale"));
}

// Each group stands in an entry whose other dimensions make the norm a power of two, which moves
// scales and no codes.
TEST_F(GoldenOps, QuantisationOfEntries) {
  const auto x = Get<std::uint16_t>("act_quant_64/x");
  const int groups = static_cast<int>(x.size()) / kEntryGroup;
  std::vector<std::uint16_t> latents;
  std::vector<int> shifts;
  for (int group = 0; group < groups; ++group) {
    double squares = 0;
    for (const std::uint16_t value : RowOf(x, group, kEntryGroup)) {
      latents.push_back(value);
      squares += Bf16Value(value) * Bf16Value(value);
    }
    shifts.push_back(0);
    while (std::ldexp(kHeadDim, 2 * shifts.back()) < squares * 2) {
      ++shifts.back();
    }
    double missing = std::ldexp(kHeadDim, 2 * shifts.back()) - squares;
    for (int others = kHeadDim - kEntryGroup; others > 0; --others) {
      latents.push_back(simt::float_to_bf16(static_cast<float>(std::sqrt(missing / others))));
      missing -= std::pow(Bf16Value(latents.back()), 2);
    }
  }
  const std::vector<std::uint16_t> gain(kHeadDim, simt::float_to_bf16(1));
  const auto rope = NoRotation(groups);
  std::vector<std::int32_t> slots(At(groups));
  std::iota(slots.begin(), slots.end(), 0);
  std::vector<std::uint8_t> stored(At(groups * kEntryBytes));
  EmulateEntryWrite({latents.data(),
                     gain.data(),
                     rope.data(),
                     1e-6F,
                     groups,
                     {stored.data(), 0, 1 << 20},
                     slots.data()});
  const auto codes = Get<std::uint8_t>("act_quant_64/code");
  const auto scales = Get<std::uint8_t>("act_quant_64/scale");
  for (int group = 0; group < groups; ++group) {
    const auto entry = RowOf(stored, group, kEntryBytes);
    EXPECT_TRUE(std::ranges::equal(entry.first(kEntryGroup), RowOf(codes, group, kEntryGroup)))
        << "group " << group;
    EXPECT_EQ(entry[kEntryScales], scales[At(group)] - shifts[At(group)]) << "group " << group;
  }
}

class GoldenCompressors : public GoldenOps {
 protected:
  static constexpr int kInputs = 128;

  // The projections of a case's tokens, with the weights of `weights`.
  Sequence Project(const std::string& name, const std::string& weights, int ratio, int d) const {
    Sequence s{ratio, d, ratio == 4 ? 2 * d : d, (ratio == 4 ? 8 : 128) + 6, {}, {}, {}};
    auto stacked = Get<std::uint16_t>(weights + "wkv" + suffix_);
    const auto gate = Get<std::uint16_t>(weights + "wgate" + suffix_);
    stacked.insert(stacked.end(), gate.begin(), gate.end());
    s.projected = Product(stacked, kInputs, Get<std::uint16_t>(name + "/x"));
    s.ape = Get<float>(weights + "ape");
    s.gain = Get<std::uint16_t>(weights + "norm" + suffix_);
    return s;
  }
  static EntryAngles AnglesOf(int ratio) {
    return [ratio](int first, int count) {
      std::vector<float> rope;
      for (int entry = first; entry < first + count; ++entry) {
        AddRope(rope, true, entry * ratio);
      }
      return rope;
    };
  }
  // A prompt at once, then token by token.
  static std::vector<int> Chunks(int prompt, int tokens) {
    std::vector<int> chunks(At(tokens - prompt), 1);
    chunks.insert(chunks.begin(), prompt);
    return chunks;
  }

  std::string suffix_;
};

TEST_F(GoldenCompressors, CompressedEntriesAndKeys) {
  struct Case {
    std::string name, weights;
    int ratio, d, prompt;
  };
  for (const Case& c : {Case{"compressor4", "compressor4/", 4, kHeadDim, 10},
                        {"compressor4_indexer", "compressor4_indexer/", 4, kIndexDim, 9},
                        {"compressor4_from1", "compressor4_from1/", 4, kIndexDim, 1},
                        {"compressor128", "compressor128/", 128, kHeadDim, 130},
                        {"compressor128_from5", "compressor128/", 128, kHeadDim, 5}}) {
    const Sequence s = Project(c.name, c.weights, c.ratio, c.d);
    const int tokens = static_cast<int>(s.projected.size()) / (2 * s.width);
    const auto stored =
        Feed(s, Chunks(c.prompt, tokens), tokens / c.ratio, AnglesOf(c.ratio)).stored;
    std::printf("%s: ", c.name.c_str());
    ExpectRelativeRms(c.d == kIndexDim ? DecodedKeys(stored) : DecodedEntries(stored),
                      Doubles(c.name + "/rf.compressed"),
                      kRoundedLimit);
  }
}

// The rows of the block that the tokens left unfinished (4 to 7) and of the one before it (0 to 3).
// The vectors' names say after the prefill; what is stored is the state after all tokens.
TEST_F(GoldenCompressors, Rings) {
  for (const std::string name : {"compressor4_indexer", "compressor4_from3", "compressor4_from1"}) {
    const Sequence s = Project(name, name + "/", 4, kIndexDim);
    const int tokens = static_cast<int>(s.projected.size()) / (2 * s.width);
    const Fed fed = Feed(s, {tokens}, tokens / 4, AnglesOf(4));
    const auto values = Get<float>(name + "/rf.kv_state_after_prefill");
    const auto gates = Get<float>(name + "/rf.score_state_after_prefill");
    const int unfinished = tokens / 4 * 4;
    std::vector<float> ring;
    std::vector<double> expected;
    for (int token = unfinished - 4; token < tokens; ++token) {
      const auto slot = RowOf(fed.ring, token % s.slots, 2 * s.width);
      ring.insert(ring.end(), slot.begin(), slot.end());
      const int row = token < unfinished ? token % 4 : 4 + token % 4;
      for (const auto& state : {RowOf(values, row, s.width), RowOf(gates, row, s.width)}) {
        expected.insert(expected.end(), state.begin(), state.end());
      }
    }
    ExpectRelativeRms(ring, expected, kOnGpu ? 1e-3 : 1e-5);
  }
}

class GoldenIndexer : public GoldenCompressors {};

// In any order, row by row.
void ExpectTheSameSets(std::vector<std::int32_t> actual,
                       std::vector<std::int32_t> expected,
                       int width) {
  ASSERT_EQ(actual.size(), expected.size());
  for (int row = 0; row < static_cast<int>(actual.size()) / width; ++row) {
    std::ranges::sort(RowOf(actual, row, width));
    std::ranges::sort(RowOf(expected, row, width));
    EXPECT_TRUE(std::ranges::equal(RowOf(actual, row, width), RowOf(expected, row, width)))
        << "row " << row;
  }
}

// From the projected query to the choice, of up to fifteen keys the best eight.
TEST_F(GoldenIndexer, ScoresAndChoices) {
  constexpr int kHeads = 4;
  constexpr int kChosen = 8;
  constexpr int kStride = 16;
  suffix_ = ".weight";
  const Sequence s = Project("indexer", "indexer/compressor.", 4, kIndexDim);
  const auto qr = Get<std::uint16_t>("indexer/qr");
  const int rows = static_cast<int>(qr.size()) / kInputs;
  auto keys = Feed(s, Chunks(54, rows), rows / 4, AnglesOf(4)).stored;
  ExpectRelativeRms(DecodedKeys(keys), Doubles("indexer/rf.k_cache"), kRoundedLimit);
  keys.resize(kStride * kIndexKeyBytes);

  const auto products = Product(WeightFormat::kE4m3,
                                "indexer/wq_b.weight",
                                "indexer/wq_b.scale",
                                kHeads * kIndexDim,
                                kInputs,
                                qr);
  std::vector<std::uint16_t> q(products.size());
  std::transform(products.begin(), products.end(), q.begin(), simt::float_to_bf16);
  std::vector<float> rope;
  std::vector<std::int32_t> visible, table(At(rows), 0);
  for (int row = 0; row < rows; ++row) {
    AddRope(rope, true, row);
    visible.push_back((row + 1) / 4);
  }
  std::vector<std::uint8_t> codes(q.size() / 2), scales(q.size() / kIndexGroup);
  EmulateIndexQuery({q.data(), rope.data(), rows, kHeads, codes.data(), scales.data()});
  const auto weights = Product(
      Get<std::uint16_t>("indexer/weights_proj.weight"), kInputs, Get<std::uint16_t>("indexer/x"));
  std::vector<float> scores(At(rows * kStride), 0);
  const IndexScoreArguments score{codes.data(),
                                  scales.data(),
                                  weights.data(),
                                  1 / std::sqrt(static_cast<float>(kIndexDim * kHeads)),
                                  rows,
                                  kHeads,
                                  {keys.data(), 0, kStride},
                                  table.data(),
                                  1,
                                  visible.data(),
                                  scores.data(),
                                  kStride};
  EmulateIndexScore(score);
  const auto stored_scores = Get<float>("indexer/rf.scores");
  std::vector<float> actual;
  std::vector<double> expected;
  for (int row = 0; row < rows; ++row) {
    const auto own = RowOf(scores, row, kStride).first(At(visible[At(row)]));
    actual.insert(actual.end(), own.begin(), own.end());
    const auto of_row = RowOf(stored_scores, row, rows / 4).first(own.size());
    expected.insert(expected.end(), of_row.begin(), of_row.end());
  }
  ExpectRelativeRms(actual, expected, kRoundedLimit);

  auto stored_choices = Get<std::int32_t>("indexer/rf.topk");
  std::vector<std::int32_t> chosen(At(rows * kChosen)), selected(chosen.size());
  EmulateTopK({scores.data(), kStride, visible.data(), chosen.data(), rows, kChosen});
  std::vector<std::int32_t> arrivals(At(rows), 0);
  EmulateSelect({score,
                 {scores.data(), kStride, visible.data(), selected.data(), rows, kChosen},
                 arrivals.data()});
  EXPECT_EQ(selected, chosen);
  ExpectTheSameSets(chosen, std::move(stored_choices), kChosen);
  EXPECT_GT(visible.back(), kChosen) << "no row has more keys than it may choose";
}

// The stored entries are unquantised, those of the kernel are not: it must come as near as the
// reference does with the same entries.
TEST_F(GoldenOps, SinkAttention) {
  constexpr int kRows = 5;
  constexpr int kHeads = 4;
  const std::vector<float> kv = Widened(Get<std::uint16_t>("attn/kv"));
  const int count = static_cast<int>(kv.size()) / kHeadDim;
  std::vector<std::uint8_t> stored(At(count * kEntryBytes));
  for (int entry = 0; entry < count; ++entry) {
    reference::EncodeEntry(numerics::kQuantised,
                           RowOf(kv, entry, kHeadDim),
                           kRopeDim,
                           std::as_writable_bytes(RowOf(stored, entry, kEntryBytes)).data());
  }
  const auto index = Get<std::int32_t>("attn/idx");
  const int places_max = static_cast<int>(index.size()) / kRows;
  const auto q = Get<std::uint16_t>("attn/q");
  const auto sink = Get<float>("attn/sink");
  const auto rope = NoRotation(kRows);
  const std::vector<std::int32_t> none(kRows, 0);
  std::vector<std::int32_t> slots(index.size(), 0), counts;
  const std::vector<float> entries = DecodedEntries(stored);
  std::vector<float> expected(q.size());
  for (int row = 0; row < kRows; ++row) {
    std::vector<float> of_row;
    std::vector<std::int32_t> places;
    for (int place = 0; place < places_max; ++place) {
      if (const int entry = index[At(row * places_max + place)]; entry >= 0) {
        slots[At(row * places_max) + places.size()] = entry;
        places.push_back(place);
        const auto values = RowOf(entries, entry, kHeadDim);
        of_row.insert(of_row.end(), values.begin(), values.end());
      }
    }
    counts.push_back(static_cast<std::int32_t>(places.size()));
    for (int head = 0; head < kHeads; ++head) {
      reference::Attend(Widened(RowOf(q, row * kHeads + head, kHeadDim)),
                        of_row,
                        places,
                        sink[At(head)],
                        1 / std::sqrt(static_cast<float>(kHeadDim)),
                        true,
                        RowOf(expected, row * kHeads + head, kHeadDim));
    }
  }
  AttentionArguments a{};
  a.q = q.data();
  a.window = {stored.data(), 0, 1 << 20};
  a.window_slots = slots.data();
  a.window_count = counts.data();
  a.window_max = places_max;
  a.compressed = a.window;
  a.compressed_slots = none.data();
  a.page_table = none.data();
  a.compressed_count = none.data();
  a.sink = sink.data();
  a.rope = rope.data();
  a.rows = kRows;
  a.heads = kHeads;
  std::vector<float> partial(At(kRows * SplitsOf(a) * kHeads * kHeadDim));
  std::vector<float> stats(At(kRows * SplitsOf(a) * kHeads * 2));
  std::vector<std::uint16_t> out(q.size());
  a.partial = partial.data();
  a.partial_stats = stats.data();
  a.out = out.data();
  EmulateAttention(a);
  const std::vector<float> actual = Widened(out);
  ExpectRelativeRms(actual, std::vector<double>(expected.begin(), expected.end()), kRoundedLimit);
  Comparison({"Attention"}, "the golden attn")
      .AsNearAsTheReference(actual, expected, Get<float>("attn/rf.out"));
}

}  // namespace
}  // namespace sparkspan::kernels
