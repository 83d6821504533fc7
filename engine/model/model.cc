#include "engine/model/model.h"

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/model/layer_program.h"
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
                          std::size_t layer,
                          const kernels::numerics::NumericsProfile& profile) {
  const bool scaled = weight.format == StoredFormat::kE4m3 || weight.format == StoredFormat::kE2m1;
  const int unit = scaled && profile.quantises() ? 128 : 32;
  if (weight.columns % unit != 0 || weight.column_offset % unit != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "layer %d: this rank's share of %s has %d input columns from column %d of a block, but the "
        "%s profile computes in groups of %d: use a number of ranks that divides evenly, or deal "
        "experts whole",
        layer,
        name,
        weight.columns,
        weight.column_offset,
        profile.name,
        unit));
  }
  return absl::OkStatus();
}

absl::Status CheckParts(const ModelParts& parts,
                        const kernels::numerics::NumericsProfile& profile) {
  if (parts.layers.empty() || parts.shape.streams < 1 || parts.shape.streams > 8) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a model of %d layers with %d residual streams: needs at least one layer "
                        "and 1 to 8 streams",
                        parts.layers.size(),
                        parts.shape.streams));
  }
  for (std::size_t i = 0; i < parts.layers.size(); ++i) {
    const LayerParts& layer = parts.layers[i];
    RETURN_IF_ERROR(CheckColumns(layer.attention.wq_a, "attn.wq_a", i, profile));
    RETURN_IF_ERROR(CheckColumns(layer.attention.wq_b, "attn.wq_b", i, profile));
    RETURN_IF_ERROR(CheckColumns(layer.attention.wo_a, "attn.wo_a", i, profile));
    RETURN_IF_ERROR(CheckColumns(layer.attention.wo_b, "attn.wo_b", i, profile));
    RETURN_IF_ERROR(CheckColumns(layer.moe.shared.down, "shared_experts.w2", i, profile));
    for (const kernels::ExpertWeights& expert : layer.moe.experts) {
      RETURN_IF_ERROR(CheckColumns(expert.down, "experts.w2", i, profile));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string VectorInstructionsOf(Device device) {
  return device == Device::kReference ? "scalar" : kernels::cpu::VectorTargetName();
}

kernels::CacheLayout CacheLayoutOf(const kernels::OpsShape& shape,
                                   std::span<const int> ratios,
                                   const ModelOptions& options) {
  const kernels::CacheShape cache{shape.head_dim,
                                  shape.rope_dim,
                                  shape.index_dim,
                                  shape.window,
                                  {ratios.begin(), ratios.end()}};
  return kernels::MakeCacheLayout(cache, options.numerics, options.rewind_rows_max);
}

absl::StatusOr<std::unique_ptr<Model>> Model::Create(ModelParts parts,
                                                     const ModelOptions& options,
                                                     collective::Communicator* communicator) {
  if (options.threads < 1 || options.threads > kThreadsMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("threads is %d: give 1 to %d", options.threads, kThreadsMax));
  }
  if (options.rewind_rows_max < 0 || options.rewind_rows_max > kRewindRowsMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "rewind_rows_max is %d: give 0 to %d", options.rewind_rows_max, kRewindRowsMax));
  }
  RETURN_IF_ERROR(CheckParts(parts, options.numerics));
  auto arithmetic = options.device == Device::kReference ? kernels::cpu::MakeReferenceArithmetic()
                                                         : kernels::cpu::MakeVectorArithmetic();
  if (arithmetic == nullptr) {
    return absl::FailedPreconditionError(
        "device cpu: this processor has no vector instructions with fused multiply-add (x86-64 "
        "needs AVX2); use device reference");
  }
  std::vector<int> ratios;
  for (const LayerParts& layer : parts.layers) {
    ratios.push_back(layer.ratio);
  }
  const kernels::CacheLayout layout = CacheLayoutOf(parts.shape, ratios, options);
  auto team = std::make_unique<ThreadTeam>(options.threads);
  auto ops = std::make_unique<kernels::cpu::HostOps>(
      parts.shape, layout, options.numerics, std::move(arithmetic), team.get());
  return std::make_unique<LayerProgram>(
      std::move(parts), options, layout, std::move(team), std::move(ops), communicator);
}

}  // namespace sparkspan::engine::model
