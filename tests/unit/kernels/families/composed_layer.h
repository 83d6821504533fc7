#pragma once

// Layers composed from kernels only, for the golden models: what the model's device execution does
// with the same arguments.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/compressor/compressor.h"
#include "kernels/hyper_connection/hyper_connection.h"
#include "kernels/indexer/index_score.h"
#include "kernels/indexer/top_k.h"
#include "kernels/linear/linear.h"
#include "kernels/moe/moe.h"
#include "kernels/router/router.h"
#include "tests/unit/kernels/families/golden_tensors.h"
#include "tests/unit/kernels/families/layer_operands.h"
#include "tests/unit/kernels/simt/closeness.h"

namespace sparkspan::kernels {

// One block of the model for some rows of one sequence, every step of it a kernel.
class Layer {
 public:
  // Ratio 0 sees the window only; hashed layers route by token.
  Layer(const GoldenTensors& tensors,
        std::string prefix,
        int ratio,
        bool hashed,
        int heads,
        std::vector<std::int32_t> positions)
      : tensors_(tensors),
        ratio_(ratio),
        hashed_(hashed),
        heads_(heads),
        rows_(static_cast<int>(positions.size())),
        prefix_(std::move(prefix)),
        positions_(std::move(positions)) {
    for (const int position : positions_) {
      AddRope(rope_, ratio_ != 0, position);
    }
  }

  // Makes this a draft block: all rows see these stored entries and each other.
  void DraftAfter(std::vector<std::uint8_t> entries) {
    drafts_ = true;
    earlier_ = std::move(entries);
  }

  std::vector<std::uint16_t> Run(std::vector<std::uint16_t> streams,
                                 const std::vector<std::int64_t>& tokens) const {
    streams = Sublayer(
        streams, "hc_attn_", "attn_norm.weight", [&](const Activation& x) { return Attend(x); });
    return Sublayer(streams, "hc_ffn_", "ffn_norm.weight", [&](const Activation& x) {
      return FeedForward(x, tokens);
    });
  }

  // The drafter's view of the trunk: main_norm(main_proj(main hidden states)).
  Activation MainInput(std::vector<std::uint16_t> hidden) const {
    const int width = static_cast<int>(hidden.size()) / rows_;
    Activation h(rows_, width);
    h.bf16 = std::move(hidden);
    EmulateQuantize({h.bf16.data(), rows_, width, h.codes.data(), h.scales.data()});
    const auto raw = Halves(E4m3("main_proj", kHidden, width), h, true);
    return Normalized(raw, "main_norm.weight", kHidden);
  }

  // The window entries of x, stored.
  std::vector<std::uint8_t> Entries(const Activation& x) const {
    const auto kv = Halves(E4m3("attn.wkv", kHeadDim, kHidden), x, true);
    const auto gain = Get<std::uint16_t>("attn.kv_norm.weight");
    std::vector<std::uint8_t> stored(At(rows_ * kEntryBytes));
    std::vector<std::int32_t> slots(At(rows_));
    std::iota(slots.begin(), slots.end(), 0);
    EmulateEntryWrite({kv.data(),
                       gain.data(),
                       rope_.data(),
                       kEpsilon,
                       rows_,
                       {stored.data(), 0, 1 << 20},
                       slots.data()});
    return stored;
  }

 protected:
  template <class T>
  std::vector<T> Get(const std::string& name) const {
    return tensors_.Get<T>(prefix_ + name);
  }

