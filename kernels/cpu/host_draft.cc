#include <algorithm>

#include "kernels/cpu/host_ops.h"
#include "kernels/numerics/formats.h"
#include "kernels/reference/linear.h"

// The drafters' phases.
namespace sparkspan::kernels::cpu {
namespace {

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

void HostOps::ProjectTaps(const StoredWeight& projection,
                          std::span<const float> norm,
                          std::span<const float> taps) {
  const LinearTask task{projection,
                        LinearInput(taps, Size(projection.columns), quantised_),
                        projection.columns,
                        nullptr,
                        static_cast<int>(rows()),
                        x_.data(),
                        shape_.hidden};
  arithmetic_->Linears({&task, 1}, *team_);
  ForRows(rows(), [&](std::size_t row) {
    const std::span<float> x = RowOf(x_, row, Size(shape_.hidden));
    RoundAll(x);
    arithmetic_->RmsNorm(x, norm, shape_.norm_epsilon, round_, x);
  });
}

void HostOps::JoinTokens(const TokenJoinWeights& weights) {
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t m = Size(shape_.streams);
  // Every row's streams, then every row's token.
  std::vector<float> normed((m + 1) * rows() * hidden);
  RoundAll(exchange_);
  ForRows((m + 1) * rows(), [&](std::size_t item) {
    const bool token = item >= m * rows();
    const std::span<const float> from =
        token ? RowOf(exchange_, item - m * rows(), hidden) : RowOf(streams_, item, hidden);
    arithmetic_->RmsNorm(from,
                         token ? weights.token_norm : weights.stream_norm,
                         shape_.norm_epsilon,
                         round_,
                         RowOf(normed, item, hidden));
  });
  const float* input = LinearInput(normed, hidden, quantised_);
  projected_.resize(rows() * hidden);
  const LinearTask tasks[] = {{weights.stream_projection,
                               input,
                               shape_.hidden,
                               nullptr,
                               static_cast<int>(m * rows()),
                               streams_.data(),
                               shape_.hidden},
                              {weights.token_projection,
                               input + m * rows() * hidden,
                               shape_.hidden,
                               nullptr,
                               static_cast<int>(rows()),
                               projected_.data(),
                               shape_.hidden}};
  arithmetic_->Linears(tasks, *team_);
  ForRows(rows(), [&](std::size_t row) {
    const std::span<float> token = RowOf(projected_, row, hidden);
    RoundAll(token);
    for (std::size_t s = 0; s < m; ++s) {
      const std::span<float> stream = RowOf(streams_, row * m + s, hidden);
      RoundAll(stream);
      arithmetic_->Add(token, stream);
      RoundAll(stream);
    }
  });
}

void HostOps::CorrectLogits(const MarkovWeights& weights,
                            std::span<const std::int32_t> previous,
                            std::span<const float> collapsed,
                            std::span<float> logits,
                            std::span<float> confidence) {
  const std::size_t count = previous.size();
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t width = hidden + Size(weights.w1.columns);
  const std::size_t share = Size(weights.w2.rows);
  std::vector<float> input(count * width);  // [count, hidden + markov]
  ForRows(count, [&](std::size_t i) {
    const std::span<float> row = RowOf(input, i, width);
    const std::span<const float> from = collapsed.subspan(i * hidden, hidden);
    std::copy(from.begin(), from.end(), row.begin());
    reference::DecodeRow(weights.w1, previous[i], row.subspan(hidden));
  });
  std::vector<float> bias(count * share);
  const LinearTask tasks[] = {{weights.w2,
                               input.data() + hidden,
                               static_cast<std::int64_t>(width),
                               nullptr,
                               static_cast<int>(count),
                               bias.data(),
                               weights.w2.rows},
                              {weights.confidence,
                               input.data(),
                               static_cast<std::int64_t>(width),
                               nullptr,
                               static_cast<int>(count),
                               confidence.data(),
                               1}};
  arithmetic_->Linears(tasks, *team_);
  ForRows(count, [&](std::size_t i) {
    arithmetic_->Add(RowOf(bias, i, share), logits.subspan(i * share, share));
  });
}

}  // namespace sparkspan::kernels::cpu
