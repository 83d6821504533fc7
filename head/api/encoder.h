#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/ids.h"
#include "head/api/answer.h"
#include "head/api/json.h"
#include "head/api/request.h"
#include "head/api/text_codec.h"

namespace sparkspan::head::api {

// What every chunk of one answer repeats.
struct AnswerIdentity {
  std::string id;  // "chatcmpl-..." or "cmpl-..."
  std::int64_t created_unix_seconds = 0;
};

// Writes the answers to one request in the form of its endpoint, whole or as the data of
// server-sent events; chunks of several answers may interleave. One thread.
class AnswerEncoder {
 public:
  virtual ~AnswerEncoder() = default;

  // The JSON texts to send for what an event added. `answer` has absorbed the event.
  virtual std::vector<std::string> Chunks(std::span<const AnswerSegment> segments,
                                          const Answer& answer) = 0;
  // The JSON texts that end an answer.
  virtual std::vector<std::string> FinishChunks(const Answer& answer) = 0;
  // The JSON text that ends the stream, once all answers have ended: usage.
  virtual std::string UsageChunk(std::span<const Answer* const> answers) = 0;
  // `answers` in the order of their choices, at least one.
  virtual std::string Whole(std::span<const Answer* const> answers) = 0;
};

// The references must outlive the encoder.
class ChatEncoder final : public AnswerEncoder {
 public:
  ChatEncoder(const ChatRequest& request,
              const ServedModel& model,
              const TextCodec& codec,
              std::span<const engine::Token> prompt,
              AnswerIdentity identity)
      : request_(request),
        model_(model),
        codec_(codec),
        prompt_(prompt),
        identity_(std::move(identity)),
        role_sent_(static_cast<std::size_t>(request.common.n)) {}

  std::vector<std::string> Chunks(std::span<const AnswerSegment> segments,
                                  const Answer& answer) override;
  std::vector<std::string> FinishChunks(const Answer& answer) override;
  std::string UsageChunk(std::span<const Answer* const> answers) override;
  std::string Whole(std::span<const Answer* const> answers) override;

 private:
  // Nothing, or the chunk with the role where the answer has none yet.
  std::vector<std::string> Opening(const Answer& answer);
  std::string RoleChunk(const Answer& answer);
  std::string SegmentChunk(const AnswerSegment& segment, const Answer& answer);
  void WriteChoice(const Answer& answer, JsonWriter* json) const;
  bool Shows(const AnswerSegment& segment) const;

  const ChatRequest& request_;
  const ServedModel& model_;
  const TextCodec& codec_;
  const std::span<const engine::Token> prompt_;
  const AnswerIdentity identity_;
  std::vector<bool> role_sent_;  // [n]
};

class CompletionEncoder final : public AnswerEncoder {
 public:
  CompletionEncoder(const CompletionRequest& request,
                    const ServedModel& model,
                    const TextCodec& codec,
                    std::span<const std::vector<engine::Token>> prompts,
                    AnswerIdentity identity)
      : request_(request),
        model_(model),
        codec_(codec),
        prompts_(prompts),
        identity_(std::move(identity)),
        progress_(prompts.size() * static_cast<std::size_t>(request.common.n)) {}

  std::vector<std::string> Chunks(std::span<const AnswerSegment> segments,
                                  const Answer& answer) override;
  std::vector<std::string> FinishChunks(const Answer& answer) override;
  std::string UsageChunk(std::span<const Answer* const> answers) override;
  std::string Whole(std::span<const Answer* const> answers) override;

 private:
  struct Progress {
    bool started = false;
    std::int64_t text_offset = 0;  // Characters before the next token's text.
  };

  std::string Chunk(std::string_view text,
                    std::span<const engine::runtime::CommittedToken> tokens,
                    const Answer& answer,
                    bool is_last);
  void WriteChoice(const Answer& answer, JsonWriter* json) const;
  // Which of the prompts it answers.
  std::size_t PromptOf(const Answer& answer) const;
  std::string EchoedPrompt(const Answer& answer) const;

  const CompletionRequest& request_;
  const ServedModel& model_;
  const TextCodec& codec_;
  const std::span<const std::vector<engine::Token>> prompts_;
  const AnswerIdentity identity_;
  std::vector<Progress> progress_;  // [prompts * n]
};

}  // namespace sparkspan::head::api
