#include "head/http/session.h"

#include <algorithm>
#include <iterator>
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
    : parts_(std::move(parts)),
      clock_(clock),
      metrics_(metrics),
      aborting_(aborting),
      waker_(std::make_shared<api::StreamWaker>()) {
  metrics_.ObserveAnswersAsked(parts_->common().n);
  for (const Choice& choice : parts_->choices) {
    choice.stream->Attach(waker_);
  }
}

Session::~Session() {
  if (!ended_) {
    metrics_.CountDisconnect();
    EndAll("abort");
  }
}

std::vector<std::string> Session::Pump(engine::Time deadline) {
  std::vector<std::string> chunks;
  if (ended_) {
    return chunks;
  }
  if (aborting_) {
    Fail(api::Unavailable("shutting_down", "The server is shutting down.", 5));
    return chunks;
  }
  if (!TakeEvents(&chunks) && !ended_) {
    waker_->Wait(deadline);
    TakeEvents(&chunks);
  }
  return chunks;
}

bool Session::TakeEvents(std::vector<std::string>* chunks) {
  constexpr engine::Time kNow{};  // A deadline that has passed: what is there, or nothing.
  bool any = false;
  for (Choice& choice : parts_->choices) {
    if (choice.ended || ended_) {
      continue;
    }
    if (const std::optional<api::GenerationEvent> event = choice.stream->Pop(kNow)) {
      any = true;
      Take(*event, &choice, chunks);
    } else if (choice.stream->done()) {
      Fail(choice.stream->overflowed()
               ? api::Unavailable(
                     "reader_too_slow", "The client read too slowly; the answer was given up.", 5)
               : api::FromStatus(absl::InternalError("the stream ended without a finish"), 5));
    }
  }
  return any;
}

void Session::Take(const api::GenerationEvent& event,
                   Choice* choice,
                   std::vector<std::string>* chunks) {
  const auto append = [&](std::vector<std::string> more) {
    chunks->insert(chunks->end(), std::move_iterator(more.begin()), std::move_iterator(more.end()));
  };
  ObserveTokens(event, choice);
  api::Answer& answer = *choice->answer;
  const std::vector<api::AnswerSegment> segments = answer.Absorb(event);
  const bool stream = parts_->common().stream;
  if (stream) {
    append(parts_->encoder->Chunks(segments, answer));
  }
  if (answer.ended_early()) {
    choice->stream->Cancel();
  }
  if (!answer.error().ok()) {
    LOG(ERROR) << "request " << parts_->request_id << " failed: " << answer.error().ToString();
    Fail(api::FromStatus(answer.error(), 5));
  } else if (answer.ended()) {
    End(choice, answer.finish_reason() == "length" ? "length" : "stop");
    if (stream) {
      append(parts_->encoder->FinishChunks(answer));
    }
  }
}

std::vector<std::string> Session::LastChunks() {
  if (!parts_->common().include_usage) {
    return {};
  }
  return {parts_->encoder->UsageChunk(Answers())};
}

std::vector<const api::Answer*> Session::Answers() const {
  std::vector<const api::Answer*> answers;
  for (const Choice& choice : parts_->choices) {
    answers.push_back(choice.answer.get());
  }
  return answers;
}

void Session::ObserveTokens(const api::GenerationEvent& event, Choice* choice) {
  if (event.tokens.empty()) {
    return;
  }
  const auto tokens = static_cast<std::int64_t>(event.tokens.size());
  if (choice->last_token.has_value()) {
    metrics_.ObserveTokenGaps(Seconds(event.time - *choice->last_token), tokens);
  } else {
    choice->first_token = event.time;
  }
  choice->last_token = event.time;
}

void Session::End(Choice* choice, const std::string& finished_reason) {
  choice->ended = true;
  Record(*choice, finished_reason);
  ended_ = std::all_of(parts_->choices.begin(), parts_->choices.end(), [](const Choice& other) {
    return other.ended;
  });
  if (ended_) {
    RecordAll();
  }
}

void Session::RecordAll() {
  std::int64_t longest = 0;
  std::int64_t dropped = 0;
  for (const Choice& choice : parts_->choices) {
    longest = std::max(longest, choice.answer->usage().completion_tokens);
    dropped += choice.answer->dropped_markup_bytes();
  }
  metrics_.ObserveLongestAnswer(longest);
  if (dropped > 0) {
    metrics_.CountDroppedMarkup(dropped);
    LOG(WARNING) << "request " << parts_->request_id << ": dropped " << dropped
                 << " bytes of tool markup that could not be read";
  }
}

void Session::EndAll(const std::string& finished_reason) {
  for (Choice& choice : parts_->choices) {
    if (!choice.ended) {
      choice.stream->Cancel();
      End(&choice, finished_reason);
    }
  }
}

void Session::Fail(api::ApiError failure) {
  failure_ = std::move(failure);
  EndAll("error");
}

void Session::Record(const Choice& choice, const std::string& finished_reason) {
  const api::Usage usage = choice.answer->usage();
  const std::optional<engine::Time> scheduled = choice.stream->scheduled();
  status::RequestSample sample;
  sample.finished_reason = finished_reason;
  sample.prompt_tokens = usage.prompt_tokens;
  sample.cached_tokens = usage.cached_tokens;
  sample.generation_tokens = usage.completion_tokens;
  sample.max_tokens = choice.max_tokens;
  sample.end_to_end = Seconds(clock_.Now() - parts_->arrival);
  if (scheduled.has_value()) {
    sample.queue = Seconds(*scheduled - parts_->arrival);
  }
  if (choice.first_token.has_value()) {
    sample.time_to_first_token = Seconds(*choice.first_token - parts_->arrival);
    sample.prefill = Seconds(*choice.first_token - scheduled.value_or(parts_->arrival));
    sample.decode = Seconds(*choice.last_token - *choice.first_token);
  }
  metrics_.ObserveRequest(sample);
}

}  // namespace sparkspan::head::http
