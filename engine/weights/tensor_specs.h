#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/weights/model_shape.h"
#include "engine/weights/safetensors.h"

// The full set of tensors a checkpoint of a given shape must have: no more, no less.
namespace sparkspan::engine::weights {

// How a tensor is dealt to ranks. Rows and columns are those of the weight as a matrix.
enum class Division : std::uint8_t {
  kWhole,           // every rank holds all of it
  kVocabularyRows,  // by token id
  kGroupRows,       // rows by output group: heads of a group, its latent rows, its sinks
  kGroupColumns,    // columns by output group
  kWidthRows,       // rows by stretch of the expert width
  kWidthColumns,    // columns by stretch of the expert width
};

struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;  // as stored
  Division division = Division::kWhole;
  int expert = -1;  // of a routed expert: dealt by id where experts are dealt whole
  bool draft = false;

  // The matrix the tensor is part of, and how many of its rows and columns one stored element
  // covers: 1 x 1 of an unscaled or FP8 weight, 128 x 128 of an FP8 scale, 1 x 2 of an FP4 byte,
  // 1 x 32 of an FP4 scale. A vector is a matrix of one column.
  std::int64_t rows = 0;
  std::int64_t columns = 1;
  std::int64_t element_rows = 1;
  std::int64_t element_columns = 1;

  std::int64_t stored_rows() const { return shape.empty() ? 1 : shape[0]; }
  std::int64_t stored_columns() const { return shape.size() < 2 ? 1 : shape[1]; }
  std::int64_t bytes() const { return stored_rows() * stored_columns() * DtypeBytes(dtype); }
};

// In the order of the model: root tensors, layers, draft stages.
std::vector<TensorSpec> ExpectedTensors(const ModelShape& shape);

// Sets draft and draft_stages by the names of the checkpoint's tensors: stages are `mtp.N.`,
// contiguous from 0, DSpark by mtp.0.main_proj.weight, MTP by mtp.0.e_proj.weight.
absl::Status ResolveDraft(const std::string& folder,
                          const std::function<bool(const std::string&)>& has,
                          int stage_names,
                          ModelShape* shape);

// The stage number of a name `mtp.N.rest`, or -1.
int StageOfName(std::string_view name);

// Copies of the embedding and the head that some requantised files carry beside an MTP block, to be
// ignored (DeepSeek's own converter drops them).
bool IsDraftCopy(std::string_view name, const ModelShape& shape);

}  // namespace sparkspan::engine::weights
