#include "engine/doctor/kernel_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

using testing::ElementsAre;

TEST(KernelLog, RecordsAreReadAndTheirContinuationsPassedOver) {
  SparkTree tree;
  tree.Write("dev/kmsg",
             "6,1,100,-;first; with a semicolon\n SUBSYSTEM=pci\nrubbish\n3,2,1,c;second");
  EXPECT_THAT(*ReadKernelLog(tree.root() / "dev/kmsg"),
              ElementsAre("first; with a semicolon", "second"));
}

TEST(KernelLog, WhatMayNotBeReadIsAbsent) {
  EXPECT_FALSE(ReadKernelLog("/nothing/here").has_value());
  EXPECT_FALSE(ReadKernelLog("/").has_value()) << "a folder";
}

// As drivers write them.
TEST(KernelLog, HardwareErrorsAreToldFromOtherMessages) {
  EXPECT_EQ(HardwareErrorOf("NVRM: Xid (PCI:000f:01:00): 31, pid=1, name=x, Ch 0, MMU Fault"),
            "GPU");
  EXPECT_EQ(HardwareErrorOf("pcieport 0000:00:00.0: AER: Corrected error received: 0000:01:00.0"),
            "PCIe");
  EXPECT_EQ(HardwareErrorOf("mlx5_core 0000:01:00.0: PCIe Bus Error: severity=Uncorrected"),
            "PCIe");
  EXPECT_EQ(HardwareErrorOf("mlx5_core 0000:01:00.1: device's health compromised - reached miss "
                            "count"),
            "NIC");
  EXPECT_EQ(HardwareErrorOf("mlx5_core 0000:01:00.1: wait_func:1163:(pid 9): CREATE_QP(0x500) "
                            "timeout. Will cause a leak of a command resource"),
            "NIC");
  for (const char* harmless :
       {"mlx5_core 0000:01:00.0: mlx5_pcie_event:301:(pid 12): Detected insufficient power on the "
        "PCIe slot (27W).",
        "mlx5_core 0000:01:00.0 enp1s0f0np0: Link up",
        "NVRM: loading NVIDIA UNIX Open Kernel Module",
        "usb 1-1: device descriptor read/64, error -71",
        ""}) {
    EXPECT_EQ(HardwareErrorOf(harmless), "") << harmless;
  }
}

}  // namespace
}  // namespace sparkspan::engine::doctor