  Weight E4m3(const std::string& name, int n, int k) const {
    Weight weight{WeightFormat::kE4m3, n, k, {}, Get<std::uint8_t>(name + ".scale")};
    weight.data.resize(PreparedBytes(weight.format, n, k));
    PrepareE4m3(Get<std::uint8_t>(name + ".weight"), n, k, weight.data);
    return weight;
  }
  // Rows of several bf16 weights one after the other.
  Weight Bf16(const std::vector<std::string>& names, int k) const {
    std::vector<std::uint16_t> rows;
    for (const std::string& name : names) {
      const auto part = Get<std::uint16_t>(name + ".weight");
      rows.insert(rows.end(), part.begin(), part.end());
    }
    const int n = static_cast<int>(rows.size()) / k;
    Weight weight{WeightFormat::kBf16, n, k, {}, {}};
    weight.data.resize(PreparedBytes(weight.format, n, k));
    PrepareBf16(rows, n, k, weight.data);
    return weight;
  }
  void AppendExpert(Weight& all, const std::string& name) const {
    std::vector<std::byte> data(PreparedBytes(all.format, all.n, all.k));
    std::vector<std::byte> scale(PreparedScaleBytes(all.format, all.n, all.k));
    PrepareE2m1(Get<std::uint8_t>(name + ".weight"), all.n, all.k, data);
    PrepareE2m1Scales(Get<std::uint8_t>(name + ".scale"), all.n, all.k, scale);
    all.data.insert(all.data.end(), data.begin(), data.end());
    for (const std::byte byte : scale) {
      all.scale.push_back(static_cast<std::uint8_t>(byte));
    }
  }

  LinearArguments Product(const Weight& weight,
                          const Activation& x,
                          bool codes,
                          int groups,
                          OutputFormat format,
                          void* out) const {
    return {.weight_format = weight.format,
            .activation_format = codes ? ActivationFormat::kE4m3 : ActivationFormat::kBf16,
            .output_format = format,
            .weight = weight.data.data(),
            .weight_scale = weight.scale.data(),
            .n = weight.n,
            .k = weight.k,
            .activation = codes ? static_cast<const void*>(x.codes.data())
                                : static_cast<const void*>(x.bf16.data()),
            .activation_scale = codes ? x.scales.data() : nullptr,
            .groups = groups,
            .output = out,
            .rows = rows_};
  }
  std::vector<float> Floats(const Weight& weight, const Activation& x, bool codes) const {
    std::vector<float> out(At(rows_ * weight.n));
    EmulateLinear(Product(weight, x, codes, 1, OutputFormat::kFloat, out.data()));
    return out;
  }
  std::vector<std::uint16_t> Halves(const Weight& weight,
                                    const Activation& x,
                                    bool codes,
                                    int groups = 1) const {
    std::vector<std::uint16_t> out(At(rows_ * weight.n));
    EmulateLinear(Product(weight, x, codes, groups, OutputFormat::kBf16, out.data()));
    return out;
  }

  Activation Normalized(const std::vector<std::uint16_t>& raw,
                        const std::string& norm,
                        int width) const {
    const auto gain = Get<std::uint16_t>(norm);
    Activation x(rows_, width);
    EmulateRmsNorm({raw.data(),
                    gain.data(),
                    kEpsilon,
                    rows_,
                    width,
                    x.bf16.data(),
                    x.codes.data(),
                    x.scales.data()});
    return x;
  }

  // Mix, norm, the sublayer, and its output mixed back; run returns fp32 [rows, hidden].
  template <class Run>
  std::vector<std::uint16_t> Sublayer(const std::vector<std::uint16_t>& streams,
                                      const std::string& site,
                                      const std::string& norm,
                                      const Run& run) const {
    const auto fn = Get<float>(site + "fn");
    const auto base = Get<float>(site + "base");
    const auto scale = Get<float>(site + "scale");
    const auto gain = Get<std::uint16_t>(norm);
    std::vector<float> partial(
        At(rows_ * (kStreams * kHidden / kMixColumnsPerBlock) * kMixPartials));
    std::vector<float> post(At(rows_ * kStreams));
    std::vector<float> comb(At(rows_ * kStreams * kStreams));
    Activation x(rows_, kHidden);
    EmulateMix({streams.data(), fn.data(), rows_, kHidden, kMixes, partial.data()});
    EmulatePre({streams.data(),
                partial.data(),
                base.data(),
                scale.data(),
                kMixes,
                20,
                kEpsilon,
                {nullptr,
                 gain.data(),
                 kEpsilon,
                 rows_,
                 kHidden,
                 x.bf16.data(),
                 x.codes.data(),
                 x.scales.data()},
                post.data(),
                comb.data()});
    const std::vector<float> y = run(x);
    std::vector<std::uint16_t> out(streams.size());
    EmulatePost(
        {streams.data(), y.data(), 1, post.data(), comb.data(), rows_, kHidden, out.data()});
    return out;
  }

