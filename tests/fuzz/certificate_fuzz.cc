// Arbitrary bytes as the files of an identity: a certificate, its key, and who signed it.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/log.h"
#include "engine/identity/certificate.h"
#include "engine/identity/credentials.h"
#include "engine/identity/role.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sparkspan::engine::identity;  // NOLINT(google-build-using-namespace)
  const std::string pem(reinterpret_cast<const char*>(data), size);
  const WallTime now{std::chrono::hours(24 * 365 * 56)};
  const auto certificate = ReadCertificate(pem, "file");
  if (certificate.ok()) {
    (void)DaysLeft(*certificate, now);
    (void)CheckInForce(*certificate, "file", now);
  } else {
    CHECK(std::string(certificate.status().message()).find("file") != std::string::npos)
        << certificate.status().message();
  }
  (void)CheckCredentials({pem, pem, pem}, "sparkspan-worker", now);
  return 0;
}
