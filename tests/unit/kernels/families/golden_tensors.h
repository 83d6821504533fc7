#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace sparkspan::kernels {

// The tensors of safetensors files of the golden data, which the repository made itself: no limits,
// no checks beyond the name.
class GoldenTensors {
 public:
  void Load(const std::filesystem::path& path);

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
