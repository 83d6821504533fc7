#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/text/chat.h"

namespace sparkspan::engine::text {

// What a prompt begins with to ask for an effort. InvalidArgument for an effort that the profile
// does not know.
absl::StatusOr<std::string_view> EffortText(EncodingProfile profile, EncodedEffort effort);

// The instructions for tools; `schemas` is one line of JSON for each.
std::string ToolsText(std::string_view schemas);

// The instruction to answer in the form of a JSON schema.
std::string FormatText(std::string_view schema);

}  // namespace sparkspan::engine::text
