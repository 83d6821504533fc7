#include "engine/runtime/token_history.h"

#include "engine/base/log.h"

namespace sparkspan::engine::runtime {

void TokenHistory::Append(Token token, bool generated) {
  Occurrences& occurrences = occurrences_[token];
  if (generated) {
    ++occurrences.generated;
  } else {
    CHECK(prompt_size_ == tokens_.size()) << "a prompt token after a generated one";
    ++prompt_size_;
    ++occurrences.prompt;
  }
  tokens_.push_back(token);
}

void TokenHistory::RemoveLast() {
  CHECK(!tokens_.empty());
  const auto found = occurrences_.find(tokens_.back());
  tokens_.pop_back();
  if (tokens_.size() < prompt_size_) {
    prompt_size_ = tokens_.size();
    --found->second.prompt;
  } else {
    --found->second.generated;
  }
  if (found->second.prompt == 0 && found->second.generated == 0) {
    occurrences_.erase(found);
  }
}

void TokenHistory::Truncate(std::int64_t size) {
  while (this->size() > size) {
    RemoveLast();
  }
}

}  // namespace sparkspan::engine::runtime
