#include "deploy/cli/flags.h"

#include <charconv>

namespace sparkspan::deploy::cli {

absl::Status ParseFlags(std::span<const std::string_view> args,
                        const Flags& flags,
                        const Switches& switches) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (const auto found = switches.find(args[i]); found != switches.end()) {
      *found->second = true;
      continue;
    }
    const std::size_t equals = args[i].find('=');
    const std::string_view flag = args[i].substr(0, equals);
    const auto setter = flags.find(flag);
    if (setter == flags.end()) {
      return absl::InvalidArgumentError(absl::StrFormat("there is no flag %s", flag));
    }
    std::string_view value;
    if (equals != std::string_view::npos) {
      value = args[i].substr(equals + 1);
    } else if (i + 1 < args.size()) {
      value = args[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrFormat("%s needs a value", flag));
    }
    RETURN_IF_ERROR(setter->second(flag, value));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> ParseInteger(std::string_view flag,
                                          std::string_view text,
                                          std::int64_t low,
                                          std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s %s: give a whole number from %d to %d", flag, text, low, high));
  }
  return value;
}

}  // namespace sparkspan::deploy::cli
