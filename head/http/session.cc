#include "head/http/session.h"

#include <utility>

#include "engine/base/log.h"

namespace sparkspan::head::http {
namespace {

double Seconds(engine::Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Session::Session(std::unique_ptr<SessionParts> parts,
                 const engine::Clock& clock,
                 status::Metrics& metrics,
                 const std::atomic<bool>& aborting)
    : parts_(std::move(parts)), clock_(clock), metrics_(metrics), aborting_(aborting) {}

Session::~Session() {
  if (!ended_) {
    parts_->stream->Cancel();
    metrics_.CountDisconnect();
    Record("abort");
  }
}

std::vector<std::string> Session::Pump(engine::Time deadline) {
  if (ended_) {
    return {};
  }
  if (aborting_) {
    Fail(api::Unavailable("shutting_down", "The server is shutting down.", 5));
    return {};
  }
  const std::optional<api::GenerationEvent> event = parts_->stream->Pop(deadline);
  if (!event.has_value()) {
    if (parts_->stream->done()) {
      Fail(parts_->stream->overflowed()
               ? api::Unavailable(
                     "reader_too_slow", "The client read too slowly; the answer was given up.", 5)
               : api::FromStatus(absl::InternalError("the stream ended without a finish"), 5));
    }
    return {};
  }
  ObserveTokens(*event);
  api::Answer& answer = *parts_->answer;
  const std::vector<api::AnswerSegment> segments = answer.Absorb(*event);
  std::vector<std::string> chunks;
  if (parts_->common().stream) {
    chunks = parts_->encoder->Chunks(segments, answer);
  }
  if (answer.ended_early()) {
    parts_->stream->Cancel();
  }
  if (!answer.error().ok()) {
    LOG(ERROR) << "a generation failed: " << answer.error().ToString();
    Fail(api::FromStatus(answer.error(), 5));
  } else if (answer.ended()) {
    ended_ = true;
    Record(answer.finish_reason() == "length" ? "length" : "stop");
  }
  return chunks;
}

void Session::ObserveTokens(const api::GenerationEvent& event) {
  if (event.tokens.empty()) {
    return;
  }
  const auto tokens = static_cast<std::int64_t>(event.tokens.size());
  if (last_token_.has_value()) {
    metrics_.ObserveTokenGaps(Seconds(event.time - *last_token_), tokens);
  } else {
    first_token_ = event.time;
  }
  last_token_ = event.time;
}

void Session::Fail(api::ApiError failure) {
  failure_ = std::move(failure);
  ended_ = true;
  parts_->stream->Cancel();
  Record("error");
}

void Session::Record(const std::string& finished_reason) {
  if (std::exchange(recorded_, true)) {
    return;
  }
  const api::Usage usage = parts_->answer->usage();
  const std::optional<engine::Time> scheduled = parts_->stream->scheduled();
  status::RequestSample sample;
  sample.finished_reason = finished_reason;
  sample.prompt_tokens = usage.prompt_tokens;
  sample.cached_tokens = usage.cached_tokens;
  sample.generation_tokens = usage.completion_tokens;
  sample.max_tokens = parts_->max_tokens;
  sample.end_to_end = Seconds(clock_.Now() - parts_->arrival);
  if (scheduled.has_value()) {
    sample.queue = Seconds(*scheduled - parts_->arrival);
  }
  if (first_token_.has_value()) {
    sample.time_to_first_token = Seconds(*first_token_ - parts_->arrival);
    sample.prefill = Seconds(*first_token_ - scheduled.value_or(parts_->arrival));
    sample.decode = Seconds(*last_token_ - *first_token_);
  }
  metrics_.ObserveRequest(sample);
}

}  // namespace sparkspan::head::http
