#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::tests {

// A tensor of the golden data, as stored.
struct GoldenTensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;

  std::size_t size() const {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) {
      count *= static_cast<std::size_t>(extent);
    }
    return count;
  }

  template <typename T>
  std::vector<T> As() const {
    if (bytes.size() != size() * sizeof(T)) {
      throw std::runtime_error("golden tensor of " + dtype + " read as another size");
    }
    std::vector<T> values(size());
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  // F32, or BF16 widened.
  std::vector<float> Floats() const {
    if (dtype == "F32") {
      return As<float>();
    }
    std::vector<float> values;
    for (const std::uint16_t code : As<std::uint16_t>()) {
      values.push_back(kernels::numerics::FloatOfBf16(code));
    }
    return values;
  }
};

// A reader for tests only, independent of the engine's: trusts its file, reads it whole.
class GoldenTensors {
 public:
  explicit GoldenTensors(const std::filesystem::path& path);

  bool Has(const std::string& name) const { return tensors_.contains(name); }
  const GoldenTensor& operator[](const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw std::runtime_error("no golden tensor " + name);
    }
    return found->second;
  }
  std::vector<float> Floats(const std::string& name) const { return (*this)[name].Floats(); }

 private:
  std::map<std::string, GoldenTensor> tensors_;
};

}  // namespace sparkspan::tests
