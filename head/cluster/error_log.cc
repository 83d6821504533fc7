#include "head/cluster/error_log.h"

#include <algorithm>
#include <utility>

namespace sparkspan::head::cluster {

std::int64_t UnixSeconds(std::chrono::system_clock::time_point at) {
  return std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
}

void ErrorLog::Add(WallTime at, std::string what) {
  what.resize(std::min(what.size(), kBytesMax));
  if (!errors_.empty() && errors_.front().what == what) {
    errors_.front().unix_seconds = UnixSeconds(at);
    ++errors_.front().times;
    return;
  }
  errors_.push_front({UnixSeconds(at), std::move(what), 1});
  if (errors_.size() > kErrorsMax) {
    errors_.pop_back();
  }
}

}  // namespace sparkspan::head::cluster
