#include "deploy/cli/tensor_file.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "kernels/numerics/formats.h"

namespace sparkspan::deploy::cli {
namespace {

using nlohmann::json;

absl::StatusOr<F32Tensor> ReadTensor(const json& entry, const std::string& data) {
  const auto malformed = [] { return absl::InvalidArgumentError("its entry is malformed"); };
  const std::size_t width = entry["dtype"] == "F32" ? 4 : 2;
  F32Tensor tensor;
  std::size_t count = 1;
  if (!entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
    return malformed();
  }
  for (const json& extent : entry["shape"]) {
    if (!extent.is_number_unsigned() ||
        __builtin_mul_overflow(count, extent.get<std::size_t>(), &count)) {
      return malformed();
    }
    tensor.shape.push_back(extent.get<std::int64_t>());
  }
  const json& begin = entry["data_offsets"][0];
  if (!begin.is_number_unsigned() || begin.get<std::size_t>() > data.size() ||
      count > (data.size() - begin.get<std::size_t>()) / width) {
    return malformed();
  }
  tensor.values.resize(count);
  const char* from = data.data() + begin.get<std::size_t>();
  for (std::size_t i = 0; i < count; ++i) {
    if (width == 4) {
      std::memcpy(&tensor.values[i], from + 4 * i, 4);
    } else {
      std::uint16_t code;
      std::memcpy(&code, from + 2 * i, 2);
      tensor.values[i] = kernels::numerics::FloatOfBf16(code);
    }
  }
  return tensor;
}

}  // namespace

absl::Status CheckReplaceable(const std::string& file) {
  std::error_code error;
  const std::filesystem::file_status found = std::filesystem::status(file, error);
  if (std::filesystem::exists(found) && !std::filesystem::is_regular_file(found)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s is no regular file and will not be replaced: name another for the output", file));
  }
  return absl::OkStatus();
}

absl::Status WriteTensors(const std::string& file,
                          const std::map<std::string, F32Tensor>& tensors,
                          const std::map<std::string, I32Tensor>& integers) {
  RETURN_IF_ERROR(CheckReplaceable(file));
  json header = json::object();
  std::vector<std::span<const std::byte>> parts;
  std::uint64_t offset = 0;
  const auto add = [&](const std::string& name, const char* dtype, const auto& tensor) {
    parts.push_back(std::as_bytes(std::span(tensor.values)));
    const std::uint64_t end = offset + parts.back().size();
    header[name] = {{"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  };
  for (const auto& [name, tensor] : tensors) {
    add(name, "F32", tensor);
  }
  for (const auto& [name, tensor] : integers) {
    add(name, "I32", tensor);
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // Data starts at a multiple of eight.
  const std::string partial = file + ".partial";
  {
    std::ofstream stream(partial, std::ios::binary);
    const std::uint64_t bytes = text.size();
    stream.write(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
    stream.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const std::span<const std::byte> part : parts) {
      stream.write(reinterpret_cast<const char*>(part.data()),
                   static_cast<std::streamsize>(part.size()));
    }
    stream.flush();
    if (!stream) {
      return absl::UnavailableError(
          absl::StrFormat("cannot write %s: does the folder exist, is there space?", partial));
    }
  }
  if (std::rename(partial.c_str(), file.c_str()) != 0) {
    return absl::UnavailableError(absl::StrFormat("cannot rename %s to %s", partial, file));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, F32Tensor>> ReadTensors(const std::string& file) {
  const auto refuse = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", file, why));
  };
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  std::uint64_t header_bytes = 0;
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char*>(&header_bytes), sizeof(header_bytes));
  if (error || !stream || size < 8 || header_bytes > size - 8) {
    return refuse("is not a readable safetensors file");
  }
  std::string header_text(header_bytes, ' ');
  std::string data(size - 8 - header_bytes, ' ');
  stream.read(header_text.data(), static_cast<std::streamsize>(header_text.size()));
  stream.read(data.data(), static_cast<std::streamsize>(data.size()));
  const json header = json::parse(header_text, nullptr, /*allow_exceptions=*/false);
  if (!stream || !header.is_object()) {
    return refuse("is not a readable safetensors file");
  }
  std::map<std::string, F32Tensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (!entry.is_object() || !entry.contains("dtype") ||
        (entry["dtype"] != "F32" && entry["dtype"] != "BF16")) {
      continue;
    }
    absl::StatusOr<F32Tensor> tensor = ReadTensor(entry, data);
    if (!tensor.ok()) {
      return refuse(absl::StrFormat("tensor %s: %s", name, tensor.status().message()));
    }
    tensors[name] = *std::move(tensor);
  }
  return tensors;
}

}  // namespace sparkspan::deploy::cli
