#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/log.h"
#include "engine/text/json.h"
#include "engine/text/markup_parser.h"
#include "engine/text/utf8.h"

// What a model may write. The first byte chooses the state, the tools and how the answer ends; in
// the rest 0x01 and 0x02 stand for the tokens <think> and </think>.
namespace sparkspan::engine::text {
namespace {

using Kind = AnswerPiece::Kind;

struct Answer {
  std::string reasoning;
  std::string content;
  std::vector<std::string> calls;  // Name and arguments of each that began.
  std::vector<bool> complete;

  bool operator==(const Answer&) const = default;
};

void Add(const std::vector<AnswerPiece>& pieces, Answer* answer) {
  for (const AnswerPiece& piece : pieces) {
    const auto call = static_cast<std::size_t>(piece.call);
    if (piece.kind == Kind::kReasoning) {
      answer->reasoning += piece.text;
    } else if (piece.kind == Kind::kContent) {
      answer->content += piece.text;
    } else if (piece.kind == Kind::kReasoningAsContent) {
      CHECK(piece.text == answer->reasoning && answer->content.empty()) << piece.text;
    } else if (piece.kind == Kind::kCallBegin) {
      CHECK(call == answer->calls.size()) << "calls are not counted from 0";
      answer->calls.emplace_back();
      answer->complete.push_back(false);
    } else {
      CHECK(call + 1 == answer->calls.size() && !answer->complete[call]) << "not the open call";
      answer->calls[call] += piece.text;
      answer->complete[call] = piece.kind == Kind::kCallEnd;
    }
  }
}

// The answer when the text is pushed in parts of so many bytes.
Answer Read(std::uint8_t flags, std::string_view bytes, std::size_t part_bytes) {
  static const std::vector<std::string> kFunctions = {
      R"({"name": "f", "parameters": {"properties": {"a": {"type": "string"}, "b": {}}}})"};
  const OfferedTools tools = (flags & 2) != 0   ? OfferedTools::Of(kFunctions)
                             : (flags & 4) != 0 ? OfferedTools::Of({})
                                                : OfferedTools::Any();
  MarkupParser parser(/*in_reasoning=*/(flags & 1) != 0, tools);
  Utf8Decoder decoder;
  Answer answer;
  while (!bytes.empty()) {
    std::string text;
    if (bytes[0] == 1 || bytes[0] == 2) {
      decoder.Flush(&text);
      parser.PushText(text);
      parser.PushThink(/*is_end=*/bytes[0] == 2);
      bytes.remove_prefix(1);
    } else {
      const std::size_t end = std::min(bytes.find_first_of("\x01\x02"), bytes.size());
      const std::string_view part = bytes.substr(0, std::min(end, part_bytes));
      decoder.Push(part, &text);
      parser.PushText(text);
      bytes.remove_prefix(part.size());
    }
    Add(parser.Take(), &answer);
  }
  std::string rest;
  decoder.Flush(&rest);
  parser.PushText(rest);
  parser.Finish(/*cut=*/(flags & 8) != 0);
  Add(parser.Take(), &answer);
  return answer;
}

void Try(std::uint8_t flags, std::string_view bytes) {
  const Answer whole = Read(flags, bytes, bytes.size() + 1);
  for (const std::size_t part_bytes : {std::size_t{1}, std::size_t{3}, std::size_t{7}}) {
    CHECK(Read(flags, bytes, part_bytes) == whole) << "the cut changes the answer";
  }
  for (std::size_t i = 0; i < whole.calls.size(); ++i) {
    std::string why;
    const auto arguments = ParseJson(whole.calls[i], JsonLimits{}, &why);
    CHECK(!whole.complete[i] || (arguments.has_value() && arguments->object() != nullptr))
        << whole.calls[i] << ": " << why;
  }
}

}  // namespace
}  // namespace sparkspan::engine::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) {
    sparkspan::engine::text::Try(data[0], {reinterpret_cast<const char*>(data + 1), size - 1});
  }
  return 0;
}
