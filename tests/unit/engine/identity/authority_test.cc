#include "engine/identity/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "engine/identity/credentials.h"

namespace sparkspan::engine::identity {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const WallTime kNow = std::chrono::system_clock::from_time_t(1'800'000'000);  // 2027-01-15 08:00

Authority MakeAuthority() {
  absl::StatusOr<Authority> authority = Authority::Create("two-sparks", kNow, 3650);
  EXPECT_TRUE(authority.ok()) << authority.status();
  return *std::move(authority);
}

Certificate Issued(const Authority& authority, const Subject& subject, int days) {
  const absl::StatusOr<KeyPair> pair = authority.Issue(subject, kNow, days);
  EXPECT_TRUE(pair.ok()) << pair.status();
  const absl::StatusOr<Certificate> read = ReadCertificate(pair->certificate, "it");
  EXPECT_TRUE(read.ok()) << read.status();
  return *read;
}

TEST(Authority, ACertificateSaysNodeRolesAddressesAndTimes) {
  const Certificate head = Issued(
      MakeAuthority(), {"spark1", {Role::kHead, Role::kWorker}, {"192.168.177.1", "10.0.0.1"}}, 90);
  EXPECT_EQ(head.subject, "spark1");
  EXPECT_THAT(head.names, ElementsAre("head.spark1.two-sparks", "worker.spark1.two-sparks"));
  EXPECT_THAT(head.addresses, ElementsAre("192.168.177.1", "10.0.0.1"));
  EXPECT_EQ(head.not_before, kNow - hours(24)) << "clocks of booting machines differ";
  EXPECT_EQ(head.not_after, kNow + hours(24 * 90));
  EXPECT_EQ(DaysLeft(head, kNow), 90);
  EXPECT_EQ(DaysLeft(head, kNow + hours(24 * 91)), -1);
}

TEST(Authority, WhatIsWrittenIsLoadedAndIssuesOn) {
  const Authority first = MakeAuthority();
  EXPECT_THAT(first.pair().key, StartsWith("-----BEGIN PRIVATE KEY-----"));
  const absl::StatusOr<Authority> loaded = Authority::Load(first.pair());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->cluster(), "two-sparks");
  const Certificate worker = Issued(*loaded, {"spark3", {Role::kWorker}, {}}, 1);
  EXPECT_THAT(worker.names, ElementsAre("worker.spark3.two-sparks"));
}

// cluster.yaml allows names of 64 characters.
TEST(Authority, NamesOfAnyAllowedLengthAreWrittenAndLoaded) {
  for (const std::size_t length : {1, 41, 42, 64}) {
    const std::string name(length, 'x');
    const absl::StatusOr<Authority> made = Authority::Create(name, kNow, 3650);
    ASSERT_TRUE(made.ok()) << made.status();
    const absl::StatusOr<Authority> loaded = Authority::Load(made->pair());
    ASSERT_TRUE(loaded.ok()) << length << ": " << loaded.status();
    EXPECT_EQ(loaded->cluster(), name);
    const absl::StatusOr<KeyPair> issued =
        loaded->Issue({name, {Role::kHead}, {"10.0.0.1"}}, kNow, 1);
    ASSERT_TRUE(issued.ok()) << issued.status();
    EXPECT_EQ(ReadCertificate(issued->certificate, "it")->subject, name);
    const absl::Status accepted =
        CheckCredentials({made->pair().certificate, issued->certificate, issued->key},
                         RoleName(Role::kHead, name, name),
                         kNow);
    EXPECT_TRUE(accepted.ok()) << accepted;
  }
}

TEST(Authority, ANameThatACertificateCannotHoldIsRefused) {
  EXPECT_THAT(std::string(Authority::Create(std::string(65, 'x'), kNow, 1).status().message()),
              HasSubstr("in the name of a certificate"));
  EXPECT_FALSE(MakeAuthority().Issue({std::string(65, 'x'), {Role::kHead}, {}}, kNow, 1).ok());
}

TEST(Authority, AKeyOfAnotherAuthorityIsRefused) {
  const Authority a = MakeAuthority();
  const Authority b = MakeAuthority();
  EXPECT_FALSE(Authority::Load({a.pair().certificate, b.pair().key}).ok());
  EXPECT_THAT(std::string(Authority::Load({"nothing", b.pair().key}).status().message()),
              HasSubstr("no certificate in PEM"));
}

TEST(Certificate, IsInForceBetweenItsTimesOnly) {
  const Certificate one = Issued(MakeAuthority(), {"n", {Role::kWorker}, {}}, 2);
  EXPECT_TRUE(CheckInForce(one, "it", kNow).ok());
  EXPECT_TRUE(CheckInForce(one, "it", kNow - hours(23)).ok());
  EXPECT_THAT(std::string(CheckInForce(one, "it", kNow + hours(49)).message()),
              HasSubstr("it expired on 2027-01-17 08:00:00 UTC"));
  EXPECT_THAT(std::string(CheckInForce(one, "it", kNow - hours(25)).message()),
              HasSubstr("set the clock"));
}

}  // namespace
}  // namespace sparkspan::engine::identity
