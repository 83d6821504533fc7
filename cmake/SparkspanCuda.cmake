# CUDA kernels: compiled by nvcc behind SPARKSPAN_CUDA, and always by the C++ compiler for the
# emulator that the tests run them on.
if(SPARKSPAN_CUDA)
  # Code for the chips themselves, no PTX to compile at start: GB10, RTX Pro 6000, H20/H100/H200.
  # The letter matters: plain 121 has neither block-scaled products nor FP4 conversions.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 121a-real 120a-real 90a-real)
  endif()
  enable_language(CUDA)
  add_library(sparkspan_cuda_options INTERFACE)
  target_include_directories(sparkspan_cuda_options INTERFACE ${PROJECT_SOURCE_DIR})
  # CMake 3.25 does not know CUDA_STANDARD 20. Contraction only where a kernel says fma:
  # docs/decisions/0003-one-accumulation-chain.md.
  target_compile_options(
    sparkspan_cuda_options
    INTERFACE -std=c++20
              --fmad=false
              -Werror=all-warnings
              -Xptxas=-warn-spills
              -Xcompiler=-Wall,-Wextra,-Wshadow,-Wno-unknown-pragmas,-ffp-contract=off)
endif()

# sparkspan_kernels(<name> [EMULATED sources] [CUDA sources])
# One operator family: the library <name>_emulated for tests, and <name>_cuda for the device.
function(sparkspan_kernels name)
  cmake_parse_arguments(ARG "" "" "EMULATED;CUDA" ${ARGN})
  if(SPARKSPAN_BUILD_TESTS)
    sparkspan_library(${name}_emulated SRCS ${ARG_EMULATED} DEPS sparkspan::kernels_simt)
  endif()
  if(SPARKSPAN_CUDA)
    add_library(${name}_cuda STATIC ${ARG_CUDA})
    target_include_directories(${name}_cuda PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name}_cuda PRIVATE sparkspan_cuda_options)
    add_library(sparkspan::${name}_cuda ALIAS ${name}_cuda)
  endif()
endfunction()
