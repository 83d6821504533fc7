#include "deploy/cli/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace sparkspan::deploy::cli {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kGrace{20};

// The supervisor forks, so it runs in a process of its own, as `sparkspan serve` does; what it says
// comes back through a file.
class SupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("sparkspan_supervisor_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name) const { return (folder_ / name).string(); }

  static std::string Read(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
  }

  // A program of one shell line, which notes its start and its orderly end in files.
  Program Shell(const std::string& name, const std::string& line) const {
    return {name,
            "/bin/sh",
            {"-c",
             "trap 'echo " + name + " >>" + File("order") + "; exit 0' TERM; touch '" + File(name) +
                 "'; " + line}};
  }

  pid_t RunSupervisor(const std::vector<Program>& programs,
                      const Restarts& restarts = {},
                      engine::Duration grace = kGrace) const {
    const pid_t pid = fork();
    if (pid == 0) {
      absl::StatusOr<Supervisor> supervisor = Supervisor::Start(programs, restarts);
      const absl::Status status = supervisor.ok() ? supervisor->Run(grace) : supervisor.status();
      std::ofstream(File("said")) << status.message();
      _exit(status.ok() ? 0 : 1);
    }
    return pid;
  }

  static int Wait(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  void WaitForFile(const std::string& name) const {
    for (int i = 0; i < 20'000 && !std::filesystem::exists(File(name)); ++i) {
      usleep(1000);
    }
    ASSERT_TRUE(std::filesystem::exists(File(name)));
  }

  std::filesystem::path folder_;
};

const char* const kForEver = "while :; do sleep 0.05; done";

TEST_F(SupervisorTest, TheEndOfOneStopsTheOthersAndIsNamed) {
  const pid_t pid = RunSupervisor(
      {Shell("worker", kForEver),
       {"head", "/bin/sh", {"-c", "while [ ! -e " + File("worker") + " ]; do :; done; exit 7"}}});
  EXPECT_EQ(Wait(pid), 1);
  EXPECT_EQ(Read(File("said")), "head ended with status 7");
  EXPECT_THAT(Read(File("order")), HasSubstr("worker"));
}

TEST_F(SupervisorTest, ASignalStopsAllInReverseOrder) {
  const pid_t pid = RunSupervisor({Shell("first", kForEver), Shell("second", kForEver)});
  WaitForFile("first");
  WaitForFile("second");
  kill(pid, SIGTERM);
  EXPECT_EQ(Wait(pid), 0);
  const std::string order = Read(File("order"));
  ASSERT_THAT(order, HasSubstr("second"));
  ASSERT_THAT(order, HasSubstr("first"));
  EXPECT_LT(order.find("second"), order.find("first"));
}

// One that does not end takes nothing from those that are stopped after it.
TEST_F(SupervisorTest, AProgramThatHangsLeavesTheOthersTimeToEnd) {
  const pid_t pid = RunSupervisor(
      {Shell("worker", kForEver),
       {"head", "/bin/sh", {"-c", "trap '' TERM; touch " + File("head") + "; " + kForEver}}},
      {},
      std::chrono::milliseconds(1));
  WaitForFile("worker");
  WaitForFile("head");
  kill(pid, SIGTERM);
  EXPECT_EQ(Wait(pid), 0);
  EXPECT_EQ(Read(File("order")), "worker\n");
}

TEST_F(SupervisorTest, AKilledProgramIsNamedWithItsSignal) {
  const pid_t pid = RunSupervisor({{"worker 1", "/bin/sh", {"-c", "kill -KILL $$"}}});
  EXPECT_EQ(Wait(pid), 1);
  EXPECT_THAT(Read(File("said")), HasSubstr("worker 1 was ended by signal 9"));
}

TEST_F(SupervisorTest, AProgramThatEndsIsStartedAgainWhileTheOthersLive) {
  const pid_t pid = RunSupervisor({Shell("worker 0", kForEver),
                                   {"worker 1",
                                    "/bin/sh",
                                    {"-c",
                                     "while [ ! -e '" + File("worker 0") +
                                         "' ]; do :; done; echo "
                                         "run >>" +
                                         File("runs") + "; exit 7"}}},
                                  {.restarts_max = 2,
                                   .pause = std::chrono::milliseconds(1),
                                   .settle = std::chrono::seconds(0)});
  EXPECT_EQ(Wait(pid), 1);
  EXPECT_EQ(Read(File("runs")), "run\nrun\nrun\n");
  EXPECT_EQ(Read(File("said")), "worker 1 ended with status 7");
  EXPECT_EQ(Read(File("order")), "worker 0\n") << "it lived through both restarts";
}

TEST_F(SupervisorTest, AProgramThatNeverCameUpIsNotStartedAgain) {
  const pid_t pid =
      RunSupervisor({{"worker 1", "/bin/sh", {"-c", "echo run >>" + File("runs") + "; exit 7"}}},
                    {.restarts_max = 2, .settle = std::chrono::hours(1)});
  EXPECT_EQ(Wait(pid), 1);
  EXPECT_EQ(Read(File("runs")), "run\n");
}

TEST_F(SupervisorTest, AMissingProgramIsNamed) {
  const pid_t pid = RunSupervisor({{"head", File("no-such-program"), {}}});
  EXPECT_EQ(Wait(pid), 1);
  EXPECT_THAT(Read(File("said")), HasSubstr("no-such-program"));
}

TEST_F(SupervisorTest, TheProgramsDoNotOutliveAKilledSupervisor) {
  const pid_t pid = RunSupervisor({Shell("orphan", kForEver)});
  WaitForFile("orphan");
  kill(pid, SIGKILL);
  EXPECT_EQ(Wait(pid), -1);
  // The file is there a moment before its text.
  for (int i = 0; i < 20'000 && Read(File("order")).empty(); ++i) {
    usleep(1000);
  }
  EXPECT_THAT(Read(File("order")), HasSubstr("orphan"));
}

}  // namespace
}  // namespace sparkspan::deploy::cli
