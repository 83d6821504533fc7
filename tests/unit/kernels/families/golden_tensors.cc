#include "tests/unit/kernels/families/golden_tensors.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

namespace sparkspan::kernels {

void GoldenTensors::Load(const std::filesystem::path& path) {
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

}  // namespace sparkspan::kernels
