#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/argument_writer.h"
#include "engine/text/tag_scanner.h"
#include "engine/text/tool_schema.h"

namespace sparkspan::engine::text {

// A piece of an answer, in the order in which a client may read it.
struct AnswerPiece {
  enum class Kind {
    kReasoning,
    kContent,
    kCallBegin,      // `text` is the function's name.
    kCallArguments,  // More of the arguments' JSON text.
    kCallEnd,        // The call is complete; only then does it count.
    // The answer ended inside its reasoning without a call or content: `text` repeats all of the
    // reasoning, which was the answer.
    kReasoningAsContent,
  };
  Kind kind = Kind::kContent;
  std::string text;
  std::int32_t call = 0;  // Counts the answer's calls from 0.

  bool operator==(const AnswerPiece&) const = default;
};

// Reads an answer's text: reasoning, content, and calls in their markup, well-formed or not. The
// sum of the pieces depends on the text alone, not on how it is cut. One thread. The rules are
// those of docs/text.md.
class MarkupParser {
 public:
  MarkupParser(bool in_reasoning, OfferedTools tools);

  // `text` is valid UTF-8, cut between characters.
  void PushText(std::string_view text);
  // The token <think> or </think>. Text that spells one is ordinary text.
  void PushThink(bool is_end);
  // The answer ended: by itself, or `cut` by a limit. Nothing may follow.
  void Finish(bool cut);

  // The pieces since the last call. Adjacent ones of one kind are joined.
  std::vector<AnswerPiece> Take();

  bool in_reasoning() const { return state_ == State::kReasoning; }
  // Bytes of markup that could not be read and of text where none belongs, white space excepted.
  std::int64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  enum class State {
    kReasoning,
    kContent,
    kBlock,  // between the calls of a block
    kCall,   // between the parameters of a call
    kValue,  // inside a parameter
  };

  TagSet Wanted() const;
  void OnPlain(std::string_view text);
  void OnTag(const Tag& tag);
  void OnTagInProse(const Tag& tag);
  void OnProse(std::string_view text);
  void ReleaseNewlines();
  // A tag that broke off outside a block is text, unless the marker shows what it was to be.
  void GiveUpTag();
  void BeginCall(const Tag& tag);
  void EndCall();
  void Emit(AnswerPiece::Kind kind, std::string_view text);
  void EmitProse(std::string_view text);
  void Drop(std::string_view text);

  const OfferedTools tools_;
  State state_;
  TagScanner scanner_;
  std::string newlines_;  // At most two at the end of the text: the separator before a block.
  std::string gap_;       // White space after a block, while after_block_.
  bool after_block_ = false;
  bool has_content_ = false;
  bool reasoning_closed_ = false;
  std::string reasoning_;  // All of it, while it may prove to be the answer.
  std::unique_ptr<ArgumentWriter> arguments_;
  std::int32_t calls_ = 0;
  std::int64_t dropped_bytes_ = 0;
  std::vector<AnswerPiece> pieces_;
};

}  // namespace sparkspan::engine::text
