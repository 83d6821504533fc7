#include "engine/draft/dspark_drafter.h"

#include <algorithm>

#include "engine/base/status.h"

namespace sparkspan::engine::draft {

absl::Status DsparkDrafter::Commit(const TargetRows& target, std::span<const CommittedSpan> spans) {
  const DraftParts& parts = runner_.parts();
  const auto width = static_cast<std::size_t>(parts.tap_projection.columns);
  RETURN_IF_ERROR(runner_.CheckSpans(target.taps, width, spans));
  if (spans.empty()) {
    return absl::OkStatus();
  }
  runner_.BeginCommit(spans, &kept_rows_);
  taps_.resize(kept_rows_.size() * width);
  for (std::size_t i = 0; i < kept_rows_.size(); ++i) {
    const std::span<const float> row = target.taps.subspan(kept_rows_[i] * width, width);
    std::copy(row.begin(), row.end(), taps_.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  kernels::Ops& ops = runner_.ops();
  ops.ProjectTaps(parts.tap_projection, parts.tap_norm, taps_);
  for (std::size_t stage = 0; stage < parts.stages.size(); ++stage) {
    ops.KeepLatents(static_cast<int>(stage), parts.stages[stage].attention);
  }
  return absl::OkStatus();
}

absl::Status DsparkDrafter::Draft(std::span<const DraftRequest> requests, DraftResult* result) {
  RETURN_IF_ERROR(runner_.CheckRequests(requests));
  runner_.OpenResult(requests, /*confidence=*/true, result);
  if (requests.empty()) {
    return absl::OkStatus();
  }
  const DraftParts& parts = runner_.parts();
  const auto count = requests.size();
  const auto drafts = static_cast<std::size_t>(block());
  const auto noise = static_cast<Token>(runner_.shape().dspark->noise_token);
  std::vector<Token> inputs(count * drafts, noise);
  std::vector<Token> previous(count);
  for (std::size_t i = 0; i < count; ++i) {
    inputs[i * drafts] = previous[i] = requests[i].anchor;
  }
  runner_.BeginDraft(requests, /*first_position=*/0, block(), inputs, /*draft_block=*/true);
  kernels::Ops& ops = runner_.ops();
  ops.Embed(parts.embedding, 0);
  ops.OpenStreams();
  for (std::size_t stage = 0; stage < parts.stages.size(); ++stage) {
    RETURN_IF_ERROR(runner_.RunStage(static_cast<int>(stage), result));
  }
  // All requests' rows of one draft lie together: they are corrected together.
  std::vector<int> rows;
  for (std::size_t k = 0; k < drafts; ++k) {
    for (std::size_t i = 0; i < count; ++i) {
      rows.push_back(static_cast<int>(i * drafts + k));
    }
  }
  const std::size_t share = runner_.share();
  const std::size_t hidden = runner_.hidden();
  logits_.resize(rows.size() * share);
  collapsed_.resize(rows.size() * hidden);
  ops.Head(parts.collapse, parts.norm, parts.head, rows, logits_, collapsed_);
  std::vector<float> confidence(count);
  for (std::size_t k = 0; k < drafts; ++k) {
    const auto logits = std::span<float>(logits_).subspan(k * count * share, count * share);
    ops.CorrectLogits(
        parts.markov,
        previous,
        std::span<const float>(collapsed_).subspan(k * count * hidden, count * hidden),
        logits,
        confidence);
    for (std::size_t i = 0; i < count; ++i) {
      result->confidence[i * drafts + k] = confidence[i];
    }
    RETURN_IF_ERROR(runner_.Draw(requests, static_cast<int>(k), logits, previous, result));
  }
  return runner_.GatherLogits(requests, logits_, result);
}

}  // namespace sparkspan::engine::draft
