// Fused launches have the bits of the launches they stand for, in every order of lanes and blocks,
// whichever block comes last.

#include "kernels/fused/fused.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

constexpr float kEpsilon = 1e-6F;
constexpr int kWidth = 256;  // of the layer's input

using Bytes = std::vector<std::uint8_t>;

template <class T>
void Append(Bytes& all, const std::vector<T>& part) {
  const auto bytes = std::as_bytes(std::span(part));
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  all.insert(all.end(), data, data + bytes.size());
}

Bytes RandomCodes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Bytes codes(count);
  // e4m3 between 2^-3 and 2^2.
  std::generate(codes.begin(), codes.end(), [&] {
    return static_cast<std::uint8_t>((random() % 2) << 7 | (4 + random() % 5) << 3 | random() % 8);
  });
  return codes;
}
Bytes RandomScales(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Bytes scales(count);
  std::generate(
      scales.begin(), scales.end(), [&] { return static_cast<std::uint8_t>(121 + random() % 4); });
  return scales;
}

// A prepared weight of random elements: any bytes are some matrix.
struct Weight {
  WeightFormat format;
  int n;
  int k;
  std::vector<std::uint16_t> halves;
  Bytes codes;
  Bytes scales;

  Weight(WeightFormat weight_format, int rows, int columns, unsigned seed, int experts = 1)
      : format(weight_format), n(rows), k(columns) {
    const std::size_t bytes = PreparedBytes(format, n, k) * At(experts);
    if (format == WeightFormat::kBf16) {
      halves = RandomBf16(bytes / 2, seed, 0.1F);
    } else {
      codes = RandomCodes(bytes, seed);
    }
    scales = RandomScales(PreparedScaleBytes(format, n, k) * At(experts), seed + 1);
  }
  const void* data() const {
    return format == WeightFormat::kBf16 ? static_cast<const void*>(halves.data()) : codes.data();
  }
};

// Of weights that are read once; of experts, one expert's.
Required BytesOf(std::initializer_list<const Weight*> weights) {
  Required required;
  for (const Weight* w : weights) {
    required.streamed += PreparedBytes(w->format, w->n, w->k);
    required.scales += PreparedScaleBytes(w->format, w->n, w->k);
  }
  return required;
}

// A layer's input in both forms that products take.
struct Input {
  std::vector<std::uint16_t> halves;
  Bytes codes;
  Bytes scales;

  Input(int rows, int width, unsigned seed)
      : halves(RandomBf16(At(rows * width), seed)),
        codes(RandomCodes(At(rows * width), seed + 1)),
        scales(RandomScales(At(rows * width / 128), seed + 2)) {}
};

LinearArguments Product(
    const Weight& w, const Input& x, bool codes, OutputFormat format, void* out, int rows) {
  return {.weight_format = w.format,
          .activation_format = codes ? ActivationFormat::kE4m3 : ActivationFormat::kBf16,
          .output_format = format,
          .weight = w.data(),
          .weight_scale = w.scales.data(),
          .n = w.n,
          .k = w.k,
          .activation = codes ? static_cast<const void*>(x.codes.data()) : x.halves.data(),
          .activation_scale = codes ? x.scales.data() : nullptr,
          .groups = 1,
          .output = out,
          .rows = rows};
}

std::vector<float> Angles(int rows) {
  std::vector<float> rope(At(rows * kRopeDim));
  for (std::size_t i = 0; i < rope.size(); ++i) {
    const auto angle = static_cast<float>(i / 64 * 3 + i % 32) * 0.7F;
    rope[i] = i % 64 < 32 ? std::cos(angle) : std::sin(angle);
  }
  return rope;
}

// Compares launch(fused) over five orders with launch(separate), and demands zero counters.
template <class Launch>
void ExpectTheSameBits(const std::vector<std::string>& launches,
                       const std::string& separate_launches,
                       const Required& required,
                       const Launch& launch,
                       int counters) {
  Bytes separate;
  {
    emulator::Emulation emulation;
    separate = launch(false, nullptr);
  }
  std::vector<std::int32_t> arrivals(At(counters), 0);
  emulator::Report report;
  const auto fused =
      InFiveOrders<std::uint8_t>([&] { return launch(true, arrivals.data()); }, &report);
  Comparison(launches, separate_launches).Equal(fused, separate);
  ExpectTraffic(launches, report, required);
  EXPECT_EQ(arrivals, std::vector<std::int32_t>(At(counters), 0));
}

