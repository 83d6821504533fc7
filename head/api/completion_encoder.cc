#include <algorithm>

#include "head/api/encoder.h"
#include "head/api/encoder_fields.h"

// Text completions, whole and as chunks.
namespace sparkspan::head::api {
namespace {

using engine::runtime::CommittedToken;

constexpr std::string_view kObject = "text_completion";

std::int64_t Characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
}

// Four lists of one length; a token's offset counts characters from the answer's beginning.
void WriteLogprobs(std::span<const CommittedToken> tokens,
                   const CommonRequest& common,
                   const TextCodec& codec,
                   std::int64_t* offset,
                   JsonWriter* json) {
  json->Key("logprobs");
  if (common.sampling.top_logprobs < 0) {
    json->Null();
    return;
  }
  json->BeginObject().Key("tokens").BeginArray();
  for (const CommittedToken& token : tokens) {
    json->String(TokenName(token.token, common, codec));
  }
  json->EndArray().Key("token_logprobs").BeginArray();
  for (const CommittedToken& token : tokens) {
    json->Double(static_cast<double>(token.logprob.value_or(-9999.0f)));
  }
  json->EndArray().Key("top_logprobs").BeginArray();
  for (const CommittedToken& token : tokens) {
    json->BeginObject();
    const auto wanted = static_cast<std::size_t>(common.sampling.top_logprobs);
    for (std::size_t i = 0; i < token.top.size() && i < wanted; ++i) {
      json->Key(TokenName(token.top[i].token, common, codec));
      json->Double(static_cast<double>(token.top[i].logprob));
    }
    json->EndObject();
  }
  json->EndArray().Key("text_offset").BeginArray();
  for (const CommittedToken& token : tokens) {
    json->Integer(*offset);
    *offset += Characters(codec.TokenBytes(token.token));
  }
  json->EndArray().EndObject();
}

}  // namespace

std::size_t CompletionEncoder::PromptOf(const Answer& answer) const {
  return static_cast<std::size_t>(answer.choice() / request_.common.n);
}

std::string CompletionEncoder::EchoedPrompt(const Answer& answer) const {
  if (!request_.echo) {
    return "";
  }
  const std::string& text = request_.prompts[PromptOf(answer)].text;
  return text.empty() ? codec_.Decode(prompts_[PromptOf(answer)]) : text;
}

std::string CompletionEncoder::Chunk(std::string_view text,
                                     std::span<const CommittedToken> tokens,
                                     const Answer& answer,
                                     bool is_last) {
  Progress& progress = progress_[static_cast<std::size_t>(answer.choice())];
  JsonWriter json;
  json.BeginObject();
  WriteIdentity(identity_, kObject, request_.common, &json);
  json.Key("choices").BeginArray().BeginObject().Key("index").Integer(answer.choice());
  std::string shown;
  if (!progress.started) {
    shown = EchoedPrompt(answer);
  }
  shown += text;
  json.Key("text").String(shown);
  WriteLogprobs(tokens, request_.common, codec_, &progress.text_offset, &json);
  if (is_last) {
    WriteFinish(answer, model_, &json);
  } else {
    json.Key("finish_reason").Null().Key("stop_reason").Null();
  }
  if (request_.common.return_token_ids) {
    if (!progress.started) {
      WritePromptTokenIds(prompts_[PromptOf(answer)], &json);
    }
    WriteTokenIds(tokens, &json);
  }
  json.EndObject().EndArray();
  WriteRunningUsage(request_.common, answer, &json);
  json.EndObject();
  progress.started = true;
  return json.Take();
}

std::vector<std::string> CompletionEncoder::Chunks(std::span<const AnswerSegment> segments,
                                                   const Answer& answer) {
  std::string text;
  std::vector<CommittedToken> tokens;
  for (const AnswerSegment& segment : segments) {
    text += segment.piece.text;
    tokens.insert(tokens.end(), segment.tokens.begin(), segment.tokens.end());
  }
  const bool wants_tokens =
      request_.common.return_token_ids || request_.common.sampling.top_logprobs >= 0;
  if (text.empty() && (tokens.empty() || !wants_tokens)) {
    return {};
  }
  return {Chunk(text, tokens, answer, /*is_last=*/false)};
}

std::vector<std::string> CompletionEncoder::FinishChunks(const Answer& answer) {
  return {Chunk("", {}, answer, /*is_last=*/true)};
}

std::string CompletionEncoder::UsageChunk(std::span<const Answer* const> answers) {
  return api::UsageChunk(
      identity_, kObject, request_.common, UsageOfAll(answers, request_.common.n));
}

void CompletionEncoder::WriteChoice(const Answer& answer, JsonWriter* json) const {
  json->BeginObject().Key("index").Integer(answer.choice());
  json->Key("text").String(EchoedPrompt(answer) + answer.content());
  std::int64_t offset = 0;
  WriteLogprobs(answer.tokens(), request_.common, codec_, &offset, json);
  WriteFinish(answer, model_, json);
  if (request_.common.return_token_ids) {
    WritePromptTokenIds(prompts_[PromptOf(answer)], json);
    WriteTokenIds(answer.tokens(), json);
  }
  json->EndObject();
}

std::string CompletionEncoder::Whole(std::span<const Answer* const> answers) {
  JsonWriter json;
  json.BeginObject();
  WriteIdentity(identity_, kObject, request_.common, &json);
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
