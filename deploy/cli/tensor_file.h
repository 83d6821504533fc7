#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sparkspan::deploy::cli {

struct F32Tensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

struct I32Tensor {
  std::vector<std::int64_t> shape;
  std::vector<std::int32_t> values;
};

// Whether WriteTensors may put a file there: what stands in its place must be a regular file, which
// /dev/null and folders are not. To be asked before the work whose results it is for.
absl::Status CheckReplaceable(const std::string& file);

// A safetensors file of F32 and I32 tensors, replaced as a whole: written beside and renamed. No
// name may be in both. InvalidArgument: CheckReplaceable's.
absl::Status WriteTensors(const std::string& file,
                          const std::map<std::string, F32Tensor>& tensors,
                          const std::map<std::string, I32Tensor>& integers = {});

// The F32 and BF16 tensors of a safetensors file, widened; others are passed over.
absl::StatusOr<std::map<std::string, F32Tensor>> ReadTensors(const std::string& file);

}  // namespace sparkspan::deploy::cli
