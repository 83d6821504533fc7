#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/host_ops.h"
#include "kernels/numerics/formats.h"
#include "kernels/reference/indexer.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"

// The attention phases: from a sublayer's input to its partial output.
namespace sparkspan::kernels::cpu {
namespace {

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

// Rows of one step are shared among threads whole once there are enough of them; fewer rows are
// taken one after the other, and each is shared.
bool RowsFillTeam(std::size_t rows, const TaskTeam& team) {
  return rows >= Size(team.threads());
}

}  // namespace

void HostOps::ProjectLatents(int layer, const AttentionWeights& weights) {
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t q_lora = Size(shape_.q_lora);
  const std::size_t dim = Size(shape_.head_dim);
  const float* input = LinearInput(x_, hidden, quantised_);
  const int count = static_cast<int>(rows());
  latent_.resize(rows() * q_lora);
  projected_.resize(rows() * dim);
  const LinearTask tasks[] = {
      {weights.wq_a, input, shape_.hidden, nullptr, count, latent_.data(), shape_.q_lora},
      {weights.wkv, input, shape_.hidden, nullptr, count, projected_.data(), shape_.head_dim}};
  arithmetic_->Linears(tasks, *team_);
  ForRows(rows(), [&](std::size_t row) {
    const std::span<float> latent = RowOf(latent_, row, q_lora);
    RoundAll(latent);
    arithmetic_->RmsNorm(latent, weights.q_norm, shape_.norm_epsilon, round_, latent);
    EncodeLatent(layer, weights, row);
  });
}

void HostOps::EncodeLatent(int layer, const AttentionWeights& weights, std::size_t row) {
  const std::size_t half = Size(shape_.rope_dim) / 2;
  const std::span<float> kv = RowOf(projected_, row, Size(shape_.head_dim));
  RoundAll(kv);
  arithmetic_->RmsNorm(kv, weights.kv_norm, shape_.norm_epsilon, round_, kv);
  const std::span<const float> table = RopeTable(layer, row);
  reference::ApplyRope(kv.last(2 * half), table.first(half), table.last(half), false, round_);
  reference::EncodeEntry(
      profile_, kv, shape_.rope_dim, window_rows_.data() + row * Size(layout_.entry_bytes));
}

void HostOps::KeepLatents(int layer, const AttentionWeights& weights) {
  const float* input = LinearInput(x_, Size(shape_.hidden), quantised_);
  projected_.resize(rows() * Size(shape_.head_dim));
  const LinearTask task{weights.wkv,
                        input,
                        shape_.hidden,
                        nullptr,
                        static_cast<int>(rows()),
                        projected_.data(),
                        shape_.head_dim};
  arithmetic_->Linears({&task, 1}, *team_);
  ForRows(rows(), [&](std::size_t row) { EncodeLatent(layer, weights, row); });
  KeepState(layer);
}

void HostOps::ProjectQueries(int layer, const AttentionWeights& weights) {
  const std::size_t dim = Size(shape_.head_dim);
  const std::size_t heads = Size(shape_.heads);
  const std::size_t half = Size(shape_.rope_dim) / 2;
  const float* input = LinearInput(latent_, Size(shape_.q_lora), quantised_);
  queries_.resize(rows() * heads * dim);
  const LinearTask task{weights.wq_b,
                        input,
                        shape_.q_lora,
                        nullptr,
                        static_cast<int>(rows()),
                        queries_.data(),
                        static_cast<std::int64_t>(heads * dim)};
  arithmetic_->Linears({&task, 1}, *team_);
  ForRows(rows() * heads, [&](std::size_t item) {
    const std::span<float> query = RowOf(queries_, item, dim);
    RoundAll(query);
    arithmetic_->HeadRmsNorm(query, shape_.norm_epsilon, round_);
    const std::span<const float> table = RopeTable(layer, item / heads);
    reference::ApplyRope(query.last(2 * half), table.first(half), table.last(half), false, round_);
  });
}

void HostOps::SelectEntries(int layer, const AttentionWeights& weights) {
  const std::size_t topk = Size(shape_.index_topk);
  const std::int64_t ratio = layout_.layers[Size(layer)].ratio;
  const auto visible = [&](std::size_t row) {
    return Size((step_->rows[row].position + 1) / ratio);
  };
  bool scored = false;
  for (std::size_t row = 0; row < rows(); ++row) {
    for (std::size_t i = 0; i < topk; ++i) {
      choices_[row * topk + i] = i < visible(row) ? static_cast<std::int32_t>(i) : -1;
    }
    scored = scored || visible(row) > topk;
  }
  if (!scored) {
    return;
  }
  const std::size_t heads = Size(shape_.index_heads);
  const std::size_t dim = Size(shape_.index_dim);
  const std::size_t half = Size(shape_.rope_dim) / 2;
  const int count = static_cast<int>(rows());
  const float* input = LinearInput(latent_, Size(shape_.q_lora), quantised_);
  index_queries_.resize(rows() * heads * dim);
  index_weights_.resize(rows() * heads);
  const LinearTask tasks[] = {{weights.index_wq_b,
                               input,
                               shape_.q_lora,
                               nullptr,
                               count,
                               index_queries_.data(),
                               static_cast<std::int64_t>(heads * dim)},
                              {weights.index_weights,
                               x_.data(),
                               shape_.hidden,
                               nullptr,
                               count,
                               index_weights_.data(),
                               shape_.index_heads}};
  arithmetic_->Linears(tasks, *team_);
  ForRows(rows(), [&](std::size_t row) {
    reference::ScaleIndexWeights(RowOf(index_weights_, row, heads), shape_.index_dim, round_);
    const std::span<const float> table = RopeTable(layer, row);
    for (std::size_t h = 0; h < heads; ++h) {
      const std::span<float> query = RowOf(index_queries_, row * heads + h, dim);
      RoundAll(query);
      reference::ApplyRope(
          query.last(2 * half), table.first(half), table.last(half), false, round_);
      reference::Hadamard(query, round_);
      if (profile_.index == numerics::IndexFormat::kE2m1Group32) {
        reference::RoundThroughE2m1(query, 32);
      }
    }
  });
  const bool whole = RowsFillTeam(rows(), *team_);
  const auto score = [&](std::size_t row, bool shared) {
    if (visible(row) > topk) {
      ScoreRow(
          layer, row, &index_queries_[row * heads * dim], &index_weights_[row * heads], shared);
    }
  };
  if (whole) {
    ForRows(rows(), [&](std::size_t row) { score(row, false); });
  } else {
    for (std::size_t row = 0; row < rows(); ++row) {
      score(row, true);
    }
  }
}

void HostOps::ScoreRow(
    int layer, std::size_t row, const float* queries, const float* weights, bool shared) {
  constexpr std::int64_t kTile = 64;  // keys decoded at a time
  const LayerCacheLayout& layout = layout_.layers[Size(layer)];
  const StepSpan& span = step_->spans[Size(step_->rows[row].span)];
  const std::size_t heads = Size(shape_.index_heads);
  const std::size_t dim = Size(shape_.index_dim);
  const std::int64_t count = (step_->rows[row].position + 1) / layout.ratio;
  std::vector<float> scores(Size(count));
  const auto score = [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> keys(Size(kTile) * dim);
    for (std::int64_t first = begin; first < end; first += kTile) {
      const std::int64_t tile = std::min(kTile, end - first);
      for (std::int64_t j = 0; j < tile; ++j) {
        const std::byte* key = BlockBytes(span, first + j, layout.entries_per_block) +
                               layout.keys_offset +
                               (first + j) % layout.entries_per_block * layout_.key_bytes;
        arithmetic_->DecodeKey(profile_, key, RowOf(keys, Size(j), dim));
      }
      arithmetic_->IndexScores({queries, heads * dim},
                               {weights, heads},
                               std::span<const float>(keys).first(Size(tile) * dim),
                               round_,
                               std::span<float>(scores).subspan(Size(first), Size(tile)));
    }
  };
  if (shared) {
    team_->Run(count, kTile, score);
  } else {
    score(0, count, 0);
  }
  const std::size_t topk = Size(shape_.index_topk);
  reference::SelectTopK(scores, std::span<std::int32_t>(choices_).subspan(row * topk, topk));
}

std::byte* HostOps::BlockBytes(const StepSpan& span,
                               std::int64_t entry,
                               int entries_per_block) const {
  return step_->pool + span.blocks[entry / entries_per_block] * layout_.block_bytes;
}

const std::byte* HostOps::WindowEntry(int layer,
                                      const StepSpan& span,
                                      std::int64_t position) const {
  if (position >= span.first_position) {
    return window_rows_.data() +
           (span.first_row + position - span.first_position) * layout_.entry_bytes;
  }
  return span.state + layout_.layers[Size(layer)].window_offset +
         position % layout_.window_slots * layout_.entry_bytes;
}

HostOps::AttendedEntries HostOps::GatherEntries(int layer, std::size_t row) const {
  const LayerCacheLayout& layout = layout_.layers[Size(layer)];
  const StepRow& place = step_->rows[row];
  const StepSpan& span = step_->spans[Size(place.span)];
  AttendedEntries entries;
  const bool block = step_->draft_block;
  const std::int64_t newest = block ? span.first_position + span.rows - 1 : place.position;
  const std::int64_t window_end = block ? span.first_position : place.position + 1;
  const std::int64_t oldest = std::max<std::int64_t>(0, window_end - shape_.window);
  for (std::int64_t position = oldest; position <= newest; ++position) {
    entries.stored.push_back(WindowEntry(layer, span, position));
    entries.slots.push_back(static_cast<std::int32_t>(position - oldest));
  }
  std::int32_t slot = shape_.window;
  const auto add_compressed = [&](std::int64_t entry) {
    entries.stored.push_back(BlockBytes(span, entry, layout.entries_per_block) +
                             layout.entries_offset +
                             entry % layout.entries_per_block * layout_.entry_bytes);
    entries.slots.push_back(slot++);
  };
  if (layout.ratio == kOverlapRatio) {
    const std::size_t topk = Size(shape_.index_topk);
    for (std::size_t i = 0; i < topk && choices_[row * topk + i] >= 0; ++i) {
      add_compressed(choices_[row * topk + i]);
    }
  } else if (layout.ratio != 0) {
    for (std::int64_t entry = 0; entry < (place.position + 1) / layout.ratio; ++entry) {
      add_compressed(entry);
    }
  }
  return entries;
}

void HostOps::AttendRow(int layer, const AttentionWeights& weights, std::size_t row, bool shared) {
  const std::size_t dim = Size(shape_.head_dim);
  const std::size_t heads = Size(shape_.heads);
  const std::size_t half = Size(shape_.rope_dim) / 2;
  const AttendedEntries attended = GatherEntries(layer, row);
  const std::size_t count = attended.stored.size();
  std::vector<float> entries(count * dim);
  const auto decode = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      arithmetic_->DecodeEntry(
          profile_, attended.stored[Size(i)], shape_.rope_dim, RowOf(entries, Size(i), dim));
    }
  };
  const std::span<const float> table = RopeTable(layer, row);
  const auto attend = [&](std::int64_t begin, std::int64_t end, int) {
    const std::size_t first = (row * heads + Size(begin)) * dim;
    const std::size_t size = Size(end - begin) * dim;
    const std::span<float> out = std::span<float>(attended_).subspan(first, size);
    arithmetic_->AttendHeads(std::span<const float>(queries_).subspan(first, size),
                             entries,
                             attended.slots,
                             weights.sink.subspan(Size(begin), Size(end - begin)),
                             1.0f / std::sqrt(static_cast<float>(dim)),
                             round_,
                             out);
    for (std::size_t h = 0; h < Size(end - begin); ++h) {
      reference::ApplyRope(out.subspan((h + 1) * dim - 2 * half, 2 * half),
                           table.first(half),
                           table.last(half),
                           true,
                           round_);
    }
  };
  if (shared) {
    team_->Run(static_cast<std::int64_t>(count), 8, decode);
    team_->Run(static_cast<std::int64_t>(heads), 1, attend);
  } else {
    decode(0, static_cast<std::int64_t>(count), 0);
    attend(0, static_cast<std::int64_t>(heads), 0);
  }
}

