#include "engine/doctor/kernel_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <sstream>

#include "engine/base/unique_fd.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr std::size_t kLogBytesMax = std::size_t{16} << 20;

// Of a device every read gives one record; EPIPE says that some were overwritten meanwhile.
bool ReadAll(int fd, std::string* text) {
  std::array<char, 8192> buffer;
  while (text->size() < kLogBytesMax) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got == 0 || (got < 0 && errno == EAGAIN)) {
      return true;
    }
    if (got > 0) {
      text->append(buffer.data(), static_cast<std::size_t>(got));
    } else if (errno != EPIPE && errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

std::optional<std::vector<std::string>> ReadKernelLog(const std::filesystem::path& file) {
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string text;
  if (!fd.valid() || !ReadAll(fd.get(), &text)) {
    return std::nullopt;
  }
  std::vector<std::string> messages;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (const std::size_t begin = line.find(';');
        begin != std::string::npos && !line.starts_with(' ')) {
      messages.push_back(line.substr(begin + 1));
    }
  }
  return messages;
}

std::string_view HardwareErrorOf(std::string_view message) {
  std::string lower(message);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  if (Has(lower, "nvrm: xid")) {
    return "GPU";
  }
  if (Has(lower, "pcie bus error") || Has(lower, "aer: ")) {
    return "PCIe";
  }
  constexpr std::array<std::string_view, 5> kWords = {
      "error", "failed", "fatal", "timeout", "health compromised"};
  const bool is_bad = std::any_of(
      kWords.begin(), kWords.end(), [&](std::string_view word) { return Has(lower, word); });
  return Has(lower, "mlx5_core") && is_bad && !Has(lower, "power") ? "NIC" : "";
}

}  // namespace sparkspan::engine::doctor
