#include "engine/model/memory_plan.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/model/draft_layout.h"
#include "engine/weights/read_plan.h"
#include "engine/weights/shard_plan.h"
#include "kernels/cpu/host_ops.h"

namespace sparkspan::engine::model {
namespace {

constexpr std::int64_t kDemandMax = std::int64_t{1} << 31;

double Mib(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

absl::Status CheckDemand(const MemoryDemand& demand) {
  const std::pair<const char*, std::int64_t> counts[] = {{"kv_blocks", demand.kv_blocks},
                                                         {"sequences", demand.sequences},
                                                         {"step_rows", demand.step_rows}};
  for (const auto& [name, count] : counts) {
    if (count < 0 || count > kDemandMax) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s is %d: give 0 to %d", name, count, kDemandMax));
    }
  }
  if (demand.mtp_block < 1 || demand.mtp_block > kMtpBlockMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("mtp_block is %d: give 1 to %d", demand.mtp_block, kMtpBlockMax));
  }
  return absl::OkStatus();
}

}  // namespace

std::string MemoryPlan::Text() const {
  std::string text;
  const std::pair<const char*, std::int64_t> lines[] = {{"weights", weights},
                                                        {"widened vectors and tables", widened},
                                                        {"KV pool", kv_pool},
                                                        {"sequence states", sequence_states},
                                                        {"activations", activations},
                                                        {"draft states", draft_states},
                                                        {"draft activations", draft_activations},
                                                        {"while serving", serving()},
                                                        {"staging, while loading", staging},
                                                        {"at most", peak()}};
  for (const auto& [name, bytes] : lines) {
    text += absl::StrFormat("  %-28s %12.1f MiB\n", name, Mib(bytes));
  }
  return text;
}

absl::StatusOr<MemoryPlan> PlanMemory(const weights::ModelShape& shape,
                                      const weights::RankShare& share,
                                      const ModelOptions& options,
                                      const weights::LoadOptions& load,
                                      const MemoryDemand& demand) {
  RETURN_IF_ERROR(CheckDemand(demand));
  ASSIGN_OR_RETURN(const weights::ShardPlan shard, weights::PlanShard(shape, share, load.draft));
  const kernels::OpsShape ops = weights::OpsShapeOf(shape, share);
  const kernels::CacheLayout layout = CacheLayoutOf(ops, shape.ratios, options);
  const std::int64_t width =
      share.experts_whole ? shape.expert_width : weights::WidthOf(shape, share).size();
  const std::int64_t logits_rows =
      std::min(demand.step_rows, demand.sequences * (options.rewind_rows_max + 1));
  const std::int64_t logits_width =
      shape.vocabulary + weights::ShareOf(shape.vocabulary, share.rank, share.ranks).size();
  MemoryPlan plan;
  plan.weights = shard.arena_bytes;
  plan.widened = shard.widened_bytes;
  plan.kv_pool = demand.kv_blocks * layout.block_bytes;
  plan.sequence_states = demand.sequences * layout.state_bytes;
  plan.activations = kernels::cpu::HostOps::BufferBytes(ops, layout, demand.step_rows, width) +
                     logits_rows * logits_width * 4;
  if (load.draft) {
    const DraftLayout draft = DraftLayoutOf(shape, options.numerics, demand.mtp_block);
    // With the logits that drafts were drawn of, kept until these are verified.
    const std::int64_t logits =
        draft.block * shape.vocabulary * static_cast<std::int64_t>(sizeof(float));
    plan.draft_states = demand.sequences * (draft.state_bytes + logits);
    plan.draft_activations =
        DraftActivationBytes(shape, share, draft, demand.step_rows, demand.sequences);
  }
  plan.staging = load.reader_threads * static_cast<std::int64_t>(weights::kStagingBytes);
  return plan;
}

absl::Status CheckMemory(const MemoryPlan& plan,
                         const MemoryDemand& demand,
                         const weights::AvailableMemory& available,
                         std::int64_t reserve_bytes) {
  const std::int64_t usable = std::max<std::int64_t>(0, available.bytes - reserve_bytes);
  if (plan.peak() <= usable) {
    return absl::OkStatus();
  }
  std::string remedy = "use more ranks, a machine with more memory, or a smaller checkpoint";
  const std::int64_t fixed = std::max(plan.serving() - plan.kv_pool, plan.loaded() + plan.staging);
  if (fixed <= usable && demand.kv_blocks > 0) {
    const std::int64_t block = plan.kv_pool / demand.kv_blocks;
    const std::int64_t room = usable - (plan.serving() - plan.kv_pool);
    remedy = absl::StrFormat("give the KV pool at most %d blocks instead of %d, or use more ranks",
                             block > 0 ? room / block : 0,
                             demand.kv_blocks);
  }
  return absl::ResourceExhaustedError(absl::StrFormat(
      "this rank needs %.1f MiB, but only %.1f MiB are to be had (%s: %.1f MiB, less a reserve of "
      "%.1f MiB); %s\n%s",
      Mib(plan.peak()),
      Mib(usable),
      available.limited_by,
      Mib(available.bytes),
      Mib(reserve_bytes),
      remedy,
      plan.Text()));
}

}  // namespace sparkspan::engine::model
