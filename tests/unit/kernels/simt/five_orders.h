#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/simt/emulator.h"
#include "tests/unit/kernels/simt/vectors.h"

namespace sparkspan::kernels {

// The same tests are built for the GPU (tests/gpu), where launches run on it, tensor cores keep
// fewer bits of a sum, and no traffic is counted.
#if defined(SPARKSPAN_TESTS_ON_GPU)
constexpr bool kOnGpu = true;
#else
constexpr bool kOnGpu = false;
#endif

// What tests/gpu/delete_barriers.py steers: a barrier, wait or fence to ignore, and a file to list
// them in.
inline std::string DeletedSite() {
  const char* place = std::getenv("SPARKSPAN_DELETED_SITE");
  return place == nullptr ? "" : place;
}
inline void ListSites(const emulator::Report& report) {
  if (const char* path = std::getenv("SPARKSPAN_SITE_LIST"); path != nullptr) {
    std::ofstream list(path, std::ios::app);
    for (const auto& [place, kind] : report.ordering_sites) {
      list << place << " " << kind << "\n";
    }
  }
}

// Runs `launch`, which must fill and return its output afresh, with lanes and blocks in forward,
// backward and three shuffled orders. Fails the test on any finding and unless all outputs are
// equal bit for bit. Returns the first output; `report`, when given, is the first run's.
template <class T>
std::vector<T> InFiveOrders(const std::function<std::vector<T>()>& launch,
                            emulator::Report* report = nullptr) {
  std::vector<T> first;
  for (const std::uint64_t order : {0, 1, 11, 222, 3333}) {
    emulator::Emulation emulation({.lane_order = order, .deleted_site = DeletedSite()});
    std::vector<T> output = launch();
    EXPECT_TRUE(emulation.report().findings.empty()) << "lane order " << order << ":\n"
                                                     << emulation.report().ToString();
    ListSites(emulation.report());
    if (order == 0) {
      first = std::move(output);
      CheckVector(std::as_bytes(std::span(first)));
      if (report != nullptr) {
        *report = emulation.report();
      }
      continue;
    }
    EXPECT_EQ(output.size(), first.size());
    EXPECT_EQ(std::memcmp(output.data(), first.data(), first.size() * sizeof(T)), 0)
        << "the output depends on the order of lanes (order " << order << ")";
  }
  return first;
}

}  // namespace sparkspan::kernels
