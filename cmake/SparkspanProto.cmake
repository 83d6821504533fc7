# sparkspan_protos(<name> PROTOS proto/sparkspan/v1/x.proto ...)
# Generated code, built once: sparkspan::<name> has the messages of all PROTOS,
# sparkspan::<name>_grpc the services of those that declare any (rooms that only convert messages
# must not link gRPC). Paths are the repository's, in imports and includes alike:
# #include "proto/sparkspan/v1/x.pb.h".
function(sparkspan_protos name)
  cmake_parse_arguments(ARG "" "" "PROTOS" ${ARGN})
  find_program(SPARKSPAN_GRPC_CPP_PLUGIN grpc_cpp_plugin)
  set(generated_dir ${PROJECT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated_dir})
  list(TRANSFORM ARG_PROTOS PREPEND ${PROJECT_SOURCE_DIR}/ OUTPUT_VARIABLE inputs)
  set(message_sources)
  set(service_sources)
  foreach(proto ${ARG_PROTOS})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${proto})
    string(REGEX REPLACE "\\.proto$" "" stem ${generated_dir}/${proto})
    set(outputs ${stem}.pb.cc ${stem}.pb.h)
    set(plugin)
    list(APPEND message_sources ${stem}.pb.cc)
    file(STRINGS ${PROJECT_SOURCE_DIR}/${proto} services REGEX "^service ")
    if(services)
      if(NOT SPARKSPAN_GRPC_CPP_PLUGIN)
        message(FATAL_ERROR "${proto} has services, and there is no grpc_cpp_plugin: "
                            "install protobuf-compiler-grpc")
      endif()
      set(plugin --grpc_out=${generated_dir}
                 --plugin=protoc-gen-grpc=${SPARKSPAN_GRPC_CPP_PLUGIN})
      list(APPEND outputs ${stem}.grpc.pb.cc ${stem}.grpc.pb.h)
      list(APPEND service_sources ${stem}.grpc.pb.cc)
    endif()
    add_custom_command(
      OUTPUT ${outputs}
      COMMAND protobuf::protoc --cpp_out=${generated_dir} ${plugin} -I ${PROJECT_SOURCE_DIR}
              ${PROJECT_SOURCE_DIR}/${proto}
      # Imports among the list: whichever changes, all are made anew.
      DEPENDS ${inputs} protobuf::protoc
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
      COMMENT "protoc ${proto}")
  endforeach()
  sparkspan_generated_library(${name} "${message_sources}" protobuf::libprotobuf)
  if(service_sources)
    sparkspan_generated_library(${name}_grpc "${service_sources}" PkgConfig::GRPCPP)
    target_link_libraries(${name}_grpc PUBLIC ${name})
  endif()
endfunction()

# Others' code, hence without the project's warnings, and a SYSTEM folder to those who include it.
function(sparkspan_generated_library name sources library)
  add_library(${name} STATIC ${sources})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_compile_options(${name} PRIVATE -w)
  target_include_directories(${name} SYSTEM PUBLIC ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(${name} PUBLIC ${library} Threads::Threads)
  add_library(sparkspan::${name} ALIAS ${name})
endfunction()
