#include "kernels/simt/launch_limits.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "kernels/simt/report.h"

namespace sparkspan::kernels::emulator {
namespace {

constexpr int kGridRowsMax = 65535;  // of y and of z
constexpr int kBlockThreadsMax = 1024;
constexpr int kWarpLanes = 32;

// Dynamic shared memory that one block may have, from the CUDA programming guide's table of
// compute capabilities.
constexpr std::size_t SharedBytesMax(Chip chip) {
  return chip == Chip::kSm90 ? std::size_t{227} * 1024 : std::size_t{99} * 1024;
}
const char* NameOf(Chip chip) {
  return chip == Chip::kSm90 ? "sm_90" : "sm_120 and sm_121";
}

void Erase(std::string& text, std::string_view part) {
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part)) {
    text.erase(at, part.size());
  }
}

// Without the result, the namespaces and the parameters.
std::string ShortName(std::string name) {
  Erase(name, "sparkspan::kernels::");
  Erase(name, "emulated::");
  if (name.starts_with("void ")) {
    name.erase(0, 5);
  }
  if (name.ends_with(')')) {
    name.resize(name.rfind('('));
  }
  return name;
}

}  // namespace

std::string KernelName(const Launch& launch) {
  Dl_info info;
  if (dladdr(launch.kernel, &info) != 0 && info.dli_saddr == launch.kernel) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> name(
        abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), &std::free);
    if (status == 0) {
      return ShortName(name.get());
    }
  }
  return "the kernel launched at " + PlaceName(launch.where);
}

std::string FindRefusal(const Launch& launch, Chip chip) {
  const auto [x, y, z] = launch.grid.blocks;
  const std::string what = "launched at " + PlaceName(launch.where) + " with ";
  const std::string blocks =
      std::to_string(x) + " x " + std::to_string(y) + " x " + std::to_string(z) + " blocks";
  if (x < 1 || y < 1 || z < 1) {
    return what + blocks + ", and an empty grid is an error: launch nothing where nothing is to do";
  }
  if (y > kGridRowsMax || z > kGridRowsMax) {
    return what + blocks + ", and y and z end at " + std::to_string(kGridRowsMax) +
           ": put the large count into x, or let blocks loop";
  }
  const int threads = launch.grid.threads;
  if (threads < kWarpLanes || threads > kBlockThreadsMax || threads % kWarpLanes != 0) {
    return what + std::to_string(threads) + " threads a block, which must be whole warps up to " +
           std::to_string(kBlockThreadsMax) + ": round up and mask, or take more blocks";
  }
  if (launch.shared.bytes > SharedBytesMax(chip)) {
    return what + std::to_string(launch.shared.bytes) + " bytes of shared memory a block, and " +
           NameOf(chip) + " ends at " + std::to_string(SharedBytesMax(chip)) +
           ": make the kernel's shared struct smaller";
  }
  return "";
}

}  // namespace sparkspan::kernels::emulator
