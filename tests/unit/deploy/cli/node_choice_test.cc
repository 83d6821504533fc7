#include "deploy/cli/node_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sparkspan::deploy::cli {
namespace {

using ::testing::HasSubstr;

engine::config::ClusterConfig Pair() {
  engine::config::ClusterConfig config;
  config.nodes.resize(2);
  config.nodes[0].name = "spark1";
  config.nodes[1].name = "spark2";
  return config;
}

TEST(NodeChoice, ByNameOrByPlaceAndTheNameWins) {
  const engine::config::ClusterConfig config = Pair();
  EXPECT_EQ((*ChooseNode(config, "spark2", ""))->name, "spark2");
  EXPECT_EQ((*ChooseNode(config, "", "0"))->name, "spark1");
  EXPECT_EQ((*ChooseNode(config, "", "1"))->name, "spark2");
  EXPECT_EQ((*ChooseNode(config, "spark1", "1"))->name, "spark1");
}

TEST(NodeChoice, NothingIsGuessed) {
  engine::config::ClusterConfig config = Pair();
  const auto message = [&](const char* name, const char* rank) {
    return std::string(ChooseNode(config, name, rank).status().message());
  };
  EXPECT_THAT(message("", ""), HasSubstr("several nodes (spark1, spark2)"));
  EXPECT_THAT(message("spark", ""), HasSubstr("give one of: spark1, spark2"));
  for (const char* rank : {"2", "-1", "1x", " 1"}) {
    EXPECT_THAT(message("", rank), HasSubstr("NODE_RANK")) << rank;
  }
  config.nodes.resize(1);
  EXPECT_EQ((*ChooseNode(config, "", ""))->name, "spark1") << "there is only one";
}

}  // namespace
}  // namespace sparkspan::deploy::cli
