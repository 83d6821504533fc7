// A node's description as another machine may have written it. What is accepted is written back
// unchanged, and a file proposed from it is read as proposed.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "deploy/cli/node_description.h"
#include "engine/base/log.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/config/propose_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sparkspan;  // NOLINT(google-build-using-namespace)
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto node = deploy::cli::ParseNodeDescription(json, "file");
  if (!node.ok()) {
    CHECK(std::string(node.status().message()).starts_with("file: ")) << node.status().message();
    return 0;
  }
  const std::string written = deploy::cli::ToJson(*node);
  const auto again = deploy::cli::ParseNodeDescription(written, "again");
  CHECK(again.ok()) << written;
  CHECK(deploy::cli::ToJson(*again) == written) << written;
  auto other = *node;
  other.name = "other";
  for (const auto& nodes : {std::vector{*node}, std::vector{*node, other}}) {
    const auto proposal = engine::config::ProposeConfig(nodes, {.model_path = "/model"});
    if (proposal.ok()) {
      const std::string yaml = engine::config::ToYaml(*proposal);
      const auto config = engine::config::ParseClusterConfig(yaml, "proposed");
      CHECK(config.ok()) << yaml;
      CHECK(*config == proposal->config) << yaml;
    }
  }
  return 0;
}
