#include "deploy/cli/program_signs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "tests/notify_receiver.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::ServiceNotifier;
using engine::Time;
using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using tests::NotifyReceiver;

constexpr milliseconds kLimit{1000};  // the manager's: signs every 250 ms, silence after 500 ms

// Two programs, both played by this process.
class ProgramSignsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto signs = ProgramSigns::Open(NotifyReceiver::NotifierOf(manager_.address(), "1000000"),
                                    {"worker 0", "head"});
    ASSERT_TRUE(signs.ok()) << signs.status();
    signs_.emplace(*std::move(signs));
    for (const std::size_t program : {0, 1}) {
      signs_->Started(program, getpid(), now_);
      notifiers_.push_back(NotifierOf(program));
    }
  }

  // As the program makes it of its variables.
  ServiceNotifier NotifierOf(std::size_t program) const {
    const std::vector<std::string> variables = signs_->VariablesOf(program);
    EXPECT_THAT(variables, ElementsAre(HasSubstr("NOTIFY_SOCKET=@"), "WATCHDOG_USEC=1000000"));
    return NotifyReceiver::NotifierOf(variables[0].substr(variables[0].find('@')), "1000000");
  }

  // `passed` later, in steps of 50 ms, in which the programs of `living` give their signs: what the
  // manager heard of it.
  std::vector<std::string> Pass(milliseconds passed, const std::vector<std::size_t>& living) {
    std::vector<std::string> heard;
    for (const Time end = now_ + passed; now_ < end; now_ += milliseconds(50)) {
      for (const std::size_t program : living) {
        notifiers_[program].Alive(now_);
        signs_->Receive(program, now_);
      }
      signs_->Tell(now_);
      for (std::string& message : manager_.Heard()) {
        heard.push_back(std::move(message));
      }
    }
    return heard;
  }

  static std::ptrdiff_t Signs(const std::vector<std::string>& heard) {
    return std::count(heard.begin(), heard.end(), "WATCHDOG=1");
  }

  NotifyReceiver manager_;
  Time now_{std::chrono::hours(1)};
  std::optional<ProgramSigns> signs_;
  std::vector<ServiceNotifier> notifiers_;
};

TEST_F(ProgramSignsTest, ReadyWhenAllAre) {
  notifiers_[0].Ready();
  notifiers_[0].Status("weights are resident");
  const std::vector<std::string> heard = Pass(milliseconds(100), {0, 1});
  EXPECT_THAT(heard, Not(Contains("READY=1")));
  EXPECT_THAT(heard, Contains("STATUS=worker 0: weights are resident; head: starting"));
  notifiers_[1].Ready();
  EXPECT_THAT(Pass(milliseconds(100), {0, 1}), Contains("READY=1"));
}

TEST_F(ProgramSignsTest, SignsCeaseWhileOneProgramGivesNone) {
  EXPECT_GE(Signs(Pass(10 * kLimit, {0, 1})), 30) << "40 wanted at most";
  const std::vector<std::string> heard = Pass(2 * kLimit, {1});
  EXPECT_LE(Signs(heard), 3) << "for half the limit, and no longer";
  EXPECT_THAT(heard, Contains("STATUS=worker 0: gives no sign of life; head: starting"));
  EXPECT_EQ(Signs(Pass(100 * kLimit, {1})), 0);
  EXPECT_GE(Signs(Pass(kLimit, {0, 1})), 3) << "it was only slow";
}

TEST_F(ProgramSignsTest, AProgramThatNeverSpeaksIsSilentFromItsStart) {
  EXPECT_LE(Signs(Pass(2 * kLimit, {1})), 3);
  EXPECT_EQ(Signs(Pass(kLimit, {1})), 0);
}

TEST_F(ProgramSignsTest, ThePauseBeforeARestartIsNoSilence) {
  signs_->Ended(0);
  const std::vector<std::string> heard = Pass(4 * kLimit, {1});
  EXPECT_GE(Signs(heard), 12);
  EXPECT_THAT(heard, Contains("STATUS=worker 0: ended, will be started again; head: starting"));
  signs_->Started(0, getpid(), now_);
  EXPECT_LE(Signs(Pass(4 * kLimit, {1})), 3) << "silent from its second start on";
}

TEST_F(ProgramSignsTest, AnotherProcessCannotSpeakForAProgram) {
  signs_->Started(0, getppid(), now_);
  notifiers_[0].Ready();
  notifiers_[1].Ready();
  const std::vector<std::string> heard = Pass(4 * kLimit, {0, 1});
  EXPECT_THAT(heard, Not(Contains("READY=1")));
  EXPECT_LE(Signs(heard), 3);
}

TEST_F(ProgramSignsTest, WhileStoppingSilenceIsNoFault) {
  Pass(kLimit, {0, 1});
  signs_->Stopping();
  const std::vector<std::string> heard = Pass(4 * kLimit, {});
  EXPECT_EQ(heard.front(), "STOPPING=1");
  EXPECT_GE(Signs(heard), 12);
}

TEST(ProgramSignsWithoutLimitTest, ProgramsAreNotWatched) {
  NotifyReceiver manager;
  auto signs = ProgramSigns::Open(NotifyReceiver::NotifierOf(manager.address()), {"head"});
  ASSERT_TRUE(signs.ok()) << signs.status();
  EXPECT_THAT(signs->VariablesOf(0), ElementsAre(HasSubstr("NOTIFY_SOCKET=@")));
  Time now;
  signs->Started(0, getpid(), now);
  for (int i = 0; i < 100; ++i) {
    signs->Tell(now += std::chrono::minutes(10));
  }
  EXPECT_THAT(manager.Heard(), ElementsAre("STATUS=head: starting"));
}

TEST(ProgramSignsWithoutManagerTest, ProgramsAreNotAsked) {
  auto signs = ProgramSigns::Open(ServiceNotifier(), {"head"});
  ASSERT_TRUE(signs.ok()) << signs.status();
  EXPECT_THAT(signs->VariablesOf(0), IsEmpty());
  EXPECT_EQ(signs->descriptor(0), -1);
  EXPECT_EQ(signs->Tell(Time()), Time::max());
}

}  // namespace
}  // namespace sparkspan::deploy::cli
