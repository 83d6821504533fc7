#include <algorithm>

#include "kernels/cpu/host_ops.h"
#include "kernels/numerics/formats.h"
#include "kernels/reference/moe.h"

// The mixture-of-experts phases.
namespace sparkspan::kernels::cpu {
namespace {

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

void HostOps::Route(const MoeWeights& weights) {
  const std::size_t experts = Size(shape_.experts);
  const std::size_t chosen = Size(shape_.experts_per_token);
  projected_.resize(rows() * experts);
  experts_.resize(rows() * chosen);
  route_weights_.resize(rows() * chosen);
  const LinearTask task{weights.router,
                        x_.data(),
                        shape_.hidden,
                        nullptr,
                        static_cast<int>(rows()),
                        projected_.data(),
                        shape_.experts};
  arithmetic_->Linears({&task, 1}, *team_);
  ForRows(rows(), [&](std::size_t row) {
    const std::span<float> scores = RowOf(projected_, row, experts);
    reference::RouterScores(scores);
    const std::span<std::int32_t> ids =
        std::span<std::int32_t>(experts_).subspan(row * chosen, chosen);
    if (weights.table.empty()) {
      reference::SelectExperts(scores, weights.bias, ids);
    } else {
      const std::size_t token = Size(step_->rows[row].token);
      std::copy_n(
          weights.table.begin() + static_cast<std::ptrdiff_t>(token * chosen), chosen, ids.begin());
    }
    reference::RouteWeights(scores, ids, shape_.route_scale, RowOf(route_weights_, row, chosen));
  });
}

void HostOps::PairRows(const MoeWeights& weights) {
  pairs_.clear();
  const std::size_t chosen = Size(shape_.experts_per_token);
  for (std::size_t i = 0; i < experts_.size(); ++i) {
    if (!weights.experts[Size(experts_[i])].gate.empty()) {
      pairs_.push_back({experts_[i],
                        static_cast<std::int32_t>(i / chosen),
                        static_cast<std::int32_t>(i % chosen)});
    }
  }
  std::stable_sort(pairs_.begin(), pairs_.end(), [](const RoutedPair& a, const RoutedPair& b) {
    return a.expert < b.expert;
  });
  pair_rows_.resize(pairs_.size());
  std::transform(pairs_.begin(), pairs_.end(), pair_rows_.begin(), [](const RoutedPair& pair) {
    return pair.row;
  });
}

void HostOps::ExpertLinears(const MoeWeights& weights,
                            std::size_t width,
                            std::size_t shared_width) {
  const int count = static_cast<int>(rows());
  const float* input = LinearInput(x_, Size(shape_.hidden), quantised_);
  // Runs of pairs of one expert, as (first, end).
  std::vector<std::pair<std::size_t, std::size_t>> runs;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    if (i == 0 || pairs_[i].expert != pairs_[i - 1].expert) {
      runs.emplace_back(i, i);
    }
    runs.back().second = i + 1;
  }
  std::vector<LinearTask> tasks;
  for (const auto& [first, end] : runs) {
    const ExpertWeights& expert = weights.experts[Size(pairs_[first].expert)];
    const std::int32_t* index = pair_rows_.data() + first;
    const int n = static_cast<int>(end - first);
    const auto stride = static_cast<std::int64_t>(width);
    tasks.push_back(
        {expert.gate, input, shape_.hidden, index, n, gate_.data() + first * width, stride});
    tasks.push_back(
        {expert.up, input, shape_.hidden, index, n, up_.data() + first * width, stride});
  }
  if (shared_width > 0) {
    const auto stride = static_cast<std::int64_t>(shared_width);
    tasks.push_back(
        {weights.shared.gate, input, shape_.hidden, nullptr, count, shared_gate_.data(), stride});
    tasks.push_back(
        {weights.shared.up, input, shape_.hidden, nullptr, count, shared_up_.data(), stride});
  }
  arithmetic_->Linears(tasks, *team_);
  const auto activate = [&](std::span<float> gate, std::span<float> up, float weight) {
    RoundAll(gate);
    RoundAll(up);
    arithmetic_->SwiGlu(gate, up, shape_.swiglu_limit, weight, round_);
    if (profile_.quantises()) {
      arithmetic_->RoundThroughE4m3(gate, kScaleBlock);
    }
  };
  const std::size_t routed = pairs_.size();
  ForRows(routed + (shared_width > 0 ? rows() : 0), [&](std::size_t i) {
    if (i < routed) {
      const RoutedPair& pair = pairs_[i];
      activate(RowOf(gate_, i, width),
               RowOf(up_, i, width),
               route_weights_[Size(pair.row) * Size(shape_.experts_per_token) + Size(pair.slot)]);
    } else {
      activate(RowOf(shared_gate_, i - routed, shared_width),
               RowOf(shared_up_, i - routed, shared_width),
               1.0f);
    }
  });
  tasks.clear();
  for (const auto& [first, end] : runs) {
    tasks.push_back({weights.experts[Size(pairs_[first].expert)].down,
                     gate_.data() + first * width,
                     static_cast<std::int64_t>(width),
                     nullptr,
                     static_cast<int>(end - first),
                     expert_out_.data() + first * Size(shape_.hidden),
                     shape_.hidden});
  }
  if (shared_width > 0) {
    tasks.push_back({weights.shared.down,
                     shared_gate_.data(),
                     static_cast<std::int64_t>(shared_width),
                     nullptr,
                     count,
                     shared_out_.data(),
                     shape_.hidden});
  }
  arithmetic_->Linears(tasks, *team_);
}

void HostOps::RunExperts(const MoeWeights& weights) {
  const std::size_t hidden = Size(shape_.hidden);
  PairRows(weights);
  const std::size_t width =
      pairs_.empty() ? 0 : Size(weights.experts[Size(pairs_[0].expert)].gate.rows);
  const std::size_t shared_width = Size(weights.shared.gate.rows);
  gate_.resize(pairs_.size() * width);
  up_.resize(gate_.size());
  expert_out_.resize(pairs_.size() * hidden);
  shared_gate_.resize(rows() * shared_width);
  shared_up_.resize(shared_gate_.size());
  shared_out_.resize(shared_width > 0 ? rows() * hidden : 0);
  ExpertLinears(weights, width, shared_width);

  // Pairs stand in ascending order of expert: so does every row's sum.
  std::vector<std::vector<std::size_t>> of_row(rows());
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    of_row[Size(pairs_[i].row)].push_back(i);
  }
  ForRows(rows(), [&](std::size_t row) {
    const std::span<float> sum = RowOf(exchange_, row, hidden);
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (const std::size_t i : of_row[row]) {
      const std::span<float> out = RowOf(expert_out_, i, hidden);
      if (weights.experts_whole) {
        RoundAll(out);
      }
      arithmetic_->Add(out, sum);
    }
    if (shared_width > 0) {
      const std::span<float> out = RowOf(shared_out_, row, hidden);
      if (weights.shared_whole) {
        RoundAll(out);
      }
      arithmetic_->Add(out, sum);
    }
  });
}

}  // namespace sparkspan::kernels::cpu
