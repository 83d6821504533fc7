#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/text/chat.h"

namespace sparkspan::engine::text {

// A part of a user's turn: what the user wrote, or what a tool answered.
struct TurnBlock {
  bool is_tool_result = false;
  std::string call_id;
  std::string text;
};

// A message as it is rendered. A user's turn is its blocks; its message's content is not used.
struct ChatTurn {
  ChatMessage message;
  std::vector<TurnBlock> blocks;

  bool IsUser() const { return message.role == ChatMessage::Role::kUser; }
  // What the assistant answers: a user's or a developer's turn.
  bool IsAsking() const { return IsUser() || message.role == ChatMessage::Role::kDeveloper; }
};

// Joins adjacent user messages and tool results to one user's turn each. A turn with a task takes
// no more user text.
std::vector<ChatTurn> MergeTurns(std::vector<ChatMessage> messages);

// Puts several results in one turn in the order of the calls that the latest assistant's turn made.
// Text keeps its places; a result of no known call counts as the first call's.
void SortResults(std::vector<ChatTurn>* turns);

// The index of the last turn that the assistant answers, -1 when there is none.
std::ptrdiff_t LastAsking(const std::vector<ChatTurn>& turns);

// Drops the reasoning of assistants' turns before the last asking one, and developers' turns before
// it as a whole. Returns what has become of the index `first`: less by the turns dropped before it.
std::size_t DropOldReasoning(std::vector<ChatTurn>* turns, std::size_t first);

}  // namespace sparkspan::engine::text
