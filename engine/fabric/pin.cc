#include "engine/fabric/pin.h"

#include <strings.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::fabric {
namespace {

bool EqualIgnoringCase(const std::string& a, const std::string& b) {
  return strcasecmp(a.c_str(), b.c_str()) == 0;
}

// Why `name` may mean `interface` without being its name; empty when it does not.
std::string Resemblance(const std::string& name, const Interface& interface) {
  if (EqualIgnoringCase(name, interface.name)) {
    return "differs in case";
  }
  if (EqualIgnoringCase(name, interface.mac)) {
    return "has this MAC";
  }
  if (std::find(interface.rdma_devices.begin(), interface.rdma_devices.end(), name) !=
      interface.rdma_devices.end()) {
    return "has this RDMA device";
  }
  for (const InterfaceAddress& held : interface.addresses) {
    if (ToString(held.address) == name) {
      return "holds this address";
    }
  }
  if (!name.empty() && interface.name.starts_with(name)) {
    return "begins so";
  }
  return "";
}

std::string List(std::span<const Interface> interfaces) {
  std::string text;
  for (const Interface& interface : interfaces) {
    text += (text.empty() ? "" : ", ") + Describe(interface);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

absl::StatusOr<const Interface*> FindInterface(std::string_view key,
                                               const std::string& name,
                                               std::span<const Interface> interfaces,
                                               const AddressSource& addresses) {
  std::string meant;
  for (const Interface& interface : interfaces) {
    if (interface.name == name) {
      return &interface;
    }
    if (const std::string why = Resemblance(name, interface); !why.empty()) {
      meant += absl::StrFormat("; '%s' %s", interface.name, why);
    }
  }
  const std::optional<std::string> kernel_name = addresses.KernelName(name);
  if (kernel_name.has_value() && *kernel_name != name) {
    meant += absl::StrFormat("; it is an alternative name of '%s'", *kernel_name);
  }
  return absl::NotFoundError(absl::StrFormat(
      "%s: no interface is named exactly '%s'%s; present: %s. A cable that is unplugged can remove "
      "its interface; else give the kernel's name",
      key,
      name,
      meant,
      List(interfaces)));
}

absl::StatusOr<VerifiedPin> VerifyPin(std::string_view key,
                                      const DeclaredPin& declared,
                                      std::span<const Interface> interfaces,
                                      const AddressSource& addresses) {
  ASSIGN_OR_RETURN(const Interface* found,
                   FindInterface(key, declared.interface, interfaces, addresses));
  if (!found->is_up()) {
    std::vector<Interface> up;
    std::copy_if(interfaces.begin(),
                 interfaces.end(),
                 std::back_inserter(up),
                 [](const Interface& interface) { return interface.is_up(); });
    return absl::UnavailableError(
        absl::StrFormat("%s: interface %s is not up; check the cable, or pin one that has a link: "
                        "%s",
                        key,
                        Describe(*found),
                        List(up)));
  }
  for (const Interface& other : interfaces) {
    for (const InterfaceAddress& held : other.addresses) {
      if (held.address == declared.address && other.name != declared.interface) {
        return absl::FailedPreconditionError(
            absl::StrFormat("%s: %s is held by interface %s, but '%s' is declared; one of the two "
                            "is wrong",
                            key,
                            ToString(declared.address),
                            Describe(other),
                            declared.interface));
      }
    }
  }
  for (const InterfaceAddress& held : found->addresses) {
    if (held.address == declared.address) {
      return VerifiedPin{declared, found->index, held.prefix_length};
    }
  }
  return absl::UnavailableError(
      absl::StrFormat("%s: interface %s does not hold the declared address %s; add it to the "
                      "interface, or declare one that it has",
                      key,
                      Describe(*found),
                      ToString(declared.address)));
}

}  // namespace sparkspan::engine::fabric