// Everything around a compressor of ratio r whose rows are the newest of one sequence.
struct CompressorState {
  int ratio, d, width, slots;
  std::vector<float> ape, rope, ring;
  std::vector<std::uint16_t> gain;
  std::vector<std::int32_t> positions, zeros, boundaries, entry_slots;

  CompressorState(int r, int dimensions, int rows, int first_position)
      : ratio(r),
        d(dimensions),
        width(r == 4 ? 2 * d : d),
        slots((r == 4 ? 8 : 128) + 6),
        ape(RandomFloats(At(ratio * width), 41)),
        ring(RandomFloats(At(slots * 2 * width), 42)),
        gain(RandomBf16(At(d), 43)),
        positions(At(rows)),
        zeros(At(rows), 0) {
    std::iota(positions.begin(), positions.end(), first_position);
    for (int row = 0; row < rows; ++row) {
      if ((first_position + row + 1) % ratio == 0) {
        boundaries.push_back(row);
        entry_slots.push_back(static_cast<int>(entry_slots.size()));
      }
    }
    rope = Angles(static_cast<int>(boundaries.size()));
  }
  CompressorRows Rows(const std::vector<float>& projected, std::vector<float>& own_ring) const {
    return {projected.data(),
            ape.data(),
            positions.data(),
            zeros.data(),
            zeros.data(),
            own_ring.data(),
            0,
            slots,
            ratio,
            width};
  }
  CompressArguments Arguments(const CompressorRows& rows, Bytes& stored) const {
    CompressArguments c{};
    c.rows = rows;
    c.boundary_rows = boundaries.data();
    c.slots = entry_slots.data();
    c.entries = static_cast<int>(boundaries.size());
    c.gain = gain.data();
    c.rope = rope.data();
    c.epsilon = kEpsilon;
    c.pages = {stored.data(), 0, 1 << 20};
    c.index = {stored.data(), 0, 1 << 20};
    return c;
  }
};

struct LatentCase {
  int rows;
  bool compresses;
};

class Latents : public testing::TestWithParam<LatentCase> {};

TEST_P(Latents, AreTheSeparateLaunches) {
  const auto [rows, compresses] = GetParam();
  const Input x(rows, kWidth, 1);
  const Weight wq(WeightFormat::kE4m3, 128, kWidth, 2);
  const Weight wkv(WeightFormat::kE4m3, kHeadDim, kWidth, 3);
  const Weight wc(WeightFormat::kBf16, compresses ? 2 * kHeadDim : 0, kWidth, 4);
  const Weight wi(WeightFormat::kBf16, compresses ? 4 * kIndexDim : 0, kWidth, 5);
  const Weight ww(WeightFormat::kBf16, compresses ? 8 : 0, kWidth, 6);
  const auto gain = RandomBf16(kHeadDim, 7);
  const auto rope = Angles(rows);
  std::vector<std::int32_t> slots(At(rows));
  std::iota(slots.begin(), slots.end(), 0);
  slots.back() = rows > 2 ? -1 : slots.back();
  const int rows_kept = compresses ? rows : 0;
  const CompressorState dense(128, kHeadDim, rows_kept, 124);
  const CompressorState index(4, kIndexDim, rows_kept, 124);
  const auto launch = [&](bool fused, std::int32_t* arrivals) {
    std::vector<std::uint16_t> q(At(rows * wq.n)), normalized(q.size()), kv(At(rows * kHeadDim));
    Bytes codes(q.size()), scales(q.size() / 128), window(At(rows * kEntryBytes));
    std::vector<float> c(At(rows * wc.n)), i(At(rows * wi.n)), weights(At(rows * ww.n));
    std::vector<float> ring = dense.ring, key_ring = index.ring;
    Bytes entries(dense.boundaries.size() * kEntryBytes);
    Bytes keys(index.boundaries.size() * kIndexKeyBytes);
    const CompressorRows rows_of_c = dense.Rows(c, ring);
    const CompressorRows rows_of_i = index.Rows(i, key_ring);
    const LatentsArguments a{Product(wq, x, true, OutputFormat::kBf16, q.data(), rows),
                             Product(wkv, x, true, OutputFormat::kBf16, kv.data(), rows),
                             Product(wc, x, false, OutputFormat::kFloat, c.data(), rows),
                             Product(wi, x, false, OutputFormat::kFloat, i.data(), rows),
                             Product(ww, x, false, OutputFormat::kFloat, weights.data(), rows),
                             {q.data(),
                              gain.data(),
                              kEpsilon,
                              rows,
                              wq.n,
                              normalized.data(),
                              codes.data(),
                              scales.data()},
                             {kv.data(),
                              gain.data(),
                              rope.data(),
                              kEpsilon,
                              rows,
                              {window.data(), 0, 1 << 20},
                              slots.data()},
                             dense.Arguments(rows_of_c, entries),
                             {rows_of_c, rows_kept},
                             index.Arguments(rows_of_i, keys),
                             {rows_of_i, rows_kept},
                             arrivals};
    if (fused) {
      EmulateLatents(a);
    } else {
      EmulateLinear(a.query);
      EmulateLinear(a.entry);
      EmulateRmsNorm(a.query_norm);
      EmulateEntryWrite(a.entry_write);
      if (compresses) {
        EmulateLinear(a.compressor);
        EmulateLinear(a.index_compressor);
        EmulateLinear(a.index_weights);
        EmulateCompressEntries(a.entries);
        EmulateRingWrite(a.ring);
        EmulateCompressKeys(a.keys);
        EmulateRingWrite(a.key_ring);
      }
    }
    Bytes all;
    Append(all, normalized);
    Append(all, codes);
    Append(all, scales);
    Append(all, window);
    Append(all, weights);
    Append(all, entries);
    Append(all, ring);
    Append(all, keys);
    Append(all, key_ring);
    return all;
  };
  ExpectTheSameBits({"Latents"},
                    "Linear, RmsNorm, EntryWrite, CompressEntries, CompressKeys, RingWrite",
                    BytesOf({&wq, &wkv, &wc, &wi, &ww}),
                    launch,
                    4);
}

