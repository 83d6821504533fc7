#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Files by which the kernel says things (sysfs, procfs), under whichever root they are. What cannot
// be read is absent: a link that is down answers EINVAL for some attributes, an empty slot of a
// table for others, and a container may see only part of the tree.
namespace sparkspan::engine::fabric {

inline constexpr std::size_t kTextBytesMax = std::size_t{64} << 20;

// The first line; empty when the file is absent or refuses to be read.
std::string ReadLine(const std::filesystem::path& file);

// The whole file, up to kTextBytesMax; empty when there is none.
std::optional<std::string> ReadText(const std::filesystem::path& file);

// The first line as a whole decimal number.
std::optional<std::int64_t> ReadNumber(const std::filesystem::path& file);

// The last component of the path that a link points to; empty when there is none.
std::string LinkName(const std::filesystem::path& link);

// What a folder holds, sorted; empty when there is no such folder.
std::vector<std::string> EntryNames(const std::filesystem::path& folder);

}  // namespace sparkspan::engine::fabric
