#pragma once

// The same layers composed from fused launches, as a step of few rows runs them.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/fused/fused.h"
#include "kernels/indexer/select.h"
#include "tests/unit/kernels/families/composed_layer.h"

namespace sparkspan::kernels {

class FusedLayer : public Layer {
 public:
  using Layer::Layer;

  std::vector<std::uint16_t> Run(const std::vector<std::uint16_t>& streams,
                                 const std::vector<std::int64_t>& tokens) const {
    const Site attention(*this, "hc_attn_", "attn_norm.weight");
    const Site feed_forward(*this, "hc_ffn_", "ffn_norm.weight");
    std::vector<float> partial(
        At(rows_ * (kStreams * kHidden / kMixColumnsPerBlock) * kMixPartials));
    EmulateMix(attention.Mix(streams, partial));
    Mixed mixed = Pre(attention, streams, partial);
    std::vector<float> y = Attend(mixed.x);
    std::vector<std::uint16_t> between(streams.size());
    EmulatePostMix({Post(streams, y, mixed, between), feed_forward.Mix(between, partial)});
    mixed = Pre(feed_forward, between, partial);
    y = FeedForward(mixed.x, tokens);
    std::vector<std::uint16_t> out(streams.size());
    EmulatePost(Post(between, y, mixed, out));
    return out;
  }

 private:
  // Where streams are mixed for a sublayer.
  struct Site {
    std::vector<float> fn, base, scale;
    std::vector<std::uint16_t> gain;
    int rows;

    Site(const FusedLayer& layer, const std::string& name, const std::string& norm)
        : fn(layer.Get<float>(name + "fn")),
          base(layer.Get<float>(name + "base")),
          scale(layer.Get<float>(name + "scale")),
          gain(layer.Get<std::uint16_t>(norm)),
          rows(layer.rows_) {}
    MixArguments Mix(const std::vector<std::uint16_t>& streams, std::vector<float>& partial) const {
      return {streams.data(), fn.data(), rows, kHidden, kMixes, partial.data()};
    }
  };
  struct Mixed {
    Activation x;
    std::vector<float> post;
    std::vector<float> comb;
  };

  Mixed Pre(const Site& site,
            const std::vector<std::uint16_t>& streams,
            const std::vector<float>& partial) const {
    Mixed mixed{{rows_, kHidden},
                std::vector<float>(At(rows_ * kStreams)),
                std::vector<float>(At(rows_ * kStreams * kStreams))};
    EmulatePre({streams.data(),
                partial.data(),
                site.base.data(),
                site.scale.data(),
                kMixes,
                20,
                kEpsilon,
                {nullptr,
                 site.gain.data(),
                 kEpsilon,
                 rows_,
                 kHidden,
                 mixed.x.bf16.data(),
                 mixed.x.codes.data(),
                 mixed.x.scales.data()},
                mixed.post.data(),
                mixed.comb.data()});
    return mixed;
  }
  PostArguments Post(const std::vector<std::uint16_t>& streams,
                     const std::vector<float>& y,
                     const Mixed& mixed,
                     std::vector<std::uint16_t>& out) const {
    return {streams.data(),
            y.data(),
            1,
            mixed.post.data(),
            mixed.comb.data(),
            rows_,
            kHidden,
            out.data()};
  }