// Thirteen rows go round the rings: what an entry pools is overwritten in the same launch.
INSTANTIATE_TEST_SUITE_P(Shapes,
                         Latents,
                         testing::Values(LatentCase{1, false},
                                         LatentCase{6, true},
                                         LatentCase{13, true},
                                         LatentCase{17, false}));

class Queries : public testing::TestWithParam<int> {};
class Output : public testing::TestWithParam<int> {};
class Route : public testing::TestWithParam<int> {};
class FusedExperts : public testing::TestWithParam<int> {};

TEST_P(Queries, AreTheSeparateLaunches) {
  const int rows = GetParam();
  const int index_heads = rows > 16 ? 0 : 3;
  constexpr int kHeads = 1;
  const Input x(rows, 128, 11);
  const Weight wq(WeightFormat::kE4m3, kHeads * kHeadDim, 128, 12);
  const Weight wi(WeightFormat::kE4m3, index_heads * kIndexDim, 128, 13);
  const auto rope = Angles(rows);
  const auto launch = [&](bool fused, std::int32_t* arrivals) {
    std::vector<std::uint16_t> q(At(rows * wq.n)), i(At(rows * wi.n));
    Bytes codes(i.size() / 2), scales(i.size() / kIndexGroup);
    const QueriesArguments a{
        Product(wq, x, true, OutputFormat::kBf16, q.data(), rows),
        Product(wi, x, true, OutputFormat::kBf16, i.data(), rows),
        {q.data(), rope.data(), kEpsilon, rows, kHeads},
        {i.data(), rope.data(), rows, index_heads, codes.data(), scales.data()},
        arrivals};
    if (fused) {
      EmulateQueries(a);
    } else {
      EmulateLinear(a.query);
      EmulateQuery(a.prepare);
      if (index_heads > 0) {
        EmulateLinear(a.index_query);
        EmulateIndexQuery(a.index);
      }
    }
    Bytes all;
    Append(all, q);
    Append(all, codes);
    Append(all, scales);
    return all;
  };
  ExpectTheSameBits(
      {"Queries"}, "Linear, Query, IndexQuery", BytesOf({&wq, &wi}), launch, kHeads + index_heads);
}

