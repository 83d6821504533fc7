#pragma once

#include <boost/context/stack_context.hpp>
#include <cstddef>
#include <vector>

namespace sparkspan::kernels::emulator {

// Lane stacks, each under a guard page, kept for the next block. One pool per thread that
// launches; a pool must outlive the fibers on its stacks.
class StackPool {
 public:
  StackPool() = default;
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool();

  // The allocator interface of Boost.Context. Aborts when the system has no memory left.
  boost::context::stack_context allocate();
  void deallocate(boost::context::stack_context& stack);

 private:
  std::vector<void*> free_;  // the lowest address of each mapping
};

// Boost.Context copies its allocator into the fiber; this handle is what it copies.
struct StackAllocator {
  StackPool* pool;
  boost::context::stack_context allocate() { return pool->allocate(); }
  void deallocate(boost::context::stack_context& stack) { pool->deallocate(stack); }
};

}  // namespace sparkspan::kernels::emulator
