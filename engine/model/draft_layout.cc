#include "engine/model/draft_layout.h"

#include <algorithm>

#include "kernels/cpu/host_ops.h"

namespace sparkspan::engine::model {

using weights::DraftKind;

DraftLayout DraftLayoutOf(const weights::ModelShape& shape,
                          const kernels::numerics::NumericsProfile& numerics,
                          int mtp_block) {
  DraftLayout layout;
  if (shape.draft == DraftKind::kNone) {
    return layout;
  }
  const bool mtp = shape.draft == DraftKind::kMtp;
  const kernels::OpsShape& ops = shape.ops;
  layout.block = mtp ? mtp_block : shape.dspark->block_size;
  layout.rings = kernels::MakeCacheLayout({ops.head_dim,
                                           ops.rope_dim,
                                           ops.index_dim,
                                           ops.window,
                                           std::vector<int>(shape.draft_stages, 0)},
                                          numerics,
                                          mtp ? mtp_block - 1 : 0);
  layout.streams_offset = layout.rings.state_bytes;
  layout.state_bytes = layout.rings.state_bytes;
  if (mtp) {
    layout.state_bytes += std::int64_t{ops.streams} * ops.hidden * 4;
  }
  return layout;
}

std::int64_t DraftActivationBytes(const weights::ModelShape& shape,
                                  const weights::RankShare& share,
                                  const DraftLayout& layout,
                                  std::int64_t rows,
                                  std::int64_t requests) {
  if (shape.draft == DraftKind::kNone) {
    return 0;
  }
  const kernels::OpsShape ops = weights::OpsShapeOf(shape, share);
  const std::int64_t hidden = ops.hidden;
  const std::int64_t block_rows = requests * layout.block;
  const std::int64_t width =
      share.experts_whole ? shape.expert_width : weights::WidthOf(shape, share).size();
  const std::int64_t part = weights::ShareOf(shape.vocabulary, share.rank, share.ranks).size();
  // Per committed row: what the target kept, its copy, and that as linears take it in.
  std::int64_t row_floats = 0;
  std::int64_t markov = 0;
  if (shape.draft == DraftKind::kDspark) {
    row_floats = 3 * static_cast<std::int64_t>(shape.dspark->target_layers.size()) * hidden;
    markov = shape.dspark->markov_rank;
  } else {
    row_floats = (4 * std::int64_t{ops.streams} + 2) * hidden;
  }
  // Logits of the share as drafted and as sent, of the vocabulary as received and as handed out,
  // and a turn's bias.
  std::int64_t floats = rows * row_floats;
  floats += block_rows * (2 * part + 2 * shape.vocabulary + 2 * hidden);
  floats += requests * (part + hidden + markov);
  return kernels::cpu::HostOps::BufferBytes(ops, layout.rings, std::max(rows, block_rows), width) +
         floats * 4;
}

}  // namespace sparkspan::engine::model
