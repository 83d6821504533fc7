#include "deploy/cli/draft_options.h"

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_format.h"
#include "deploy/cli/flags.h"
#include "engine/base/status.h"
#include "engine/model/draft_layout.h"

namespace sparkspan::deploy::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kCasesMax = 10000;

Flags FlagsOf(DraftOptions* options) {
  Flags flags = CaseRunFlags(options);
  flags.emplace("--mtp-block", IntegerFlag(&options->mtp_block, 1, engine::model::kMtpBlockMax));
  return flags;
}

// A whole number of a case, at least 1.
absl::StatusOr<std::int64_t> ReadCount(const json& entry,
                                       const char* key,
                                       const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_number_integer() || found->get<std::int64_t>() < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: `%s` must be a whole number of at least 1", where, key));
  }
  return found->get<std::int64_t>();
}

absl::Status ReadSequence(const json& entry, const std::string& where, DraftCase* item) {
  const auto found = entry.find("sequence");
  const auto wrong = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: `sequence` %s", where, why));
  };
  if (found == entry.end() || !found->is_array()) {
    return wrong("must be a list of token ids");
  }
  for (const json& token : *found) {
    if (!token.is_number_integer() || token.get<std::int64_t>() < 0 ||
        token.get<std::int64_t>() > std::numeric_limits<engine::Token>::max()) {
      return wrong("must be a list of token ids");
    }
    item->sequence.push_back(token.get<engine::Token>());
  }
  const auto size = static_cast<std::int64_t>(item->sequence.size());
  if (item->prompt_length > size || item->steps > size - item->prompt_length) {
    return wrong(absl::StrFormat("has %d tokens, but `prompt_length` and `steps` take %d and %d",
                                 size,
                                 item->prompt_length,
                                 item->steps));
  }
  return absl::OkStatus();
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
  std::ifstream stream(file);
  const json parsed = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  const auto cases = parsed.is_object() ? parsed.find("cases") : parsed.end();
  if (!parsed.is_object() || cases == parsed.end() || !cases->is_array() ||
      cases->size() > kCasesMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: must be a readable JSON object with a list `cases` of at most %d", file, kCasesMax));
  }
  std::vector<DraftCase> result;
  std::set<std::string> names;
  for (const json& entry : *cases) {
    const std::string where = absl::StrFormat("%s: case %d", file, result.size());
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
        !names.insert(entry["name"].get<std::string>()).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: needs a `name` that no other case has", where));
    }
    DraftCase& item = result.emplace_back();
    item.name = entry["name"].get<std::string>();
    ASSIGN_OR_RETURN(item.prompt_length, ReadCount(entry, "prompt_length", where));
    ASSIGN_OR_RETURN(item.steps, ReadCount(entry, "steps", where));
    RETURN_IF_ERROR(ReadSequence(entry, where, &item));
  }
  return result;
}

}  // namespace sparkspan::deploy::cli
