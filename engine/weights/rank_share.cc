#include "engine/weights/rank_share.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::weights {
namespace {

// "output groups     8: 3, 2, 3 (uneven)"
std::string Dealt(std::string_view what, std::int64_t count, std::int64_t unit, int ranks) {
  std::string sizes;
  std::int64_t least = count;
  std::int64_t most = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::int64_t size = ShareOf(count / unit, rank, ranks).size() * unit;
    least = std::min(least, size);
    most = std::max(most, size);
    sizes += absl::StrFormat("%s%d", rank == 0 ? "" : ", ", size);
  }
  const char* note = least == most ? ""
                     : least == 0  ? " (uneven: some ranks get none)"
                                   : " (uneven)";
  return absl::StrFormat("  %-28s %7d: %s%s\n", what, count, sizes, note);
}

}  // namespace

Range WidthOf(const ModelShape& shape, const RankShare& share) {
  const Range units = ShareOf(shape.expert_width / share.width_unit, share.rank, share.ranks);
  return {units.begin * share.width_unit, units.end * share.width_unit};
}

int RanksMax(const ModelShape& shape) {
  return static_cast<int>(std::min<std::int64_t>(shape.ops.groups, shape.vocabulary));
}

absl::Status CheckShare(const ModelShape& shape, const RankShare& share) {
  const int most = RanksMax(shape);
  if (share.ranks < 1 || share.rank < 0 || share.rank >= share.ranks || share.ranks > most) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "rank %d of %d: this model has %d output groups of %d heads, which stay together, so it "
        "runs on 1 to %d ranks",
        share.rank,
        share.ranks,
        shape.ops.groups,
        shape.ops.heads / shape.ops.groups,
        most));
  }
  if ((share.width_unit != 32 && share.width_unit != 128)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "width unit %d: 32 keeps a scale together, 128 a group of quantised activations",
        share.width_unit));
  }
  return absl::OkStatus();
}

kernels::OpsShape OpsShapeOf(const ModelShape& shape, const RankShare& share) {
  kernels::OpsShape ops = shape.ops;
  ops.groups = static_cast<int>(ShareOf(shape.ops.groups, share.rank, share.ranks).size());
  ops.heads = ops.groups * (shape.ops.heads / shape.ops.groups);
  return ops;
}

std::string DescribeShares(const ModelShape& shape, const RankShare& share) {
  const int ranks = share.ranks;
  const int heads = shape.ops.heads / shape.ops.groups;
  std::string text = absl::StrFormat("Shares of %d ranks, in rank order\n", ranks);
  text += Dealt("attention heads", shape.ops.heads, heads, ranks);
  text += Dealt("output groups", shape.ops.groups, 1, ranks);
  text += Dealt("vocabulary rows", shape.vocabulary, 1, ranks);
  text += Dealt("shared expert's width", shape.expert_width, share.width_unit, ranks);
  if (share.experts_whole) {
    text += Dealt("routed experts, by id", shape.ops.experts, 1, ranks);
  } else {
    text += Dealt("routed experts' width", shape.expert_width, share.width_unit, ranks);
  }
  text +=
      "  on every rank: latent projections, compressors, indexers, routers, norms, residual "
      "mixing\n";
  return text;
}

}  // namespace sparkspan::engine::weights