  // Row r sees the window's entries up to its own, and the compressed entries that its token
  // completed; a drafted row sees all that are there.
  struct EntryLists {
    std::vector<std::int32_t> window_slots, window_count, compressed_count, table;
  };
  EntryLists ListsOf(int entries) const {
    const int window_max = drafts_ ? entries : std::min(entries, kWindow);
    EntryLists lists;
    for (int row = 0; row < rows_; ++row) {
      const int first = drafts_ ? 0 : std::max(0, row + 1 - kWindow);
      for (int place = 0; place < window_max; ++place) {
        lists.window_slots.push_back(first + place);
      }
      lists.window_count.push_back(drafts_ ? entries : row + 1 - first);
      lists.compressed_count.push_back(ratio_ == 0 ? 0 : (row + 1) / ratio_);
      lists.table.push_back(0);
    }
    return lists;
  }

  Activation AttendTo(const EntryLists& lists,
                      const std::vector<std::uint16_t>& q,
                      std::vector<std::uint8_t>& window,
                      std::vector<std::uint8_t>& compressed,
                      const std::vector<std::int32_t>& chosen) const {
    const auto sink = Get<float>("attn.attn_sink");
    AttentionArguments a{};
    a.q = q.data();
    a.window = {window.data(), 0, 1 << 20};
    a.window_slots = lists.window_slots.data();
    a.window_count = lists.window_count.data();
    a.window_max = static_cast<int>(lists.window_slots.size()) / rows_;
    a.compressed = {compressed.data(), 0, 1 << 20};
    a.compressed_slots = chosen.data();
    a.page_table = lists.table.data();
    a.pages_max = 1;
    a.compressed_count = lists.compressed_count.data();
    a.compressed_max = kTopK;
    a.sink = sink.data();
    a.rope = rope_.data();
    a.rows = rows_;
    a.heads = heads_;
    std::vector<float> partial(At(rows_ * SplitsOf(a) * heads_ * kHeadDim));
    std::vector<float> stats(At(rows_ * SplitsOf(a) * heads_ * 2));
    Activation o(rows_, heads_ * kHeadDim);
    a.partial = partial.data();
    a.partial_stats = stats.data();
    a.out = o.bf16.data();
    EmulateAttention(a);
    return o;
  }

  std::vector<float> Attend(const Activation& x) const {
    const Activation qr = Normalized(
        Halves(E4m3("attn.wq_a", kQRank, kHidden), x, true), "attn.q_norm.weight", kQRank);
    auto q = Halves(E4m3("attn.wq_b", heads_ * kHeadDim, kQRank), qr, true);
    EmulateQuery({q.data(), rope_.data(), kEpsilon, rows_, heads_});

    std::vector<std::uint8_t> window = earlier_;
    const auto written = Entries(x);
    window.insert(window.end(), written.begin(), written.end());
    const int entries = static_cast<int>(window.size()) / kEntryBytes;

    const EntryLists lists = ListsOf(entries);
    std::vector<std::uint8_t> compressed(At(rows_ * kEntryBytes));
    std::vector<std::int32_t> chosen(At(rows_ * kTopK), -1);
    if (lists.compressed_count.back() > 0) {
      Compress(x, "attn.compressor.", kHeadDim, compressed.data());
    }
    if (ratio_ == 4 && lists.compressed_count.back() > 0) {
      Index(x, qr, lists.compressed_count, lists.table, chosen);
    } else {
      // Every entry that there is, or none.
      for (std::size_t i = 0; i < chosen.size(); ++i) {
        chosen[i] = static_cast<std::int32_t>(i % kTopK);
      }
    }
    const Activation o = AttendTo(lists, q, window, compressed, chosen);

    Activation z(rows_, kGroups * kORank);
    z.bf16 =
        Halves(E4m3("attn.wo_a", kGroups * kORank, heads_ * kHeadDim / kGroups), o, false, kGroups);
    EmulateQuantize({z.bf16.data(), rows_, kGroups * kORank, z.codes.data(), z.scales.data()});
    return Floats(E4m3("attn.wo_b", kHidden, kGroups * kORank), z, true);
  }

