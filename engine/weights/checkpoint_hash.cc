#include "engine/weights/checkpoint_hash.h"

#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/weights/safetensors.h"

namespace sparkspan::engine::weights {

absl::StatusOr<std::uint64_t> CheckpointHash(const Checkpoint& checkpoint) {
  const std::filesystem::path config = checkpoint.folder() / "config.json";
  std::ifstream stream(config, std::ios::binary);
  if (!stream) {
    return absl::NotFoundError(absl::StrFormat("cannot read %s", config.string()));
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  std::uint64_t hash = Hash64(text);
  for (const CheckpointFile& file : checkpoint.index().files) {
    hash = CombineHash(Hash64(file.path.filename().string(), hash), file.bytes);
  }
  // In the order of their names, as the index has none.
  std::map<std::string, std::uint64_t> tensors;
  for (const auto& [name, location] : checkpoint.index().tensors) {
    std::uint64_t own = Hash64(TypeText(location.dtype, location.shape));
    own = CombineHash(own, static_cast<std::uint64_t>(location.file));
    tensors.emplace(name, CombineHash(own, location.offset));
  }
  for (const auto& [name, own] : tensors) {
    hash = CombineHash(Hash64(name, hash), own);
  }
  return hash;
}

}  // namespace sparkspan::engine::weights
