#include <ctime>
#include <limits>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "head/http/service.h"

// Chat and text completions: from a body to an answer, whole or as server-sent events.
namespace sparkspan::head::http {
namespace {

// How long one wait for tokens lasts before the client is looked at again.
constexpr std::chrono::milliseconds kPollInterval{50};
constexpr int kClientClosedRequest = 499;

std::uint64_t RandomSeed() {
  const std::string hex = RandomHex();
  return std::stoull(hex.substr(0, 16), nullptr, 16);
}

void AppendEvent(std::string_view json, std::string* out) {
  *out += "data: ";
  *out += json;
  *out += "\n\n";
}

// Sends a session's chunks as they come, and comments while nothing does.
class EventSource final : public BodySource {
 public:
  EventSource(std::unique_ptr<Session> session,
              const engine::Clock& clock,
              std::chrono::milliseconds keep_alive_interval)
      : session_(std::move(session)),
        clock_(clock),
        keep_alive_interval_(keep_alive_interval),
        last_sent_(clock.Now()) {}

  bool Next(std::string* out) override {
    for (const std::string& chunk : session_->Pump(clock_.Now() + kPollInterval)) {
      AppendEvent(chunk, out);
    }
    if (session_->ended()) {
      if (session_->failure().has_value()) {
        AppendEvent(api::ErrorBody(*session_->failure()), out);
      } else {
        for (const std::string& chunk : session_->LastChunks()) {
          AppendEvent(chunk, out);
        }
      }
      AppendEvent("[DONE]", out);
      return false;
    }
    const bool silent = out->empty() && keep_alive_interval_.count() > 0 &&
                        clock_.Now() - last_sent_ >= keep_alive_interval_;
    if (silent) {
      *out += ": keep-alive\n\n";
    }
    if (!out->empty()) {
      last_sent_ = clock_.Now();
    }
    return true;
  }

