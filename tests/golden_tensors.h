#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
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
  explicit GoldenTensors(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::uint64_t header_bytes = 0;
    file.read(reinterpret_cast<char*>(&header_bytes), sizeof(header_bytes));
    std::string header(header_bytes, ' ');
    file.read(header.data(), static_cast<std::streamsize>(header_bytes));
    std::vector<std::byte> data(std::filesystem::file_size(path) - 8 - header_bytes);
    file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
    if (!file) {
      throw std::runtime_error("cannot read " + path.string());
    }
    const nlohmann::json tensors = nlohmann::json::parse(header);
    for (const auto& [name, entry] : tensors.items()) {
      if (name == "__metadata__") {
        continue;
      }
      const auto offsets = entry.at("data_offsets").get<std::vector<std::ptrdiff_t>>();
      tensors_[name] = {entry.at("dtype"),
                        entry.at("shape"),
                        {data.begin() + offsets[0], data.begin() + offsets[1]}};
    }
  }

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