  CompressorInputs CompressorOf(const std::string& name, int d) const {
    CompressorInputs inputs;
    inputs.ratio = ratio_;
    inputs.width = ratio_ == 4 ? 2 * d : d;
    inputs.ape = Get<float>(name + "ape");
    inputs.gain = Get<std::uint16_t>(name + "norm.weight");
    inputs.zeros.resize(At(rows_));
    inputs.ring.resize(At(2 * ratio_ * 2 * inputs.width));
    for (int row = ratio_ - 1; row < rows_; row += ratio_) {
      inputs.boundaries.push_back(row);
      inputs.slots.push_back(row / ratio_);
      AddRope(inputs.rope, true, row / ratio_ * ratio_);
    }
    return inputs;
  }
  Weight CompressorWeight(const std::string& name) const {
    return Bf16({name + "wkv", name + "wgate"}, kHidden);
  }

  // The entries that the rows complete, into `stored`.
  void Compress(const Activation& x, const std::string& name, int d, std::uint8_t* stored) const {
    const auto projected = Floats(CompressorWeight(name), x, false);
    CompressorInputs inputs = CompressorOf(name, d);
    const CompressArguments c = inputs.Arguments(projected.data(), positions_.data(), stored);
    if (d == kHeadDim) {
      EmulateCompressEntries(c);
    } else {
      EmulateCompressKeys(c);
    }
  }

  void Index(const Activation& x,
             const Activation& qr,
             const std::vector<std::int32_t>& visible,
             const std::vector<std::int32_t>& table,
             std::vector<std::int32_t>& chosen) const {
    std::vector<std::uint8_t> keys(At(64 * kIndexKeyBytes));
    Compress(x, "attn.indexer.compressor.", kIndexDim, keys.data());
    const auto iq = Halves(E4m3("attn.indexer.wq_b", kIndexHeads * kIndexDim, kQRank), qr, true);
    std::vector<std::uint8_t> codes(At(rows_ * kIndexHeads * kIndexCodeBytes));
    std::vector<std::uint8_t> scales(At(rows_ * kIndexHeads * kIndexScaleBytes));
    EmulateIndexQuery({iq.data(), rope_.data(), rows_, kIndexHeads, codes.data(), scales.data()});
    const auto weights = Floats(Bf16({"attn.indexer.weights_proj"}, kHidden), x, false);
    std::vector<float> scores(At(rows_ * 64));
    EmulateIndexScore({codes.data(),
                       scales.data(),
                       weights.data(),
                       1 / std::sqrt(static_cast<float>(kIndexDim * kIndexHeads)),
                       rows_,
                       kIndexHeads,
                       {keys.data(), 0, 64},
                       table.data(),
                       1,
                       visible.data(),
                       scores.data(),
                       64});
    EmulateTopK({scores.data(), 64, visible.data(), chosen.data(), rows_, kTopK});
  }

  // A router's bias, or the choices of hashed layers.
  struct RouterInputs {
    std::vector<float> bias;
    std::vector<std::int32_t> hashed;

    RouterArguments Arguments(const std::vector<float>& logits,
                              int rows,
                              std::vector<std::int32_t>& ids,
                              std::vector<float>& weights) const {
      return {logits.data(),
              bias.empty() ? nullptr : bias.data(),
              hashed.empty() ? nullptr : hashed.data(),
              kRouteScale,
              rows,
              kExperts,
              kChoices,
              ids.data(),
              weights.data()};
    }
  };
  RouterInputs RouterOf(const std::vector<std::int64_t>& tokens) const {
    if (!hashed_) {
      return {Get<float>("ffn.gate.bias"), {}};
    }
    RouterInputs inputs;
    const auto table = Get<std::int64_t>("ffn.gate.tid2eid");
    for (const std::int64_t token : tokens) {
      for (int choice = 0; choice < kChoices; ++choice) {
        inputs.hashed.push_back(static_cast<std::int32_t>(
            table[static_cast<std::size_t>(token) * kChoices + At(choice)]));
      }
    }
    return inputs;
  }

