#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>

namespace sparkspan::tests {

// The folder or file `name` of the golden data: from tests/data/golden when it is committed there,
// else from the folder that SPARKSPAN_GOLDEN_DIR names (default ../shared/data/golden). Empty when
// neither has it: the test must then skip itself, visibly. Tests run from the repository root.
inline std::optional<std::filesystem::path> GoldenPath(std::string_view name) {
  const std::filesystem::path committed = std::filesystem::path("tests/data/golden") / name;
  if (std::filesystem::exists(committed)) {
    return committed;
  }
  const char* folder = std::getenv("SPARKSPAN_GOLDEN_DIR");
  const std::filesystem::path external =
      std::filesystem::path(folder != nullptr ? folder : "../shared/data/golden") / name;
  if (std::filesystem::exists(external)) {
    return external;
  }
  return std::nullopt;
}

}  // namespace sparkspan::tests
