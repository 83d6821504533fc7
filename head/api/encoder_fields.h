#pragma once

#include <span>
#include <string_view>

#include "head/api/encoder.h"
#include "head/api/json.h"

// Parts that the forms of answers share. Each writes keys into an open object.
namespace sparkspan::head::api {

void WriteIdentity(const AnswerIdentity& identity,
                   std::string_view object,
                   const CommonRequest& common,
                   JsonWriter* json);
void WriteUsage(const Usage& usage, JsonWriter* json);
// "usage" of a chunk that is not the usage chunk: absent, null or the running count.
void WriteRunningUsage(const CommonRequest& common, const Answer& answer, JsonWriter* json);
void WriteFinish(const Answer& answer, const ServedModel& model, JsonWriter* json);
void WriteTokenIds(std::span<const engine::runtime::CommittedToken> tokens, JsonWriter* json);
void WritePromptTokenIds(std::span<const engine::Token> prompt, JsonWriter* json);
// The usage chunk.
std::string UsageChunk(const AnswerIdentity& identity,
                       std::string_view object,
                       const CommonRequest& common,
                       const Usage& usage);
void WriteFingerprint(const ServedModel& model, JsonWriter* json);
std::string TokenName(engine::Token token, const CommonRequest& common, const TextCodec& codec);

}  // namespace sparkspan::head::api
