#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/text/json.h"

namespace sparkspan::deploy::cli {

// The prompt of a case that holds messages in the form of an API request (roles, parts, tools) or
// of the official encoder (task, wo_eos, response_format, the developer role).
absl::StatusOr<std::string> RenderChatCase(const engine::text::JsonValue& item);

}  // namespace sparkspan::deploy::cli
