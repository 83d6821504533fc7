#include "head/cluster/session_key.h"

#include <openssl/rand.h>

#include "engine/base/log.h"

namespace sparkspan::head::cluster {

std::string NewSessionKey() {
  constexpr int kBytes = 32;
  std::string key(kBytes, '\0');
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), kBytes) == 1) << "no random bytes";
  return key;
}

}  // namespace sparkspan::head::cluster
