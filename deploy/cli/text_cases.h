#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer.h"

namespace sparkspan::deploy::cli {

// One line of JSON for each case of `json`, in order: see `sparkspan text --help`. InvalidArgument
// for a file that is no list of cases, or a case of no known form. A chat that the encoding refuses
// is a result, not an error.
absl::StatusOr<std::vector<std::string>> RunTextCases(const engine::text::Tokenizer& tokenizer,
                                                      std::string_view json);

}  // namespace sparkspan::deploy::cli
