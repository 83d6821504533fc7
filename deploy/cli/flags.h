#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "engine/base/status.h"

// Command-line flags of the commands: "--name value" or "--name=value", and switches "--name". A
// command says where each one's value goes; errors name the flag, its value and what is expected.
namespace sparkspan::deploy::cli {

using FlagSetter = std::function<absl::Status(std::string_view flag, std::string_view value)>;
using Flags = std::map<std::string_view, FlagSetter>;
using Switches = std::map<std::string_view, bool*>;

absl::Status ParseFlags(std::span<const std::string_view> args,
                        const Flags& flags,
                        const Switches& switches = {});

absl::StatusOr<std::int64_t> ParseInteger(std::string_view flag,
                                          std::string_view text,
                                          std::int64_t low,
                                          std::int64_t high);

// A whole number within [low, high]. What setters point to must outlive the parsing.
template <typename Integer>
FlagSetter IntegerFlag(Integer* out,
                       std::int64_t low,
                       std::int64_t high,
                       bool* is_given = nullptr) {
  return [=](std::string_view flag, std::string_view text) -> absl::Status {
    ASSIGN_OR_RETURN(const std::int64_t value, ParseInteger(flag, text, low, high));
    *out = static_cast<Integer>(value);
    if (is_given != nullptr) {
      *is_given = true;
    }
    return absl::OkStatus();
  };
}

// Any text but none, into a string or a path.
template <typename Text>
FlagSetter TextFlag(Text* out) {
  return [=](std::string_view flag, std::string_view text) -> absl::Status {
    if (text.empty()) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: its value is empty", flag));
    }
    *out = text;
    return absl::OkStatus();
  };
}

// One of some words.
template <typename Choice>
FlagSetter ChoiceFlag(Choice* out, std::map<std::string_view, Choice> choices) {
  return [out, choices = std::move(choices)](std::string_view flag,
                                             std::string_view text) -> absl::Status {
    const auto found = choices.find(text);
    if (found != choices.end()) {
      *out = found->second;
      return absl::OkStatus();
    }
    std::string names;
    for (const auto& [name, choice] : choices) {
      names += (names.empty() ? "" : " or ") + std::string(name);
    }
    return absl::InvalidArgumentError(absl::StrFormat("%s %s: give %s", flag, text, names));
  };
}

}  // namespace sparkspan::deploy::cli
