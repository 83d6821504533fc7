#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

#include "absl/strings/str_format.h"
#include "head/api/request_fields.h"

// The fields that chat and text completions share.
namespace sparkspan::head::api {
namespace {

constexpr std::int64_t kIntegerMax = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kStopStringsMax = 16;
constexpr std::size_t kStopTokensMax = 1024;
constexpr std::size_t kAllowedTokensMax = 4096;
constexpr std::size_t kLogitBiasMax = 300;
constexpr std::int64_t kAnswersMax = 128;
constexpr double kRepetitionMax = 1e6;

void RefuseUnless(FieldReader* fields, bool accepted, std::string_view name) {
  if (!accepted) {
    fields->Fail(
        Unsupported(fields->Path(name),
                    absl::StrFormat("'%s' is not supported by this server; leave it out.", name)));
  }
}

// A key of logit_bias: digits that name a token of the vocabulary.
std::optional<engine::Token> ReadTokenKey(std::string_view key, std::int32_t vocabulary_size) {
  engine::Token token = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
  const bool is_token = error == std::errc() && end == key.data() + key.size() && token >= 0 &&
                        token < vocabulary_size;
  return is_token ? std::optional(token) : std::nullopt;
}

void ReadLogitBias(FieldReader* fields, const ServedModel& model, CommonRequest* common) {
  const JsonValue* object = fields->Object("logit_bias");
  if (object == nullptr) {
    return;
  }
  const JsonValue::Object& members = *object->object();
  if (members.size() > kLogitBiasMax) {
    fields->Fail(
        InvalidValue("logit_bias",
                     absl::StrFormat("'logit_bias' has %d entries; at most %d are allowed.",
                                     members.size(),
                                     kLogitBiasMax)));
    return;
  }
  FieldReader nested(*object, "logit_bias.");
  std::set<engine::Token> seen;
  for (const auto& [key, value] : members) {
    const std::optional<engine::Token> token = ReadTokenKey(key, model.vocabulary_size);
    if (!token.has_value() || !seen.insert(*token).second) {
      fields->Fail(InvalidValue(
          "logit_bias",
          absl::StrFormat("The key '%s' of 'logit_bias' must be a token id of the vocabulary, 0 to "
                          "%d, and be given once.",
                          key,
                          model.vocabulary_size - 1)));
      return;
    }
    if (const auto bias = nested.Number(key, -100, 100)) {
      common->sampling.logit_bias.push_back({*token, static_cast<float>(*bias)});
    }
  }
  if (!nested.ok()) {
    fields->Fail(*nested.error());
  }
}

void ReadPenalties(FieldReader* fields, engine::runtime::SamplingParams* sampling) {
  sampling->frequency_penalty =
      static_cast<float>(fields->Number("frequency_penalty", -2, 2).value_or(0));
  sampling->presence_penalty =
      static_cast<float>(fields->Number("presence_penalty", -2, 2).value_or(0));
  sampling->repetition_penalty =
      static_cast<float>(fields->Number("repetition_penalty", 0, kRepetitionMax).value_or(1));
  // Also what is so small that it rounds to 0.
  if (sampling->repetition_penalty <= 0) {
    fields->Fail(InvalidValue("repetition_penalty", "'repetition_penalty' must be above 0."));
  }
}

void ReadCount(FieldReader* fields, CommonRequest* common) {
  common->n = static_cast<std::int32_t>(fields->Integer("n", 1, kAnswersMax).value_or(1));
  if (common->n > 1 && engine::runtime::IsGreedy(common->sampling)) {
    fields->Fail(InvalidValue(
        "n", absl::StrFormat("n must be 1 when using greedy sampling, got %d.", common->n)));
  }
}

// A set of token ids, sorted.
std::vector<engine::Token> ReadTokenSet(FieldReader* fields,
                                        std::string_view name,
                                        std::size_t count_max,
                                        const ServedModel& model) {
  const JsonValue::Array* ids = fields->Array(name);
  if (ids != nullptr && ids->size() > count_max) {
    fields->Fail(InvalidValue(fields->Path(name),
                              absl::StrFormat("'%s' has %d entries; at most %d are allowed.",
                                              fields->Path(name),
                                              ids->size(),
                                              count_max)));
    return {};
  }
  std::vector<engine::Token> tokens = fields->Tokens(name, model.vocabulary_size);
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

// Whether a token is left that may be chosen before min_tokens have been generated.
bool LeavesToken(const ServedModel& model, const CommonRequest& common) {
  std::set<engine::Token> ends(common.stop_token_ids.begin(), common.stop_token_ids.end());
  if (!common.ignore_eos) {
    ends.insert(model.eos_token_ids.begin(), model.eos_token_ids.end());
  }
  const std::vector<engine::Token>& allowed = common.sampling.allowed_tokens;
  if (allowed.empty()) {
    return ends.size() < static_cast<std::size_t>(model.vocabulary_size);
  }
  return std::any_of(
      allowed.begin(), allowed.end(), [&](engine::Token token) { return !ends.contains(token); });
}

void ReadTokenSets(FieldReader* fields, const ServedModel& model, CommonRequest* common) {
  common->stop_token_ids = ReadTokenSet(fields, "stop_token_ids", kStopTokensMax, model);
  common->sampling.allowed_tokens =
      ReadTokenSet(fields, "allowed_token_ids", kAllowedTokensMax, model);
  if (fields->Has("allowed_token_ids") && common->sampling.allowed_tokens.empty()) {
    fields->Fail(InvalidValue("allowed_token_ids", "'allowed_token_ids' must not be empty."));
  }
  if (common->sampling.min_tokens > 0 && !LeavesToken(model, *common)) {
    fields->Fail(InvalidValue("stop_token_ids",
                              "'stop_token_ids', which cannot come before 'min_tokens', leave no "
                              "token to generate; name fewer of them or leave 'min_tokens' out."));
  }
}

void ReadRequestId(FieldReader* fields, CommonRequest* common) {
  const std::optional<std::string> id = fields->String("request_id");
  if (id.has_value() && IsRequestId(*id)) {
    common->request_id = *id;
  }
}

void ReadUnsupportedShapes(FieldReader* fields) {
  RefuseUnless(fields, fields->Strings("bad_words", 1024).empty(), "bad_words");
  RefuseUnless(fields, fields->Integer("best_of", 1, kAnswersMax).value_or(1) == 1, "best_of");
  RefuseUnless(fields, !fields->Bool("use_beam_search").value_or(false), "use_beam_search");
  if (fields->Integer("prompt_logprobs", 0, kIntegerMax).has_value()) {
    RefuseUnless(fields, false, "prompt_logprobs");
  }
  if (const auto truncate = fields->Integer("truncate_prompt_tokens", -1, kIntegerMax)) {
    RefuseUnless(fields, *truncate == -1, "truncate_prompt_tokens");
  }
  for (const std::string_view name : {"structured_outputs",
                                      "guided_json",
                                      "guided_regex",
                                      "guided_choice",
                                      "guided_grammar",
                                      "chat_template",
                                      "audio"}) {
    RefuseUnless(fields, !fields->Has(name), name);
  }
}

void ReadSampling(FieldReader* fields, const ServedModel& model, CommonRequest* common) {
  engine::runtime::SamplingParams& sampling = common->sampling;
  sampling.temperature =
      static_cast<float>(fields->Number("temperature", 0, 2).value_or(model.default_temperature));
  sampling.top_p = static_cast<float>(fields->Number("top_p", 0, 1).value_or(model.default_top_p));
  if (sampling.top_p <= 0) {
    fields->Fail(InvalidValue("top_p", "'top_p' must be above 0 and at most 1."));
  }
  sampling.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(
      0, fields->Integer("top_k", -1, std::numeric_limits<std::int32_t>::max()).value_or(0)));
  sampling.min_p = static_cast<float>(fields->Number("min_p", 0, 1).value_or(0));
  if (const auto seed =
          fields->Integer("seed", std::numeric_limits<std::int64_t>::min(), kIntegerMax)) {
    common->seed = static_cast<std::uint64_t>(*seed);
  }
}

void ReadLimits(FieldReader* fields, CommonRequest* common) {
  const auto old_limit = fields->Integer("max_tokens", -1, kIntegerMax);
  if (old_limit == 0) {
    fields->Fail(InvalidValue("max_tokens", "'max_tokens' must be at least 1."));
  }
  if (old_limit.has_value() && *old_limit > 0) {
    common->max_tokens = old_limit;
  }
  if (const auto limit = fields->Integer("max_completion_tokens", 1, kIntegerMax)) {
    common->max_tokens = limit;
  }
  const std::int64_t min_tokens =
      fields->Integer("min_tokens", 0, std::numeric_limits<std::int32_t>::max()).value_or(0);
  if (common->max_tokens.has_value() && min_tokens > *common->max_tokens) {
    fields->Fail(InvalidValue("min_tokens",
                              absl::StrFormat("'min_tokens' is %d; it must not exceed max_tokens, "
                                              "which is %d.",
                                              min_tokens,
                                              *common->max_tokens)));
  }
  common->sampling.min_tokens = static_cast<std::int32_t>(min_tokens);
}

void ReadStreaming(FieldReader* fields, CommonRequest* common) {
  common->stream = fields->Bool("stream").value_or(false);
  const JsonValue* options = fields->Object("stream_options");
  if (options == nullptr) {
    return;
  }
  if (!common->stream) {
    fields->Fail(
        InvalidValue("stream_options", "Stream options can only be defined when `stream=True`."));
    return;
  }
  FieldReader nested(*options, "stream_options.");
  common->include_usage = nested.Bool("include_usage").value_or(false);
  common->continuous_usage = nested.Bool("continuous_usage_stats").value_or(false);
  if (!nested.ok()) {
    fields->Fail(*nested.error());
  }
}

void ReadModel(FieldReader* fields, const ServedModel& model, CommonRequest* common) {
  const std::optional<std::string> name = fields->String("model");
  if (name.has_value() && !model.Serves(*name) && !model.accept_any_name) {
    fields->Fail(UnknownModel(*name));
  }
  common->model = name.has_value() && model.Serves(*name) ? *name : model.names.front();
}

}  // namespace

bool IsRequestId(std::string_view id) {
  constexpr std::size_t kBytesMax = 128;
  return !id.empty() && id.size() <= kBytesMax &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

bool ServedModel::Serves(std::string_view name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

OrError<JsonValue> ParseRequestBody(std::string_view body) {
  std::string why;
  std::optional<JsonValue> root = ParseJson(body, JsonLimits{}, &why);
  if (!root.has_value()) {
    return InvalidValue("", absl::StrFormat("The body cannot be read: %s.", why));
  }
  if (root->object() == nullptr) {
    return InvalidValue("", "The body must be a JSON object.");
  }
  return *std::move(root);
}

void ReadCommon(FieldReader* fields, const ServedModel& model, CommonRequest* common) {
  ReadModel(fields, model, common);
  ReadLimits(fields, common);
  ReadSampling(fields, model, common);
  ReadPenalties(fields, &common->sampling);
  ReadLogitBias(fields, model, common);
  ReadCount(fields, common);
  ReadUnsupportedShapes(fields);
  common->stop = fields->Strings("stop", kStopStringsMax);
  common->include_stop_text = fields->Bool("include_stop_str_in_output").value_or(false);
  common->ignore_eos = fields->Bool("ignore_eos").value_or(false);
  ReadTokenSets(fields, model, common);
  common->skip_special_tokens = fields->Bool("skip_special_tokens").value_or(true);
  fields->Bool("spaces_between_special_tokens");
  ReadStreaming(fields, common);
  common->return_token_ids = fields->Bool("return_token_ids").value_or(false);
  common->tokens_as_ids = fields->Bool("return_tokens_as_token_ids").value_or(false);
  common->priority =
      static_cast<std::int32_t>(fields
                                    ->Integer("priority",
                                              std::numeric_limits<std::int32_t>::min(),
                                              std::numeric_limits<std::int32_t>::max())
                                    .value_or(0));
  ReadRequestId(fields, common);
  common->reuse_prefix_cache = fields->Bool("cache_prompt").value_or(true);
  if (const auto salt = fields->String("cache_salt")) {
    if (salt->empty()) {
      fields->Fail(InvalidValue("cache_salt", "'cache_salt' must not be empty."));
    }
    common->cache_salt = *salt;
  }
}

}  // namespace sparkspan::head::api
