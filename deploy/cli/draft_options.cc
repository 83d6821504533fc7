#include "deploy/cli/draft_options.h"

#include "absl/strings/str_format.h"
#include "deploy/cli/case_file.h"
#include "deploy/cli/flags.h"
#include "engine/base/status.h"
#include "engine/model/draft_layout.h"

namespace sparkspan::deploy::cli {
namespace {

Flags FlagsOf(DraftOptions* options) {
  Flags flags = CaseRunFlags(options);
  flags.emplace("--mtp-block", IntegerFlag(&options->mtp_block, 1, engine::model::kMtpBlockMax));
  return flags;
}

absl::StatusOr<DraftCase> ReadDraftCase(const CaseEntry& entry) {
  DraftCase item;
  item.name = entry.name;
  ASSIGN_OR_RETURN(item.prompt_length, entry.Count("prompt_length"));
  ASSIGN_OR_RETURN(item.steps, entry.Count("steps"));
  ASSIGN_OR_RETURN(item.sequence, entry.Tokens("sequence"));
  const auto size = static_cast<std::int64_t>(item.sequence.size());
  if (item.prompt_length > size || item.steps > size - item.prompt_length) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: `sequence` has %d tokens, but `prompt_length` and `steps` take %d and %d",
        entry.where,
        size,
        item.prompt_length,
        item.steps));
  }
  return item;
}

}  // namespace

const char* const kDraftUsage =
    "sparkspan draft --model DIR --input IN.json --output OUT.safetensors\n"
    "    [--ranks N] [--threads N] [--numerics unquantised|quantised] [--experts split|whole]\n"
    "    [--chunk N] [--device cpu|reference] [--mtp-block 1|2]\n"
    "\n"
    "Runs the cases of IN.json, {\"cases\": [{\"name\": \"a\", \"prompt_length\": L,\n"
    "\"sequence\": [...], \"steps\": N}]}, through the model and the drafter that DIR holds. Step\n"
    "j = 0 to N - 1 has run sequence[0..L-1+j] and drafts, greedily, with the anchor\n"
    "sequence[L+j]. Writes:\n"
    "  NAME.target_logits [N, vocab]   F32, of the target at the last position run\n"
    "  NAME.draft_ids [N, block + 1]   I32, the anchor first\n"
    "  NAME.logits [N, block, vocab]   F32, that the drafts were chosen of (DSpark: with the\n"
    "                                  Markov correction)\n"
    "  NAME.confidence [N, block]      F32, raw; DSpark only\n"
    "--mtp-block: drafts of an MTP block, 1 by default. Ranks are threads of this process,\n"
    "--threads of work in each. Defaults: quantised, split, cpu, one rank, one thread, the prompt\n"
    "in one step.\n";

absl::StatusOr<DraftOptions> ParseDraftOptions(std::span<const std::string_view> args) {
  DraftOptions options;
  RETURN_IF_ERROR(ParseFlags(args, FlagsOf(&options)));
  RETURN_IF_ERROR(CheckCaseRun(options));
  return options;
}

absl::StatusOr<std::vector<DraftCase>> ReadDraftCases(const std::string& file) {
  ASSIGN_OR_RETURN(const std::vector<CaseEntry> entries, ReadCaseFile(file));
  std::vector<DraftCase> cases;
  for (const CaseEntry& entry : entries) {
    ASSIGN_OR_RETURN(cases.emplace_back(), ReadDraftCase(entry));
  }
  return cases;
}

}  // namespace sparkspan::deploy::cli
