#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// The chat encoding of DeepSeek-V4: messages to the text that the model reads, special tokens
// spelled out. The checkpoint publishes it as Python (encoding/encoding_dsv4.py); there is no
// template. docs/text.md.
namespace sparkspan::engine::text {

struct ChatCall {
  std::string id;
  std::string name;
  // JSON text of an object. Empty or "null" means {}; any other text is given to the model as one
  // string parameter named "arguments".
  std::string arguments;
};

struct ChatMessage {
  enum class Role {
    kSystem,
    kDeveloper,  // The encoder's own: a user's turn that may carry tools. Not OpenAI's.
    kUser,
    kAssistant,
    kTool,
    kLatestReminder,
  };
  Role role = Role::kUser;
  std::string content;
  std::string reasoning;              // kAssistant
  std::vector<ChatCall> calls;        // kAssistant
  std::string call_id;                // kTool: the call that it answers.
  std::vector<std::string> tools;     // kSystem, kDeveloper: JSON texts of function objects.
  std::optional<std::string> format;  // kSystem, kDeveloper: JSON text of the answer's schema.
  std::optional<std::string> task;    // One of DeepSeek's own short tasks.
  bool is_open = false;               // kAssistant: to be continued, so nothing ends it.
};

// The texts of the reasoning efforts differ between releases of a checkpoint.
enum class EncodingProfile { kPreview, k0731 };

// "preview" or "0731".
std::string_view ToString(EncodingProfile profile);

enum class EncodedEffort { kNone, kLow, kHigh, kMax };

struct ChatFormat {
  EncodingProfile profile = EncodingProfile::k0731;
  bool thinking = true;
  EncodedEffort effort = EncodedEffort::kNone;
  bool drop_thinking = true;  // Old reasoning is left out, unless there are tools.
  bool add_bos = true;        // Not after a context.
  bool add_header = true;     // A last user's turn is followed by the assistant's header.
};

// The prompt of `messages`; with a `context`, only what comes after it, which has been rendered
// before. InvalidArgument names the message that the encoding has no form for.
absl::StatusOr<std::string> RenderChat(std::vector<ChatMessage> messages,
                                       std::vector<ChatMessage> context,
                                       const ChatFormat& format);

// Puts the tools of a request where the encoding wants them: on the first message if it is a
// system's or a developer's, else on an empty system message before all. No tools: no change.
void AttachTools(std::vector<std::string> tools, std::vector<ChatMessage>* messages);

// Puts the JSON text of an answer's schema on the first message if it is a system's or a
// developer's, else on an empty system message before all.
void AttachFormat(std::string format, std::vector<ChatMessage>* messages);

// The beginning of a block of calls, as far as it is known: a call of `function` up to its first
// parameter, or of any function where that is empty. The rest of a block tokenises as if the two
// had been one text.
std::string CallBeginning(std::string_view function);

// The beginning of an assistant's turn.
std::string AssistantHeader(bool thinking);

// The profile of the checkpoint in `folder`, read from the encoder it publishes; k0731 when it
// publishes none. InvalidArgument when the encoder is neither.
absl::StatusOr<EncodingProfile> DetectProfile(const std::string& folder);

}  // namespace sparkspan::engine::text
