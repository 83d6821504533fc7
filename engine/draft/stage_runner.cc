#include "engine/draft/stage_runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/model/layer_phases.h"

namespace sparkspan::engine::draft {
namespace {

// Logits that one thread searches at a time.
constexpr std::size_t kTile = 8192;

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

// Adds what an exchange took to the result's count.
class ExchangeTimer {
 public:
  explicit ExchangeTimer(DraftResult* result) : result_(*result) {}
  ~ExchangeTimer() {
    result_.exchange_ns += std::chrono::duration_cast<std::chrono::nanoseconds>(
                               std::chrono::steady_clock::now() - begin_)
                               .count();
  }

 private:
  DraftResult& result_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

StageRunner::StageRunner(DraftParts parts,
                         const weights::ModelShape& shape,
                         const weights::RankShare& share,
                         const model::DraftLayout& layout,
                         model::ExecutionParts execution,
                         collective::Communicator* communicator)
    : parts_(std::move(parts)),
      shape_(shape),
      rank_share_(share),
      layout_(layout),
      execution_(std::move(execution)),
      communicator_(communicator) {
  for (int earlier = 0; earlier < share.rank; ++earlier) {
    first_token_ += static_cast<Token>(parts_.vocabulary_shares[Size(earlier)]);
  }
}

std::int64_t StageRunner::ActivationBytes(std::int64_t rows, std::int64_t requests) const {
  return model::DraftActivationBytes(shape_, rank_share_, layout_, rows, requests);
}

absl::Status StageRunner::CheckSpans(std::span<const float> target,
                                     std::size_t row_width,
                                     std::span<const CommittedSpan> spans) const {
  const auto rows = static_cast<std::int64_t>(target.size() / row_width);
  std::set<const void*> states;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const CommittedSpan& span = spans[i];
    const auto refuse = [&](std::string_view why) {
      return absl::InvalidArgumentError(absl::StrFormat("committed span %d: %s", i, why));
    };
    if (span.state.size() != Size(layout_.state_bytes) ||
        !states.insert(span.state.data()).second) {
      return refuse(absl::StrFormat("its state is also in another span or has %d bytes, not %d",
                                    span.state.size(),
                                    layout_.state_bytes));
    }
    if (span.rows < 1 || span.first_position < 0 || span.first_row < 0 ||
        span.first_row > rows - span.rows) {
      return refuse(absl::StrFormat("rows %d to %d at position %d: the target gave %d rows",
                                    span.first_row,
                                    span.first_row + span.rows - 1,
                                    span.first_position,
                                    rows));
    }
    if (span.next_tokens.size() != Size(span.rows)) {
      return refuse(absl::StrFormat(
          "%d next tokens for %d rows: give one a row", span.next_tokens.size(), span.rows));
    }
    for (const Token token : span.next_tokens) {
      if (token < 0 || token >= parts_.vocabulary) {
        return refuse(
            absl::StrFormat("token %d is not in the vocabulary of %d", token, parts_.vocabulary));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status StageRunner::CheckRequests(std::span<const DraftRequest> requests) const {
  std::set<const void*> states;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const DraftRequest& request = requests[i];
    const auto refuse = [&](std::string_view why) {
      return absl::InvalidArgumentError(absl::StrFormat("draft request %d: %s", i, why));
    };
    if (request.state.size() != Size(layout_.state_bytes) ||
        !states.insert(request.state.data()).second) {
      return refuse(absl::StrFormat("its state is also in another request or has %d bytes, not %d",
                                    request.state.size(),
                                    layout_.state_bytes));
    }
    if (request.anchor_position < 1) {
      return refuse(absl::StrFormat("its anchor is at position %d: commit the rows before it first",
                                    request.anchor_position));
    }
    if (request.anchor < 0 || request.anchor >= parts_.vocabulary) {
      return refuse(absl::StrFormat(
          "anchor %d is not in the vocabulary of %d", request.anchor, parts_.vocabulary));
    }
    if (!(request.temperature >= 0.0f) || !std::isfinite(request.temperature)) {
      return refuse(absl::StrFormat("temperature %g: give 0 or more", request.temperature));
    }
  }
  return absl::OkStatus();
}

void StageRunner::OpenResult(std::span<const DraftRequest> requests,
                             bool confidence,
                             DraftResult* result) const {
  const std::size_t drafts = requests.size() * Size(layout_.block);
  result->tokens.assign(drafts, 0);
  result->confidence.assign(confidence ? drafts : 0, 0.0f);
  result->logits.clear();
  result->exchange_ns = 0;
}

void StageRunner::BeginCommit(std::span<const CommittedSpan> spans,
                              std::vector<std::size_t>* kept_rows) {
  step_.spans.clear();
  step_.rows.clear();
  step_.draft_block = false;
  kept_rows->clear();
  for (const CommittedSpan& span : spans) {
    const std::int64_t skipped = std::max<std::int64_t>(0, span.rows - layout_.rings.window_slots);
    step_.spans.push_back({span.state.data(),
                           nullptr,
                           span.first_position + skipped,
                           static_cast<int>(step_.rows.size()),
                           static_cast<int>(span.rows - skipped)});
    const auto index = static_cast<int>(step_.spans.size()) - 1;
    for (std::int64_t row = skipped; row < span.rows; ++row) {
      step_.rows.push_back({index, span.first_position + row, span.next_tokens[Size(row)]});
      kept_rows->push_back(Size(span.first_row + row));
    }
  }
  ops().BeginStep(step_);
}

void StageRunner::BeginDraft(std::span<const DraftRequest> requests,
                             std::int64_t first_position,
                             int rows,
                             std::span<const Token> tokens,
                             bool draft_block) {
  step_.spans.clear();
  step_.rows.clear();
  step_.draft_block = draft_block;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::int64_t first = requests[i].anchor_position + first_position;
    step_.spans.push_back(
        {requests[i].state.data(), nullptr, first, static_cast<int>(step_.rows.size()), rows});
    for (int row = 0; row < rows; ++row) {
      step_.rows.push_back({static_cast<int>(i), first + row, tokens[i * Size(rows) + Size(row)]});
    }
  }
  ops().BeginStep(step_);
}

absl::Status StageRunner::RunStage(int stage, DraftResult* result) {
  const model::LayerParts& parts = parts_.stages[Size(stage)];
  const auto exchange = [&]() -> absl::Status {
    if (alone()) {
      return absl::OkStatus();
    }
    const ExchangeTimer timer(result);
    return communicator_->AllReduceSum(ops().exchange());
  };
  model::RunAttention(ops(), stage, parts);
  RETURN_IF_ERROR(exchange());
  ops().ReturnToStreams();
  model::RunExperts(ops(), parts);
  RETURN_IF_ERROR(exchange());
  ops().ReturnToStreams();
  return absl::OkStatus();
}

void StageRunner::LocalMaxima(std::span<const DraftRequest> requests,
                              int draft,
                              std::span<const float> logits) {
  const std::size_t tiles = (share() + kTile - 1) / kTile;
  tile_maxima_.assign(requests.size() * tiles, {});
  const auto search = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::size_t item = Size(begin); item < Size(end); ++item) {
      const DraftRequest& request = requests[item / tiles];
      const std::size_t first = item % tiles * kTile;
      const NoiseKey key{
          request.seed,
          request.anchor_position + 1 + draft,
          request.noise == DraftNoise::kOwn ? RandomPurpose::kDraft : RandomPurpose::kSample};
      tile_maxima_[item] = ArgmaxWithNoise(
          logits.subspan(item / tiles * share() + first, std::min(kTile, share() - first)),
          request.temperature,
          key,
          first_token_ + static_cast<Token>(first));
    }
  };
  execution_.team->Run(static_cast<std::int64_t>(tile_maxima_.size()), 1, search);
  maxima_.assign(requests.size(), {});
  for (std::size_t item = 0; item < tile_maxima_.size(); ++item) {
    NoisyMaximum& best = maxima_[item / tiles];
    best = best.IsBelow(tile_maxima_[item]) ? tile_maxima_[item] : best;
  }
}

absl::Status StageRunner::Draw(std::span<const DraftRequest> requests,
                               int draft,
                               std::span<const float> logits,
                               std::span<Token> tokens,
                               DraftResult* result) {
  LocalMaxima(requests, draft, logits);
  if (!alone()) {
    const std::size_t ranks = Size(communicator_->size());
    const std::vector<NoisyMaximum> mine = maxima_;
    std::vector<NoisyMaximum> all(ranks * mine.size());
    const std::vector<std::size_t> bytes(ranks, mine.size() * sizeof(NoisyMaximum));
    {
      const ExchangeTimer timer(result);
      RETURN_IF_ERROR(communicator_->AllGather(
          std::as_bytes(std::span(mine)), bytes, std::as_writable_bytes(std::span(all))));
    }
    maxima_.assign(mine.size(), {});
    for (std::size_t item = 0; item < all.size(); ++item) {
      NoisyMaximum& best = maxima_[item % mine.size()];
      best = best.IsBelow(all[item]) ? all[item] : best;
    }
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (maxima_[i].token < 0 || !std::isfinite(maxima_[i].score)) {
      return absl::DataLossError(absl::StrFormat(
          "draft %d at position %d: the drafter's logits are not finite; its weights are damaged: "
          "fetch the checkpoint again, or draft with none",
          draft,
          requests[i].anchor_position));
    }
    tokens[i] = maxima_[i].token;
    result->tokens[i * Size(layout_.block) + Size(draft)] = tokens[i];
  }
  return absl::OkStatus();
}

absl::Status StageRunner::GatherLogits(std::span<const DraftRequest> requests,
                                       std::span<const float> logits,
                                       DraftResult* result) {
  const std::size_t block = Size(layout_.block);
  std::vector<float> mine;  // [kept requests, block, share]
  for (std::size_t i = 0; i < requests.size(); ++i) {
    for (std::size_t k = 0; k < block && requests[i].keep_logits; ++k) {
      const std::span<const float> row =
          logits.subspan((k * requests.size() + i) * share(), share());
      mine.insert(mine.end(), row.begin(), row.end());
    }
  }
  if (mine.empty() || alone()) {
    result->logits = std::move(mine);
    return absl::OkStatus();
  }
  const std::size_t rows = mine.size() / share();
  const auto vocabulary = Size(parts_.vocabulary);
  std::vector<std::size_t> bytes;
  for (const std::int64_t part : parts_.vocabulary_shares) {
    bytes.push_back(rows * Size(part) * sizeof(float));
  }
  std::vector<float> gathered(rows * vocabulary);
  {
    const ExchangeTimer timer(result);
    RETURN_IF_ERROR(communicator_->AllGather(
        std::as_bytes(std::span(mine)), bytes, std::as_writable_bytes(std::span(gathered))));
  }
  // Parts are [rows, share]; the result is [rows, vocabulary].
  result->logits.resize(gathered.size());
  const float* from = gathered.data();
  std::size_t column = 0;
  for (const std::int64_t part : parts_.vocabulary_shares) {
    for (std::size_t row = 0; row < rows; ++row, from += part) {
      std::copy_n(from, Size(part), result->logits.data() + row * vocabulary + column);
    }
    column += Size(part);
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::draft
