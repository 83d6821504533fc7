#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan score`: runs prompts and forced tokens through a checkpoint and writes the logits, the
// proof that the numerics are the reference's. docs: `sparkspan score --help`. Returns the
// program's exit status: 0, 1 for a failed run, 2 for wrong arguments.
int RunScoreCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
