// Every allocation of the tests is managed memory, so that their vectors are the device's too.

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

void* AllocateManaged(std::size_t bytes);
void FreeManaged(void* memory);

void* operator new(std::size_t bytes) {
  void* memory = AllocateManaged(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) {
    std::fprintf(stderr, "no managed memory for %zu bytes\n", bytes);
    std::abort();
  }
  return memory;
}
void operator delete(void* memory) noexcept {
  FreeManaged(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  FreeManaged(memory);
}
