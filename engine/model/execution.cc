#include "engine/model/execution.h"

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/model/thread_team.h"
#include "kernels/cpu/arithmetic.h"
#include "kernels/cpu/host_ops.h"

namespace sparkspan::engine::model {
namespace {

using kernels::StoredFormat;
using kernels::StoredWeight;

constexpr int kThreadsMax = 256;
constexpr int kRewindRowsMax = 64;

// Products run over groups of input columns that one scale covers; a share must consist of them.
absl::Status CheckColumns(const StoredWeight& weight,
                          std::string_view name,
                          std::string_view where,
                          const kernels::numerics::NumericsProfile& profile) {
  const bool scaled = weight.format == StoredFormat::kE4m3 || weight.format == StoredFormat::kE2m1;
  const int unit = scaled && profile.quantises() ? 128 : 32;
  if (weight.columns % unit != 0 || weight.column_offset % unit != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: this rank's share of %s has %d input columns from column %d of a block, but the "
        "%s profile computes in groups of %d: use a number of ranks that divides evenly, or deal "
        "experts whole",
        where,
        name,
        weight.columns,
        weight.column_offset,
        profile.name,
        unit));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckShares(const LayerParts& layer,
                         std::string_view where,
                         const kernels::numerics::NumericsProfile& profile) {
  RETURN_IF_ERROR(CheckColumns(layer.attention.wq_a, "attn.wq_a", where, profile));
  RETURN_IF_ERROR(CheckColumns(layer.attention.wq_b, "attn.wq_b", where, profile));
  RETURN_IF_ERROR(CheckColumns(layer.attention.wo_a, "attn.wo_a", where, profile));
  RETURN_IF_ERROR(CheckColumns(layer.attention.wo_b, "attn.wo_b", where, profile));
  RETURN_IF_ERROR(CheckColumns(layer.moe.shared.down, "shared_experts.w2", where, profile));
  for (const kernels::ExpertWeights& expert : layer.moe.experts) {
    RETURN_IF_ERROR(CheckColumns(expert.down, "experts.w2", where, profile));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExecutionParts> MakeExecution(const kernels::OpsShape& shape,
                                             const kernels::CacheLayout& layout,
                                             const ModelOptions& options) {
  if (options.threads < 1 || options.threads > kThreadsMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("threads is %d: give 1 to %d", options.threads, kThreadsMax));
  }
  if (options.rewind_rows_max < 0 || options.rewind_rows_max > kRewindRowsMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "rewind_rows_max is %d: give 0 to %d", options.rewind_rows_max, kRewindRowsMax));
  }
  auto arithmetic = options.device == Device::kReference ? kernels::cpu::MakeReferenceArithmetic()
                                                         : kernels::cpu::MakeVectorArithmetic();
  if (arithmetic == nullptr) {
    return absl::FailedPreconditionError(
        "device cpu: this processor has no vector instructions with fused multiply-add (x86-64 "
        "needs AVX2); use device reference");
  }
  ExecutionParts parts;
  parts.team = std::make_unique<ThreadTeam>(options.threads);
  parts.ops = std::make_unique<kernels::cpu::HostOps>(
      shape, layout, options.numerics, std::move(arithmetic), parts.team.get());
  return parts;
}

}  // namespace sparkspan::engine::model