TEST_P(Output, IsTheSeparateLaunches) {
  const int rows = GetParam();
  constexpr int kGroups = 2;
  const Input x(rows, kGroups * 128, 21);
  const Weight w(WeightFormat::kE4m3, 256, 128, 22);
  const auto launch = [&](bool fused, std::int32_t* arrivals) {
    std::vector<std::uint16_t> z(At(rows * w.n));
    Bytes codes(z.size()), scales(z.size() / 128);
    LinearArguments product = Product(w, x, false, OutputFormat::kBf16, z.data(), rows);
    product.groups = kGroups;
    const OutputArguments a{product, {z.data(), rows, w.n, codes.data(), scales.data()}, arrivals};
    if (fused) {
      EmulateOutput(a);
    } else {
      EmulateLinear(a.product);
      EmulateQuantize(a.quantize);
    }
    Bytes all;
    Append(all, codes);
    Append(all, scales);
    return all;
  };
  ExpectTheSameBits({"Output"}, "Linear, Quantize", BytesOf({&w}), launch, w.n / 128);
}

// Where a launch groups its rows.
struct Grouped {
  std::vector<std::int32_t> offsets, order, active, active_count;

  Grouped(int experts, int assignments)
      : offsets(At(experts + 1)), order(At(assignments)), active(At(experts)), active_count(1) {}
  GroupingArguments Arguments(
      const std::int32_t* ids, int rows, int choices, int first, int experts) {
    return {ids,
            rows,
            choices,
            first,
            experts,
            offsets.data(),
            order.data(),
            active.data(),
            active_count.data()};
  }
  Grouping Get(int experts) const {
    return {offsets.data(), order.data(), active.data(), active_count.data(), experts};
  }
};

TEST_P(Route, IsTheSeparateLaunches) {
  const int rows = GetParam();
  constexpr int kExperts = 40;
  constexpr int kChoices = 6;
  const Input x(rows, 128, 31);
  const Weight w(WeightFormat::kBf16, kExperts, 128, 32);
  const auto bias = RandomFloats(kExperts, 33);
  const auto launch = [&](bool fused, std::int32_t* arrivals) {
    std::vector<float> logits(At(rows * kExperts)), weights(At(rows * kChoices));
    std::vector<std::int32_t> ids(weights.size());
    Grouped grouped(kExperts, rows * kChoices);
    const RouteArguments a{Product(w, x, false, OutputFormat::kFloat, logits.data(), rows),
                           {logits.data(),
                            bias.data(),
                            nullptr,
                            1.5F,
                            rows,
                            kExperts,
                            kChoices,
                            ids.data(),
                            weights.data()},
                           grouped.Arguments(ids.data(), rows, kChoices, 0, kExperts),
                           arrivals};
    if (fused) {
      EmulateRoute(a);
    } else {
      EmulateLinear(a.product);
      EmulateRouter(a.router);
      EmulateGrouping(a.grouping);
    }
    grouped.active.resize(At(grouped.active_count[0]));
    Bytes all;
    Append(all, weights);
    Append(all, grouped.offsets);
    Append(all, grouped.order);
    Append(all, grouped.active);
    return all;
  };
  ExpectTheSameBits({"Route"}, "Linear, Router, Grouping", BytesOf({&w}), launch, 1);
}

