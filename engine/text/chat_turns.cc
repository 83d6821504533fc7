#include "engine/text/chat_turns.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace sparkspan::engine::text {
namespace {

using Role = ChatMessage::Role;

// The place of each call id among an assistant's calls.
using CallOrder = std::unordered_map<std::string, std::size_t>;

std::size_t PlaceOf(const CallOrder& order, const TurnBlock& block) {
  const auto found = order.find(block.call_id);
  return found != order.end() ? found->second : 0;
}

void SortTurn(const CallOrder& order, ChatTurn* turn) {
  std::vector<TurnBlock> results;
  for (const TurnBlock& block : turn->blocks) {
    if (block.is_tool_result) {
      results.push_back(block);
    }
  }
  std::stable_sort(results.begin(), results.end(), [&](const TurnBlock& a, const TurnBlock& b) {
    return PlaceOf(order, a) < PlaceOf(order, b);
  });
  auto next = results.begin();
  for (TurnBlock& block : turn->blocks) {
    if (block.is_tool_result) {
      block = std::move(*next++);
    }
  }
}

}  // namespace

std::vector<ChatTurn> MergeTurns(std::vector<ChatMessage> messages) {
  std::vector<ChatTurn> turns;
  for (ChatMessage& message : messages) {
    const bool is_result = message.role == Role::kTool;
    if (!is_result && message.role != Role::kUser) {
      turns.push_back({std::move(message), {}});
      continue;
    }
    TurnBlock block{is_result, std::move(message.call_id), std::move(message.content)};
    const bool joins = !turns.empty() && turns.back().IsUser() &&
                       (is_result || !turns.back().message.task.has_value());
    if (!joins) {
      message.role = Role::kUser;
      turns.push_back({std::move(message), {}});
    }
    turns.back().blocks.push_back(std::move(block));
  }
  return turns;
}

void SortResults(std::vector<ChatTurn>* turns) {
  CallOrder order;
  for (ChatTurn& turn : *turns) {
    if (turn.message.role == Role::kAssistant && !turn.message.calls.empty()) {
      order.clear();
      for (std::size_t i = 0; i < turn.message.calls.size(); ++i) {
        if (!turn.message.calls[i].id.empty()) {
          order[turn.message.calls[i].id] = i;
        }
      }
    } else if (turn.IsUser() && !order.empty()) {
      SortTurn(order, &turn);
    }
  }
}

std::ptrdiff_t LastAsking(const std::vector<ChatTurn>& turns) {
  const auto last = std::find_if(
      turns.rbegin(), turns.rend(), [](const ChatTurn& turn) { return turn.IsAsking(); });
  return turns.rend() - last - 1;
}

std::size_t DropOldReasoning(std::vector<ChatTurn>* turns, std::size_t first) {
  const std::ptrdiff_t last = LastAsking(*turns);
  std::size_t dropped = 0;
  std::vector<ChatTurn> kept;
  for (std::size_t i = 0; i < turns->size(); ++i) {
    ChatTurn& turn = (*turns)[i];
    const bool is_old = static_cast<std::ptrdiff_t>(i) < last;
    if (is_old && turn.message.role == Role::kDeveloper) {
      dropped += i < first ? 1 : 0;
      continue;
    }
    if (is_old && turn.message.role == Role::kAssistant) {
      turn.message.reasoning.clear();
    }
    kept.push_back(std::move(turn));
  }
  *turns = std::move(kept);
  return first - dropped;
}

}  // namespace sparkspan::engine::text
