// What another node's doctor says of itself, of arbitrary bytes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/log.h"
#include "engine/doctor/peer_facts.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sparkspan::engine;  // NOLINT(google-build-using-namespace)
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto facts = doctor::ParsePeerFacts(json);
  if (!facts.ok()) {
    CHECK(!facts.status().message().empty()) << "an error without a message";
    return 0;
  }
  const auto again = doctor::ParsePeerFacts(doctor::ToJson(*facts));
  CHECK(again.ok() && *again == *facts) << doctor::ToJson(*facts);
  doctor::Report report;
  doctor::ComparePeers({}, *facts, 1, &report);
  return 0;
}
