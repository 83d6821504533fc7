# What every target of the project is compiled with. Linked PRIVATE, never PUBLIC.
add_library(sparkspan_options INTERFACE)
add_library(sparkspan::options ALIAS sparkspan_options)
target_compile_features(sparkspan_options INTERFACE cxx_std_20)
target_include_directories(sparkspan_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(
  sparkspan_options
  INTERFACE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Werror
            # One rounding per written operation on every compiler and architecture:
            # docs/decisions/0003-one-accumulation-chain.md.
            -ffp-contract=off
            # Object files that do not name the folder they were built in.
            -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)

find_program(SPARKSPAN_CCACHE ccache)
if(SPARKSPAN_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
      ${SPARKSPAN_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

# A cross compiler does not find the linker of the machine it runs on.
if(NOT CMAKE_CROSSCOMPILING)
  find_program(SPARKSPAN_MOLD mold)
endif()
if(SPARKSPAN_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

if(SPARKSPAN_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(SPARKSPAN_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(NOT SPARKSPAN_SANITIZE STREQUAL "")
  message(FATAL_ERROR "SPARKSPAN_SANITIZE is '${SPARKSPAN_SANITIZE}': "
                      "use address, thread or leave it empty")
endif()

# Without coverage in the libraries under test libFuzzer has nothing to steer by.
if(SPARKSPAN_BUILD_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# GCC's sanitizers hide from it what is initialised (its manual says so): std::optional and
# std::variant then look uninitialised. The builds without sanitizers keep the warning.
if(NOT SPARKSPAN_SANITIZE STREQUAL "" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-maybe-uninitialized)
endif()
