// Configuration files of arbitrary bytes. What is accepted can be written and read back unchanged.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/log.h"
#include "engine/config/check_cluster_config.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/config/write_cluster_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sparkspan::engine;  // NOLINT(google-build-using-namespace)
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<config::ClusterConfig> parsed = config::ParseClusterConfig(text, "file");
  if (!parsed.ok()) {
    CHECK(std::string(parsed.status().message()).starts_with("file:")) << parsed.status().message();
    return 0;
  }
  CHECK(!config::FindFault(*parsed).has_value());
  const std::string written = config::ToYaml(*parsed);
  const absl::StatusOr<config::ClusterConfig> again = config::ParseClusterConfig(written, "again");
  CHECK(again.ok()) << std::string(again.status().message()) << written;
  CHECK(*again == *parsed) << written;
  CHECK_EQ(config::Hash(*again), config::Hash(*parsed));
  return 0;
}
