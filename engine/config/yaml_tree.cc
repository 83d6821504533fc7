#include "engine/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::config {
namespace {

// Thrown through the parser by the handler below and caught in ParseYaml.
struct Refusal {
  int line;
  std::string why;
};

// Builds the tree from the parser's events, which come before any alias is expanded.
class TreeBuilder final : public YAML::EventHandler {
 public:
  YamlNode Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw Refusal{Line(mark), "found a second document; a configuration is one"};
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Add(Node(YamlNode::Kind::kNull, mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refusal{Line(mark), "found an alias (*name); write the value out"};
  }

  void OnScalar(const YAML::Mark& mark,
                const std::string& tag,
                YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    YamlNode node = Node(YamlNode::Kind::kScalar, mark);
    node.quoted = tag == "!";
    node.scalar = value;
    Add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark,
                       const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  // A collection that is being filled and, in a map, the key whose value comes next.
  struct Level {
    YamlNode node;
    bool has_key = false;
    YamlEntry entry;
  };

  static int Line(const YAML::Mark& mark) { return mark.line + 1; }

  static YamlNode Node(YamlNode::Kind kind, const YAML::Mark& mark) {
    YamlNode node;
    node.kind = kind;
    node.line = Line(mark);
    return node;
  }

  static void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      throw Refusal{Line(mark), "found an anchor (&name); write the value out where it is needed"};
    }
  }

  // The parser says "?" for what has no tag and "!" for a quoted scalar.
  static void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Refusal{Line(mark),
                    absl::StrFormat("found a tag (%s); a value has the type of its key", tag)};
    }
  }

  void Open(YamlNode::Kind kind,
            const YAML::Mark& mark,
            const std::string& tag,
            YAML::anchor_t anchor) {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (levels_.size() >= kYamlDepthMax) {
      throw Refusal{Line(mark),
                    absl::StrFormat("found more than %d levels of nesting", kYamlDepthMax)};
    }
    levels_.emplace_back().node = Node(kind, mark);
  }

  void Close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    Add(std::move(node));
  }

  void Add(YamlNode node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == YamlNode::Kind::kSequence) {
      level.node.items.push_back(std::move(node));
    } else if (!level.has_key) {
      TakeKey(level, node);
    } else {
      if (node.kind == YamlNode::Kind::kNull) {
        // The parser gives an absent value the place of what follows it.
        node.line = level.entry.line;
      }
      level.entry.value = std::move(node);
      level.node.entries.push_back(std::move(level.entry));
      level.entry = {};
      level.has_key = false;
    }
  }

  static void TakeKey(Level& level, const YamlNode& node) {
    if (node.kind != YamlNode::Kind::kScalar) {
      throw Refusal{node.line, "found a key that is no text"};
    }
    if (level.node.entries.size() >= kYamlEntriesMax) {
      throw Refusal{node.line,
                    absl::StrFormat("found more than %d keys in one map", kYamlEntriesMax)};
    }
    for (const YamlEntry& entry : level.node.entries) {
      if (entry.key == node.scalar) {
        throw Refusal{node.line,
                      absl::StrFormat(
                          "%s: a duplicate key, first given in line %d", node.scalar, entry.line)};
      }
    }
    level.entry.key = node.scalar;
    level.entry.line = node.line;
    level.has_key = true;
  }

  int documents_ = 0;
  YamlNode root_;
  std::vector<Level> levels_;
};

absl::Status Error(std::string_view file, int line, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", file, line, why));
}

}  // namespace

absl::StatusOr<YamlNode> ParseYaml(std::string_view text, std::string_view file) {
  if (text.size() > kYamlBytesMax) {
    return Error(file,
                 1,
                 absl::StrFormat(
                     "found %d bytes; a configuration has at most %d", text.size(), kYamlBytesMax));
  }
  if (text.find('\0') != std::string_view::npos) {
    return Error(file, 1, "found a zero byte; a configuration is text in UTF-8");
  }
  std::istringstream stream{std::string(text)};
  TreeBuilder builder;
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refusal& refusal) {
    return Error(file, refusal.line, refusal.why);
  } catch (const YAML::Exception& exception) {
    return Error(file,
                 std::max(exception.mark.line, 0) + 1,
                 absl::StrFormat("this is no YAML: %s", exception.msg));
  }
  YamlNode root = builder.Take();
  root.line = std::max(root.line, 1);
  return root;
}

}  // namespace sparkspan::engine::config
