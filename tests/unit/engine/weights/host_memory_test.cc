#include "engine/weights/host_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

using ::testing::HasSubstr;

class HostMemory : public ::testing::Test {
 protected:
  void Put(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    tests::WriteText(folder_.path() / name, text);
  }
  absl::StatusOr<AvailableMemory> Available() {
    return ReadAvailableMemory(
        {folder_.path() / "meminfo", folder_.path() / "cgroup", folder_.path() / "groups"});
  }

  tests::TemporaryFolder folder_;
};

TEST_F(HostMemory, IsMemAvailableWithoutALimit) {
  Put("meminfo", "MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:      50 kB\n");
  EXPECT_EQ(Available()->bytes, 50 * 1024);
  EXPECT_EQ(Available()->limited_by, "MemAvailable");
  Put("cgroup", "0::/a/b\n");
  Put("groups/a/b/memory.max", "max\n");
  Put("groups/a/b/memory.current", "7\n");
  EXPECT_EQ(Available()->bytes, 50 * 1024);
}

TEST_F(HostMemory, IsTheTightestGroupAboveTheProcess) {
  Put("meminfo", "MemAvailable: 50 kB\n");
  Put("cgroup", "12:cpu:/other\n0::/a/b\n");
  Put("groups/a/b/memory.max", "30000\n");
  Put("groups/a/b/memory.current", "10000\n");
  Put("groups/a/b/memory.stat", "anon 5\ninactive_file 4000\nactive_file 9\n");
  EXPECT_EQ(Available()->bytes, 24000);
  EXPECT_THAT(Available()->limited_by, HasSubstr("a/b/memory.max"));
  Put("groups/a/memory.max", "20000\n");
  Put("groups/a/memory.current", "19000\n");
  EXPECT_EQ(Available()->bytes, 1000);
  // A container sees its own group as the root, used beyond its limit for a moment.
  Put("groups/memory.max", "500\n");
  Put("groups/memory.current", "600\n");
  EXPECT_EQ(Available()->bytes, 0);
}

TEST_F(HostMemory, NamesAFileItCannotRead) {
  EXPECT_THAT(std::string(Available().status().message()), HasSubstr("no MemAvailable"));
  EXPECT_GT(ReadAvailableMemory()->bytes, 0);
}

}  // namespace
}  // namespace sparkspan::engine::weights
