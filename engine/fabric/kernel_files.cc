#include "engine/fabric/kernel_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <system_error>

namespace sparkspan::engine::fabric {

namespace fs = std::filesystem;

std::string ReadLine(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

std::optional<std::string> ReadText(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return std::nullopt;
  }
  // In pieces: files of procfs do not know their size.
  std::string text;
  std::array<char, 64 << 10> piece;
  while (stream && text.size() < kTextBytesMax) {
    stream.read(piece.data(), piece.size());
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
  }
  return text;
}

std::optional<std::int64_t> ReadNumber(const fs::path& file) {
  const std::string text = ReadLine(file);
  std::int64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::string LinkName(const fs::path& link) {
  std::error_code fault;
  const fs::path target = fs::read_symlink(link, fault);
  return fault ? std::string() : target.filename().string();
}

std::vector<std::string> EntryNames(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code fault;
  for (fs::directory_iterator entry(folder, fault), end; !fault && entry != end;
       entry.increment(fault)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sparkspan::engine::fabric
