#pragma once

#include <cstddef>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "kernels/simt/emulator.h"
#include "kernels/simt/words.h"

// Shared memory on the host: the same struct a kernel declares for CUDA, whose arrays hand out
// references that log each access with its source line.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

// An index that knows where it was written, because operator[] takes no second argument.
struct Index {
  int value;
  std::source_location where;
  Index(int i, std::source_location at = std::source_location::current())  // NOLINT: implicit
      : value(i), where(at) {}
};

template <class T>
struct SharedPointer {
  T* address;
  std::source_location where;
};

template <class T>
class SharedReference {
 public:
  SharedReference(T* address, std::source_location where) : address_(address), where_(where) {}
  SharedReference(const SharedReference&) = default;

  operator T() const {  // NOLINT: reads like the element
    emulator::TouchShared(address_, sizeof(T), emulator::Touching::kRead, where_);
    return *address_;
  }
  SharedReference& operator=(T value) {
    emulator::TouchShared(address_, sizeof(T), emulator::Touching::kWrite, where_);
    *address_ = value;
    return *this;
  }
  SharedReference& operator=(const SharedReference& other) { return *this = static_cast<T>(other); }
  SharedReference& operator+=(T value) { return *this = static_cast<T>(*this) + value; }

 private:
  T* address_;
  std::source_location where_;
};

template <class T, int n>
class SharedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr int kSize = n;

  SharedReference<T> operator[](Index i) { return {Element(i), i.where}; }
  SharedPointer<T> from(Index i) { return {Element(i), i.where}; }

 private:
  T* Element(const Index& i) {
    if (i.value < 0 || i.value >= n) {
      emulator::ReportBounds(i.value, n, i.where);
      return data_;
    }
    return data_ + i.value;
  }

  // Vector accesses need it; the device's twin has the same.
  alignas(16) T data_[n];
};

// rows x columns with `pitch` elements from row to row; a pitch beside a power of two spreads
// columns over the banks.
template <class T, int rows, int columns, int pitch = columns>
class SharedMatrix {
 public:
  SharedReference<T> operator()(int row,
                                int column,
                                std::source_location where = std::source_location::current()) {
    return data_[Index(At(row, column, where), where)];
  }
  SharedPointer<T> from(int row,
                        int column,
                        std::source_location where = std::source_location::current()) {
    return data_.from(Index(At(row, column, where), where));
  }

 private:
  static int At(int row, int column, std::source_location where) {
    if (row < 0 || row >= rows || column < 0 || column >= columns) {
      emulator::ReportBounds(row * columns + column, rows * columns, where);
      return 0;
    }
    return row * pitch + column;
  }

  SharedArray<T, rows * pitch> data_;
};

// The block's shared memory as the kernel's struct: uninitialised, poisoned with NaN.
template <class T>
T& shared() {
  return *static_cast<T*>(emulator::SharedBase(sizeof(T)));
}

template <int n, class T>
Words<n> load_shared(SharedPointer<T> from) {
  emulator::CheckAlignment(from.address, sizeof(Words<n>), from.where);
  emulator::TouchShared(from.address, sizeof(Words<n>), emulator::Touching::kRead, from.where);
  Words<n> words;
  std::memcpy(&words, from.address, sizeof(words));
  return words;
}
template <int n, class T>
void store_shared(SharedPointer<T> to, Words<n> words) {
  emulator::CheckAlignment(to.address, sizeof(Words<n>), to.where);
  emulator::TouchShared(to.address, sizeof(Words<n>), emulator::Touching::kWrite, to.where);
  std::memcpy(static_cast<void*>(to.address), &words, sizeof(words));
}

template <class T>
T atomic_add(SharedPointer<T> to, T value) {
  emulator::TouchShared(to.address, sizeof(T), emulator::Touching::kAtomic, to.where);
  const T before = *to.address;
  *to.address = before + value;
  return before;
}
template <class T>
T atomic_max(SharedPointer<T> to, T value) {
  emulator::TouchShared(to.address, sizeof(T), emulator::Touching::kAtomic, to.where);
  const T before = *to.address;
  *to.address = before < value ? value : before;
  return before;
}

}  // namespace simt
}  // namespace emulated
}  // namespace sparkspan::kernels
