#pragma once

#include <cstddef>
#include <source_location>
#include <string>

#include "kernels/simt/grid.h"

// What a launch asks for, and what the chips refuse.
namespace sparkspan::kernels::emulator {

struct SharedLayout {
  std::size_t bytes = 0;
  std::size_t alignment = 16;
};

struct Launch {
  GridShape grid;
  SharedLayout shared;
  const void* kernel;  // the function's address
  std::source_location where;
};

enum class Chip {
  kSm120,  // RTX Pro 6000 and, as sm_121, GB10
  kSm90,
};

// "linear<Bf16ByBf16, 1>", or the launch's place for a kernel that the program does not export.
std::string KernelName(const Launch& launch);

// Why `chip` does not launch this, with the remedy; empty when it does.
std::string FindRefusal(const Launch& launch, Chip chip);

}  // namespace sparkspan::kernels::emulator
