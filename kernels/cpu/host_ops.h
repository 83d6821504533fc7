#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/arithmetic.h"
#include "kernels/numerics/profile.h"
#include "kernels/ops.h"
#include "kernels/reference/rope.h"
#include "kernels/task_team.h"

namespace sparkspan::kernels::cpu {

// The phases on a host, composed of an Arithmetic. Activations are fp32 in memory; where the
// profile's are bf16 they are rounded to it, where the published reference rounds, and where it
// quantises an input they are replaced by what the quantisation decodes to.
class HostOps final : public Ops {
 public:
  // `team` is borrowed. `layout` must be MakeCacheLayout's for the same profile.
  HostOps(const OpsShape& shape,
          const CacheLayout& layout,
          const numerics::NumericsProfile& profile,
          std::unique_ptr<Arithmetic> arithmetic,
          TaskTeam* team);

  // Bytes of the buffers for a step of `rows` rows, with experts of this width on this rank.
  static std::int64_t BufferBytes(const OpsShape& shape,
                                  const CacheLayout& layout,
                                  std::int64_t rows,
                                  std::int64_t expert_width);

  void BeginStep(const StepRows& step) override;
  void Embed(const StoredWeight& embedding, std::int64_t first_token) override;
  void OpenStreams() override;
  void MixStreams(const HyperConnectionWeights& site, std::span<const float> norm) override;
  void ProjectLatents(int layer, const AttentionWeights& weights) override;
  void Compress(int layer, const AttentionWeights& weights) override;
  void ProjectQueries(int layer, const AttentionWeights& weights) override;
  void SelectEntries(int layer, const AttentionWeights& weights) override;
  void Attend(int layer, const AttentionWeights& weights) override;
  void ProjectOutput(const AttentionWeights& weights) override;
  void ReturnToStreams() override;
  void Route(const MoeWeights& weights) override;
  void RunExperts(const MoeWeights& weights) override;
  void Head(const HyperConnectionWeights& collapse,
            std::span<const float> norm,
            const StoredWeight& head,
            std::span<const int> rows,
            std::span<float> logits,
            std::span<float> collapsed) override;
  void ProjectTaps(const StoredWeight& projection,
                   std::span<const float> norm,
                   std::span<const float> taps) override;
  void KeepLatents(int layer, const AttentionWeights& weights) override;
  void JoinTokens(const TokenJoinWeights& weights) override;
  void CorrectLogits(const MarkovWeights& weights,
                     std::span<const std::int32_t> previous,
                     std::span<const float> collapsed,
                     std::span<float> logits,
                     std::span<float> confidence) override;
  std::span<float> exchange() override { return exchange_; }
  void ReadStreams(std::span<float> streams) override;
  void WriteStreams(std::span<const float> streams) override;
  void ReadStreamMean(std::span<float> mean) override;
  std::span<const std::int32_t> choices() override { return choices_; }
  std::span<const std::int32_t> routed_experts() override { return experts_; }

 private:
  // One compressor of a layer: where its rows of this step, its ring and its results are.
  struct CompressorSite {
    const CompressorWeights* weights;
    const CompressorRing* ring;
    std::vector<float>* step_rows;  // [rows, 2, width]
    bool index = false;
  };

  // One routed row of an expert.
  struct RoutedPair {
    std::int32_t expert;
    std::int32_t row;
    std::int32_t slot;
  };

  std::size_t rows() const { return step_->rows.size(); }
  std::span<float> RowOf(std::vector<float>& buffer, std::size_t row, std::size_t width) const {
    return std::span<float>(buffer).subspan(row * width, width);
  }
  // body(row) for every row of the step, shared among the team.
  void ForRows(std::size_t count, const std::function<void(std::size_t)>& body) const;

  void RoundAll(std::span<float> values) const;
  // [rows, width]: the input of a scaled weight, as the profile quantises it; in `scratch`, or x.
  const float* LinearInput(std::span<const float> x,
                           std::size_t width,
                           std::vector<float>& scratch) const;
  // mixes[row, coefficients] of the rows' streams; `streams` is [count, m * hidden].
  void ProjectMixes(const StoredWeight& fn, const float* streams, std::size_t count);
  std::span<const float> RopeTable(int layer, std::size_t row) const;
  // The row's window entry, of its product with wkv in projected_.
  void EncodeLatent(int layer, const AttentionWeights& weights, std::size_t row);

  void CompressSpan(int layer, const CompressorSite& site, const StepSpan& span);
  void FinishCompressed(int layer,
                        const CompressorSite& site,
                        const StepSpan& span,
                        std::int64_t entry,
                        std::span<float> values) const;
  const float* CompressorRow(const CompressorSite& site,
                             const StepSpan& span,
                             std::int64_t position) const;
  std::byte* BlockBytes(const StepSpan& span, std::int64_t entry, int entries_per_block) const;
  const std::byte* WindowEntry(int layer, const StepSpan& span, std::int64_t position) const;
  void ScoreRow(
      int layer, std::size_t row, const float* queries, const float* weights, bool shared);
  // The stored entries a row attends, and their slots: those of tokens in order of position from
  // slot 0, the compressed ones in order of index from slot `window`.
  struct AttendedEntries {
    std::vector<const std::byte*> stored;
    std::vector<std::int32_t> slots;
  };
  AttendedEntries GatherEntries(int layer, std::size_t row) const;
  void AttendRow(int layer, const AttentionWeights& weights, std::size_t row, bool shared);
  void KeepState(int layer);
  void PairRows(const MoeWeights& weights);
  void ExpertLinears(const MoeWeights& weights, std::size_t width, std::size_t shared_width);

  OpsShape shape_;
  const CacheLayout layout_;
  numerics::NumericsProfile profile_;
  std::unique_ptr<Arithmetic> arithmetic_;
  TaskTeam* team_;
  bool round_;
  reference::Rope rope_;
  reference::Rope compress_rope_;

  const StepRows* step_ = nullptr;
  std::vector<float> rope_tables_;  // [2, rows, 2, rope_dim / 2]: plain and compressed layers
  std::vector<float> streams_;
  std::vector<float> mixes_, post_, comb_;
  std::vector<float> x_, latent_, queries_, attended_, exchange_;
  std::vector<float> quantised_, projected_;
  std::vector<std::byte> window_rows_;  // [rows, entry_bytes]: window entries of this step
  std::vector<float> compressor_rows_, index_compressor_rows_;
  std::vector<float> index_queries_, index_weights_;
  std::vector<std::int32_t> choices_;
  std::vector<std::int32_t> experts_;
  std::vector<float> route_weights_;
  std::vector<RoutedPair> pairs_;
  std::vector<std::int32_t> pair_rows_;
  std::vector<float> gate_, up_, expert_out_, shared_gate_, shared_up_, shared_out_;
};

}  // namespace sparkspan::kernels::cpu
