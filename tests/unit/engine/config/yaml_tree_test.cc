#include "engine/config/yaml_tree.h"

#include <gtest/gtest.h>

#include <string>

namespace sparkspan::engine::config {
namespace {

std::string Fault(const std::string& text) {
  const absl::StatusOr<YamlNode> node = ParseYaml(text, "f");
  return node.ok() ? "none" : std::string(node.status().message());
}

TEST(YamlTree, KeepsOrderLinesAndQuotes) {
  const absl::StatusOr<YamlNode> root = ParseYaml(
      "# a comment\n"
      "b: 1\n"
      "a: \"2\"\n"
      "empty:\n"
      "list:\n"
      "  - x\n"
      "  - {y: z}\n",
      "f");
  ASSERT_TRUE(root.ok()) << root.status();
  ASSERT_EQ(root->entries.size(), 4u);
  EXPECT_EQ(root->entries[0].key, "b");
  EXPECT_EQ(root->entries[0].line, 2);
  EXPECT_FALSE(root->entries[0].value.quoted);
  EXPECT_TRUE(root->entries[1].value.quoted);
  EXPECT_EQ(root->entries[1].value.scalar, "2");
  EXPECT_EQ(root->entries[2].value.kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root->entries[2].value.line, 4) << "the parser itself says the line after it";
  const YamlNode& list = root->entries[3].value;
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(list.items[1].line, 7);
  EXPECT_EQ(list.items[1].entries[0].value.scalar, "z");
}

TEST(YamlTree, RefusesWhatIsNoPlainData) {
  EXPECT_EQ(Fault("a: 1\nb: 2\na: 3\n"), "f:3: a: a duplicate key, first given in line 1");
  EXPECT_EQ(Fault("a:\n  - {b: 1, c: 2, b: 3}\n"),
            "f:2: b: a duplicate key, first given in line 2");
  EXPECT_EQ(Fault("a: &x 1\n"),
            "f:1: found an anchor (&name); write the value out where it is "
            "needed");
  EXPECT_EQ(Fault("a: 1\nb: *x\n").substr(0, 4), "f:2:");
  EXPECT_EQ(Fault("a: !!str 1\n"),
            "f:1: found a tag (tag:yaml.org,2002:str); a value has the type of its key");
  EXPECT_EQ(Fault("a: 1\n---\nb: 2\n"), "f:2: found a second document; a configuration is one");
  EXPECT_EQ(Fault("[1]: 2\n"), "f:1: found a key that is no text");
  EXPECT_EQ(Fault("a: 1\n b: 2\n"), "f:2: this is no YAML: illegal map value");
  EXPECT_EQ(Fault("a: [1\nb: 2\n").substr(0, 4), "f:2:");
  EXPECT_EQ(Fault(std::string("a: \0", 4)),
            "f:1: found a zero byte; a configuration is text in "
            "UTF-8");
}

TEST(YamlTree, IsBounded) {
  // Nine levels of nine aliases would be 387 million values.
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string alias = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + alias;
    for (int j = 1; j < 9; ++j) {
      bomb += ", " + alias;
    }
    bomb += "]\n";
  }
  EXPECT_EQ(Fault(bomb).substr(0, 24), "f:1: found an anchor (&n");
  EXPECT_EQ(Fault(std::string(17, '[')), "f:1: found more than 16 levels of nesting");
  EXPECT_EQ(Fault(std::string(100'000, '[')), "f:1: found more than 16 levels of nesting");
  EXPECT_EQ(Fault(std::string(kYamlBytesMax + 1, ' ')),
            "f:1: found 262145 bytes; a configuration has at most 262144");
  std::string keys;
  for (int i = 0; i < 257; ++i) {
    keys += "k" + std::to_string(i) + ": 1\n";
  }
  EXPECT_EQ(Fault(keys), "f:257: found more than 256 keys in one map");
}

}  // namespace
}  // namespace sparkspan::engine::config
