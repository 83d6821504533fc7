#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/ids.h"
#include "head/api/answer.h"
#include "head/api/request.h"
#include "head/api/text_codec.h"

namespace sparkspan::head::api {

// What every chunk of one answer repeats.
struct AnswerIdentity {
  std::string id;  // "chatcmpl-..." or "cmpl-..."
  std::int64_t created_unix_seconds = 0;
};

// Writes one answer in the form of its endpoint, whole or as the data of server-sent events.
// One thread.
class AnswerEncoder {
 public:
  virtual ~AnswerEncoder() = default;

  // The JSON texts to send for what an event added. `answer` has absorbed the event.
  virtual std::vector<std::string> Chunks(std::span<const AnswerSegment> segments,
                                          const Answer& answer) = 0;
  // The JSON texts that end the stream: the finish, and usage when it was asked for.
  virtual std::vector<std::string> LastChunks(const Answer& answer) = 0;
  virtual std::string Whole(const Answer& answer) = 0;
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
        identity_(std::move(identity)) {}

  std::vector<std::string> Chunks(std::span<const AnswerSegment> segments,
                                  const Answer& answer) override;
  std::vector<std::string> LastChunks(const Answer& answer) override;
  std::string Whole(const Answer& answer) override;

 private:
  std::string RoleChunk(const Answer& answer);
  std::string SegmentChunk(const AnswerSegment& segment, const Answer& answer);
  bool Shows(const AnswerSegment& segment) const;

  const ChatRequest& request_;
  const ServedModel& model_;
  const TextCodec& codec_;
  const std::span<const engine::Token> prompt_;
  const AnswerIdentity identity_;
  bool role_sent_ = false;
};

class CompletionEncoder final : public AnswerEncoder {
 public:
  CompletionEncoder(const CompletionRequest& request,
                    const ServedModel& model,
                    const TextCodec& codec,
                    std::span<const engine::Token> prompt,
                    AnswerIdentity identity)
      : request_(request),
        model_(model),
        codec_(codec),
        prompt_(prompt),
        identity_(std::move(identity)) {}

  std::vector<std::string> Chunks(std::span<const AnswerSegment> segments,
                                  const Answer& answer) override;
  std::vector<std::string> LastChunks(const Answer& answer) override;
  std::string Whole(const Answer& answer) override;

 private:
  std::string Chunk(std::string_view text,
                    std::span<const engine::runtime::CommittedToken> tokens,
                    const Answer& answer,
                    bool is_last);
  std::string EchoedPrompt() const;

  const CompletionRequest& request_;
  const ServedModel& model_;
  const TextCodec& codec_;
  const std::span<const engine::Token> prompt_;
  const AnswerIdentity identity_;
  bool started_ = false;
  std::int64_t text_offset_ = 0;  // Characters before the next token's text.
};

}  // namespace sparkspan::head::api
