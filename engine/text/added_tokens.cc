#include "engine/text/added_tokens.h"

#include "engine/base/log.h"

namespace sparkspan::engine::text {

void AddedTokenMatcher::Add(std::string_view text, Token token) {
  CHECK(!text.empty()) << "an added token without text";
  std::size_t node = 0;
  for (const char c : text) {
    const auto next = static_cast<std::int32_t>(nodes_.size());
    const auto [child, inserted] =
        nodes_[node].children.try_emplace(static_cast<unsigned char>(c), next);
    node = static_cast<std::size_t>(child->second);
    if (inserted) {
      nodes_.emplace_back();
    }
  }
  nodes_[node].token = token;
}

AddedTokenMatcher::Stretch AddedTokenMatcher::LongestAt(std::string_view text) const {
  Stretch longest;
  std::size_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto child = nodes_[node].children.find(static_cast<unsigned char>(text[i]));
    if (child == nodes_[node].children.end()) {
      break;
    }
    node = static_cast<std::size_t>(child->second);
    if (nodes_[node].token >= 0) {
      longest = {text.substr(0, i + 1), nodes_[node].token};
    }
  }
  return longest;
}

void AddedTokenMatcher::Split(std::string_view text, std::vector<Stretch>* stretches) const {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Stretch found = LongestAt(text.substr(at));
    if (found.token < 0) {
      ++at;
      continue;
    }
    if (at > begin) {
      stretches->push_back({text.substr(begin, at - begin)});
    }
    stretches->push_back(found);
    at += found.text.size();
    begin = at;
  }
  if (begin < text.size()) {
    stretches->push_back({text.substr(begin)});
  }
}

}  // namespace sparkspan::engine::text