  struct ExpertWeights {
    Weight w1, w3, w2;
  };
  ExpertWeights RoutedExperts() const {
    ExpertWeights all{{WeightFormat::kE2m1, kIntermediate, kHidden, {}, {}},
                      {WeightFormat::kE2m1, kIntermediate, kHidden, {}, {}},
                      {WeightFormat::kE2m1, kHidden, kIntermediate, {}, {}}};
    for (int expert = 0; expert < kExperts; ++expert) {
      const std::string name = "ffn.experts." + std::to_string(expert);
      AppendExpert(all.w1, name + ".w1");
      AppendExpert(all.w3, name + ".w3");
      AppendExpert(all.w2, name + ".w2");
    }
    return all;
  }
  ExpertWeights SharedExpert() const {
    const std::string name = "ffn.shared_experts.";
    return {E4m3(name + "w1", kIntermediate, kHidden),
            E4m3(name + "w3", kIntermediate, kHidden),
            E4m3(name + "w2", kHidden, kIntermediate)};
  }

  // Gate and up, then down, of routed experts or of the shared one.
  GateUpArguments Up(const ExpertWeights& experts,
                     const Activation& x,
                     const Grouping& grouping,
                     const float* weights,
                     int choices,
                     Activation& t) const {
    return {experts.w1.format,
            experts.w1.data.data(),
            experts.w1.scale.data(),
            experts.w3.data.data(),
            experts.w3.scale.data(),
            kHidden,
            kIntermediate,
            grouping,
            x.codes.data(),
            x.scales.data(),
            weights,
            kLimit,
            rows_,
            choices,
            t.codes.data(),
            t.scales.data()};
  }
  DownArguments Down(const ExpertWeights& experts,
                     const Grouping& grouping,
                     int choices,
                     const Activation& t,
                     std::vector<float>& y) const {
    return {experts.w2.format,
            experts.w2.data.data(),
            experts.w2.scale.data(),
            kHidden,
            kIntermediate,
            grouping,
            t.codes.data(),
            t.scales.data(),
            rows_,
            choices,
            y.data()};
  }

  std::vector<float> FeedForward(const Activation& x,
                                 const std::vector<std::int64_t>& tokens) const {
    const auto logits = Floats(Bf16({"ffn.gate"}, kHidden), x, false);
    std::vector<std::int32_t> ids(At(rows_ * kChoices));
    std::vector<float> weights(At(rows_ * kChoices));
    EmulateRouter(RouterOf(tokens).Arguments(logits, rows_, ids, weights));
    const auto routed = Experts(x, RoutedExperts(), ids, weights.data(), kExperts, kChoices);
    const std::vector<std::int32_t> everyone(rows_, 0);
    const auto shared = Experts(x, SharedExpert(), everyone, nullptr, 1, 1);
    std::vector<float> out(At(rows_ * kHidden));
    EmulateCombine({routed.data(),
                    ids.data(),
                    0,
                    kExperts,
                    shared.data(),
                    true,
                    rows_,
                    kChoices,
                    kHidden,
                    out.data()});
    return out;
  }

  std::vector<float> Experts(const Activation& x,
                             const ExpertWeights& expert,
                             const std::vector<std::int32_t>& ids,
                             const float* weights,
                             int experts,
                             int choices) const {
    const int assignments = rows_ * choices;
    std::vector<std::int32_t> offsets(At(experts + 1)), order(At(assignments)), active(At(experts));
    std::vector<std::int32_t> active_count(1);
    EmulateGrouping({ids.data(),
                     rows_,
                     choices,
                     0,
                     experts,
                     offsets.data(),
                     order.data(),
                     active.data(),
                     active_count.data()});
    const Grouping grouping{
        offsets.data(), order.data(), active.data(), active_count.data(), experts};
    Activation t(assignments, kIntermediate);
    std::vector<float> y(At(assignments * kHidden));
    EmulateGateUp(Up(expert, x, grouping, weights, choices, t));
    EmulateDown(Down(expert, grouping, choices, t, y));
    return y;
  }

  const GoldenTensors& tensors_;
  int ratio_;
  bool hashed_;
  int heads_;
  int rows_;
  std::string prefix_;
  std::vector<std::int32_t> positions_;
  std::vector<float> rope_;
  bool drafts_ = false;
  std::vector<std::uint8_t> earlier_;
};

}  // namespace sparkspan::kernels
