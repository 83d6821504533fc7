#include "engine/weights/checkpoint_index.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/weights/json_object.h"

namespace sparkspan::engine::weights {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleName = "model.safetensors";
constexpr std::size_t kShardsMax = 4096;

absl::StatusOr<std::map<std::string, std::string>> WeightMapOf(const JsonObject& index) {
  ASSIGN_OR_RETURN(const JsonObject map, index.Object("weight_map"));
  std::map<std::string, std::string> shards;
  for (const std::string& name : map.Keys()) {
    std::string shard;
    RETURN_IF_ERROR(map.Text(name, &shard));
    if (!shard.ends_with(".safetensors") || shard.find('/') != std::string::npos ||
        shard.find('\0') != std::string::npos) {
      return map.Refuse(name, "the name of a .safetensors file beside the index");
    }
    shards.emplace_hint(shards.end(), name, std::move(shard));
  }
  return shards;
}

// The model*.safetensors files that lie in the folder; other safetensors files are not weights.
std::set<std::string> ShardsPresent(const std::filesystem::path& folder) {
  std::set<std::string> shards;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) {
      shards.insert(name);
    }
  }
  return shards;
}

// What a folder without safetensors holds instead.
absl::Status RefuseOtherFormats(const std::filesystem::path& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".gguf" || extension == ".bin" || extension == ".pt") {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: found %s, expected model-*.safetensors: %s files are not supported; use the "
          "checkpoint as published on Hugging Face",
          folder.string(),
          entry.path().filename().string(),
          extension == ".gguf" ? "GGUF" : "PyTorch"));
    }
  }
  return absl::NotFoundError(absl::StrFormat(
      "%s: found neither %s nor %s, expected a checkpoint folder as published; name "
      "another folder or fetch it again",
      folder.string(),
      kIndexName,
      kSingleName));
}

class IndexReader {
 public:
  explicit IndexReader(const std::filesystem::path& folder) : folder_(folder) {}

  absl::StatusOr<CheckpointIndex> Read() {
    const std::set<std::string> present = ShardsPresent(folder_);
    std::error_code error;
    std::set<std::string> named;
    if (std::filesystem::exists(folder_ / kIndexName, error)) {
      ASSIGN_OR_RETURN(const JsonObject json, JsonObject::Read(folder_ / kIndexName));
      ASSIGN_OR_RETURN(weight_map_, WeightMapOf(json));
      for (const auto& [name, shard] : weight_map_) {
        named.insert(shard);
      }
    } else if (present.contains(kSingleName)) {
      named.insert(kSingleName);
    } else if (present.empty()) {
      return RefuseOtherFormats(folder_);
    } else {
      return Refuse(absl::StrFormat("%d shards without %s", present.size(), kIndexName),
                    "the index of the shards",
                    "fetch it");
    }
    RETURN_IF_ERROR(CheckFiles(named, present));
    for (const std::string& shard : named) {
      RETURN_IF_ERROR(AddShard(shard));
    }
    for (const auto& [name, shard] : weight_map_) {
      if (!index_.tensors.contains(name)) {
        return Refuse(absl::StrFormat("tensor %s is not in %s", name, shard),
                      absl::StrFormat("it there, as %s says", kIndexName),
                      "fetch both files again");
      }
    }
    return std::move(index_);
  }

 private:
  absl::Status Refuse(std::string_view found, std::string_view expected, std::string_view remedy) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: found %s, expected %s; %s", folder_.string(), found, expected, remedy));
  }

  absl::Status CheckFiles(const std::set<std::string>& named,
                          const std::set<std::string>& present) {
    if (named.empty() || named.size() > kShardsMax) {
      return Refuse(absl::StrFormat("%d shards named by %s", named.size(), kIndexName),
                    absl::StrFormat("1 to %d", kShardsMax),
                    "fetch it again");
    }
    std::error_code error;
    for (const std::string& shard : named) {
      if (!std::filesystem::exists(folder_ / shard, error)) {
        return absl::NotFoundError(absl::StrFormat(
            "%s: shard %s is missing, expected all %d shards that %s names; fetch it",
            folder_.string(),
            shard,
            named.size(),
            kIndexName));
      }
    }
    for (const std::string& shard : present) {
      if (!named.contains(shard)) {
        return Refuse(absl::StrFormat("shard %s, which no index names", shard),
                      absl::StrFormat("only the %d shards of the checkpoint", named.size()),
                      "remove it, or fetch the checkpoint into an empty folder");
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddShard(const std::string& shard) {
    CheckpointFile file{folder_ / shard, 0};
    ASSIGN_OR_RETURN(std::vector<TensorEntry> entries,
                     ReadSafetensorsHeader(file.path, &file.bytes));
    const int number = static_cast<int>(index_.files.size());
    index_.files.push_back(std::move(file));
    for (TensorEntry& entry : entries) {
      if (!weight_map_.empty()) {
        const auto mapped = weight_map_.find(entry.name);
        if (mapped == weight_map_.end() || mapped->second != shard) {
          return Refuse(absl::StrFormat("tensor %s in %s", entry.name, shard),
                        mapped == weight_map_.end()
                            ? absl::StrFormat("no tensor that %s does not name", kIndexName)
                            : absl::StrFormat("it in %s, as %s says", mapped->second, kIndexName),
                        "fetch both files again");
        }
      }
      index_.tensors.emplace(
          std::move(entry.name),
          TensorLocation{number, entry.dtype, std::move(entry.shape), entry.offset, entry.bytes});
    }
    return absl::OkStatus();
  }

  const std::filesystem::path& folder_;
  std::map<std::string, std::string> weight_map_;  // empty: a single file
  CheckpointIndex index_;
};

}  // namespace

absl::StatusOr<CheckpointIndex> CheckpointIndex::Open(const std::filesystem::path& folder) {
  return IndexReader(folder).Read();
}

absl::StatusOr<std::map<std::string, std::string>> ParseWeightMap(const std::string& file,
                                                                  std::string_view text) {
  ASSIGN_OR_RETURN(const JsonObject index, JsonObject::Parse(file, text));
  return WeightMapOf(index);
}

}  // namespace sparkspan::engine::weights
