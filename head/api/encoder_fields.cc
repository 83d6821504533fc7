#include "head/api/encoder_fields.h"

#include <algorithm>

namespace sparkspan::head::api {

void WriteIdentity(const AnswerIdentity& identity,
                   std::string_view object,
                   const CommonRequest& common,
                   JsonWriter* json) {
  json->Key("id").String(identity.id).Key("object").String(object);
  json->Key("created").Integer(identity.created_unix_seconds);
  json->Key("model").String(common.model);
}

void WriteUsage(const Usage& usage, JsonWriter* json) {
  json->Key("usage").BeginObject();
  json->Key("prompt_tokens").Integer(usage.prompt_tokens);
  json->Key("completion_tokens").Integer(usage.completion_tokens);
  json->Key("total_tokens").Integer(usage.prompt_tokens + usage.completion_tokens);
  json->Key("prompt_tokens_details").BeginObject();
  json->Key("cached_tokens").Integer(usage.cached_tokens).EndObject();
  json->Key("completion_tokens_details").BeginObject();
  json->Key("reasoning_tokens").Integer(usage.reasoning_tokens);
  json->Key("accepted_prediction_tokens").Integer(usage.accepted_draft_tokens);
  json->Key("rejected_prediction_tokens").Integer(usage.rejected_draft_tokens).EndObject();
  json->Key("prompt_cache_hit_tokens").Integer(usage.cached_tokens);
  json->Key("prompt_cache_miss_tokens").Integer(usage.prompt_tokens - usage.cached_tokens);
  json->EndObject();
}

void WriteRunningUsage(const CommonRequest& common, const Answer& answer, JsonWriter* json) {
  if (common.continuous_usage) {
    WriteUsage(answer.usage(), json);
  } else if (common.include_usage) {
    json->Key("usage").Null();
  }
}

void WriteFinish(const Answer& answer, const ServedModel& model, JsonWriter* json) {
  json->Key("finish_reason").String(answer.finish_reason().value_or("stop"));
  json->Key("stop_reason");
  const std::optional<engine::Token>& token = answer.stop_token();
  const bool is_eos = token.has_value() &&
                      std::find(model.eos_token_ids.begin(), model.eos_token_ids.end(), *token) !=
                          model.eos_token_ids.end();
  if (answer.stop_text().has_value()) {
    json->String(*answer.stop_text());
  } else if (token.has_value() && !is_eos) {
    json->Integer(*token);
  } else {
    json->Null();
  }
}

void WriteTokenIds(std::span<const engine::runtime::CommittedToken> tokens, JsonWriter* json) {
  json->Key("token_ids").BeginArray();
  for (const engine::runtime::CommittedToken& token : tokens) {
    json->Integer(token.token);
  }
  json->EndArray();
}

void WritePromptTokenIds(std::span<const engine::Token> prompt, JsonWriter* json) {
  json->Key("prompt_token_ids").BeginArray();
  for (const engine::Token token : prompt) {
    json->Integer(token);
  }
  json->EndArray();
}

std::string UsageChunk(const AnswerIdentity& identity,
                       std::string_view object,
                       const CommonRequest& common,
                       const Usage& usage) {
  JsonWriter json;
  json.BeginObject();
  WriteIdentity(identity, object, common, &json);
  json.Key("choices").BeginArray().EndArray();
  WriteUsage(usage, &json);
  json.EndObject();
  return json.Take();
}

void WriteFingerprint(const ServedModel& model, JsonWriter* json) {
  json->Key("system_fingerprint");
  model.system_fingerprint.has_value() ? json->String(*model.system_fingerprint) : json->Null();
}

std::string TokenName(engine::Token token, const CommonRequest& common, const TextCodec& codec) {
  return common.tokens_as_ids ? "token_id:" + std::to_string(token) : codec.TokenBytes(token);
}

}  // namespace sparkspan::head::api