TEST_P(FusedExperts, AreTheSeparateLaunches) {
  const int rows = GetParam();
  constexpr int kHidden = 256;
  constexpr int kIntermediate = 128;
  constexpr int kExperts = 3;  // ids 2 to 4 of 0 to 5
  constexpr int kFirst = 2;
  constexpr int kChoices = 2;
  const Input x(rows, kHidden, 51);
  const auto weight = [](int n, int k, unsigned seed) {
    return Weight(WeightFormat::kE2m1, n, k, seed, kExperts);
  };
  const Weight w1 = weight(kIntermediate, kHidden, 52);
  const Weight w3 = weight(kIntermediate, kHidden, 53);
  const Weight w2 = weight(kHidden, kIntermediate, 54);
  const Weight s1(WeightFormat::kE4m3, kIntermediate, kHidden, 55);
  const Weight s3(WeightFormat::kE4m3, kIntermediate, kHidden, 56);
  const Weight s2(WeightFormat::kE4m3, kHidden, kIntermediate, 57);
  const auto route_weights = RandomFloats(At(rows * kChoices), 58);
  std::vector<std::int32_t> ids(At(rows * kChoices));
  std::mt19937 random(59);
  for (std::size_t i = 0; i < ids.size(); i += 2) {
    ids[i] = static_cast<std::int32_t>(random() % 6);
    ids[i + 1] = (ids[i] + 1 + static_cast<std::int32_t>(random() % 5)) % 6;
  }
  // With one row, also a rank whose experts nobody chose and that has no shared one.
  const bool idle = rows == 1;
  if (idle) {
    ids = {0, 5};
  }
  const auto launch = [&](bool fused, std::int32_t* arrivals) {
    Grouped routed(kExperts, rows * kChoices);
    Grouped everyone(1, rows);
    const std::vector<std::int32_t> zeros(At(rows), 0);
    EmulateGrouping(routed.Arguments(ids.data(), rows, kChoices, kFirst, kExperts));
    EmulateGrouping(everyone.Arguments(zeros.data(), rows, 1, 0, 1));
    Bytes t(At(rows * kChoices * kIntermediate)), t_scale(t.size() / 128);
    Bytes s(At(rows * kIntermediate)), s_scale(s.size() / 128);
    std::vector<float> y(At(rows * kChoices * kHidden)), sy(At(rows * kHidden));
    std::vector<float> out(At(rows * kHidden), NAN);
    const auto up = [&](const Weight& a,
                        const Weight& b,
                        const Grouped& grouped,
                        int experts,
                        const float* weights,
                        int choices,
                        Bytes& to,
                        Bytes& to_scale) {
      return GateUpArguments{a.format,
                             a.data(),
                             a.scales.data(),
                             b.data(),
                             b.scales.data(),
                             kHidden,
                             kIntermediate,
                             grouped.Get(experts),
                             x.codes.data(),
                             x.scales.data(),
                             weights,
                             2.5F,
                             rows,
                             choices,
                             to.data(),
                             to_scale.data()};
    };
    const auto down = [&](const Weight& a,
                          const Grouped& grouped,
                          int experts,
                          int choices,
                          const Bytes& from,
                          const Bytes& from_scale,
                          std::vector<float>& to) {
      return DownArguments{a.format,
                           a.data(),
                           a.scales.data(),
                           kHidden,
                           kIntermediate,
                           grouped.Get(experts),
                           from.data(),
                           from_scale.data(),
                           rows,
                           choices,
                           to.data()};
    };
    ExpertsUpArguments a{up(w1, w3, routed, kExperts, route_weights.data(), kChoices, t, t_scale),
                         up(s1, s3, everyone, 1, nullptr, 1, s, s_scale)};
    ExpertsDownArguments b{down(w2, routed, kExperts, kChoices, t, t_scale, y),
                           down(s2, everyone, 1, 1, s, s_scale, sy),
                           {y.data(),
                            ids.data(),
                            kFirst,
                            kExperts,
                            idle ? nullptr : sy.data(),
                            rows == 6,
                            rows,
                            kChoices,
                            kHidden,
                            out.data()},
                           arrivals};
    if (!fused) {
      EmulateGateUp(a.routed);
      EmulateDown(b.routed);
      EmulateGateUp(a.shared_expert);
      EmulateDown(b.shared_expert);
      EmulateCombine(b.combine);
    } else {
      if (idle) {
        a.shared_expert.w1 = nullptr;
        b.shared_expert.w2 = nullptr;
      }
      EmulateExpertsUp(a);
      EmulateExpertsDown(b);
    }
    Bytes all;
    Append(all, out);
    return all;
  };
  Required required;
  for (int expert = kFirst; expert < kFirst + kExperts; ++expert) {
    if (std::find(ids.begin(), ids.end(), expert) != ids.end()) {
      required += BytesOf({&w1, &w3, &w2});
    }
  }
  if (!idle) {
    required += BytesOf({&s1, &s3, &s2});
  }
  ExpectTheSameBits(
      {"ExpertsUp", "ExpertsDown"}, "GateUp, Down, Combine", required, launch, kHidden / 128);
}

INSTANTIATE_TEST_SUITE_P(Rows, Queries, testing::Values(6, 9, 17));
INSTANTIATE_TEST_SUITE_P(Rows, Output, testing::Values(6, 9, 17));
INSTANTIATE_TEST_SUITE_P(Rows, Route, testing::Values(6, 9, 17));
INSTANTIATE_TEST_SUITE_P(Rows, FusedExperts, testing::Values(1, 6, 9, 17));

}  // namespace
}  // namespace sparkspan::kernels
