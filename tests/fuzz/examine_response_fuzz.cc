// What a worker says that it has found on its node, of arbitrary bytes.
#include <cstddef>
#include <cstdint>

#include "engine/base/control_characters.h"
#include "engine/base/log.h"
#include "head/cluster/worker_examiner.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sparkspan;  // NOLINT(google-build-using-namespace)
  v1::ExamineResponse message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) {
    return 0;
  }
  const auto report = head::cluster::DecodeFindings(message);
  if (!report.ok()) {
    CHECK(!report.status().message().empty()) << "an error without a message";
    return 0;
  }
  for (const engine::doctor::Finding& finding : report->findings()) {
    CHECK(!engine::HasControlCharacters(finding.found)) << "a finding that breaks a line";
  }
  (void)ToJson(*report, "spark2");
  return 0;
}
