#include "engine/weights/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/base/unique_fd.h"
#include "engine/weights/json_object.h"

namespace sparkspan::engine::weights {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::size_t kDimensionsMax = 4;
constexpr std::int64_t kExtentMax = std::int64_t{1} << 40;
constexpr const char* kAgain = "fetch the file again";

constexpr std::pair<Dtype, std::string_view> kNames[] = {{Dtype::kI64, "I64"},
                                                         {Dtype::kF32, "F32"},
                                                         {Dtype::kBf16, "BF16"},
                                                         {Dtype::kE8m0, "F8_E8M0"},
                                                         {Dtype::kE4m3, "F8_E4M3"},
                                                         {Dtype::kI8, "I8"}};

std::uint64_t LittleEndian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return value;
}

absl::Status Refuse(const std::string& file, std::string_view found, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: %s, expected %s; %s", file, found, expected, kAgain));
}

// The length a file says its header has, checked against the file's own.
absl::StatusOr<std::uint64_t> HeaderBytes(const std::string& file,
                                          std::span<const std::byte> head,
                                          std::uint64_t file_bytes) {
  if (file_bytes < kLengthBytes || head.size() < kLengthBytes) {
    return Refuse(file,
                  absl::StrFormat("is %d bytes", file_bytes),
                  "a safetensors file, which is longer than 8");
  }
  const std::uint64_t bytes = LittleEndian(head);
  if (bytes > kSafetensorsHeaderBytesMax || bytes > file_bytes - kLengthBytes) {
    return Refuse(file,
                  absl::StrFormat("its header says it is %d bytes long in a file of %d: truncated, "
                                  "or not a safetensors file",
                                  bytes,
                                  file_bytes),
                  absl::StrFormat("at most the rest of the file and %d MiB",
                                  kSafetensorsHeaderBytesMax >> 20));
  }
  return bytes;
}

// One entry; its offset counted from the end of the header.
absl::StatusOr<TensorEntry> ReadEntry(const JsonObject& header, const std::string& name) {
  ASSIGN_OR_RETURN(const JsonObject object, header.Object(name));
  TensorEntry entry;
  entry.name = name;
  std::string dtype;
  RETURN_IF_ERROR(object.Text("dtype", &dtype));
  const std::optional<Dtype> known = DtypeOfName(dtype);
  if (!known) {
    return object.Refuse("dtype", "one of I64, F32, BF16, F8_E8M0, F8_E4M3, I8", kAgain);
  }
  entry.dtype = *known;
  RETURN_IF_ERROR(object.Integers("shape", kDimensionsMax, 0, kExtentMax, &entry.shape));
  std::int64_t bytes = DtypeBytes(entry.dtype);
  for (const std::int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      return object.Refuse("shape", "a tensor of less than 2^63 bytes", kAgain);
    }
  }
  std::vector<std::int64_t> offsets;
  RETURN_IF_ERROR(object.Integers("data_offsets", 2, 0, INT64_MAX, &offsets));
  if (offsets.size() != 2 || offsets[1] < offsets[0] || offsets[1] - offsets[0] != bytes) {
    return object.Refuse(
        "data_offsets",
        absl::StrFormat("a begin and an end %d bytes apart, as the shape and dtype "
                        "%s say",
                        bytes,
                        TypeText(entry.dtype, entry.shape)),
        kAgain);
  }
  for (const std::string& key : object.Keys()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return object.Refuse(key, "only dtype, shape and data_offsets", kAgain);
    }
  }
  entry.offset = static_cast<std::uint64_t>(offsets[0]);
  entry.bytes = static_cast<std::uint64_t>(bytes);
  return entry;
}

