#include "engine/fabric/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/engine/fabric/fixture_machine.h"

namespace sparkspan::engine::fabric {
namespace {

using testing::Contains;

TEST(EnvironmentTest, FabricVariablesAreTakenOutAndOursPutIn) {
  setenv("NCCL_IB_HCA", "mlx5_0", 1);
  setenv("GLOO_SOCKET_IFNAME", "", 1);
  setenv("SPARKSPAN_OTHER", "stays", 1);
  EXPECT_EQ(ClearFabricVariables().size(), 2u);
  EXPECT_EQ(getenv("NCCL_IB_HCA"), nullptr);
  EXPECT_EQ(getenv("GLOO_SOCKET_IFNAME"), nullptr);
  EXPECT_THAT(Environment(), Contains("SPARKSPAN_OTHER=stays"));
  EXPECT_TRUE(ClearFabricVariables().empty());
  ASSERT_TRUE(Export(std::vector<Setting>{{"NCCL_IB_HCA", "=rocep1s0f1", "why"}}).ok());
  EXPECT_THAT(Environment(), Contains("NCCL_IB_HCA==rocep1s0f1"));
  unsetenv("NCCL_IB_HCA");
}

TEST(EnvironmentTest, NcclConfsAreThoseThatNcclWouldRead) {
  FixtureMachine machine;
  machine.Write("etc/nccl.conf", "NCCL_IB_TC=106");
  machine.Write("users/u/.nccl.conf", "NCCL_DEBUG=INFO");
  machine.Write("opt/c.conf", "NCCL_ALGO=Ring");
  const NcclConf system{"/etc/nccl.conf", {{"NCCL_IB_TC", "106"}}};
  const NcclConf home{"/users/u/.nccl.conf", {{"NCCL_DEBUG", "INFO"}}};
  const NcclConf named{"/opt/c.conf", {{"NCCL_ALGO", "Ring"}}};
  using Entries = std::vector<std::string>;
  using Confs = std::vector<NcclConf>;
  EXPECT_EQ(ReadNcclConfs(machine.sysfs(), Entries{}), Confs{system});
  EXPECT_EQ(ReadNcclConfs(machine.sysfs(), Entries{"HOME=/users/u"}), (Confs{home, system}));
  EXPECT_EQ(ReadNcclConfs(machine.sysfs(), Entries{"HOME=/users/u", "NCCL_CONF_FILE=/opt/c.conf"}),
            (Confs{named, system}));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
