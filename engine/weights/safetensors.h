#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

// The header of a safetensors file (docs/formats/checkpoint.md): eight bytes of little-endian
// length, a JSON object of that length, then the tensors' bytes.
namespace sparkspan::engine::weights {

// The element types that published checkpoints use.
enum class Dtype : std::uint8_t {
  kI64,
  kF32,
  kBf16,
  kE8m0,  // F8_E8M0: a scale, raw byte
  kE4m3,  // F8_E4M3
  kI8,    // two e2m1 codes
};

std::string_view DtypeName(Dtype dtype);  // the file's spelling
std::optional<Dtype> DtypeOfName(std::string_view name);
std::int64_t DtypeBytes(Dtype dtype);

// "BF16 [640, 256]".
std::string TypeText(Dtype dtype, std::span<const std::int64_t> shape);

// Where a tensor lies in its file.
struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  // from the beginning of the file
  std::uint64_t bytes = 0;
};

// Header lengths above this are refused; the largest published one is 0.3 MiB.
inline constexpr std::uint64_t kSafetensorsHeaderBytesMax = std::uint64_t{64} << 20;

// The entries in order of offset, every bound checked: they fill the file from the header's end to
// its own without gaps or overlaps, and each holds what its shape says. `head` is the file's first
// bytes, at least the header; `file` is named in messages.
absl::StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(const std::string& file,
                                                                std::span<const std::byte> head,
                                                                std::uint64_t file_bytes);

// Reads the header of a file, and nothing behind it.
absl::StatusOr<std::vector<TensorEntry>> ReadSafetensorsHeader(const std::filesystem::path& file,
                                                               std::uint64_t* file_bytes);

}  // namespace sparkspan::engine::weights
