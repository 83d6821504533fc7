#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/base/log.h"
#include "engine/runtime/plan_codec.h"

// Plans and results as a stranger on the wire may send them.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sparkspan::engine::runtime;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto plan = DecodePlan(bytes);
  if (plan.ok()) {
    const auto again = DecodePlan(EncodePlan(*plan));
    CHECK(again.ok() && *again == *plan) << "a plan changes on its way";
  } else {
    CHECK(!plan.status().message().empty()) << "an error without a message";
  }
  const auto result = DecodeResult(bytes);
  if (result.ok()) {
    const auto again = DecodeResult(EncodeResult(*result));
    CHECK(again.ok() && *again == *result) << "a result changes on its way";
  } else {
    CHECK(!result.status().message().empty()) << "an error without a message";
  }
  return 0;
}
