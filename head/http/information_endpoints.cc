#include <span>

#include "absl/strings/str_format.h"
#include "head/api/json.h"
#include "head/http/service.h"
#include "head/status/status_json.h"
#include "head/status/status_page.h"

// What needs no generation: models, tokens, health, status.
namespace sparkspan::head::http {
namespace {

HttpResponse Json(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return response;
}

HttpResponse Text(std::string body, std::string content_type) {
  HttpResponse response;
  response.body = std::move(body);
  response.content_type = std::move(content_type);
  return response;
}

void WriteTokens(std::span<const engine::Token> tokens, api::JsonWriter* json) {
  json->Key("tokens").BeginArray();
  for (const engine::Token token : tokens) {
    json->Integer(token);
  }
  json->EndArray();
}

void WritePieces(std::span<const engine::Token> tokens,
                 const api::TextCodec& codec,
                 api::JsonWriter* json) {
  json->Key("tokens").BeginArray();
  for (const engine::Token token : tokens) {
    json->BeginObject().Key("id").Integer(token);
    json->Key("piece").String(codec.TokenBytes(token)).EndObject();
  }
  json->EndArray();
}

// Why nothing can be served, without names, addresses or what a rank said.
std::string PublicReason(const api::EngineStatus& engine) {
  std::string reason =
      absl::StrFormat("The engine is %s.", std::string(api::EngineStateName(engine.state)));
  for (const api::RankStatus& rank : engine.ranks) {
    if (rank.state == "lost" || rank.state == "failed") {
      reason += absl::StrFormat(" Rank %d is %s.", rank.rank, rank.state);
    }
  }
  return reason;
}

}  // namespace

std::string Service::ModelJson(const std::string& name) const {
  api::JsonWriter json;
  json.BeginObject().Key("id").String(name).Key("object").String("model");
  json.Key("created").Integer(model_.created_unix_seconds).Key("owned_by").String("deepseek");
  json.Key("root").String(model_.root).Key("parent").Null();
  const std::int64_t context_length = ContextLength();
  json.Key("max_model_len").Integer(context_length);
  json.Key("context_length").Integer(context_length);
  json.Key("meta").BeginObject().Key("n_ctx_train").Integer(model_.context_length);
  json.Key("n_vocab").Integer(model_.vocabulary_size).EndObject();
  json.Key("permission").BeginArray().EndArray().EndObject();
  return json.Take();
}

HttpResponse Service::ListModels(Call&) {
  api::JsonWriter json;
  json.BeginObject().Key("object").String("list").Key("data").BeginArray();
  for (const std::string& name : model_.names) {
    json.Raw(ModelJson(name));
  }
  json.EndArray().EndObject();
  return Json(json.Take());
}

HttpResponse Service::OneModel(Call& call) {
  const std::string& path = call.request.path;
  const std::string name = path.substr(path.find("/models/") + std::string_view("/models/").size());
  if (!model_.Serves(name)) {
    return ErrorResponse(api::UnknownModel(name));
  }
  return Json(ModelJson(name));
}

HttpResponse Service::Tokenize(Call& call) {
  api::OrError<api::TokenizeRequest> request = api::ParseTokenizeRequest(call.request.body, model_);
  if (!request.ok()) {
    return ErrorResponse(request.error());
  }
  std::string text = request->text;
  if (request->chat.has_value()) {
    const absl::StatusOr<std::string> prompt = codec_.RenderChat(*request->chat);
    if (!prompt.ok()) {
      return ErrorResponse(api::InvalidValue("messages", std::string(prompt.status().message())));
    }
    text = *prompt;
  }
  const absl::StatusOr<std::vector<engine::Token>> tokens = codec_.Encode(text);
  if (!tokens.ok()) {
    return ErrorResponse(api::InvalidValue("prompt", std::string(tokens.status().message())));
  }
  api::JsonWriter json;
  json.BeginObject();
  if (request->llama_form) {
    request->return_token_texts ? WritePieces(*tokens, codec_, &json) : WriteTokens(*tokens, &json);
    json.EndObject();
    return Json(json.Take());
  }
  json.Key("count").Integer(static_cast<std::int64_t>(tokens->size()));
  json.Key("max_model_len").Integer(ContextLength());
  WriteTokens(*tokens, &json);
  json.Key("token_strs");
  if (request->return_token_texts) {
    json.BeginArray();
    for (const engine::Token token : *tokens) {
      json.String(codec_.TokenBytes(token));
    }
    json.EndArray();
  } else {
    json.Null();
  }
  json.EndObject();
  return Json(json.Take());
}

HttpResponse Service::Detokenize(Call& call) {
  const auto tokens = api::ParseDetokenizeRequest(call.request.body, model_);
  if (!tokens.ok()) {
    return ErrorResponse(tokens.error());
  }
  const std::string text = codec_.Decode(*tokens);
  api::JsonWriter json;
  json.BeginObject().Key("prompt").String(text).Key("content").String(text).EndObject();
  return Json(json.Take());
}

HttpResponse Service::ApplyTemplate(Call& call) {
  const api::OrError<api::ChatRequest> request = api::ParseChatRequest(call.request.body, model_);
  if (!request.ok()) {
    return ErrorResponse(request.error());
  }
  const absl::StatusOr<std::string> prompt = codec_.RenderChat(*request);
  if (!prompt.ok()) {
    return ErrorResponse(api::InvalidValue("messages", std::string(prompt.status().message())));
  }
  api::JsonWriter json;
  json.BeginObject().Key("prompt").String(*prompt).EndObject();
  return Json(json.Take());
}

HttpResponse Service::Live(Call&) {
  return Json(R"({"status":"ok"})");
}

HttpResponse Service::Health(Call& call) {
  std::optional<api::ApiError> not_ready = NotReady();
  if (!not_ready.has_value()) {
    return Json(R"({"status":"ok"})");
  }
  // Anybody may ask; names and addresses of the cluster are for who may use it.
  if (!MayUse(call.request)) {
    not_ready->message = PublicReason(Status());
  }
  return ErrorResponse(*not_ready);
}

HttpResponse Service::Version(Call&) {
  api::JsonWriter json;
  json.BeginObject().Key("version").String(options_.version).EndObject();
  return Json(json.Take());
}

HttpResponse Service::Props(Call&) {
  const api::EngineReadiness engine = Readiness();
  api::JsonWriter json;
  json.BeginObject().Key("default_generation_settings").BeginObject();
  json.Key("n_ctx").Integer(ContextLength()).Key("params").BeginObject();
  json.Key("temperature").Double(static_cast<double>(model_.default_temperature));
  json.Key("top_p").Double(static_cast<double>(model_.default_top_p)).EndObject().EndObject();
  json.Key("total_slots").Integer(engine.running_max);
  json.Key("model_path").String(model_.root).Key("chat_template").String("");
  json.Key("build_info").String("sparkspan " + options_.version).EndObject();
  return Json(json.Take());
}

HttpResponse Service::ServerInfo(Call&) {
  const api::EngineStatus engine = Status();
  api::JsonWriter json;
  json.BeginObject().Key("version").String(options_.version);
  json.Key("max_total_num_tokens").Integer(engine.kv_blocks_total * engine.kv_block_tokens);
  json.Key("internal_states").BeginArray().BeginObject();
  json.Key("avg_spec_accept_length").Double(engine.acceptance_length());
  json.Key("last_gen_throughput").Double(engine.generation_tokens_per_second);
  json.EndObject().EndArray().EndObject();
  return Json(json.Take());
}

HttpResponse Service::MetricsPage(Call&) {
  return Text(metrics_.Render(model_.names.front(), Status()),
              "text/plain; version=0.0.4; charset=utf-8");
}

HttpResponse Service::StatusJsonPage(Call&) {
  HttpResponse response = Json(status::StatusJson({.model_name = model_.names.front(),
                                                   .version = options_.version,
                                                   .encoding_profile = model_.encoding_profile,
                                                   .context_length = model_.context_length},
                                                  Status()));
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

HttpResponse Service::Root(Call& call) {
  const bool is_browser = call.request.Header("Accept").find("text/html") != std::string_view::npos;
  HttpResponse response =
      is_browser ? Text(std::string(status::StatusPage()), "text/html; charset=utf-8")
                 : Text(absl::StrFormat("sparkspan %s serves %s. The API is under /v1, the state "
                                        "under /status.json.\n",
                                        options_.version,
                                        model_.names.front()),
                        "text/plain; charset=utf-8");
  response.headers.emplace_back("Vary", "Accept");
  if (is_browser) {
    response.headers.emplace_back("Content-Security-Policy", status::StatusPagePolicy());
    response.headers.emplace_back("X-Content-Type-Options", "nosniff");
    response.headers.emplace_back("Referrer-Policy", "no-referrer");
    response.headers.emplace_back("Cache-Control", "no-store");
  }
  return response;
}

HttpResponse Service::FlushCache(Call&) {
  generator_.FlushPrefixCache();
  return Text("This release keeps no prefixes: there is nothing to drop.\n",
              "text/plain; charset=utf-8");
}

HttpResponse Service::UnsupportedEndpoint(Call& call) {
  const std::string& path = call.request.path;
  const std::size_t begin = path.starts_with("/v1/") ? 4 : 1;
  std::string name = path.substr(begin, path.find('/', begin) - begin);
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  api::ApiError error =
      api::Unsupported("", absl::StrFormat("The model does not support %s API", name));
  error.code = "unsupported_endpoint";
  return ErrorResponse(error);
}

}  // namespace sparkspan::head::http
