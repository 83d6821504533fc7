#pragma once

#include <cstdint>
#include <functional>

namespace sparkspan::kernels {

// Threads that share the items of one operation. The caller works along.
class TaskTeam {
 public:
  virtual ~TaskTeam() = default;

  virtual int threads() const = 0;

  // Calls body(begin, end, thread) for ranges that cover [0, items) once, at most one per thread,
  // each a multiple of `grain` items save the last; returns when all are done. How items are dealt
  // must not change results. Not reentrant.
  virtual void Run(std::int64_t items,
                   std::int64_t grain,
                   const std::function<void(std::int64_t, std::int64_t, int)>& body) = 0;
};

// The caller alone.
class SoloTeam : public TaskTeam {
 public:
  int threads() const override { return 1; }
  void Run(std::int64_t items,
           std::int64_t,
           const std::function<void(std::int64_t, std::int64_t, int)>& body) override {
    if (items > 0) {
      body(0, items, 0);
    }
  }
};

}  // namespace sparkspan::kernels
