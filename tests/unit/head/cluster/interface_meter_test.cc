#include "head/cluster/interface_meter.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace sparkspan::head::cluster {
namespace {

using engine::fabric::PinSample;
using std::chrono::milliseconds;

PinSample Sample(const std::string& interface, std::uint64_t sent, std::uint64_t received) {
  PinSample sample;
  sample.declared = {.pin = {interface, {0xC0A8B101}}, .control = false, .data = true};
  sample.interface_index = 4;
  sample.counters.sent_bytes = sent;
  sample.counters.rdma_received_bytes = received;
  return sample;
}

engine::Time At(int ms) {
  return engine::Time(milliseconds(ms));
}

TEST(InterfaceMeter, ARateIsOverTheTimeBetweenSamples) {
  InterfaceMeter meter;
  meter.Take(std::vector{Sample("a", 1'000, 50)}, At(10'000));
  ASSERT_EQ(meter.interfaces().size(), 1u);
  EXPECT_EQ(meter.interfaces()[0].sent_bytes, 1'000u);
  EXPECT_EQ(meter.interfaces()[0].address, "192.168.177.1");
  EXPECT_EQ(meter.interfaces()[0].sent_bytes_per_second, 0) << "there is nothing to compare with";
  meter.Take(std::vector{Sample("a", 5'000, 150)}, At(12'000));
  EXPECT_DOUBLE_EQ(meter.interfaces()[0].sent_bytes_per_second, 2'000);
  EXPECT_DOUBLE_EQ(meter.interfaces()[0].received_bytes_per_second, 50) << "RDMA is part of it";
}

TEST(InterfaceMeter, WhoAsksAtOnceAgainGetsTheLastRate) {
  InterfaceMeter meter;
  meter.Take(std::vector{Sample("a", 0, 0)}, At(0));
  meter.Take(std::vector{Sample("a", 1'000, 0)}, At(1'000));
  meter.Take(std::vector{Sample("a", 1'500, 0)}, At(1'001));
  EXPECT_EQ(meter.interfaces()[0].sent_bytes, 1'500u) << "totals are the newest";
  EXPECT_DOUBLE_EQ(meter.interfaces()[0].sent_bytes_per_second, 1'000);
  meter.Take(std::vector{Sample("a", 3'000, 0)}, At(2'000));
  EXPECT_DOUBLE_EQ(meter.interfaces()[0].sent_bytes_per_second, 2'000);
}

TEST(InterfaceMeter, AnInterfaceThatWasMadeAnewStartsFromNothing) {
  InterfaceMeter meter;
  meter.Take(std::vector{Sample("a", 9'000, 0)}, At(0));
  meter.Take(std::vector{Sample("a", 500, 0), Sample("b", 7, 0)}, At(1'000));
  EXPECT_DOUBLE_EQ(meter.interfaces()[0].sent_bytes_per_second, 500);
  EXPECT_DOUBLE_EQ(meter.interfaces()[1].sent_bytes_per_second, 0) << "not seen before";
}

}  // namespace
}  // namespace sparkspan::head::cluster
