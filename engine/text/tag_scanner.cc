#include "engine/text/tag_scanner.h"

#include <array>
#include <utility>

#include "engine/text/white_space.h"

namespace sparkspan::engine::text {
namespace {

constexpr std::string_view kOpenPrefix = "<｜DSML｜";
constexpr std::string_view kClosePrefix = "</｜DSML｜";

struct TagName {
  std::string_view name;
  Tag::Kind open;
  Tag::Kind close;
};
constexpr std::array<TagName, 4> kTagNames = {{
    {"tool_calls", Tag::Kind::kBlock, Tag::Kind::kBlockEnd},
    {"function_calls", Tag::Kind::kBlock, Tag::Kind::kBlockEnd},
    {"invoke", Tag::Kind::kInvoke, Tag::Kind::kInvokeEnd},
    {"parameter", Tag::Kind::kParameter, Tag::Kind::kParameterEnd},
}};

bool HasAttributes(Tag::Kind kind) {
  return kind == Tag::Kind::kInvoke || kind == Tag::Kind::kParameter;
}

bool IsKeyCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

bool IsWholePrefix(std::string_view text) {
  return text == kOpenPrefix || text == kClosePrefix;
}

bool BeginsPrefix(std::string_view text) {
  return kOpenPrefix.starts_with(text) || kClosePrefix.starts_with(text);
}

}  // namespace

std::optional<Tag> TagScanner::Next(std::string_view* text, TagSet wanted, std::string* plain) {
  while (!text->empty()) {
    if (held_.empty()) {
      const std::size_t begin = text->find('<');
      *plain += text->substr(0, begin);
      if (begin == std::string_view::npos) {
        *text = {};
        break;
      }
      held_ = '<';
      state_ = State::kPrefix;
      tag_ = Tag();
      text->remove_prefix(begin + 1);
      continue;
    }
    const char byte = text->front();
    const std::optional<State> next = After(byte, wanted);
    if (!next.has_value()) {
      // No tag can begin inside what was held, but the byte may begin one.
      *plain += Abandon();
      continue;
    }
    held_ += byte;
    state_ = *next;
    text->remove_prefix(1);
    if (state_ == State::kDone) {
      held_.clear();
      return std::exchange(tag_, Tag());
    }
    if (state_ == State::kValue && RestartsAtNestedTag(plain)) {
      state_ = State::kName;
    }
  }
  return std::nullopt;
}

std::string TagScanner::Abandon() {
  return std::exchange(held_, std::string());
}

std::optional<TagScanner::State> TagScanner::After(char byte, TagSet wanted) {
  switch (state_) {
    case State::kPrefix: {
      const std::string longer = held_ + byte;
      if (!BeginsPrefix(longer)) {
        return std::nullopt;
      }
      part_begin_ = longer.size();
      return IsWholePrefix(longer) ? State::kName : State::kPrefix;
    }
    case State::kName:
      return AfterName(byte, wanted);
    case State::kEnd:
      if (IsWhiteSpace(byte)) {
        return State::kEnd;
      }
      return byte == '>' ? std::optional(State::kDone) : std::nullopt;
    case State::kBetween:
      return BetweenAttributes(byte);
    case State::kKey:
      if (byte == '=') {
        key_ = held_.substr(part_begin_);
        return State::kQuote;
      }
      return IsKeyCharacter(byte) ? std::optional(State::kKey) : std::nullopt;
    case State::kQuote:
      part_begin_ = held_.size() + 1;
      nested_begin_ = 0;
      return byte == '"' ? std::optional(State::kValue) : std::nullopt;
    case State::kValue:
      return byte == '"' ? State::kValueQuote : State::kValue;
    case State::kValueQuote:
      return AfterAttribute(byte);
    case State::kDone:
      break;
  }
  return std::nullopt;
}

std::optional<TagScanner::State> TagScanner::AfterName(char byte, TagSet wanted) {
  const bool is_end = held_[1] == '/';
  const bool name_ends = byte == '>' || IsWhiteSpace(byte);
  std::string name = held_.substr(part_begin_);
  if (!name_ends) {
    name += byte;
  }
  for (const TagName& known : kTagNames) {
    const Tag::Kind kind = is_end ? known.close : known.open;
    if ((wanted & Only(kind)) == 0) {
      continue;
    }
    if (!name_ends && known.name.starts_with(name)) {
      return State::kName;
    }
    if (name_ends && known.name == name) {
      tag_.kind = kind;
      return HasAttributes(kind) ? BetweenAttributes(byte)
             : byte == '>'       ? State::kDone
                                 : State::kEnd;
    }
  }
  return std::nullopt;
}

std::optional<TagScanner::State> TagScanner::BetweenAttributes(char byte) {
  if (IsWhiteSpace(byte)) {
    return State::kBetween;
  }
  if (byte == '>') {
    const bool needs_text = tag_.kind == Tag::Kind::kInvoke;
    const bool complete = tag_.name.has_value() && !(needs_text && tag_.name->empty());
    return complete ? std::optional(State::kDone) : std::nullopt;
  }
  part_begin_ = held_.size();
  return IsKeyCharacter(byte) ? std::optional(State::kKey) : std::nullopt;
}

std::optional<TagScanner::State> TagScanner::AfterAttribute(char byte) {
  if (byte == '"') {
    return State::kValueQuote;  // The '"' before was part of the value.
  }
  if (byte != '>' && !IsWhiteSpace(byte)) {
    return State::kValue;
  }
  std::string value = held_.substr(part_begin_, held_.size() - 1 - part_begin_);
  if (key_ == "name" && !tag_.name.has_value()) {
    tag_.name = std::move(value);
  } else if (key_ == "string" && !tag_.string.has_value()) {
    tag_.string = std::move(value);
  }
  return BetweenAttributes(byte);
}

bool TagScanner::RestartsAtNestedTag(std::string* plain) {
  if (held_.back() == '<') {
    nested_begin_ = held_.size() - 1;
    return false;
  }
  if (nested_begin_ == 0) {
    return false;
  }
  const std::string_view nested = std::string_view(held_).substr(nested_begin_);
  if (!BeginsPrefix(nested)) {
    nested_begin_ = 0;
    return false;
  }
  if (!IsWholePrefix(nested)) {
    return false;
  }
  *plain += held_.substr(0, nested_begin_);
  held_.erase(0, nested_begin_);
  part_begin_ = held_.size();
  tag_ = Tag();
  return true;
}

}  // namespace sparkspan::engine::text
