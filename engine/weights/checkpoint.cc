#include "engine/weights/checkpoint.h"

#include <chrono>
#include <set>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::weights {
namespace {

constexpr std::size_t kNamesShownMax = 3;

// "a, b, c and 5 more".
std::string ListText(const std::set<std::string>& names) {
  std::string text;
  std::size_t shown = 0;
  for (const std::string& name : names) {
    if (shown == kNamesShownMax) {
      return text + absl::StrFormat(" and %d more", names.size() - shown);
    }
    text += (shown++ == 0 ? "" : ", ") + name;
  }
  return text;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Checkpoint>> Checkpoint::Open(
    const std::filesystem::path& folder) {
  const auto begin = std::chrono::steady_clock::now();
  const std::shared_ptr<Checkpoint> checkpoint(new Checkpoint());
  checkpoint->folder_ = folder;
  ASSIGN_OR_RETURN(checkpoint->shape_, ReadModelShape(folder / "config.json"));
  ASSIGN_OR_RETURN(checkpoint->generation_, ReadGenerationDefaults(folder, checkpoint->shape_));
  ASSIGN_OR_RETURN(checkpoint->index_, CheckpointIndex::Open(folder));
  RETURN_IF_ERROR(checkpoint->FindDraft());
  RETURN_IF_ERROR(checkpoint->CheckTensors());
  checkpoint->open_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return std::shared_ptr<const Checkpoint>(checkpoint);
}

absl::Status Checkpoint::FindDraft() {
  std::set<int> stages;
  for (const auto& [name, location] : index_.tensors) {
    if (const int stage = StageOfName(name); stage >= 0) {
      stages.insert(stage);
    }
  }
  const int count = static_cast<int>(stages.size());
  if (count > 0 && *stages.rbegin() != count - 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: draft stages: found mtp.%d. but only %d stages in all, expected them numbered from 0 "
        "without gaps; use a complete checkpoint, or remove all mtp.* tensors and shards",
        folder_.string(),
        *stages.rbegin(),
        count));
  }
  const auto has = [&](const std::string& name) { return index_.tensors.contains(name); };
  return ResolveDraft(folder_.string(), has, count, &shape_);
}

absl::Status Checkpoint::CheckTensors() const {
  std::set<std::string> missing;
  std::set<std::string> expected;
  for (TensorSpec& spec : ExpectedTensors(shape_)) {
    const auto found = index_.tensors.find(spec.name);
    if (found == index_.tensors.end()) {
      missing.insert(spec.name);
    } else if (found->second.dtype != spec.dtype || found->second.shape != spec.shape) {
      const std::filesystem::path& file =
          index_.files[static_cast<std::size_t>(found->second.file)].path;
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: tensor %s is %s, expected %s by config.json; the two are not of one checkpoint",
          file.string(),
          spec.name,
          TypeText(found->second.dtype, found->second.shape),
          TypeText(spec.dtype, spec.shape)));
    }
    expected.insert(std::move(spec.name));
  }
  if (!missing.empty()) {
    return absl::NotFoundError(absl::StrFormat(
        "%s: %d tensors that config.json implies are missing: %s; use a complete checkpoint",
        folder_.string(),
        missing.size(),
        ListText(missing)));
  }
  std::set<std::string> unknown;
  const std::vector<std::int64_t> copy{shape_.vocabulary, shape_.ops.hidden};
  for (const auto& [name, location] : index_.tensors) {
    const bool dropped = IsDraftCopy(name, shape_) && location.shape == copy;
    if (!dropped && !expected.contains(name)) {
      unknown.insert(name);
    }
  }
  if (!unknown.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: %d tensors that no part of the model by config.json uses: %s; expected exactly the "
        "published set, so this is another architecture or a damaged config.json",
        folder_.string(),
        unknown.size(),
        ListText(unknown)));
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::weights
