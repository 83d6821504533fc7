# One way to declare each kind of target. Sources are listed, never globbed.

# sparkspan_library(<name> SRCS ... [DEPS ...] [PRIVATE_DEPS ...])
# A static library for one room, with the alias sparkspan::<name>. DEPS are what its headers
# name; PRIVATE_DEPS (third-party libraries above all) stay behind its .cc files.
# Without SRCS it is header-only.
function(sparkspan_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(${name} STATIC ${ARG_SRCS})
    target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE sparkspan::options ${ARG_PRIVATE_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${ARG_DEPS})
  endif()
  add_library(sparkspan::${name} ALIAS ${name})
endfunction()

# sparkspan_executable(<name> SRCS ... DEPS ...)
function(sparkspan_executable name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE sparkspan::options ${ARG_DEPS})
  target_compile_definitions(${name} PRIVATE SPARKSPAN_VERSION="${PROJECT_VERSION}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# sparkspan_test(<name> SRCS ... DEPS ... [LABELS unit|sim|integration|slow|fiber|gpu]
#                [TIMEOUT seconds])
# A GoogleTest program run by ctest from the source root, so that tests name data by
# repository path. A test that skips itself says "SKIPPED" and why, and ctest shows it.
function(sparkspan_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  if(NOT SPARKSPAN_BUILD_TESTS)
    return()
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT SPARKSPAN_SANITIZE STREQUAL "")
    math(EXPR ARG_TIMEOUT "5 * ${ARG_TIMEOUT}")
  endif()
  if(CMAKE_CROSSCOMPILING)
    math(EXPR ARG_TIMEOUT "10 * ${ARG_TIMEOUT}")  # emulated instructions
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE sparkspan::options ${ARG_DEPS} GTest::gmock
                                        GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# sparkspan_fuzz(<parser>_fuzz.cc DEPS ...)
# With SPARKSPAN_BUILD_FUZZERS the libFuzzer program <parser>_fuzz; always a test that replays
# tests/fuzz/corpus/<parser> (seeds and past crashes) through the same entry point.
function(sparkspan_fuzz source)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  string(REGEX REPLACE "\\.cc$" "" name ${source})
  string(REGEX REPLACE "_fuzz$" "" parser ${name})
  if(SPARKSPAN_BUILD_FUZZERS)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE sparkspan::options ${ARG_DEPS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endif()
  if(SPARKSPAN_BUILD_TESTS)
    add_executable(${name}_replay ${source} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    target_link_libraries(${name}_replay PRIVATE sparkspan::options ${ARG_DEPS})
    add_test(NAME ${name}_replay COMMAND ${name}_replay tests/fuzz/corpus/${parser}
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name}_replay PROPERTIES LABELS unit TIMEOUT 300)
  endif()
endfunction()
