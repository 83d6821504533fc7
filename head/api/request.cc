#include "head/api/request.h"

#include "absl/strings/str_format.h"
#include "head/api/request_fields.h"

// Whole requests, put together from their fields.
namespace sparkspan::head::api {
namespace {

constexpr std::int64_t kTopLogprobsMax = 20;

void ReadChatLogprobs(FieldReader* fields, ChatRequest* request) {
  request->logprobs = fields->Bool("logprobs").value_or(false);
  const std::int64_t top = fields->Integer("top_logprobs", 0, kTopLogprobsMax).value_or(0);
  if (top > 0 && !request->logprobs) {
    fields->Fail(InvalidValue("top_logprobs", "'top_logprobs' needs 'logprobs' to be true."));
  }
  if (request->logprobs) {
    request->common.sampling.top_logprobs = static_cast<std::int32_t>(top);
  }
}

void ReadResponseFormat(FieldReader* fields) {
  const JsonValue* format = fields->Object("response_format");
  if (format == nullptr) {
    return;
  }
  const JsonValue* type = format->Find("type");
  const std::string kind = type != nullptr && type->string() != nullptr ? *type->string() : "";
  if (kind == "text") {
    return;
  }
  if (kind == "json_schema" && format->Find("json_schema") == nullptr) {
    fields->Fail(InvalidValue("response_format", "'response_format.json_schema' is missing."));
  } else if (kind == "json_schema" || kind == "json_object" || kind == "structural_tag") {
    fields->Fail(Unsupported(
        "response_format",
        absl::StrFormat("'response_format' of type '%s' is not supported by this server; ask for "
                        "the format in a message.",
                        kind)));
  } else {
    fields->Fail(InvalidValue("response_format.type",
                              "'response_format.type' must be text, json_object or json_schema."));
  }
}

void ReadModalities(FieldReader* fields) {
  const JsonValue::Array* modalities = fields->Array("modalities");
  for (std::size_t i = 0; modalities != nullptr && i < modalities->size(); ++i) {
    const std::string* name = (*modalities)[i].string();
    if (name == nullptr || *name != "text") {
      fields->Fail(Unsupported("modalities", "'modalities' must be [\"text\"]."));
    }
  }
}

ChatRequest ReadChat(FieldReader* fields, const ServedModel& model) {
  ChatRequest request;
  ReadMessages(fields, &request);
  ReadCommon(fields, model, &request.common);
  ReadChatLogprobs(fields, &request);
  ReadResponseFormat(fields);
  ReadModalities(fields);
  ReadTools(fields, &request);
  request.thinking = ReadThinking(fields, model);
  request.include_reasoning = fields->Bool("include_reasoning").value_or(true);
  return request;
}

void ReadPrompt(FieldReader* fields, const ServedModel& model, CompletionRequest* request) {
  const JsonValue* prompt = fields->root().Find("prompt");
  if (prompt == nullptr) {
    fields->Fail(MissingParameter("prompt"));
    return;
  }
  if (prompt->string() != nullptr) {
    request->prompt = *prompt->string();
  } else if (prompt->array() != nullptr && !prompt->array()->empty()) {
    const JsonValue::Array& entries = *prompt->array();
    const JsonValue& first = entries.front();
    const bool is_batch = first.string() != nullptr || first.array() != nullptr;
    if (is_batch && entries.size() > 1) {
      fields->Fail(Unsupported("prompt",
                               "Several prompts in one request are not supported by this server; "
                               "send one request for each."));
    } else if (first.string() != nullptr) {
      request->prompt = *first.string();
    } else {
      // Reads the ids of the list itself or of the only list in it.
      const JsonValue wrapped(JsonValue::Object{{"prompt", is_batch ? first : *prompt}});
      FieldReader nested(wrapped);
      request->prompt_tokens = nested.Tokens("prompt", model.vocabulary_size);
      if (!nested.ok()) {
        fields->Fail(*nested.error());
      }
    }
  } else if (prompt->array() == nullptr) {
    fields->Fail(InvalidValue("prompt", "'prompt' must be a string or an array of token ids."));
  }
  if (request->prompt.empty() && request->prompt_tokens.empty()) {
    fields->Fail(InvalidValue("prompt", "'prompt' must not be empty."));
  }
}

}  // namespace

OrError<ChatRequest> ParseChatRequest(std::string_view body, const ServedModel& model) {
  OrError<JsonValue> root = ParseRequestBody(body);
  if (!root.ok()) {
    return root.error();
  }
  FieldReader fields(*root);
  ChatRequest request = ReadChat(&fields, model);
  if (!fields.ok()) {
    return *fields.error();
  }
  return request;
}

OrError<CompletionRequest> ParseCompletionRequest(std::string_view body, const ServedModel& model) {
  constexpr std::int64_t kMaxTokensDefault = 16;
  OrError<JsonValue> root = ParseRequestBody(body);
  if (!root.ok()) {
    return root.error();
  }
  FieldReader fields(*root);
  CompletionRequest request;
  ReadPrompt(&fields, model, &request);
  ReadCommon(&fields, model, &request.common);
  if (!fields.Has("max_tokens") && !request.common.max_tokens.has_value()) {
    request.common.max_tokens = kMaxTokensDefault;
  }
  request.common.sampling.top_logprobs =
      static_cast<std::int32_t>(fields.Integer("logprobs", 0, kTopLogprobsMax).value_or(-1));
  request.echo = fields.Bool("echo").value_or(false);
  if (request.echo && request.common.sampling.top_logprobs >= 0) {
    fields.Fail(Unsupported("echo", "'echo' together with 'logprobs' is not supported."));
  }
  if (fields.Has("suffix")) {
    fields.Fail(Unsupported("suffix", "'suffix' is not supported by this server."));
  }
  if (fields.Has("response_format")) {
    ReadResponseFormat(&fields);
  }
  if (!fields.ok()) {
    return *fields.error();
  }
  return request;
}

OrError<TokenizeRequest> ParseTokenizeRequest(std::string_view body, const ServedModel& model) {
  OrError<JsonValue> root = ParseRequestBody(body);
  if (!root.ok()) {
    return root.error();
  }
  FieldReader fields(*root);
  TokenizeRequest request;
  if (fields.Has("messages")) {
    request.chat = ReadChat(&fields, model);
    request.return_token_texts = fields.Bool("return_token_strs").value_or(false);
  } else if (fields.Has("prompt")) {
    request.text = fields.String("prompt").value_or("");
    request.return_token_texts = fields.Bool("return_token_strs").value_or(false);
  } else if (fields.Has("content")) {
    request.llama_form = true;
    request.text = fields.String("content").value_or("");
    request.return_token_texts = fields.Bool("with_pieces").value_or(false);
  } else {
    fields.Fail(MissingParameter("prompt"));
  }
  if (!fields.ok()) {
    return *fields.error();
  }
  return request;
}

OrError<std::vector<engine::Token>> ParseDetokenizeRequest(std::string_view body,
                                                           const ServedModel& model) {
  OrError<JsonValue> root = ParseRequestBody(body);
  if (!root.ok()) {
    return root.error();
  }
  FieldReader fields(*root);
  if (!fields.Has("tokens")) {
    fields.Fail(MissingParameter("tokens"));
  }
  std::vector<engine::Token> tokens = fields.Tokens("tokens", model.vocabulary_size);
  if (!fields.ok()) {
    return *fields.error();
  }
  return tokens;
}

}  // namespace sparkspan::head::api
