#include "kernels/cpu/host_ops.h"

#include <algorithm>
#include <cmath>

#include "kernels/numerics/formats.h"
#include "kernels/reference/hyper_connection.h"
#include "kernels/reference/linear.h"

namespace sparkspan::kernels::cpu {
namespace {

constexpr int kActivationGroup = 128;

reference::Rope MakeCompressRope(const OpsShape& shape) {
  const reference::Yarn yarn{
      shape.yarn_factor, shape.yarn_original_positions, shape.yarn_beta_fast, shape.yarn_beta_slow};
  return reference::Rope(
      shape.rope_dim, shape.compress_rope_theta, shape.yarn_factor > 0.0f ? &yarn : nullptr);
}

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

HostOps::HostOps(const OpsShape& shape,
                 const CacheLayout& layout,
                 const numerics::NumericsProfile& profile,
                 std::unique_ptr<Arithmetic> arithmetic,
                 TaskTeam* team)
    : shape_(shape),
      layout_(layout),
      profile_(profile),
      arithmetic_(std::move(arithmetic)),
      team_(team),
      round_(profile.rounds()),
      rope_(shape.rope_dim, shape.rope_theta, nullptr),
      compress_rope_(MakeCompressRope(shape)) {}

std::int64_t HostOps::BufferBytes(const OpsShape& shape,
                                  const CacheLayout& layout,
                                  std::int64_t rows,
                                  std::int64_t expert_width) {
  const std::int64_t hidden = shape.hidden;
  const std::int64_t per_token = shape.experts_per_token;
  std::int64_t floats = 2 * shape.streams * hidden + 5 * hidden;  // streams, x, exchange, scratch
  floats += 2 * std::int64_t{shape.heads} * shape.head_dim + shape.q_lora;
  floats += std::int64_t{2} * shape.groups * shape.o_lora;
  floats += std::int64_t{shape.index_heads} * (shape.index_dim + 1) + shape.index_topk;
  floats += 4 * (std::int64_t{shape.head_dim} + shape.index_dim);
  floats += per_token * (hidden + 2 * expert_width) + 2 * expert_width;
  return rows * (floats * 4 + layout.entry_bytes);
}

void HostOps::ForRows(std::size_t count, const std::function<void(std::size_t)>& body) const {
  team_->Run(static_cast<std::int64_t>(count), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      body(Size(row));
    }
  });
}

void HostOps::RoundAll(std::span<float> values) const {
  if (round_) {
    for (float& value : values) {
      value = numerics::RoundToBf16(value);
    }
  }
}

const float* HostOps::LinearInput(std::span<const float> x,
                                  std::size_t width,
                                  std::vector<float>& scratch) const {
  if (!profile_.quantises()) {
    return x.data();
  }
  scratch.resize(x.size());
  ForRows(x.size() / width, [&](std::size_t row) {
    const std::span<float> out = RowOf(scratch, row, width);
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(row * width), width, out.begin());
    arithmetic_->RoundThroughE4m3(out, kActivationGroup);
  });
  return scratch.data();
}

void HostOps::BeginStep(const StepRows& step) {
  step_ = &step;
  const std::size_t count = rows();
  const std::size_t half = Size(shape_.rope_dim) / 2;
  rope_tables_.resize(4 * count * half);
  for (std::size_t row = 0; row < count; ++row) {
    for (std::size_t table = 0; table < 2; ++table) {
      const std::span<float> out =
          std::span<float>(rope_tables_).subspan((table * count + row) * 2 * half, 2 * half);
      (table == 0 ? rope_ : compress_rope_)
          .Table(step.rows[row].position, out.first(half), out.last(half));
    }
  }
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t m = Size(shape_.streams);
  streams_.resize(count * m * hidden);
  post_.resize(count * m);
  comb_.resize(count * m * m);
  x_.resize(count * hidden);
  exchange_.resize(count * hidden);
  window_rows_.resize(count * Size(layout_.entry_bytes));
  choices_.resize(count * Size(shape_.index_topk));
}

std::span<const float> HostOps::RopeTable(int layer, std::size_t row) const {
  const std::size_t width = Size(shape_.rope_dim);
  const std::size_t table = layout_.layers[Size(layer)].ratio == 0 ? 0 : 1;
  return std::span<const float>(rope_tables_).subspan((table * rows() + row) * width, width);
}

void HostOps::Embed(const StoredWeight& embedding, std::int64_t first_token) {
  const std::size_t hidden = Size(shape_.hidden);
  for (std::size_t row = 0; row < rows(); ++row) {
    const std::span<float> out = RowOf(exchange_, row, hidden);
    const std::int64_t token = step_->rows[row].token - first_token;
    if (token >= 0 && token < embedding.rows) {
      reference::DecodeRow(embedding, token, out);
    } else {
      std::fill(out.begin(), out.end(), 0.0f);
    }
  }
}

