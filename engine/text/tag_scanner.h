#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sparkspan::engine::text {

// A tag of the markup of tool calls.
struct Tag {
  enum class Kind : std::uint8_t {
    kBlock,  // <｜DSML｜tool_calls>, also under its older name function_calls
    kBlockEnd,
    kInvoke,  // <｜DSML｜invoke name="NAME">
    kInvokeEnd,
    kParameter,  // <｜DSML｜parameter name="KEY" string="true|false">
    kParameterEnd,
  };
  Kind kind = Kind::kBlock;
  std::optional<std::string> name;    // Always there for kInvoke and kParameter.
  std::optional<std::string> string;  // kParameter: the attribute of that name.
};

// A set of kinds of tags.
using TagSet = std::uint8_t;
constexpr TagSet Only(Tag::Kind kind) {
  return static_cast<TagSet>(1u << static_cast<unsigned>(kind));
}
constexpr TagSet kAllTags = 0x3F;

// Finds tags in text that comes in pieces cut anywhere. White space may stand between attributes
// and before '>', attributes come in either order, and an attribute's value ends at the first '"'
// that white space or '>' follows, since nothing in it is escaped. What could become a tag is held
// back; each byte is looked at once, however long a tag is held.
class TagScanner {
 public:
  // Takes bytes from the front of *text up to the end of the next tag in `wanted`, or all. Appends
  // to *plain what is no tag. `wanted` may change only after a tag was found or while nothing is
  // held.
  std::optional<Tag> Next(std::string_view* text, TagSet wanted, std::string* plain);

  bool holds() const { return !held_.empty(); }
  // Gives up the tag that is held; returns its text.
  std::string Abandon();

 private:
  enum class State {
    kPrefix,      // up to and with ｜DSML｜
    kName,        // tool_calls, invoke, ...
    kEnd,         // white space, then '>'
    kBetween,     // white space, then an attribute or '>'
    kKey,         // up to '='
    kQuote,       // the '"' that opens a value
    kValue,       // inside a value
    kValueQuote,  // after a '"' that may end the value
    kDone,
  };

  // The state after `byte`, empty when with it the held text can no longer be a tag.
  std::optional<State> After(char byte, TagSet wanted);
  std::optional<State> AfterName(char byte, TagSet wanted);
  std::optional<State> AfterAttribute(char byte);
  std::optional<State> BetweenAttributes(char byte);
  // A value cannot hold the beginning of another tag: the held one broke off. Starts anew there.
  bool RestartsAtNestedTag(std::string* plain);

  State state_ = State::kPrefix;
  std::string held_;              // The tag so far; begins with '<' when not empty.
  std::size_t part_begin_ = 0;    // Where the name, key or value being read begins in held_.
  std::size_t nested_begin_ = 0;  // The last '<' inside the value; 0: none that could begin a tag.
  std::string key_;
  Tag tag_;
};

}  // namespace sparkspan::engine::text
