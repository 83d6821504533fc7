#pragma once

#include <string_view>

// The texts of the tokens that the chat encoding is made of. Their ids differ between vocabularies:
// Tokenizer::AddedToken.
namespace sparkspan::engine::text {

inline constexpr std::string_view kBosText = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEosText = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kUserText = "<｜User｜>";
inline constexpr std::string_view kAssistantText = "<｜Assistant｜>";
inline constexpr std::string_view kLatestReminderText = "<｜latest_reminder｜>";
inline constexpr std::string_view kThinkText = "<think>";
inline constexpr std::string_view kThinkEndText = "</think>";
inline constexpr std::string_view kInfillBeginText = "<｜fim▁begin｜>";
inline constexpr std::string_view kInfillHoleText = "<｜fim▁hole｜>";
inline constexpr std::string_view kInfillEndText = "<｜fim▁end｜>";
inline constexpr std::string_view kMarkupText = "｜DSML｜";  // In every tag of a tool call.

}  // namespace sparkspan::engine::text
