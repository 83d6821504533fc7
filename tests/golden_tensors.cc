#include "tests/golden_tensors.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace sparkspan::tests {

GoldenTensors::GoldenTensors(const std::filesystem::path& path) {
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

}  // namespace sparkspan::tests