  // What Latents leaves behind.
  struct Projected {
    Activation qr;
    std::vector<float> index_weights;
    std::vector<std::uint8_t> window, compressed, keys;
  };
  Projected Project(const Activation& x) const {
    const Weight none{WeightFormat::kBf16, 0, kHidden, {}, {}};
    const bool compresses = ratio_ != 0;
    const bool indexes = ratio_ == 4;
    const std::string names[] = {"attn.compressor.", "attn.indexer.compressor."};
    const Weight wq = E4m3("attn.wq_a", kQRank, kHidden);
    const Weight wkv = E4m3("attn.wkv", kHeadDim, kHidden);
    const Weight wc = compresses ? CompressorWeight(names[0]) : none;
    const Weight wi = indexes ? CompressorWeight(names[1]) : none;
    const Weight ww = indexes ? Bf16({"attn.indexer.weights_proj"}, kHidden) : none;
    CompressorInputs entries, keys;
    if (compresses) {
      entries = CompressorOf(names[0], kHeadDim);
    }
    if (indexes) {
      keys = CompressorOf(names[1], kIndexDim);
    }
    const auto q_gain = Get<std::uint16_t>("attn.q_norm.weight");
    const auto kv_gain = Get<std::uint16_t>("attn.kv_norm.weight");
    Projected out{{rows_, kQRank},
                  std::vector<float>(At(rows_ * ww.n)),
                  std::vector<std::uint8_t>(At(rows_ * kEntryBytes)),
                  std::vector<std::uint8_t>(At(rows_ * kEntryBytes)),
                  std::vector<std::uint8_t>(At(64 * kIndexKeyBytes))};
    std::vector<std::uint16_t> q(At(rows_ * kQRank)), kv(At(rows_ * kHeadDim));
    std::vector<float> c(At(rows_ * wc.n)), i(At(rows_ * wi.n));
    std::vector<std::int32_t> slots(At(rows_)), arrivals(4);
    std::iota(slots.begin(), slots.end(), 0);
    LatentsArguments a{};
    a.query = Product(wq, x, true, 1, OutputFormat::kBf16, q.data());
    a.entry = Product(wkv, x, true, 1, OutputFormat::kBf16, kv.data());
    a.compressor = Product(wc, x, false, 1, OutputFormat::kFloat, c.data());
    a.index_compressor = Product(wi, x, false, 1, OutputFormat::kFloat, i.data());
    a.index_weights = Product(ww, x, false, 1, OutputFormat::kFloat, out.index_weights.data());
    a.query_norm = {q.data(),
                    q_gain.data(),
                    kEpsilon,
                    rows_,
                    kQRank,
                    out.qr.bf16.data(),
                    out.qr.codes.data(),
                    out.qr.scales.data()};
    a.entry_write = {kv.data(),
                     kv_gain.data(),
                     rope_.data(),
                     kEpsilon,
                     rows_,
                     {out.window.data(), 0, 1 << 20},
                     slots.data()};
    if (compresses) {
      a.entries = entries.Arguments(c.data(), positions_.data(), out.compressed.data());
      a.ring = {a.entries.rows, rows_};
    }
    if (indexes) {
      a.keys = keys.Arguments(i.data(), positions_.data(), out.keys.data());
      a.key_ring = {a.keys.rows, rows_};
    }
    a.arrivals = arrivals.data();
    EmulateLatents(a);
    return out;
  }

  // The queries, and where the layer indexes, which entries each row will attend to.
  std::vector<std::uint16_t> Queries(Projected& projected,
                                     const EntryLists& lists,
                                     std::vector<std::int32_t>& chosen) const {
    const bool indexes = ratio_ == 4;
    const Weight wq = E4m3("attn.wq_b", heads_ * kHeadDim, kQRank);
    const Weight wi = indexes ? E4m3("attn.indexer.wq_b", kIndexHeads * kIndexDim, kQRank)
                              : Weight{WeightFormat::kE4m3, 0, kQRank, {}, {}};
    std::vector<std::uint16_t> q(At(rows_ * wq.n)), i(At(rows_ * wi.n));
    std::vector<std::uint8_t> codes(At(rows_ * kIndexHeads * kIndexCodeBytes));
    std::vector<std::uint8_t> scales(At(rows_ * kIndexHeads * kIndexScaleBytes));
    std::vector<std::int32_t> arrivals(At(heads_ + kIndexHeads));
    EmulateQueries({Product(wq, projected.qr, true, 1, OutputFormat::kBf16, q.data()),
                    Product(wi, projected.qr, true, 1, OutputFormat::kBf16, i.data()),
                    {q.data(), rope_.data(), kEpsilon, rows_, heads_},
                    {i.data(), rope_.data(), rows_, kIndexHeads, codes.data(), scales.data()},
                    arrivals.data()});
    if (indexes) {
      std::vector<float> scores(At(rows_ * 64));
      EmulateSelect(
          {{codes.data(),
            scales.data(),
            projected.index_weights.data(),
            1 / std::sqrt(static_cast<float>(kIndexDim * kIndexHeads)),
            rows_,
            kIndexHeads,
            {projected.keys.data(), 0, 64},
            lists.table.data(),
            1,
            lists.compressed_count.data(),
            scores.data(),
            64},
           {scores.data(), 64, lists.compressed_count.data(), chosen.data(), rows_, kTopK},
           arrivals.data()});
    }
    return q;
  }