void HostOps::Attend(int layer, const AttentionWeights& weights) {
  attended_.resize(queries_.size());
  if (RowsFillTeam(rows(), *team_)) {
    ForRows(rows(), [&](std::size_t row) { AttendRow(layer, weights, row, false); });
  } else {
    for (std::size_t row = 0; row < rows(); ++row) {
      AttendRow(layer, weights, row, true);
    }
  }
  if (!step_->draft_block) {
    KeepState(layer);
  }
}

void HostOps::KeepState(int layer) {
  const LayerCacheLayout& layout = layout_.layers[Size(layer)];
  const auto keep =
      [&](const CompressorRing& ring, const std::vector<float>& step_rows, const StepSpan& span) {
        const std::size_t width = 2 * Size(ring.width);
        for (int i = std::max(0, span.rows - ring.slots); i < span.rows; ++i) {
          std::memcpy(
              span.state + ring.offset + (span.first_position + i) % ring.slots * ring.slot_bytes(),
              &step_rows[Size(span.first_row + i) * width],
              Size(ring.slot_bytes()));
        }
      };
  for (const StepSpan& span : step_->spans) {
    for (int i = std::max(0, span.rows - layout_.window_slots); i < span.rows; ++i) {
      std::memcpy(span.state + layout.window_offset +
                      (span.first_position + i) % layout_.window_slots * layout_.entry_bytes,
                  window_rows_.data() + Size(span.first_row + i) * Size(layout_.entry_bytes),
                  Size(layout_.entry_bytes));
    }
    if (layout.compressor.slots > 0) {
      keep(layout.compressor, compressor_rows_, span);
    }
    if (layout.index_compressor.slots > 0) {
      keep(layout.index_compressor, index_compressor_rows_, span);
    }
  }
}

