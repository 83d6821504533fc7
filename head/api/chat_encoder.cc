#include "head/api/encoder.h"
#include "head/api/encoder_fields.h"

// Chat completions, whole and as chunks.
namespace sparkspan::head::api {
namespace {

using engine::runtime::CommittedToken;

constexpr std::string_view kChunkObject = "chat.completion.chunk";

void WriteTokenLogprob(engine::Token token,
                       float logprob,
                       const CommonRequest& common,
                       const TextCodec& codec,
                       JsonWriter* json) {
  json->Key("token").String(TokenName(token, common, codec));
  json->Key("logprob").Double(static_cast<double>(logprob));
  json->Key("bytes").BeginArray();
  for (const char c : codec.TokenBytes(token)) {
    json->Integer(static_cast<unsigned char>(c));
  }
  json->EndArray();
}

void WriteLogprobs(std::span<const CommittedToken> tokens,
                   const ChatRequest& request,
                   const TextCodec& codec,
                   JsonWriter* json) {
  json->Key("logprobs");
  if (!request.logprobs) {
    json->Null();
    return;
  }
  constexpr float kMissing = -9999.0f;
  json->BeginObject().Key("content").BeginArray();
  for (const CommittedToken& token : tokens) {
    json->BeginObject();
    WriteTokenLogprob(token.token, token.logprob.value_or(kMissing), request.common, codec, json);
    json->Key("top_logprobs").BeginArray();
    const auto wanted = static_cast<std::size_t>(request.common.sampling.top_logprobs);
    for (std::size_t i = 0; i < token.top.size() && i < wanted; ++i) {
      json->BeginObject();
      WriteTokenLogprob(token.top[i].token, token.top[i].logprob, request.common, codec, json);
      json->EndObject();
    }
    json->EndArray().EndObject();
  }
  json->EndArray().EndObject();
}

void WriteReasoning(std::string_view text, const ServedModel& model, JsonWriter* json) {
  if (model.send_reasoning_content) {
    json->Key("reasoning_content").String(text);
  }
  if (model.send_reasoning) {
    json->Key("reasoning").String(text);
  }
}

void WriteCallDelta(const OutputPiece& piece, JsonWriter* json) {
  json->Key("tool_calls").BeginArray().BeginObject().Key("index").Integer(piece.call);
  const bool begins = piece.kind == OutputPiece::Kind::kCallBegin;
  if (begins) {
    json->Key("id").String(piece.id).Key("type").String("function");
  }
  json->Key("function").BeginObject();
  if (begins) {
    json->Key("name").String(piece.text);
  }
  json->Key("arguments").String(begins ? "" : piece.text).EndObject().EndObject().EndArray();
}

void WriteCalls(const std::vector<AnsweredCall>& calls, JsonWriter* json) {
  bool any = false;
  for (const AnsweredCall& call : calls) {
    if (!call.complete) {
      continue;
    }
    if (!any) {
      json->Key("tool_calls").BeginArray();
      any = true;
    }
    json->BeginObject().Key("id").String(call.id).Key("type").String("function");
    json->Key("function").BeginObject().Key("name").String(call.name);
    json->Key("arguments").String(call.arguments).EndObject().EndObject();
  }
  if (any) {
    json->EndArray();
  }
}

bool HasCompleteCall(const Answer& answer) {
  for (const AnsweredCall& call : answer.calls()) {
    if (call.complete) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool ChatEncoder::Shows(const AnswerSegment& segment) const {
  const bool hidden_reasoning =
      segment.piece.kind == OutputPiece::Kind::kReasoning &&
      !(request_.include_reasoning && (model_.send_reasoning || model_.send_reasoning_content));
  if (hidden_reasoning || segment.piece.text.empty()) {
    return !segment.tokens.empty() && (request_.common.return_token_ids || request_.logprobs);
  }
  return true;
}

std::vector<std::string> ChatEncoder::Chunks(std::span<const AnswerSegment> segments,
                                             const Answer& answer) {
  if (segments.empty()) {
    return {};
  }
  // The role goes out with the first token, never before: clients time the first chunk.
  std::vector<std::string> chunks = Opening(answer);
  for (const AnswerSegment& segment : segments) {
    if (Shows(segment)) {
      chunks.push_back(SegmentChunk(segment, answer));
    }
  }
  return chunks;
}

std::vector<std::string> ChatEncoder::Opening(const Answer& answer) {
  const auto choice = static_cast<std::size_t>(answer.choice());
  if (role_sent_[choice]) {
    return {};
  }
  role_sent_[choice] = true;
  return {RoleChunk(answer)};
}

std::string ChatEncoder::RoleChunk(const Answer& answer) {
  JsonWriter json;
  json.BeginObject();
  WriteIdentity(identity_, kChunkObject, request_.common, &json);
  if (request_.common.return_token_ids) {
    WritePromptTokenIds(prompt_, &json);
  }
  json.Key("choices").BeginArray().BeginObject().Key("index").Integer(answer.choice());
  json.Key("delta").BeginObject().Key("role").String("assistant").Key("content").String("");
  json.EndObject().Key("logprobs").Null().Key("finish_reason").Null().EndObject().EndArray();
  WriteRunningUsage(request_.common, answer, &json);
  json.EndObject();
  return json.Take();
}

std::string ChatEncoder::SegmentChunk(const AnswerSegment& segment, const Answer& answer) {
  using Kind = OutputPiece::Kind;
  JsonWriter json;
  json.BeginObject();
  WriteIdentity(identity_, kChunkObject, request_.common, &json);
  json.Key("choices").BeginArray().BeginObject().Key("index").Integer(answer.choice());
  json.Key("delta").BeginObject();
  const OutputPiece& piece = segment.piece;
  if (piece.kind == Kind::kCallBegin || piece.kind == Kind::kCallArguments) {
    WriteCallDelta(piece, &json);
  } else if (piece.kind == Kind::kReasoning && request_.include_reasoning &&
             (model_.send_reasoning || model_.send_reasoning_content)) {
    WriteReasoning(piece.text, model_, &json);
  } else {
    json.Key("content").String(piece.kind == Kind::kContent ? piece.text : "");
  }
  json.EndObject();
  WriteLogprobs(segment.tokens, request_, codec_, &json);
  json.Key("finish_reason").Null();
  if (request_.common.return_token_ids) {
    WriteTokenIds(segment.tokens, &json);
  }
  json.EndObject().EndArray();
  WriteRunningUsage(request_.common, answer, &json);
  json.EndObject();
  return json.Take();
}

std::vector<std::string> ChatEncoder::FinishChunks(const Answer& answer) {
  std::vector<std::string> chunks = Opening(answer);
  JsonWriter json;
  json.BeginObject();
  WriteIdentity(identity_, kChunkObject, request_.common, &json);
  json.Key("choices").BeginArray().BeginObject().Key("index").Integer(answer.choice());
  json.Key("delta").BeginObject().EndObject().Key("logprobs").Null();
  WriteFinish(answer, model_, &json);
  json.EndObject().EndArray();
  WriteRunningUsage(request_.common, answer, &json);
  json.EndObject();
  chunks.push_back(json.Take());
  return chunks;
}

std::string ChatEncoder::UsageChunk(std::span<const Answer* const> answers) {
  return api::UsageChunk(
      identity_, kChunkObject, request_.common, UsageOfAll(answers, request_.common.n));
}

void ChatEncoder::WriteChoice(const Answer& answer, JsonWriter* json) const {
  json->BeginObject().Key("index").Integer(answer.choice());
  json->Key("message").BeginObject().Key("role").String("assistant").Key("content");
  const bool has_calls = HasCompleteCall(answer);
  const bool cut_in_reasoning =
      answer.finish_reason() == "length" && answer.content().empty() && !answer.reasoning().empty();
  if (answer.content().empty() && (has_calls || cut_in_reasoning)) {
    json->Null();
  } else {
    json->String(answer.content());
  }
  json->Key("refusal").Null();
  if (request_.include_reasoning && !answer.reasoning().empty()) {
    WriteReasoning(answer.reasoning(), model_, json);
  }
  WriteCalls(answer.calls(), json);
  json->EndObject();
  WriteLogprobs(answer.tokens(), request_, codec_, json);
  WriteFinish(answer, model_, json);
  if (request_.common.return_token_ids) {
    WriteTokenIds(answer.tokens(), json);
  }
  json->EndObject();
}

std::string ChatEncoder::Whole(std::span<const Answer* const> answers) {
  JsonWriter json;
  json.BeginObject();
  WriteIdentity(identity_, "chat.completion", request_.common, &json);
  if (request_.common.return_token_ids) {
    WritePromptTokenIds(prompt_, &json);
  }
  json.Key("choices").BeginArray();
  for (const Answer* answer : answers) {
    WriteChoice(*answer, &json);
  }
  json.EndArray();
  WriteUsage(UsageOfAll(answers, request_.common.n), &json);
  WriteFingerprint(model_, &json);
  json.EndObject();
  return json.Take();
}

}  // namespace sparkspan::head::api
