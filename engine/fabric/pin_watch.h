#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/stop_event.h"
#include "engine/base/thread.h"
#include "engine/fabric/pin_news.h"

namespace sparkspan::engine::fabric {

// Watches declared pins of this machine on a thread of its own.
class PinWatch {
 public:
  // `fault` is empty when the pin holds again. Called by the watching thread, and by Start for what
  // does not hold from the beginning.
  using OnChange = std::function<void(const DeclaredPin& pin, const std::string& fault)>;

  static absl::StatusOr<std::unique_ptr<PinWatch>> Start(std::vector<DeclaredPin> pins,
                                                         OnChange on_change);
  ~PinWatch();
  PinWatch(const PinWatch&) = delete;
  PinWatch& operator=(const PinWatch&) = delete;

 private:
  PinWatch(PinNews news, OnChange on_change, StopEvent stop);
  void Run();

  PinNews news_;  // of the thread alone
  const OnChange on_change_;
  const StopEvent stop_;
  Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::engine::fabric
