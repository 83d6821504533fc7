#include "engine/weights/host_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::weights {
namespace {

std::optional<std::string> ReadText(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) {
    return std::nullopt;
  }
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::optional<std::int64_t> ParseNumber(std::string_view text) {
  std::int64_t value = 0;
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && value >= 0 ? std::optional(value) : std::nullopt;
}

// The number behind `key` at the beginning of a line.
std::optional<std::int64_t> FieldOf(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (std::string_view(line).starts_with(key)) {
      return ParseNumber(std::string_view(line).substr(key.size()));
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> NumberIn(const std::filesystem::path& file) {
  const std::optional<std::string> text = ReadText(file);
  return text ? ParseNumber(*text) : std::nullopt;
}

// What one group still allows; empty without a limit ("max", or no such file).
std::optional<std::int64_t> LeftIn(const std::filesystem::path& group) {
  const std::optional<std::int64_t> limit = NumberIn(group / "memory.max");
  const std::optional<std::int64_t> used = NumberIn(group / "memory.current");
  if (!limit || !used) {
    return std::nullopt;
  }
  const std::optional<std::string> statistics = ReadText(group / "memory.stat");
  const std::int64_t files = statistics ? FieldOf(*statistics, "inactive_file ").value_or(0) : 0;
  return std::max<std::int64_t>(0, *limit - std::max<std::int64_t>(0, *used - files));
}

}  // namespace

absl::StatusOr<AvailableMemory> ReadAvailableMemory(const HostMemorySources& sources) {
  const std::optional<std::string> meminfo = ReadText(sources.meminfo);
  const std::optional<std::int64_t> kib =
      meminfo ? FieldOf(*meminfo, "MemAvailable:") : std::nullopt;
  if (!kib) {
    return absl::NotFoundError(
        absl::StrFormat("%s: no MemAvailable, expected a line of it; mount /proc as Linux has it",
                        sources.meminfo.string()));
  }
  AvailableMemory available{*kib * 1024, "MemAvailable"};
  const std::optional<std::string> own = ReadText(sources.own_cgroup);
  // "0::/path" is the unified hierarchy's line; without one there is no group to ask.
  const std::size_t at = own ? own->find("0::/") : std::string::npos;
  if (at == std::string::npos) {
    return available;
  }
  std::string path = own->substr(at + 4);
  path.resize(std::min(path.size(), path.find('\n')));
  std::filesystem::path relative = path;
  while (true) {
    const std::filesystem::path group =
        relative.empty() ? sources.cgroup_root : sources.cgroup_root / relative;
    if (const auto left = LeftIn(group); left && *left < available.bytes) {
      available = {*left, (group / "memory.max").string()};
    }
    if (relative.empty()) {
      return available;
    }
    relative = relative.parent_path();
  }
}

}  // namespace sparkspan::engine::weights
