#include "deploy/cli/score_options.h"

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_format.h"
#include "deploy/cli/flags.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kCasesMax = 10000;
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

absl::StatusOr<std::vector<engine::Token>> ReadTokens(const json& entry,
                                                      const char* key,
                                                      const std::string& where) {
  std::vector<engine::Token> tokens;
  const auto found = entry.find(key);
  if (found == entry.end()) {
    return tokens;
  }
  const auto wrong = [&] {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %s must be a list of token ids", where, key));
  };
  if (!found->is_array()) {
    return wrong();
  }
  for (const json& token : *found) {
    if (!token.is_number_integer() || token.get<std::int64_t>() < 0 ||
        token.get<std::int64_t>() > std::numeric_limits<engine::Token>::max()) {
      return wrong();
    }
    tokens.push_back(token.get<engine::Token>());
  }
  return tokens;
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
  std::ifstream stream(file);
  const json parsed = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  const auto cases = parsed.is_object() ? parsed.find("cases") : parsed.end();
  if (!parsed.is_object() || cases == parsed.end() || !cases->is_array() ||
      cases->size() > kCasesMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: must be a readable JSON object with a list `cases` of at most %d", file, kCasesMax));
  }
  std::vector<ScoreCase> result;
  std::set<std::string> names;
  for (const json& entry : *cases) {
    const std::string where = absl::StrFormat("%s: case %d", file, result.size());
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
        !names.insert(entry["name"].get<std::string>()).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: needs a `name` that no other case has", where));
    }
    ScoreCase& item = result.emplace_back();
    item.name = entry["name"].get<std::string>();
    ASSIGN_OR_RETURN(item.tokens, ReadTokens(entry, "tokens", where));
    ASSIGN_OR_RETURN(item.decode_tokens, ReadTokens(entry, "decode_tokens", where));
    if (item.tokens.empty()) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: `tokens` is empty", where));
    }
  }
  return result;
}

}  // namespace sparkspan::deploy::cli