void HostOps::ProjectOutput(const AttentionWeights& weights) {
  const std::int64_t group_width = std::int64_t{shape_.heads} / shape_.groups * shape_.head_dim;
  const std::int64_t latent_width = std::int64_t{shape_.groups} * shape_.o_lora;
  const int count = static_cast<int>(rows());
  projected_.resize(rows() * Size(latent_width));
  std::vector<LinearTask> tasks;
  for (int group = 0; group < shape_.groups; ++group) {
    StoredWeight slice = weights.wo_a;
    const std::int64_t first = std::int64_t{group} * shape_.o_lora;
    slice.rows = shape_.o_lora;
    slice.data += first * slice.row_bytes();
    slice.scales += (slice.row_offset + first) / kScaleBlock * slice.scale_columns;
    slice.row_offset = static_cast<int>((slice.row_offset + first) % kScaleBlock);
    tasks.push_back({slice,
                     attended_.data() + group * group_width,
                     group_width * shape_.groups,
                     nullptr,
                     count,
                     projected_.data() + first,
                     latent_width});
  }
  arithmetic_->Linears(tasks, *team_);
  RoundAll(projected_);
  const float* input = LinearInput(projected_, Size(latent_width), quantised_);
  const LinearTask task{
      weights.wo_b, input, latent_width, nullptr, count, exchange_.data(), shape_.hidden};
  arithmetic_->Linears({&task, 1}, *team_);
  if (weights.wo_b_whole) {
    RoundAll(exchange_);
  }
}

}  // namespace sparkspan::kernels::cpu