 private:
  const std::unique_ptr<Session> session_;
  const engine::Clock& clock_;
  const std::chrono::milliseconds keep_alive_interval_;
  engine::Time last_sent_;
};

}  // namespace

api::EngineReadiness Service::Readiness() const {
  api::EngineReadiness engine = generator_.Readiness();
  if (draining_ && engine.state == api::EngineState::kReady) {
    engine.state = api::EngineState::kDraining;
  }
  return engine;
}

api::EngineStatus Service::Status() const {
  api::EngineStatus engine = generator_.Status();
  if (draining_ && engine.state == api::EngineState::kReady) {
    engine.state = api::EngineState::kDraining;
  }
  return engine;
}

std::int64_t Service::ContextLength() const {
  const std::int64_t fits = generator_.Readiness().request_tokens_max;
  return fits > 0 ? std::min(fits, model_.context_length) : model_.context_length;
}

std::optional<api::ApiError> Service::NotReady() const {
  const api::EngineReadiness engine = Readiness();
  if (draining_) {
    return api::Unavailable("shutting_down", "The server is shutting down.", 5);
  }
  if (engine.state == api::EngineState::kReady) {
    return std::nullopt;
  }
  if (engine.state == api::EngineState::kStarting) {
    return api::Unavailable("model_loading", "The model is loading. " + engine.detail, 5);
  }
  return api::Unavailable(
      "engine_unavailable",
      absl::StrFormat(
          "The engine is %s. %s", std::string(api::EngineStateName(engine.state)), engine.detail),
      5);
}

api::OrError<std::vector<engine::Token>> Service::EncodePrompt(std::string_view text,
                                                               const std::string& param,
                                                               std::int64_t max_tokens) const {
  // A text this long cannot fit whatever its tokens are: refuse it before spending time on it.
  const auto tokens_min = static_cast<std::int64_t>(text.size() / codec_.token_bytes_max());
  const std::int64_t context_length = ContextLength();
  if (tokens_min >= context_length) {
    return api::ContextOverflow(param, context_length, tokens_min, max_tokens);
  }
  absl::StatusOr<std::vector<engine::Token>> tokens = codec_.Encode(text);
  if (!tokens.ok()) {
    return api::InvalidValue(param, std::string(tokens.status().message()));
  }
  return *std::move(tokens);
}

std::unique_ptr<SessionParts> Service::TakeIn() {
  auto parts = std::make_unique<SessionParts>();
  parts->in_flight = std::make_unique<InFlight>(&in_flight_);
  parts->arrival = clock_.Now();
  return parts;
}

void Service::NameRequest(const api::CommonRequest& common, Call* call, SessionParts* parts) {
  if (!call->is_named && !common.request_id.empty()) {
    call->request_id = common.request_id;
  }
  parts->request_id = call->request_id;
}

HttpResponse Service::Chat(Call& call) {
  std::unique_ptr<SessionParts> parts = TakeIn();
  if (const auto not_ready = NotReady()) {
    return ErrorResponse(*not_ready);
  }
  api::OrError<api::ChatRequest> request = api::ParseChatRequest(call.request.body, model_);
  if (!request.ok()) {
    return ErrorResponse(request.error());
  }
  NameRequest(request->common, &call, parts.get());
  const absl::StatusOr<std::string> prompt = codec_.RenderChat(*request);
  if (!prompt.ok()) {
    return ErrorResponse(api::InvalidValue("messages", std::string(prompt.status().message())));
  }
  auto tokens = EncodePrompt(*prompt, "messages", request->common.max_tokens.value_or(1));
  if (!tokens.ok()) {
    return ErrorResponse(tokens.error());
  }
  if (request->must_call) {
    auto forced = codec_.BeginCall(*tokens, *request);
    if (!forced.ok()) {
      return ErrorResponse(
          api::InvalidValue("tool_choice", std::string(forced.status().message())));
    }
    parts->forced = *std::move(forced);
  }
  parts->chat = *std::move(request);
  parts->prompts = {*std::move(tokens)};
  return Generate(call, std::move(parts));
}

api::OrError<std::vector<engine::Token>> Service::EncodeCompletion(
    const api::CompletionRequest& request, const api::CompletionPrompt& prompt) const {
  if (!prompt.tokens.empty()) {
    return prompt.tokens;
  }
  std::string text = prompt.text;
  if (request.suffix.has_value()) {
    absl::StatusOr<std::string> infill = codec_.RenderInfill(text, *request.suffix);
    if (!infill.ok()) {
      return api::Unsupported(
          "suffix", absl::StrFormat("'suffix' is not supported: %s.", infill.status().message()));
    }
    text = *std::move(infill);
  }
  return EncodePrompt(text, "prompt", request.common.max_tokens.value_or(1));
}

HttpResponse Service::Completion(Call& call) {
  std::unique_ptr<SessionParts> parts = TakeIn();
  if (const auto not_ready = NotReady()) {
    return ErrorResponse(*not_ready);
  }
  api::OrError<api::CompletionRequest> request =
      api::ParseCompletionRequest(call.request.body, model_);
  if (!request.ok()) {
    return ErrorResponse(request.error());
  }
  NameRequest(request->common, &call, parts.get());
  for (const api::CompletionPrompt& prompt : request->prompts) {
    auto tokens = EncodeCompletion(*request, prompt);
    if (!tokens.ok()) {
      return ErrorResponse(tokens.error());
    }
    parts->prompts.push_back(*std::move(tokens));
  }
  parts->completion = *std::move(request);
  return Generate(call, std::move(parts));
}

std::optional<api::ApiError> Service::MakeChoices(SessionParts* parts) const {
  const api::CommonRequest& common = parts->common();
  const std::int64_t context_length = ContextLength();
  for (const std::vector<engine::Token>& prompt : parts->prompts) {
    const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
    const std::int64_t room = context_length - prompt_tokens;
    if (room < 1) {
      return api::ContextOverflow(parts->chat.has_value() ? "messages" : "prompt",
                                  context_length,
                                  prompt_tokens,
                                  common.max_tokens.value_or(1));
    }
    // A limit beyond the context is cut to what fits: agents that always send a large one would
    // else be locked out.
    const std::int64_t wanted = common.max_tokens.value_or(model_.max_tokens_cap.value_or(room));
    for (std::int32_t i = 0; i < common.n; ++i) {
      parts->choices.emplace_back().max_tokens = std::min(wanted, room);
    }
  }
  return std::nullopt;
}

void Service::MakeAnswers(SessionParts* parts) const {
  const api::CommonRequest& common = parts->common();
  const bool is_chat = parts->chat.has_value();
  const api::AnswerIdentity identity = {
      .id = (is_chat ? "chatcmpl-" : "cmpl-") + RandomHex(),
      .created_unix_seconds = static_cast<std::int64_t>(std::time(nullptr))};
  for (std::size_t i = 0; i < parts->choices.size(); ++i) {
    const std::vector<engine::Token>& prompt =
        parts->prompts[i / static_cast<std::size_t>(common.n)];
    parts->choices[i].answer = std::make_unique<api::Answer>(
        is_chat ? codec_.NewChatReader(prompt, *parts->chat)
                : codec_.NewPlainReader(common.skip_special_tokens),
        api::AnswerOptions{.choice = static_cast<std::int32_t>(i),
                           .prompt_tokens = static_cast<std::int64_t>(prompt.size()),
                           .stop = common.stop,
                           .include_stop_text = common.include_stop_text,
                           .min_tokens = common.sampling.min_tokens,
                           .parallel_tool_calls = !is_chat || parts->chat->parallel_tool_calls});
  }
  if (is_chat) {
    parts->encoder = std::make_unique<api::ChatEncoder>(
        *parts->chat, model_, codec_, parts->prompts.front(), identity);
  } else {
    parts->encoder = std::make_unique<api::CompletionEncoder>(
        *parts->completion, model_, codec_, parts->prompts, identity);
  }
}

HttpResponse Service::Generate(const Call& call, std::unique_ptr<SessionParts> parts) {
  if (const auto overflow = MakeChoices(parts.get())) {
    return ErrorResponse(*overflow);
  }
  if (const auto refusal = SubmitAll(parts.get())) {
    LOG(INFO) << "request " << call.request_id << " refused: " << refusal->code << ": "
              << refusal->message;
    metrics_.CountRejection(refusal->code);
    return ErrorResponse(*refusal);
  }
  MakeAnswers(parts.get());
  const bool stream = parts->common().stream;
  auto session = std::make_unique<Session>(std::move(parts), clock_, metrics_, aborting_);
  return stream ? AnswerStream(std::move(session)) : AnswerWhole(call, std::move(session));
}

std::optional<api::ApiError> Service::SubmitAll(SessionParts* parts) {
  const auto answers = static_cast<std::int64_t>(parts->choices.size());
  if (answers > 1) {
    const api::EngineReadiness engine = generator_.Readiness();
    if (answers > engine.running_max + engine.waiting_max) {
      return api::InvalidValue(
          parts->prompts.size() > 1 ? "prompt" : "n",
          absl::StrFormat("The request asks for %d answers; this server holds at most %d at once.",
                          answers,
                          engine.running_max + engine.waiting_max));
    }
  }
  parts->seed = parts->common().seed.has_value() ? *parts->common().seed : RandomSeed();
  for (std::size_t i = 0; i < parts->choices.size(); ++i) {
    auto submitted = generator_.Submit(MakeGeneration(*parts, i));
    if (!submitted.ok()) {
      for (std::size_t admitted = 0; admitted < i; ++admitted) {
        parts->choices[admitted].stream->Cancel();
      }
      return api::FromStatus(submitted.status(), generator_.Readiness().retry_after_seconds);
    }
    parts->choices[i].stream = *std::move(submitted);
  }
  return std::nullopt;
}

api::GenerationRequest Service::MakeGeneration(const SessionParts& parts,
                                               std::size_t choice) const {
  const api::CommonRequest& common = parts.common();
  const auto n = static_cast<std::size_t>(common.n);
  api::GenerationRequest generation;
  generation.prompt = parts.prompts[choice / n];
  generation.sampling = common.sampling;
  generation.sampling.forced = parts.forced;
  // With a seed every prompt of a batch is answered as it would be alone; without one equal prompts
  // are to get different answers.
  generation.sampling.seed = parts.seed + (common.seed.has_value() ? choice % n : choice);
  // Who gives a seed wants the text to depend on it alone: not on how many drafts were verified.
  generation.sampling.acceptance = common.seed.has_value()
                                       ? engine::runtime::AcceptanceRule::kSharedNoise
                                       : engine::runtime::AcceptanceRule::kRejection;
  generation.max_tokens = parts.choices[choice].max_tokens;
  generation.sampling.min_tokens = static_cast<std::int32_t>(
      std::min<std::int64_t>(common.sampling.min_tokens, generation.max_tokens));
  if (!common.ignore_eos) {
    generation.eos_token_ids = model_.eos_token_ids;
  }
  generation.stop_token_ids = common.stop_token_ids;
  if (generation.sampling.min_tokens > 0) {
    auto& suppressed = generation.sampling.suppressed_until_min_tokens;
    suppressed = generation.eos_token_ids;
    suppressed.insert(suppressed.end(), common.stop_token_ids.begin(), common.stop_token_ids.end());
  }
  generation.priority = common.priority;
  generation.reuse_prefix_cache = common.reuse_prefix_cache;
  generation.cache_salt = common.cache_salt;
  generation.arrival = parts.arrival;
  return generation;
}

HttpResponse Service::AnswerWhole(const Call& call, std::unique_ptr<Session> session) {
  while (!session->ended()) {
    session->Pump(clock_.Now() + kPollInterval);
    if (!session->ended() && !call.client.alive()) {
      api::ApiError gone;  // Who only ended its own writes still reads it.
      gone.status = kClientClosedRequest;
      gone.code = "client_closed_request";
      gone.message = "The client closed its side of the connection before the answer was complete.";
      return ErrorResponse(gone);
    }
  }
  if (session->failure().has_value()) {
    return ErrorResponse(*session->failure());
  }
  HttpResponse response;
  response.body = session->Whole();
  return response;
}

HttpResponse Service::AnswerStream(std::unique_ptr<Session> session) {
  HttpResponse response;
  response.content_type = "text/event-stream; charset=utf-8";
  response.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  response.source =
      std::make_unique<EventSource>(std::move(session), clock_, options_.keep_alive_interval);
  return response;
}

}  // namespace sparkspan::head::http