  std::vector<float> Attend(const Activation& x) const {
    Projected projected = Project(x);
    const EntryLists lists = ListsOf(rows_);
    std::vector<std::int32_t> chosen(At(rows_ * kTopK), -1);
    const auto q = Queries(projected, lists, chosen);
    const Activation o = AttendTo(lists, q, projected.window, projected.compressed, chosen);
    Activation z(rows_, kGroups * kORank);
    const Weight wo_a = E4m3("attn.wo_a", kGroups * kORank, heads_ * kHeadDim / kGroups);
    std::vector<std::int32_t> arrivals(At(kGroups * kORank / 128));
    EmulateOutput({Product(wo_a, o, false, kGroups, OutputFormat::kBf16, z.bf16.data()),
                   {z.bf16.data(), rows_, kGroups * kORank, z.codes.data(), z.scales.data()},
                   arrivals.data()});
    return Floats(E4m3("attn.wo_b", kHidden, kGroups * kORank), z, true);
  }

  std::vector<float> FeedForward(const Activation& x,
                                 const std::vector<std::int64_t>& tokens) const {
    const int assignments = rows_ * kChoices;
    std::vector<std::int32_t> ids(At(assignments)), offsets(kExperts + 1), order(At(assignments));
    std::vector<std::int32_t> active(kExperts), active_count(1), arrivals(kHidden / 128);
    std::vector<float> weights(At(assignments)), logits(At(rows_ * kExperts));
    const Weight gate = Bf16({"ffn.gate"}, kHidden);
    const RouterInputs router = RouterOf(tokens);
    EmulateRoute({Product(gate, x, false, 1, OutputFormat::kFloat, logits.data()),
                  router.Arguments(logits, rows_, ids, weights),
                  {ids.data(),
                   rows_,
                   kChoices,
                   0,
                   kExperts,
                   offsets.data(),
                   order.data(),
                   active.data(),
                   active_count.data()},
                  arrivals.data()});
    const Grouping routed{
        offsets.data(), order.data(), active.data(), active_count.data(), kExperts};
    // Every row is the shared expert's.
    std::vector<std::int32_t> shared_offsets = {0, rows_}, shared_order(At(rows_));
    std::iota(shared_order.begin(), shared_order.end(), 0);
    const std::vector<std::int32_t> zero(1, 0), one(1, 1);
    const Grouping everyone{shared_offsets.data(), shared_order.data(), zero.data(), one.data(), 1};

    const ExpertWeights experts = RoutedExperts();
    const ExpertWeights shared = SharedExpert();
    Activation t(assignments, kIntermediate), shared_t(rows_, kIntermediate);
    EmulateExpertsUp({Up(experts, x, routed, weights.data(), kChoices, t),
                      Up(shared, x, everyone, nullptr, 1, shared_t)});
    std::vector<float> y(At(assignments * kHidden)), shared_y(At(rows_ * kHidden));
    std::vector<float> out(At(rows_ * kHidden));
    EmulateExpertsDown({Down(experts, routed, kChoices, t, y),
                        Down(shared, everyone, 1, shared_t, shared_y),
                        {y.data(),
                         ids.data(),
                         0,
                         kExperts,
                         shared_y.data(),
                         true,
                         rows_,
                         kChoices,
                         kHidden,
                         out.data()},
                        arrivals.data()});
    return out;
  }
};

}  // namespace sparkspan::kernels
