#include "engine/base/process_memory.h"

#include <unistd.h>

#include <fstream>

namespace sparkspan::engine {

std::int64_t ResidentBytes() {
  std::int64_t pages_total = 0;
  std::int64_t pages_resident = 0;
  std::ifstream("/proc/self/statm") >> pages_total >> pages_resident;
  return pages_resident * sysconf(_SC_PAGESIZE);
}

}  // namespace sparkspan::engine
