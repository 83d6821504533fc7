#include "head/api/request.h"

#include "absl/strings/str_format.h"
#include "head/api/request_fields.h"

// Whole requests, put together from their fields.
namespace sparkspan::head::api {
namespace {

constexpr std::int64_t kTopLogprobsMax = 20;
constexpr std::size_t kPromptsMax = 128;
constexpr std::size_t kSchemaBytesMax = std::size_t{256} << 10;

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

// What {"type": "json_schema", "json_schema": {...}} asks for: the schema's text.
std::optional<std::string> ReadSchema(FieldReader* fields, const JsonValue& format) {
  FieldReader outer(format, "response_format.");
  const JsonValue* body = outer.Object("json_schema");
  if (body == nullptr) {
    fields->Fail(outer.ok()
                     ? InvalidValue("response_format", "'response_format.json_schema' is missing.")
                     : *outer.error());
    return std::nullopt;
  }
  FieldReader reader(*body, "response_format.json_schema.");
  reader.String("name");
  const JsonValue* schema = reader.Object("schema");
  if (reader.ok() && schema == nullptr) {
    reader.Fail(MissingParameter(reader.Path("schema")));
  }
  if (reader.Bool("strict").value_or(false)) {
    reader.Fail(
        Unsupported(reader.Path("strict"),
                    "This server asks the model for the schema and cannot enforce it; leave "
                    "'strict' out."));
  }
  if (!reader.ok()) {
    fields->Fail(*reader.error());
    return std::nullopt;
  }
  std::string text = schema->ToText();
  if (text.size() > kSchemaBytesMax) {
    fields->Fail(InvalidValue(
        reader.Path("schema"),
        absl::StrFormat(
            "The schema has %d bytes; at most %d are allowed.", text.size(), kSchemaBytesMax)));
  }
  return text;
}

// The JSON text of what the answer must look like; empty where any text will do.
std::optional<std::string> ReadResponseFormat(FieldReader* fields, bool is_supported) {
  const JsonValue* format = fields->Object("response_format");
  if (format == nullptr) {
    return std::nullopt;
  }
  const JsonValue* type = format->Find("type");
  const std::string kind = type != nullptr && type->string() != nullptr ? *type->string() : "";
  if (kind == "text") {
    return std::nullopt;
  }
  const bool is_json = kind == "json_schema" || kind == "json_object";
  if (kind == "structural_tag" || (is_json && !is_supported)) {
    fields->Fail(Unsupported(
        "response_format",
        absl::StrFormat("'response_format' of type '%s' is not supported here; ask for the format "
                        "in a message.",
                        kind)));
  } else if (kind == "json_schema") {
    return ReadSchema(fields, *format);
  } else if (kind == "json_object") {
    return R"({"type": "json_object"})";
  } else {
    fields->Fail(InvalidValue("response_format.type",
                              "'response_format.type' must be text, json_object or json_schema."));
  }
  return std::nullopt;
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
  request.format = ReadResponseFormat(fields, model.format_in_prompt);
  ReadModalities(fields);
  ReadTools(fields, &request);
  request.thinking = ReadThinking(fields, model);
  request.include_reasoning = fields->Bool("include_reasoning").value_or(true);
  return request;
}

// One prompt: a text or a list of token ids.
CompletionPrompt ReadPrompt(FieldReader* fields,
                            const ServedModel& model,
                            const JsonValue& value,
                            const std::string& path) {
  CompletionPrompt prompt;
  if (value.string() != nullptr) {
    prompt.text = *value.string();
  } else if (value.array() != nullptr) {
    const JsonValue wrapped(JsonValue::Object{{path, value}});
    FieldReader nested(wrapped);
    prompt.tokens = nested.Tokens(path, model.vocabulary_size);
    if (!nested.ok()) {
      fields->Fail(*nested.error());
    }
  } else {
    fields->Fail(InvalidValue(
        path, absl::StrFormat("'%s' must be a string or an array of token ids.", path)));
  }
  if (prompt.text.empty() && prompt.tokens.empty()) {
    fields->Fail(InvalidValue(path, absl::StrFormat("'%s' must not be empty.", path)));
  }
  return prompt;
}

void ReadPrompts(FieldReader* fields, const ServedModel& model, CompletionRequest* request) {
  const JsonValue* prompt = fields->root().Find("prompt");
  if (prompt == nullptr) {
    fields->Fail(MissingParameter("prompt"));
    return;
  }
  const JsonValue::Array* entries = prompt->array();
  const bool is_batch =
      entries != nullptr && !entries->empty() &&
      (entries->front().string() != nullptr || entries->front().array() != nullptr);
  if (!is_batch) {
    request->prompts.push_back(ReadPrompt(fields, model, *prompt, "prompt"));
    return;
  }
  if (entries->size() > kPromptsMax) {
    fields->Fail(InvalidValue(
        "prompt",
        absl::StrFormat(
            "'prompt' has %d prompts; at most %d are allowed.", entries->size(), kPromptsMax)));
    return;
  }
  for (std::size_t i = 0; i < entries->size() && fields->ok(); ++i) {
    request->prompts.push_back(
        ReadPrompt(fields, model, (*entries)[i], absl::StrFormat("prompt.%d", i)));
  }
}

void ReadSuffix(FieldReader* fields, CompletionRequest* request) {
  request->suffix = fields->String("suffix");
  if (!request->suffix.has_value()) {
    return;
  }
  if (request->prompts.size() != 1 || request->prompts.front().text.empty()) {
    fields->Fail(Unsupported("suffix", "'suffix' needs 'prompt' to be one string."));
  } else if (request->echo) {
    fields->Fail(Unsupported("echo", "'echo' together with 'suffix' is not supported."));
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
  ReadPrompts(&fields, model, &request);
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
  ReadSuffix(&fields, &request);
  ReadResponseFormat(&fields, /*is_supported=*/false);
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
