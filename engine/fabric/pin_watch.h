#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "engine/fabric/link_events.h"
#include "engine/fabric/pin_state.h"

namespace sparkspan::engine::fabric {

// Watches verified pins of this machine on a thread of its own, by the kernel's news: a cable that
// is pulled is known at once, not when a packet is missed.
class PinWatch {
 public:
  // `fault` is empty when the pin holds again. Called by the watching thread.
  using OnChange = std::function<void(const DeclaredPin& pin, const std::string& fault)>;

  static absl::StatusOr<std::unique_ptr<PinWatch>> Start(std::vector<DeclaredPin> pins,
                                                         OnChange on_change);
  ~PinWatch();
  PinWatch(const PinWatch&) = delete;
  PinWatch& operator=(const PinWatch&) = delete;

 private:
  PinWatch(std::vector<DeclaredPin> pins,
           OnChange on_change,
           LinkEvents events,
           UniqueFd stop_reader,
           UniqueFd stop_writer);
  void Run();
  void Take(const LinkEvent& event);

  std::vector<PinState> states_;  // of the thread alone
  const OnChange on_change_;
  const LinkEvents events_;
  const UniqueFd stop_reader_;
  const UniqueFd stop_writer_;
  Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::engine::fabric
