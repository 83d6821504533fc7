#include "deploy/cli/score_options.h"

#include "absl/strings/str_format.h"
#include "deploy/cli/case_file.h"
#include "deploy/cli/flags.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr std::int64_t kLayersMax = 1024;

absl::Status ParseInject(std::string_view text, std::map<int, std::string>* inject) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals + 1 == text.size()) {
    return absl::InvalidArgumentError(absl::StrFormat("--inject %s: give LAYER=FILE", text));
  }
  ASSIGN_OR_RETURN(const std::int64_t layer,
                   ParseInteger("--inject", text.substr(0, equals), 0, kLayersMax - 1));
  (*inject)[static_cast<int>(layer)] = text.substr(equals + 1);
  return absl::OkStatus();
}

Flags FlagsOf(ScoreOptions* options) {
  Flags flags = CaseRunFlags(options);
  flags.emplace("--inject", [options](std::string_view, std::string_view text) {
    return ParseInject(text, &options->inject);
  });
  return flags;
}

absl::StatusOr<ScoreCase> ReadScoreCase(const CaseEntry& entry) {
  ScoreCase item;
  item.name = entry.name;
  ASSIGN_OR_RETURN(item.tokens, entry.Tokens("tokens"));
  if (item.tokens.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: `tokens` is empty", entry.where));
  }
  if (entry.keys.contains("decode_tokens")) {
    ASSIGN_OR_RETURN(item.decode_tokens, entry.Tokens("decode_tokens"));
  }
  return item;
}

}  // namespace

const char* const kScoreUsage =
    "sparkspan score --model DIR --input IN.json --output OUT.safetensors\n"
    "    [--ranks N] [--threads N] [--numerics unquantised|quantised] [--experts split|whole]\n"
    "    [--chunk N] [--device cpu|reference] [--trace] [--inject LAYER=FILE]...\n"
    "\n"
    "Runs the cases of IN.json, {\"cases\": [{\"name\": \"a\", \"tokens\": [...],\n"
    "\"decode_tokens\": [...]}]}, and writes F32 tensors:\n"
    "  NAME.prefill_logits [vocab]     of the last prompt position\n"
    "  NAME.decode_logits [n, vocab]   row i after feeding decode_tokens[0..i]\n"
    "with --trace also\n"
    "  NAME.hidden [layers + 1, tokens + n, streams, hidden]   the embedding first\n"
    "  NAME.router [layers, tokens + n, experts per token]\n"
    "  NAME.index.LAYER [tokens + n, index_topk]               -1 = none\n"
    "--inject replaces a layer's input by F32 or BF16 tensors NAME [tokens + n, streams, hidden]\n"
    "of FILE (or NAME.hidden of an earlier trace, from which the layer's part is taken).\n"
    "Ranks are threads of this process, --threads of work in each. Defaults: quantised, split,\n"
    "cpu, one rank, one thread, the prompt in one step.\n";

absl::StatusOr<ScoreOptions> ParseScoreOptions(std::span<const std::string_view> args) {
  ScoreOptions options;
  RETURN_IF_ERROR(ParseFlags(args, FlagsOf(&options), {{"--trace", &options.trace}}));
  RETURN_IF_ERROR(CheckCaseRun(options));
  return options;
}

absl::StatusOr<std::vector<ScoreCase>> ReadScoreCases(const std::string& file) {
  ASSIGN_OR_RETURN(const std::vector<CaseEntry> entries, ReadCaseFile(file));
  std::vector<ScoreCase> cases;
  for (const CaseEntry& entry : entries) {
    ASSIGN_OR_RETURN(cases.emplace_back(), ReadScoreCase(entry));
  }
  return cases;
}

}  // namespace sparkspan::deploy::cli
