#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/fabric/link_events.h"
#include "engine/fabric/pin.h"

namespace sparkspan::engine::fabric {

// VerifyPin on this machine as it is now.
absl::StatusOr<VerifiedPin> LookAtPin(const DeclaredPin& pin);

// Whether a pin holds. The kernel's news tell that something was lost, however short; only a look
// at the machine tells that the pin holds. One thread at a time.
class PinState {
 public:
  using Look = std::function<absl::StatusOr<VerifiedPin>(const DeclaredPin& pin)>;

  // Looks.
  explicit PinState(DeclaredPin pin, Look look = LookAtPin);

  const DeclaredPin& pin() const { return pin_; }

  // Why the pin does not hold, naming the interface; empty while it does.
  const std::string& fault() const { return fault_; }

  // A fault may end without news of this interface, and a look may get no answer: then one has to
  // look again.
  bool must_look() const { return !fault_.empty() || is_unsure_; }

  // Both return what fault() has been since, oldest first; empty when nothing has changed.
  std::vector<std::string> Apply(const LinkEvent& event);
  // Without news. Leaves the words of a fault that stands as they are.
  std::vector<std::string> LookAgain();

 private:
  // What the event has taken from the pin, in words; empty when nothing.
  std::string LossIn(const LinkEvent& event) const;
  bool Concerns(const LinkEvent& event) const;
  std::vector<std::string> Take(const absl::StatusOr<VerifiedPin>& seen);
  void Become(std::string fault, std::vector<std::string>* changes);

  DeclaredPin pin_;
  Look look_;
  int interface_index_ = 0;  // 0: of an interface that is not there
  std::string fault_;
  bool is_unsure_ = false;
};

}  // namespace sparkspan::engine::fabric
