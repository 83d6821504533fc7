#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan draft`: runs sequences through a checkpoint, drafts at every step with its drafter and
// writes what was drafted, the proof that drafts are the reference's. docs: `sparkspan draft
// --help`. Returns the program's exit status: 0, 1 for a failed run, 2 for wrong arguments.
int RunDraftCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
