#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/base/thread.h"
#include "kernels/task_team.h"

namespace sparkspan::engine::model {

// A fixed set of threads that stay for the team's life and share one operation at a time. Between
// operations they spin for some microseconds, then sleep. Run may be called from one thread.
class ThreadTeam final : public kernels::TaskTeam {
 public:
  // threads: 1 to 256, the caller of Run among them.
  explicit ThreadTeam(int threads);
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam() override;

  int threads() const override { return threads_; }
  void Run(std::int64_t items,
           std::int64_t grain,
           const std::function<void(std::int64_t, std::int64_t, int)>& body) override;

 private:
  void Work(int thread);
  void RunShare(int thread) const;

  int threads_;
  // The operation at hand: written before `round_` is raised, read after.
  std::int64_t items_ = 0;
  std::int64_t grain_ = 1;
  const std::function<void(std::int64_t, std::int64_t, int)>* body_ = nullptr;
  std::atomic<std::uint32_t> round_{0};
  std::atomic<std::uint32_t> busy_{0};
  std::atomic<bool> stop_{false};
  std::vector<Thread> workers_;
};

}  // namespace sparkspan::engine::model
