#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer.h"

namespace sparkspan::engine::text {

// Reads the parts of a tokenizer from the texts of tokenizer.json and tokenizer_config.json (which
// may be empty). Fails closed: whatever the reader does not know how to follow is an error that
// names it.
absl::StatusOr<Tokenizer::Parts> ReadTokenizerParts(std::string_view tokenizer_json,
                                                    std::string_view config_json);

}  // namespace sparkspan::engine::text