void HostOps::OpenStreams() {
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t m = Size(shape_.streams);
  RoundAll(exchange_);
  for (std::size_t row = 0; row < rows(); ++row) {
    for (std::size_t s = 0; s < m; ++s) {
      std::copy_n(exchange_.begin() + static_cast<std::ptrdiff_t>(row * hidden),
                  hidden,
                  streams_.begin() + static_cast<std::ptrdiff_t>((row * m + s) * hidden));
    }
  }
}

void HostOps::ProjectMixes(const StoredWeight& fn, const float* streams, std::size_t count) {
  const std::size_t width = Size(fn.columns);
  const std::size_t coefficients = Size(fn.rows);
  mixes_.resize(count * coefficients);
  const LinearTask task{
      fn, streams, fn.columns, nullptr, static_cast<int>(count), mixes_.data(), fn.rows};
  arithmetic_->Linears({&task, 1}, *team_);
  ForRows(count, [&](std::size_t row) {
    const double squares = arithmetic_->SumOfSquares({streams + row * width, width});
    const auto scale =
        static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) +
                                           static_cast<double>(shape_.norm_epsilon)));
    for (float& value : RowOf(mixes_, row, coefficients)) {
      value *= scale;
    }
  });
}

void HostOps::MixStreams(const HyperConnectionWeights& site, std::span<const float> norm) {
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t m = Size(shape_.streams);
  ProjectMixes(site.fn, streams_.data(), rows());
  ForRows(rows(), [&](std::size_t row) {
    std::vector<float> pre(m);
    reference::SplitMixes(RowOf(mixes_, row, m * (m + 2)),
                          site.base,
                          site.scale,
                          shape_.streams,
                          shape_.sinkhorn_iterations,
                          shape_.sinkhorn_epsilon,
                          pre,
                          RowOf(post_, row, m),
                          RowOf(comb_, row, m * m));
    const std::span<float> x = RowOf(x_, row, hidden);
    arithmetic_->MixStreams(RowOf(streams_, row, m * hidden), pre, round_, x);
    arithmetic_->RmsNorm(x, norm, shape_.norm_epsilon, round_, x);
  });
}

void HostOps::ReturnToStreams() {
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t m = Size(shape_.streams);
  ForRows(rows(), [&](std::size_t row) {
    const std::span<float> y = RowOf(exchange_, row, hidden);
    RoundAll(y);
    arithmetic_->ReturnToStreams(y,
                                 RowOf(post_, row, m),
                                 RowOf(comb_, row, m * m),
                                 round_,
                                 RowOf(streams_, row, m * hidden));
  });
}

void HostOps::Head(const HyperConnectionWeights& collapse,
                   std::span<const float> norm,
                   const StoredWeight& head,
                   std::span<const int> wanted,
                   std::span<float> logits,
                   std::span<float> collapsed) {
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t m = Size(shape_.streams);
  std::vector<float> streams(wanted.size() * m * hidden);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::span<const float> from = RowOf(streams_, Size(wanted[i]), m * hidden);
    std::copy(from.begin(), from.end(), RowOf(streams, i, m * hidden).begin());
  }
  ProjectMixes(collapse.fn, streams.data(), wanted.size());
  std::vector<float> u(wanted.size() * hidden);
  ForRows(wanted.size(), [&](std::size_t i) {
    std::vector<float> pre(m);
    reference::HeadMixes(
        RowOf(mixes_, i, m), collapse.base, collapse.scale[0], shape_.sinkhorn_epsilon, pre);
    const std::span<float> row = RowOf(u, i, hidden);
    arithmetic_->MixStreams(RowOf(streams, i, m * hidden), pre, round_, row);
    if (!collapsed.empty()) {
      std::copy(row.begin(), row.end(), collapsed.subspan(i * hidden, hidden).begin());
    }
    arithmetic_->RmsNorm(row, norm, shape_.norm_epsilon, round_, row);
  });
  const LinearTask task{head,
                        u.data(),
                        shape_.hidden,
                        nullptr,
                        static_cast<int>(wanted.size()),
                        logits.data(),
                        head.rows};
  arithmetic_->Linears({&task, 1}, *team_);
}

void HostOps::ReadStreams(std::span<float> streams) {
  std::copy(streams_.begin(), streams_.end(), streams.begin());
}

void HostOps::WriteStreams(std::span<const float> streams) {
  std::copy(streams.begin(), streams.end(), streams_.begin());
  RoundAll(streams_);
}

void HostOps::ReadStreamMean(std::span<float> mean) {
  const std::size_t hidden = Size(shape_.hidden);
  const std::size_t m = Size(shape_.streams);
  for (std::size_t row = 0; row < rows(); ++row) {
    for (std::size_t k = 0; k < hidden; ++k) {
      double sum = 0.0;
      for (std::size_t s = 0; s < m; ++s) {
        sum += streams_[(row * m + s) * hidden + k];
      }
      mean[row * hidden + k] = static_cast<float>(sum / static_cast<double>(m));
    }
  }
  RoundAll(mean);
}

}  // namespace sparkspan::kernels::cpu
