#include "kernels/simt/stack_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace sparkspan::kernels::emulator {
namespace {

// Sanitizers pad every stack frame.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 256 * 1024;
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif
constexpr std::size_t kFreeStacksMax = 1024;

std::size_t GuardBytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

StackPool::~StackPool() {
  for (void* base : free_) {
    munmap(base, kStackBytes + GuardBytes());
  }
}

boost::context::stack_context StackPool::allocate() {
  void* base = nullptr;
  if (!free_.empty()) {
    base = free_.back();
    free_.pop_back();
  } else {
    base = mmap(nullptr,
                kStackBytes + GuardBytes(),
                PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS,
                -1,
                0);
    if (base == MAP_FAILED || mprotect(base, GuardBytes(), PROT_NONE) != 0) {
      std::fprintf(stderr, "emulator: no memory for another lane's stack\n");
      std::abort();
    }
  }
  boost::context::stack_context stack;
  stack.size = kStackBytes;
  stack.sp = static_cast<char*>(base) + GuardBytes() + kStackBytes;
  return stack;
}

void StackPool::deallocate(boost::context::stack_context& stack) {
  void* base = static_cast<char*>(stack.sp) - kStackBytes - GuardBytes();
  if (free_.size() < kFreeStacksMax) {
    free_.push_back(base);
  } else {
    munmap(base, kStackBytes + GuardBytes());
  }
}

}  // namespace sparkspan::kernels::emulator
