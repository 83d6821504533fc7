#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan text`: runs cases through the tokeniser, the chat encoding and the reader of answers
// and prints what they give, one JSON line a case. docs: `sparkspan text --help`. Returns the
// program's exit status: 0, 1 for files that cannot be read, 2 for wrong arguments.
int RunTextCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
