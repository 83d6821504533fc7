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
#include <vector>

namespace sparkspan::kernels {

// The tensors of safetensors files of the golden data, which the repository made itself: no limits,
// no checks beyond the name.
class GoldenTensors {
 public:
  void Load(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::uint64_t header_bytes = 0;
    file.read(reinterpret_cast<char*>(&header_bytes), sizeof(header_bytes));
    std::string header(header_bytes, '\0');
    file.read(header.data(), static_cast<std::streamsize>(header_bytes));
    const auto begin = file.tellg();
    const auto parsed = nlohmann::json::parse(header);
    for (const auto& [name, tensor] : parsed.items()) {
      if (name == "__metadata__") {
        continue;
      }
      const auto first = tensor["data_offsets"][0].get<std::int64_t>();
      const auto last = tensor["data_offsets"][1].get<std::int64_t>();
      std::vector<std::byte> bytes(static_cast<std::size_t>(last - first));
      file.seekg(begin + static_cast<std::streamoff>(first));
      file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      tensors_[name] = std::move(bytes);
    }
  }

  template <class T>
  std::vector<T> Get(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw std::runtime_error("the golden data lacks " + name);
    }
    std::vector<T> values(found->second.size() / sizeof(T));
    std::memcpy(values.data(), found->second.data(), found->second.size());
    return values;
  }

 private:
  std::map<std::string, std::vector<std::byte>> tensors_;
};

}  // namespace sparkspan::kernels
