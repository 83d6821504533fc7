#include "engine/model/layer_program.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/status.h"
#include "engine/model/layer_phases.h"
#include "kernels/cpu/host_ops.h"

namespace sparkspan::engine::model {
namespace {

template <typename T>
std::uint64_t HashOf(std::span<const T> values, std::uint64_t seed) {
  return Hash64(std::as_bytes(values), seed);
}

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

LayerProgram::LayerProgram(ModelParts parts,
                           const ModelOptions& options,
                           const kernels::CacheLayout& layout,
                           std::unique_ptr<kernels::TaskTeam> team,
                           std::unique_ptr<kernels::Ops> ops,
                           collective::Communicator* communicator)
    : parts_(std::move(parts)),
      options_(options),
      layout_(layout),
      team_(std::move(team)),
      ops_(std::move(ops)),
      communicator_(communicator) {
  const int rank = communicator_ == nullptr ? 0 : communicator_->rank().value();
  for (int earlier = 0; earlier < rank; ++earlier) {
    first_token_ += parts_.vocabulary_shares[static_cast<std::size_t>(earlier)];
  }
}

std::int64_t LayerProgram::ActivationBytes(std::int64_t rows) const {
  std::int64_t width = 0;
  for (const kernels::ExpertWeights& expert : parts_.layers[0].moe.experts) {
    width = std::max(width, expert.gate.rows);
  }
  width = std::max(width, parts_.layers[0].moe.shared.gate.rows);
  return kernels::cpu::HostOps::BufferBytes(parts_.shape, layout_, rows, width);
}

absl::Status LayerProgram::CheckSpans(std::span<const SequenceSpan> spans,
                                      const cache::KvPool& pool) const {
  if (spans.empty()) {
    return absl::InvalidArgumentError("a step without spans: give it at least one");
  }
  std::set<const void*> states;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const SequenceSpan& span = spans[i];
    const auto refuse = [&](std::string_view why) {
      return absl::InvalidArgumentError(absl::StrFormat("span %d of the step: %s", i, why));
    };
    if (span.state == nullptr || !states.insert(span.state).second) {
      return refuse("its sequence state is missing or also in another span");
    }
    if (span.tokens.empty() || span.first_position < 0) {
      return refuse("it has no tokens, or a negative position");
    }
    const std::int64_t length = span.first_position + static_cast<std::int64_t>(span.tokens.size());
    if (span.blocks.size() < static_cast<std::size_t>(cache::KvPool::BlocksFor(length))) {
      return refuse(absl::StrFormat("%d KV blocks do not hold %d tokens: grant more blocks first",
                                    span.blocks.size(),
                                    length));
    }
    for (const std::int32_t block : span.blocks) {
      if (block < 0 || block >= pool.blocks()) {
        return refuse(
            absl::StrFormat("KV block %d is not one of the pool's %d", block, pool.blocks()));
      }
    }
    for (const Token token : span.tokens) {
      if (token < 0 || token >= parts_.vocabulary) {
        return refuse(
            absl::StrFormat("token %d is not in the vocabulary of %d", token, parts_.vocabulary));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status LayerProgram::CheckOptions(std::size_t rows, const ForwardOptions& options) const {
  const auto layers = static_cast<int>(parts_.layers.size());
  const std::size_t size = rows * static_cast<std::size_t>(parts_.shape.streams) *
                           static_cast<std::size_t>(parts_.shape.hidden);
  for (const LayerInjection& injection : options.inject) {
    if (injection.layer < 0 || injection.layer >= layers || injection.hidden.size() != size) {
      return absl::InvalidArgumentError(
          absl::StrFormat("injection at layer %d with %d values: layers are 0 to %d, a step of %d "
                          "rows has %d values",
                          injection.layer,
                          injection.hidden.size(),
                          layers - 1,
                          rows,
                          size));
    }
  }
  for (const int tap : options.taps) {
    if (tap < 0 || tap >= layers) {
      return absl::InvalidArgumentError(
          absl::StrFormat("tap of layer %d: layers are 0 to %d", tap, layers - 1));
    }
  }
  return absl::OkStatus();
}

void LayerProgram::LayOutRows(std::span<const SequenceSpan> spans, cache::KvPool& pool) {
  step_.spans.clear();
  step_.rows.clear();
  step_.pool = pool.data();
  for (const SequenceSpan& span : spans) {
    const auto index = static_cast<int>(step_.spans.size());
    step_.spans.push_back({span.state->bytes().data(),
                           span.blocks.data(),
                           span.first_position,
                           static_cast<int>(step_.rows.size()),
                           static_cast<int>(span.tokens.size())});
    std::int64_t position = span.first_position;
    for (const Token token : span.tokens) {
      step_.rows.push_back({index, position++, token});
    }
  }
}

absl::Status LayerProgram::Exchange(ForwardResult* result) {
  if (communicator_ == nullptr || communicator_->size() == 1) {
    return absl::OkStatus();
  }
  const std::int64_t begin_ns = NowNs();
  const absl::Status status = communicator_->AllReduceSum(ops_->exchange());
  result->exchange_ns += NowNs() - begin_ns;
  return status;
}

void LayerProgram::TraceHidden(std::size_t index, const ForwardOptions& options) {
  if (options.trace != nullptr) {
    const std::size_t size = streams_.size();
    ops_->ReadStreams(std::span<float>(options.trace->hidden).subspan(index * size, size));
  }
}

void LayerProgram::TraceChoices(int layer, const ForwardOptions& options) {
  if (options.trace == nullptr) {
    return;
  }
  const auto index = static_cast<std::ptrdiff_t>(layer);
  const auto routed = ops_->routed_experts();
  std::copy(routed.begin(),
            routed.end(),
            options.trace->router.begin() + index * static_cast<std::ptrdiff_t>(routed.size()));
  if (parts_.layers[static_cast<std::size_t>(layer)].ratio == kernels::kOverlapRatio) {
    const auto chosen = ops_->choices();
    std::copy(chosen.begin(),
              chosen.end(),
              options.trace->index.begin() + index * static_cast<std::ptrdiff_t>(chosen.size()));
  }
}

absl::Status LayerProgram::RunLayer(int layer,
                                    const ForwardOptions& options,
                                    ForwardResult* result) {
  const LayerParts& parts = parts_.layers[static_cast<std::size_t>(layer)];
  for (const LayerInjection& injection : options.inject) {
    if (injection.layer == layer) {
      ops_->WriteStreams(injection.hidden);
    }
  }
  RunAttention(*ops_, layer, parts);
  if (parts.ratio == kernels::kOverlapRatio) {
    result->digest = HashOf(ops_->choices(), result->digest);
  }
  RETURN_IF_ERROR(Exchange(result));
  ops_->ReturnToStreams();
  RunExperts(*ops_, parts);
  result->digest = HashOf(ops_->routed_experts(), result->digest);
  RETURN_IF_ERROR(Exchange(result));
  ops_->ReturnToStreams();

  TraceChoices(layer, options);
  TraceHidden(static_cast<std::size_t>(layer) + 1, options);
  const auto tap = std::find(options.taps.begin(), options.taps.end(), layer);
  if (tap != options.taps.end()) {
    const auto hidden = static_cast<std::size_t>(parts_.shape.hidden);
    const auto place = static_cast<std::size_t>(tap - options.taps.begin());
    std::vector<float> mean(step_.rows.size() * hidden);
    ops_->ReadStreamMean(mean);
    for (std::size_t row = 0; row < step_.rows.size(); ++row) {
      std::copy_n(mean.begin() + static_cast<std::ptrdiff_t>(row * hidden),
                  hidden,
                  result->taps.begin() +
                      static_cast<std::ptrdiff_t>((row * options.taps.size() + place) * hidden));
    }
  }
  return absl::OkStatus();
}

absl::Status LayerProgram::GatherLogits(std::span<const float> part,
                                        std::size_t rows,
                                        ForwardResult* result) {
  const auto vocabulary = static_cast<std::size_t>(parts_.vocabulary);
  result->logits.resize(rows * vocabulary);
  if (communicator_ == nullptr || communicator_->size() == 1) {
    std::copy(part.begin(), part.end(), result->logits.begin());
    return absl::OkStatus();
  }
  std::vector<std::size_t> bytes;
  for (const std::int64_t share : parts_.vocabulary_shares) {
    bytes.push_back(rows * static_cast<std::size_t>(share) * sizeof(float));
  }
  std::vector<float> gathered(rows * vocabulary);
  const std::int64_t begin_ns = NowNs();
  RETURN_IF_ERROR(communicator_->AllGather(
      std::as_bytes(part), bytes, std::as_writable_bytes(std::span<float>(gathered))));
  result->exchange_ns += NowNs() - begin_ns;
  // Parts are [rows, share]; the result is [rows, vocabulary].
  const float* from = gathered.data();
  std::size_t column = 0;
  for (const std::int64_t share : parts_.vocabulary_shares) {
    const auto width = static_cast<std::size_t>(share);
    for (std::size_t row = 0; row < rows; ++row, from += width) {
      std::copy_n(from, width, result->logits.data() + row * vocabulary + column);
    }
    column += width;
  }
  return absl::OkStatus();
}

absl::Status LayerProgram::RunHead(std::span<const SequenceSpan> spans, ForwardResult* result) {
  std::vector<int> wanted;
  int row = 0;
  for (const SequenceSpan& span : spans) {
    const auto count = static_cast<int>(span.tokens.size());
    const int first = span.logits == LogitsRows::kAll ? 0 : count - 1;
    for (int i = first; i < count && span.logits != LogitsRows::kNone; ++i) {
      wanted.push_back(row + i);
    }
    row += count;
  }
  result->logits_rows = static_cast<std::int64_t>(wanted.size());
  result->logits.clear();
  if (wanted.empty()) {
    return absl::OkStatus();
  }
  std::vector<float> part(wanted.size() * static_cast<std::size_t>(parts_.head.rows));
  ops_->Head(parts_.collapse, parts_.norm, parts_.head, wanted, part, {});
  return GatherLogits(part, wanted.size(), result);
}

absl::Status LayerProgram::Forward(std::span<const SequenceSpan> spans,
                                   cache::KvPool& pool,
                                   const ForwardOptions& options,
                                   ForwardResult* result) {
  RETURN_IF_ERROR(CheckSpans(spans, pool));
  LayOutRows(spans, pool);
  const std::size_t rows = step_.rows.size();
  RETURN_IF_ERROR(CheckOptions(rows, options));
  const auto hidden = static_cast<std::size_t>(parts_.shape.hidden);
  const std::size_t layers = parts_.layers.size();
  streams_.resize(rows * static_cast<std::size_t>(parts_.shape.streams) * hidden);
  result->taps.resize(rows * options.taps.size() * hidden);
  result->rows = static_cast<std::int64_t>(rows);
  result->exchange_ns = 0;
  result->digest = 0;
  if (options.trace != nullptr) {
    options.trace->hidden.resize((layers + 1) * streams_.size());
    options.trace->router.resize(layers * rows *
                                 static_cast<std::size_t>(parts_.shape.experts_per_token));
    options.trace->index.assign(layers * rows * static_cast<std::size_t>(parts_.shape.index_topk),
                                -1);
  }
  ops_->BeginStep(step_);
  if (parts_.embedding.rows == parts_.vocabulary) {
    ops_->Embed(parts_.embedding, 0);
  } else {
    ops_->Embed(parts_.embedding, first_token_);
    RETURN_IF_ERROR(Exchange(result));
  }
  ops_->OpenStreams();
  TraceHidden(0, options);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    RETURN_IF_ERROR(RunLayer(static_cast<int>(layer), options, result));
  }
  ops_->ReadStreams(streams_);
  result->digest = HashOf(std::span<const float>(streams_), result->digest);
  result->streams.clear();
  if (options.keep_streams) {
    result->streams.assign(streams_.begin(), streams_.end());
  }
  return RunHead(spans, result);
}

}  // namespace sparkspan::engine::model