// Tensors must lie end to end from 0 to data_bytes.
absl::Status CheckCover(const std::string& file,
                        const std::vector<TensorEntry>& entries,
                        std::uint64_t data_bytes) {
  std::uint64_t end = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.offset != end) {
      return Refuse(file,
                    absl::StrFormat("tensor %s begins at data byte %d, %s",
                                    entry.name,
                                    entry.offset,
                                    entry.offset < end ? "inside another tensor" : "after a gap"),
                    absl::StrFormat("byte %d, where the one before ends", end));
    }
    end += entry.bytes;
    if (end > data_bytes) {
      return Refuse(
          file,
          absl::StrFormat(
              "tensor %s ends at data byte %d of %d: truncated", entry.name, end, data_bytes),
          "all tensors inside the file");
    }
  }
  if (end != data_bytes) {
    return Refuse(file,
                  absl::StrFormat("%d bytes behind the last tensor", data_bytes - end),
                  "the file to end with it");
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view DtypeName(Dtype dtype) {
  return std::find_if(std::begin(kNames),
                      std::end(kNames),
                      [&](const auto& item) { return item.first == dtype; })
      ->second;
}

std::optional<Dtype> DtypeOfName(std::string_view name) {
  for (const auto& [dtype, spelling] : kNames) {
    if (spelling == name) {
      return dtype;
    }
  }
  return std::nullopt;
}

std::int64_t DtypeBytes(Dtype dtype) {
  switch (dtype) {
    case Dtype::kI64:
      return 8;
    case Dtype::kF32:
      return 4;
    case Dtype::kBf16:
      return 2;
    case Dtype::kE8m0:
    case Dtype::kE4m3:
    case Dtype::kI8:
      return 1;
  }
  return 1;
}

std::string TypeText(Dtype dtype, std::span<const std::int64_t> shape) {
  std::string text;
  for (const std::int64_t extent : shape) {
    text += absl::StrFormat("%s%d", text.empty() ? "" : ", ", extent);
  }
  return absl::StrFormat("%s [%s]", DtypeName(dtype), text);
}

absl::StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(const std::string& file,
                                                                std::span<const std::byte> head,
                                                                std::uint64_t file_bytes) {
  ASSIGN_OR_RETURN(const std::uint64_t header_bytes, HeaderBytes(file, head, file_bytes));
  if (head.size() < kLengthBytes + header_bytes) {
    return Refuse(file, "its header is cut short", absl::StrFormat("%d bytes", header_bytes));
  }
  const std::string_view text(reinterpret_cast<const char*>(head.data()) + kLengthBytes,
                              header_bytes);
  ASSIGN_OR_RETURN(const JsonObject header, JsonObject::Parse(file + ": its header", text));
  std::vector<TensorEntry> entries;
  for (const std::string& name : header.Keys()) {
    if (name == "__metadata__") {
      continue;
    }
    ASSIGN_OR_RETURN(TensorEntry entry, ReadEntry(header, name));
    entries.push_back(std::move(entry));
  }
  // Empty tensors before those that begin at the same byte.
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  RETURN_IF_ERROR(CheckCover(file, entries, file_bytes - kLengthBytes - header_bytes));
  for (TensorEntry& entry : entries) {
    entry.offset += kLengthBytes + header_bytes;
  }
  return entries;
}

absl::StatusOr<std::vector<TensorEntry>> ReadSafetensorsHeader(const std::filesystem::path& file,
                                                               std::uint64_t* file_bytes) {
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::NotFoundError(absl::StrFormat(
        "%s: cannot be opened as a file (%s)", file.string(), std::strerror(errno)));
  }
  *file_bytes = static_cast<std::uint64_t>(info.st_size);
  std::vector<std::byte> head;
  const auto extend = [&](std::uint64_t bytes) -> absl::Status {
    std::size_t have = head.size();
    head.resize(static_cast<std::size_t>(bytes));
    while (have < head.size()) {
      const ssize_t got =
          pread(fd.get(), head.data() + have, head.size() - have, static_cast<off_t>(have));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got <= 0) {
        return absl::DataLossError(absl::StrFormat("%s: its header cannot be read (%s)",
                                                   file.string(),
                                                   got < 0 ? std::strerror(errno) : "it shrank"));
      }
      have += static_cast<std::size_t>(got);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(extend(std::min(*file_bytes, kLengthBytes)));
  ASSIGN_OR_RETURN(const std::uint64_t header_bytes, HeaderBytes(file.string(), head, *file_bytes));
  RETURN_IF_ERROR(extend(kLengthBytes + header_bytes));
  return ParseSafetensorsHeader(file.string(), head, *file_bytes);
}

}  // namespace sparkspan::engine::weights
