#include "engine/config/check_supported.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/config/local_config.h"

namespace sparkspan::engine::config {
namespace {

using ::testing::HasSubstr;

class CheckSupportedTest : public ::testing::Test {
 protected:
  CheckSupportedTest() {
    LocalCluster cluster;
    cluster.model.path = "model";
    cluster.model.served_names = {"demo"};
    cluster.devices = {{}};
    cluster.control_ports = {5001};
    cluster.data_ports = {5002};
    config_ = MakeLocalConfig(cluster).value();
  }

  void ExpectRefused(const char* key) {
    const absl::Status status = CheckSupported(config_);
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(key));
  }

  ClusterConfig config_;
};

TEST_F(CheckSupportedTest, ALocalClusterIs) {
  EXPECT_TRUE(CheckSupported(config_).ok());
}

TEST_F(CheckSupportedTest, ControlTlsIs) {
  config_.control_tls = {.plaintext = false, .authority = "a", .certificate = "b", .key = "c"};
  EXPECT_TRUE(CheckSupported(config_).ok());
}

TEST_F(CheckSupportedTest, ApiTlsIsNot) {
  config_.api.tls = {.plaintext = false, .authority = "", .certificate = "b", .key = "c"};
  ExpectRefused("api.tls");
}

TEST_F(CheckSupportedTest, RailsAreNotAndNeverBecomeTcp) {
  config_.nodes[0].data = DataTransport::kRails;
  config_.nodes[0].rails = {"lo"};
  ExpectRefused("nodes.local.data");
}

TEST_F(CheckSupportedTest, CudaIsNot) {
  config_.nodes[0].ranks[0].device.kind = DeviceKind::kCuda;
  ExpectRefused("nodes.local.ranks.0.device");
}

}  // namespace
}  // namespace sparkspan::engine::config
