#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "engine/weights/model_shape.h"
#include "engine/weights/tensor_specs.h"

// Writes checkpoints in the published format, for benchmarks and tests without one.
namespace sparkspan::engine::weights {

// Bytes [offset, offset + out.size()) of a tensor; offset is a multiple of 8. Any thread.
using TensorSource =
    std::function<void(const TensorSpec& spec, std::uint64_t offset, std::span<std::byte> out)>;

// One safetensors file: the header padded to a multiple of 8, then the tensors in the published
// order (by element type, then by name), streamed in blocks of 4 MiB.
absl::Status WriteSafetensors(const std::filesystem::path& file,
                              std::vector<TensorSpec> specs,
                              const TensorSource& source);

struct GenerateOptions {
  std::uint64_t seed = 1;
  bool single_file = false;  // model.safetensors, without an index
  int threads = 2;           // 1 to 16, each writes shards of its own
};

// A checkpoint of random weights: config.json, generation_config.json and shards as published (one
// for the embedding, one a layer, one for the head, one a draft stage). The same seed gives the
// same bytes. Weights have variance 1 / columns, so that activations neither grow nor vanish. The
// folder must exist; files in it of these names are replaced. An error of the shape is
// ParseModelShape's.
absl::Status GenerateCheckpoint(const ModelShape& shape,
                                const std::filesystem::path& folder,
                                const GenerateOptions& options = {});

// The config.json of such a model, with the published fields; what ParseModelShape reads back.
std::string ConfigJson(const ModelShape& shape);

}  // namespace sparkspan::engine::weights
