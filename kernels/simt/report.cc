#include "kernels/simt/report.h"

#include <string_view>

namespace sparkspan::kernels::emulator {

void Report::Add(Fault fault, const std::string& text) {
  if (findings.size() >= kFindingsMax) {
    ++findings_dropped;
    return;
  }
  findings.push_back({fault, kernel + ": " + text});
}

bool Report::Has(Fault fault) const {
  for (const Finding& finding : findings) {
    if (finding.fault == fault) {
      return true;
    }
  }
  return false;
}

std::string Report::ToString() const {
  std::string text;
  for (const Finding& finding : findings) {
    text += finding.text + "\n";
  }
  if (findings_dropped > 0) {
    text += "and " + std::to_string(findings_dropped) + " more\n";
  }
  return text;
}

std::string PlaceName(const std::source_location& where) {
  const std::string_view path = where.file_name();
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return std::string(name) + ":" + std::to_string(where.line());
}

}  // namespace sparkspan::kernels::emulator
