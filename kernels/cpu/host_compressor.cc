#include <algorithm>
#include <cstring>

#include "kernels/cpu/host_ops.h"
#include "kernels/reference/compressor.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"

// The compression phase: projections of the step's rows, and the compressed entries they complete.
namespace sparkspan::kernels::cpu {
namespace {

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

void HostOps::Compress(int layer, const AttentionWeights& weights) {
  const LayerCacheLayout& layout = layout_.layers[Size(layer)];
  std::vector<CompressorSite> sites{
      {&weights.compressor, &layout.compressor, &compressor_rows_, false}};
  if (layout.index_compressor.slots > 0) {
    sites.push_back(
        {&weights.index_compressor, &layout.index_compressor, &index_compressor_rows_, true});
  }
  std::vector<LinearTask> tasks;
  const int count = static_cast<int>(rows());
  for (const CompressorSite& site : sites) {
    const std::int64_t width = site.ring->width;
    site.step_rows->resize(rows() * 2 * Size(width));
    float* out = site.step_rows->data();
    tasks.push_back({site.weights->wkv, x_.data(), shape_.hidden, nullptr, count, out, 2 * width});
    tasks.push_back(
        {site.weights->wgate, x_.data(), shape_.hidden, nullptr, count, out + width, 2 * width});
  }
  arithmetic_->Linears(tasks, *team_);
  for (const CompressorSite& site : sites) {
    const std::size_t width = Size(site.ring->width);
    for (std::size_t row = 0; row < rows(); ++row) {
      const std::size_t phase = Size(step_->rows[row].position % layout.ratio);
      const std::span<float> gates =
          std::span<float>(*site.step_rows).subspan((2 * row + 1) * width, width);
      arithmetic_->Add(site.weights->ape.subspan(phase * width, width), gates);
    }
    for (const StepSpan& span : step_->spans) {
      CompressSpan(layer, site, span);
    }
  }
}

const float* HostOps::CompressorRow(const CompressorSite& site,
                                    const StepSpan& span,
                                    std::int64_t position) const {
  const std::int64_t floats = 2 * std::int64_t{site.ring->width};
  if (position >= span.first_position) {
    return site.step_rows->data() + (span.first_row + position - span.first_position) * floats;
  }
  return reinterpret_cast<const float*>(span.state + site.ring->offset +
                                        position % site.ring->slots * site.ring->slot_bytes());
}

void HostOps::CompressSpan(int layer, const CompressorSite& site, const StepSpan& span) {
  const std::int64_t ratio = layout_.layers[Size(layer)].ratio;
  const bool overlap = ratio == kOverlapRatio;
  const std::size_t dim = Size(site.ring->width) / (overlap ? 2 : 1);
  const std::int64_t first = span.first_position / ratio;
  const std::int64_t end = (span.first_position + span.rows) / ratio;
  ForRows(Size(end - first), [&](std::size_t item) {
    const std::int64_t entry = first + static_cast<std::int64_t>(item);
    std::vector<reference::PoolingCandidate> candidates;
    // With overlap an entry also pools the group before it, whose rows give it their first half.
    for (std::int64_t position = overlap && entry > 0 ? ratio * (entry - 1) : ratio * entry;
         position < ratio * (entry + 1);
         ++position) {
      const float* row =
          CompressorRow(site, span, position) + (overlap && position >= ratio * entry ? dim : 0);
      candidates.push_back({row, row + site.ring->width});
    }
    std::vector<float> values(dim);
    reference::PoolCandidates(candidates, round_, values);
    FinishCompressed(layer, site, span, entry, values);
  });
}

void HostOps::FinishCompressed(int layer,
                               const CompressorSite& site,
                               const StepSpan& span,
                               std::int64_t entry,
                               std::span<float> values) const {
  const LayerCacheLayout& layout = layout_.layers[Size(layer)];
  const std::size_t rope = Size(shape_.rope_dim);
  arithmetic_->RmsNorm(values, site.weights->norm, shape_.norm_epsilon, round_, values);
  std::vector<float> table(rope);
  const std::span<float> cosines = std::span<float>(table).first(rope / 2);
  const std::span<float> sines = std::span<float>(table).last(rope / 2);
  compress_rope_.Table(entry * layout.ratio, cosines, sines);
  reference::ApplyRope(values.last(rope), cosines, sines, false, round_);
  std::byte* block = BlockBytes(span, entry, layout.entries_per_block);
  const std::int64_t slot = entry % layout.entries_per_block;
  if (site.index) {
    reference::Hadamard(values, round_);
    reference::EncodeKey(profile_, values, block + layout.keys_offset + slot * layout_.key_bytes);
  } else {
    reference::EncodeEntry(profile_,
                           values,
                           shape_.rope_dim,
                           block + layout.entries_offset + slot * layout_.entry_bytes);
  }
}

}  // namespace sparkspan::kernels::cpu
