#include <vector>

#include "kernels/cpu/arithmetic.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/hyper_connection.h"
#include "kernels/reference/indexer.h"
#include "kernels/reference/linear.h"
#include "kernels/reference/moe.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"

namespace sparkspan::kernels::cpu {
namespace {

class ReferenceArithmetic final : public Arithmetic {
 public:
  void Linears(std::span<const LinearTask> tasks, TaskTeam& team) const override {
    for (const LinearTask& task : tasks) {
      const auto columns = static_cast<std::size_t>(task.weight.columns);
      team.Run(task.weight.rows, 1, [&](std::int64_t begin, std::int64_t end, int) {
        std::vector<float> row(columns);
        for (std::int64_t n = begin; n < end; ++n) {
          reference::DecodeRow(task.weight, n, row);
          for (int r = 0; r < task.rows; ++r) {
            const std::int64_t from = task.x_index == nullptr ? r : task.x_index[r];
            const float* x = task.x + from * task.x_stride;
            double sum = 0.0;
            for (std::size_t k = 0; k < columns; ++k) {
              sum += static_cast<double>(row[k]) * x[k];
            }
            task.y[r * task.y_stride + n] = static_cast<float>(sum);
          }
        }
      });
    }
  }

  double SumOfSquares(std::span<const float> x) const override {
    double sum = 0.0;
    for (const float value : x) {
      sum += static_cast<double>(value) * value;
    }
    return sum;
  }

  void RmsNorm(std::span<const float> x,
               std::span<const float> gain,
               float epsilon,
               bool round,
               std::span<float> y) const override {
    reference::RmsNorm(x, gain, epsilon, round, y);
  }

  void HeadRmsNorm(std::span<float> x, float epsilon, bool round) const override {
    reference::HeadRmsNorm(x, epsilon, round);
  }

  void MixStreams(std::span<const float> h,
                  std::span<const float> pre,
                  bool round,
                  std::span<float> u) const override {
    reference::MixStreams(h, pre, round, u);
  }

  void ReturnToStreams(std::span<const float> y,
                       std::span<const float> post,
                       std::span<const float> comb,
                       bool round,
                       std::span<float> h) const override {
    reference::ReturnToStreams(y, post, comb, round, h);
  }

  void SwiGlu(std::span<float> gate,
              std::span<const float> up,
              float limit,
              float weight,
              bool round) const override {
    reference::SwiGlu(gate, up, limit, weight, round);
  }

  void RoundThroughE4m3(std::span<float> x, int group) const override {
    reference::RoundThroughE4m3(x, group);
  }

  void DecodeEntry(const numerics::NumericsProfile& profile,
                   const std::byte* entry,
                   int rope_dim,
                   std::span<float> x) const override {
    reference::DecodeEntry(profile, entry, rope_dim, x);
  }

  void DecodeKey(const numerics::NumericsProfile& profile,
                 const std::byte* key,
                 std::span<float> x) const override {
    reference::DecodeKey(profile, key, x);
  }

  void AttendHeads(std::span<const float> q,
                   std::span<const float> entries,
                   std::span<const std::int32_t> slots,
                   std::span<const float> sinks,
                   float scale,
                   bool round,
                   std::span<float> out) const override {
    const std::size_t dim = q.size() / sinks.size();
    for (std::size_t h = 0; h < sinks.size(); ++h) {
      reference::Attend(q.subspan(h * dim, dim),
                        entries,
                        slots,
                        sinks[h],
                        scale,
                        round,
                        out.subspan(h * dim, dim));
    }
  }

  void IndexScores(std::span<const float> queries,
                   std::span<const float> weights,
                   std::span<const float> keys,
                   bool round,
                   std::span<float> scores) const override {
    const std::size_t dim = queries.size() / weights.size();
    for (std::size_t j = 0; j < scores.size(); ++j) {
      scores[j] = reference::IndexScore(queries, weights, keys.subspan(j * dim, dim), round);
    }
  }

  void Add(std::span<const float> in, std::span<float> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] += in[i];
    }
  }
};

}  // namespace

std::unique_ptr<Arithmetic> MakeReferenceArithmetic() {
  return std::make_unique<ReferenceArithmetic>();
}

}  // namespace sparkspan::kernels::cpu
