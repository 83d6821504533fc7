#include "engine/draft/mtp_drafter.h"

#include <algorithm>
#include <cstring>

#include "engine/base/status.h"

namespace sparkspan::engine::draft {

// Only the newest row's attention is ever read, and that by Draft: committed rows leave their
// entries, the newest also what opened the block there.
absl::Status MtpDrafter::Commit(const TargetRows& target, std::span<const CommittedSpan> spans) {
  const DraftParts& parts = runner_.parts();
  const std::size_t width = static_cast<std::size_t>(parts.shape.streams) * runner_.hidden();
  RETURN_IF_ERROR(runner_.CheckSpans(target.streams, width, spans));
  if (spans.empty()) {
    return absl::OkStatus();
  }
  runner_.BeginCommit(spans, &kept_rows_);
  streams_.resize(kept_rows_.size() * width);
  for (std::size_t i = 0; i < kept_rows_.size(); ++i) {
    const std::span<const float> row = target.streams.subspan(kept_rows_[i] * width, width);
    std::copy(row.begin(), row.end(), streams_.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  kernels::Ops& ops = runner_.ops();
  ops.WriteStreams(streams_);
  ops.Embed(parts.embedding, 0);
  ops.JoinTokens(parts.join);
  ops.ReadStreams(streams_);
  for (const kernels::StepSpan& span : runner_.step().spans) {
    const auto last = static_cast<std::size_t>(span.first_row + span.rows - 1);
    std::memcpy(span.state + runner_.layout().streams_offset,
                &streams_[last * width],
                width * sizeof(float));
  }
  ops.MixStreams(parts.stages[0].attention_site, parts.stages[0].attention_norm);
  ops.KeepLatents(0, parts.stages[0].attention);
  return absl::OkStatus();
}

absl::Status MtpDrafter::Draft(std::span<const DraftRequest> requests, DraftResult* result) {
  RETURN_IF_ERROR(runner_.CheckRequests(requests));
  runner_.OpenResult(requests, /*confidence=*/false, result);
  if (requests.empty()) {
    return absl::OkStatus();
  }
  const DraftParts& parts = runner_.parts();
  const std::size_t count = requests.size();
  const std::size_t width = static_cast<std::size_t>(parts.shape.streams) * runner_.hidden();
  const std::size_t part = count * runner_.share();
  std::vector<Token> previous(count);
  std::vector<int> rows(count);
  streams_.resize(count * width);
  for (std::size_t i = 0; i < count; ++i) {
    previous[i] = requests[i].anchor;
    rows[i] = static_cast<int>(i);
    std::memcpy(&streams_[i * width],
                requests[i].state.data() + runner_.layout().streams_offset,
                width * sizeof(float));
  }
  logits_.resize(static_cast<std::size_t>(block()) * part);
  kernels::Ops& ops = runner_.ops();
  for (int k = 0; k < block(); ++k) {
    // The row of the newest committed position and, for later drafts, rows after it.
    runner_.BeginDraft(requests, k - 1, 1, previous, /*draft_block=*/false);
    ops.WriteStreams(streams_);
    if (k > 0) {
      ops.Embed(parts.embedding, 0);
      ops.JoinTokens(parts.join);
    }
    RETURN_IF_ERROR(runner_.RunStage(0, result));
    ops.ReadStreams(streams_);
    const auto logits = std::span<float>(logits_).subspan(static_cast<std::size_t>(k) * part, part);
    ops.Head(parts.collapse, parts.norm, parts.head, rows, logits, {});
    RETURN_IF_ERROR(runner_.Draw(requests, k, logits, previous, result));
  }
  return runner_.GatherLogits(requests, logits_, result);
}

}  // namespace sparkspan::engine::draft
