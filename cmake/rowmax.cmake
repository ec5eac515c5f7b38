# rowmax_component(<name> FOLDER <dir> [DEPS <component>...] [PRIVATE_LIBS <lib>...] [TEST_DEPS <component>...]
#                  [FLAGS <flag>...] [SOURCES <file>...] [LINKED])
#
# One static library per folder, made of what lies in it (sub-folders included):
#   *.cc                       the library
#   *_avx2.cc *_avx512.cc *_neon.cc   the same library, compiled for that instruction set, on the right processor only;
#   *_avxvnni.cc *_dotprod.cc         likewise, for AVX2 and NEON with byte dot products
#   *_i8mm.cc                         likewise, for NEON with matrix products of bytes
#   *_avx512vbmi.cc *_amx.cc          likewise, for AVX-512 with permutations of bytes, and with AMX
#   *_test.cc                  one GoogleTest program rowmax_<name>_test; *_avx2_test.cc ... as above
#   test_*.cc                  what several of its files share
#   *_fuzz.cc                  one libFuzzer program each, with ROWMAX_FUZZ
#   *_bench.cc                 one program rowmax_<x>_bench each, with ROWMAX_BENCH
# SOURCES: files in other languages. LINKED: what fuzzers are linked with and do not fuzz, compiled there in the shortest time.
# Components see the repository root (private headers by their path from it) and include/.

include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
find_package(Threads REQUIRED)

# ccache knows precompiled headers if it is told not to look at their times and macros, and clang not to write times into them.
find_program(ROWMAX_CCACHE ccache)
set(ROWMAX_CCACHE_KNOWS_PRECOMPILED OFF)
if(ROWMAX_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(launcher ${ROWMAX_CCACHE})
  if(CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang)$")
    execute_process(COMMAND ${ROWMAX_CCACHE} -k sloppiness OUTPUT_VARIABLE sloppiness ERROR_QUIET
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REPLACE " " "" sloppiness "${sloppiness},pch_defines,time_macros")
    string(REGEX REPLACE "^," "" sloppiness "${sloppiness}")
    set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=${sloppiness} ${ROWMAX_CCACHE})
    set(ROWMAX_CCACHE_KNOWS_PRECOMPILED ON)
  endif()
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(ROWMAX_ISA_FILES avx2 avx512)
  set(ROWMAX_ISA_VARIANTS avxvnni avx512vbmi amx)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(ROWMAX_ISA_FILES neon)
  set(ROWMAX_ISA_VARIANTS dotprod i8mm)
endif()
set(ROWMAX_FLAGS_avx2 -fno-stack-protector -mavx2 -mfma -mf16c)
set(ROWMAX_FLAGS_avx512 -fno-stack-protector -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mprefer-vector-width=512)
set(ROWMAX_FLAGS_neon -fno-stack-protector)
# g++ 12 warns inside its own AVX-512 headers (GCC bug 105593).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND ROWMAX_FLAGS_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
  # On Arm g++ orders instructions before it gives them registers, and again afterwards. The first time it loads early, and
  # blocks that fill the registers lose sums to the stack.
  list(APPEND ROWMAX_FLAGS_neon -fno-schedule-insns)
endif()
# Plain arrays are the reference, not the fast path: optimising them further takes minutes and changes no result.
set(ROWMAX_FLAGS_scalar $<$<NOT:$<CONFIG:Debug>>:-O1> -fno-stack-protector)
# Each check of a lane is a branch, which the address sanitizer instruments again; null pointers and what lies outside of
# an object it finds without them, and vectors are loaded from any address.
if(ROWMAX_SANITIZE MATCHES address AND ROWMAX_SANITIZE MATCHES undefined)
  foreach(isa scalar avx2 avx512 neon)
    list(APPEND ROWMAX_FLAGS_${isa} -fno-sanitize=null,alignment,object-size)
    if(CMAKE_CXX_COMPILER_ID MATCHES Clang)  # g++ watches the rest of them; clang takes minutes for one file
      # An address is checked by a call, not by a dozen instructions in its place: half the time to compile.
      list(APPEND ROWMAX_FLAGS_${isa} -fno-sanitize=undefined -mllvm -asan-instrumentation-with-call-threshold=0)
    endif()
  endforeach()
endif()
# Nothing watches what this machine cannot run: it is compiled, in a quarter of the time.
if(ROWMAX_SANITIZE AND NOT CMAKE_CROSSCOMPILING AND EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo features REGEX "^flags" LIMIT_COUNT 1)
  if(features AND NOT features MATCHES " avx512f( |$)")
    list(APPEND ROWMAX_FLAGS_avx512 -fno-sanitize=all)
  endif()
endif()
set(ROWMAX_FLAGS_avxvnni ${ROWMAX_FLAGS_avx2} -mavxvnni)
set(ROWMAX_FLAGS_avx512vbmi ${ROWMAX_FLAGS_avx512} -mavx512vbmi)
set(ROWMAX_FLAGS_amx ${ROWMAX_FLAGS_avx512} -mamx-tile -mamx-int8 -mamx-bf16)
set(ROWMAX_FLAGS_dotprod ${ROWMAX_FLAGS_neon} -march=armv8.2-a+dotprod)
# Not armv8.6-a: processors have these products without all of it.
set(ROWMAX_FLAGS_i8mm ${ROWMAX_FLAGS_neon} -march=armv8.2-a+dotprod+i8mm)

# What calls the libraries is not where the time goes: optimised further it would take longer to build, not run faster.
# g++'s -Og is its -O1 without what takes long: a quarter less.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  set(ROWMAX_FLAGS_apps $<$<NOT:$<CONFIG:Debug>>:-Og>)
else()
  set(ROWMAX_FLAGS_apps $<$<NOT:$<CONFIG:Debug>>:-O1>)
endif()

add_library(rowmax_flags INTERFACE)
target_compile_options(rowmax_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -ffp-contract=off -fno-math-errno>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${ROWMAX_WERROR}>>:-Werror>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:>>:-O2>)  # a parent project without a build type
# What reads files and answers from the network is hardened. Kernels are not: they get addresses and sizes that were
# checked, and a canary costs them time.
if(NOT ROWMAX_SANITIZE AND NOT ROWMAX_FUZZ)
  target_compile_options(rowmax_flags INTERFACE
    -fstack-protector-strong $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
  target_link_options(rowmax_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL Clang AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 15)
  # These warn of std::stable_sort, which in libstdc++ 12 calls what the standard has deprecated.
  target_compile_options(rowmax_flags INTERFACE -Wno-error=deprecated-declarations)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(rowmax_flags INTERFACE -Wno-restrict)  # false alarms on std::string at -O3 (GCC bug 105651)
endif()
target_include_directories(rowmax_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(ROWMAX_SANITIZE)
  target_compile_options(rowmax_flags INTERFACE -fsanitize=${ROWMAX_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # For undefined behaviour the libraries are watched, not their tests, which would take half as long again to compile.
  target_compile_options(rowmax_flags INTERFACE $<$<BOOL:$<TARGET_PROPERTY:ROWMAX_TEST>>:-fno-sanitize=undefined>)
  # Beside the fuzzers not at all: what they hand out lies in memory that is watched, whoever reads it is compiled to look.
  if(ROWMAX_FUZZ)
    target_compile_options(rowmax_flags INTERFACE $<$<BOOL:$<TARGET_PROPERTY:ROWMAX_TEST>>:-fno-sanitize=all>)
  endif()
  target_link_options(rowmax_flags INTERFACE -fsanitize=${ROWMAX_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # False alarms inside std::regex with address checks (GCC bug 105562).
    target_compile_options(rowmax_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()
if(ROWMAX_FUZZ)  # fuzzers follow what the libraries do; tests do not ask
  target_compile_options(rowmax_flags INTERFACE
    $<$<NOT:$<BOOL:$<TARGET_PROPERTY:ROWMAX_TEST>>>:-fsanitize=fuzzer-no-link>)
endif()

# The standard headers take a fifth of most files' time, GoogleTest's another: they are compiled once for each set of flags.
if(ROWMAX_CCACHE AND NOT ROWMAX_CCACHE_KNOWS_PRECOMPILED)
  set(ROWMAX_CAN_PRECOMPILE OFF)
else()
  set(ROWMAX_CAN_PRECOMPILE ON)
endif()
option(ROWMAX_PRECOMPILE "Compile the standard headers once for all files" ${ROWMAX_CAN_PRECOMPILE})
if(ROWMAX_PRECOMPILE AND ROWMAX_CCACHE_KNOWS_PRECOMPILED)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    set(precompiled_flags -fpch-preprocess)
  else()
    set(precompiled_flags "SHELL:-Xclang -fno-pch-timestamp")
  endif()
  target_compile_options(rowmax_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${precompiled_flags}>")
endif()
# rowmax_precompiled(<target> [TEST] [FLAGS...]): FLAGS are those of the target alone.
function(rowmax_precompiled target)
  if(NOT ROWMAX_PRECOMPILE)
    return()
  endif()
  cmake_parse_arguments(ARG "TEST" "" "" ${ARGN})
  string(MD5 key "${ARGN}")
  set(headers rowmax_precompiled_${key})
  if(NOT TARGET ${headers})
    file(WRITE ${PROJECT_BINARY_DIR}/precompiled/${key}.cc "")
    add_library(${headers} OBJECT EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/precompiled/${key}.cc)
    target_link_libraries(${headers} PRIVATE rowmax_flags)
    target_compile_features(${headers} PUBLIC cxx_std_20)
    target_compile_options(${headers} PRIVATE ${ARG_UNPARSED_ARGUMENTS})
    target_precompile_headers(${headers} PRIVATE
      <algorithm> <array> <charconv> <cmath> <cstdint> <cstdio> <cstdlib> <cstring> <filesystem> <fstream> <functional>
      <iterator> <limits> <map> <memory> <optional> <set> <span> <string> <string_view> <utility> <vector>)
    if(ARG_TEST)
      # What these are for is programs, whose code is another than that of libraries.
      set_target_properties(${headers} PROPERTIES ROWMAX_TEST ON POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${headers} PRIVATE ${CMAKE_CXX_COMPILE_OPTIONS_PIE})
      target_link_libraries(${headers} PRIVATE GTest::gtest_main)
      target_precompile_headers(${headers} PRIVATE <gtest/gtest.h>)
    endif()
  endif()
  target_precompile_headers(${target} REUSE_FROM ${headers})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # False alarms inside std::string, which g++ 12 keeps quiet only in headers that it sees as the system's.
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-Wno-array-bounds;-Wno-stringop-overflow;-Wno-stringop-overread>)
  endif()
endfunction()

if(ROWMAX_TESTS)
  if(CMAKE_CROSSCOMPILING OR ROWMAX_SANITIZE MATCHES thread)
    add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)  # Debian's libgtest-dev
    if(NOT TARGET GTest::gtest_main)
      add_library(GTest::gtest_main ALIAS gtest_main)
    endif()
  else()
    find_package(GTest REQUIRED)
  endif()
  enable_testing()
  include(GoogleTest)
endif()

# Header-only libraries of the build machine, alone in a folder of their own: a cross compiler must not see the rest of
# /usr/include. Target: rowmax_headers.
function(rowmax_host_headers)
  add_library(rowmax_headers INTERFACE)
  foreach(library ${ARGN})
    find_path(ROWMAX_${library}_DIR ${library} PATHS /usr/include /usr/local/include NO_CMAKE_FIND_ROOT_PATH REQUIRED)
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/host_headers)
    file(CREATE_LINK ${ROWMAX_${library}_DIR}/${library} ${PROJECT_BINARY_DIR}/host_headers/${library} SYMBOLIC)
  endforeach()
  target_include_directories(rowmax_headers SYSTEM INTERFACE ${PROJECT_BINARY_DIR}/host_headers)
endfunction()

# rowmax_together(<variable> <target>): half of the time that a small file takes to compile goes into headers. In the list
# of sources that the variable holds, six at a time become one file that includes them, so what a file keeps to itself has a
# name that none of the others of its room has. Files with flags of their own stay alone, and those marked ROWMAX_ALONE.
option(ROWMAX_TOGETHER "Compile small sources six at a time" ON)
function(rowmax_together variable target)
  if(NOT ROWMAX_TOGETHER)
    return()
  endif()
  set(rest)
  set(together)
  set(n 0)
  foreach(source ${${variable}})
    get_property(flags SOURCE ${source} PROPERTY COMPILE_OPTIONS)
    get_property(alone SOURCE ${source} PROPERTY ROWMAX_ALONE)
    if(flags OR alone OR NOT source MATCHES "\\.cc$")
      list(APPEND rest ${source})
      continue()
    endif()
    math(EXPR place "${n} % 6")
    math(EXPR n "${n} + 1")
    if(place EQUAL 0)
      get_filename_component(first ${source} NAME_WE)
      set(file ${PROJECT_BINARY_DIR}/together/${target}/${first}_and_others.cc)
      list(APPEND together ${file})
      set(text_of_${file} "")
    endif()
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${source})
    string(APPEND text_of_${file} "#include \"${path}\"\n")
  endforeach()
  foreach(file ${together})
    file(CONFIGURE OUTPUT ${file} CONTENT "${text_of_${file}}" @ONLY)
  endforeach()
  if(together AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # False alarms: these files include what no other file includes.
    set_source_files_properties(${together} PROPERTIES COMPILE_OPTIONS -Wno-subobject-linkage)
  endif()
  set(${variable} ${together} ${rest} PARENT_SCOPE)
endfunction()

# rowmax_test_program(<target> [FLAGS...]). Tests run for seconds: optimised further they would take longer to build.
function(rowmax_test_program target)
  set(flags ${ROWMAX_FLAGS_apps} ${ARGN})
  set_target_properties(${target} PROPERTIES ROWMAX_TEST ON)
  target_link_libraries(${target} PRIVATE rowmax_flags GTest::gtest_main)
  target_compile_options(${target} PRIVATE ${flags})
  target_compile_definitions(${target} PRIVATE ROWMAX_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  rowmax_precompiled(${target} TEST ${flags})
endfunction()

function(rowmax_component name)
  cmake_parse_arguments(ARG "LINKED" "FOLDER" "DEPS;PRIVATE_LIBS;TEST_DEPS;FLAGS;SOURCES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${ARG_FOLDER}/*.cc)
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${ARG_FOLDER}/*_test.cc
       ${PROJECT_SOURCE_DIR}/${ARG_FOLDER}/test_*.cc)
  file(GLOB_RECURSE fuzzers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${ARG_FOLDER}/*_fuzz.cc)
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$|/test_[^/]*\\.cc$")
  foreach(isa avx2 avxvnni avx512 avx512vbmi amx neon dotprod i8mm)
    if(NOT isa IN_LIST ROWMAX_ISA_FILES AND NOT isa IN_LIST ROWMAX_ISA_VARIANTS)
      list(FILTER sources EXCLUDE REGEX "_${isa}\\.cc$")
      list(FILTER tests EXCLUDE REGEX "_${isa}_test\\.cc$")
    else()
      set(isa_sources ${sources} ${tests})
      list(FILTER isa_sources INCLUDE REGEX "_${isa}(_test)?\\.cc$")
      set_source_files_properties(${isa_sources} PROPERTIES COMPILE_OPTIONS "${ROWMAX_FLAGS_${isa}}"
                                  SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
  set(scalar_sources ${sources})
  list(FILTER scalar_sources INCLUDE REGEX "_scalar\\.cc$")
  set_source_files_properties(${scalar_sources} PROPERTIES COMPILE_OPTIONS "${ROWMAX_FLAGS_scalar}"
                              SKIP_PRECOMPILE_HEADERS ON)
  set(libs)
  foreach(dep ${ARG_DEPS})
    list(APPEND libs rowmax_${dep})
  endforeach()

  rowmax_together(sources rowmax_${name})
  add_library(rowmax_${name} STATIC ${sources} ${ARG_SOURCES})
  set_target_properties(rowmax_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(rowmax_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(rowmax_${name} PUBLIC cxx_std_20)
  target_link_libraries(rowmax_${name} PUBLIC ${libs} Threads::Threads PRIVATE $<BUILD_INTERFACE:rowmax_flags> ${ARG_PRIVATE_LIBS})
  if(ROWMAX_FUZZ AND ARG_LINKED)
    # Fuzzers and their tests link it and run next to nothing of it.
    set_target_properties(rowmax_${name} PROPERTIES ROWMAX_TEST ON)
    target_compile_options(rowmax_${name} PRIVATE -O0)
  else()
    target_compile_options(rowmax_${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${ARG_FLAGS}>)
    rowmax_precompiled(rowmax_${name} ${ARG_FLAGS})
  endif()

  if(ROWMAX_TESTS AND tests)
    rowmax_together(tests rowmax_${name}_test)
    add_executable(rowmax_${name}_test ${tests})
    target_link_libraries(rowmax_${name}_test PRIVATE rowmax_${name} $<TARGET_NAME_IF_EXISTS:rowmax_headers> ${ARG_PRIVATE_LIBS})
    rowmax_test_program(rowmax_${name}_test)
    foreach(dep ${ARG_TEST_DEPS})
      target_link_libraries(rowmax_${name}_test PRIVATE rowmax_${dep})
    endforeach()
    gtest_discover_tests(rowmax_${name}_test TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST PROPERTIES LABELS ${name})
  endif()
  if(ROWMAX_BENCH)
    file(GLOB_RECURSE benches CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${ARG_FOLDER}/*_bench.cc)
    foreach(bench ${benches})
      get_filename_component(bench_name ${bench} NAME_WE)
      add_executable(rowmax_${bench_name} ${bench})
      target_link_libraries(rowmax_${bench_name} PRIVATE rowmax_${name} rowmax_flags)
    endforeach()
  endif()
  if(ROWMAX_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(fuzz_name ${fuzzer} NAME_WE)
      add_executable(${fuzz_name} ${fuzzer})
      target_link_libraries(${fuzz_name} PRIVATE rowmax_${name} rowmax_flags ${ARG_PRIVATE_LIBS})
      target_link_options(${fuzz_name} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
endfunction()

# librowmax_attention.so: the C interface (include/rowmax/rowmax.h), with everything else hidden.
function(rowmax_shared_library)
  add_library(rowmax_attention_shared SHARED $<TARGET_OBJECTS:rowmax_attention>)
  set(map ${PROJECT_SOURCE_DIR}/cmake/rowmax_exports.map)
  set_target_properties(rowmax_attention_shared PROPERTIES LINKER_LANGUAGE CXX OUTPUT_NAME rowmax_attention
    EXPORT_NAME rowmax_shared VERSION ${PROJECT_VERSION} SOVERSION 1 LINK_DEPENDS ${map})  # SOVERSION: ROWMAX_ABI_VERSION
  target_include_directories(rowmax_attention_shared INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(rowmax_attention_shared PRIVATE $<BUILD_INTERFACE:rowmax_base> $<BUILD_INTERFACE:rowmax_flags>)
  target_link_options(rowmax_attention_shared PRIVATE -Wl,--version-script=${map} -Wl,--no-undefined)
  add_library(rowmax::rowmax_shared ALIAS rowmax_attention_shared)
endfunction()

# Writes rowmax.pc, whose prefix is found from where the file lies, so that what is installed can be moved. Folders that
# were given as absolute paths stay what they are.
function(rowmax_pkg_config)
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
  if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    file(RELATIVE_PATH up "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" /prefix)
    string(REGEX REPLACE "/$" "" up "${up}")
    set(pc_prefix "\${pcfiledir}/${up}")
  endif()
  foreach(folder lib include)
    string(TOUPPER CMAKE_INSTALL_${folder}DIR variable)
    set(pc_${folder}dir "\${prefix}/${${variable}}")
    if(IS_ABSOLUTE "${${variable}}")
      set(pc_${folder}dir "${${variable}}")
    endif()
  endforeach()
  configure_file(${PROJECT_SOURCE_DIR}/cmake/rowmax.pc.in ${PROJECT_BINARY_DIR}/rowmax.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/rowmax.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT attention)
endfunction()

# find_package(rowmax) gives rowmax::rowmax (the attention library), rowmax::rowmax_shared (the same behind the C
# interface) and, with the engine, rowmax::engine.
function(rowmax_install)
  add_library(rowmax_rowmax INTERFACE)
  set_target_properties(rowmax_rowmax PROPERTIES EXPORT_NAME rowmax)
  target_link_libraries(rowmax_rowmax INTERFACE rowmax_attention)
  add_library(rowmax::rowmax ALIAS rowmax_rowmax)
  set(shared)
  if(TARGET rowmax_attention_shared)
    set(shared rowmax_attention_shared)
  endif()
  install(TARGETS rowmax_rowmax rowmax_attention rowmax_base ${shared} EXPORT rowmax-attention COMPONENT attention
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  rowmax_pkg_config()
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/licenses/rowmax COMPONENT attention)
  install(DIRECTORY include/rowmax DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT attention
          FILES_MATCHING PATTERN "*.h" PATTERN engine EXCLUDE PATTERN doctor EXCLUDE)
  install(EXPORT rowmax-attention NAMESPACE rowmax:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rowmax COMPONENT attention)
  if(ROWMAX_ENGINE)
    add_library(rowmax_engine INTERFACE)
    set_target_properties(rowmax_engine PROPERTIES EXPORT_NAME engine)
    target_link_libraries(rowmax_engine INTERFACE rowmax_doctor rowmax_serving rowmax_runtime rowmax_grammar rowmax_convert)
    add_library(rowmax::engine ALIAS rowmax_engine)
    install(TARGETS rowmax_engine rowmax_quant rowmax_io rowmax_tokenizer rowmax_template rowmax_grammar rowmax_ops rowmax_model
                    rowmax_arch rowmax_runtime rowmax_serving rowmax_convert rowmax_doctor EXPORT rowmax-engine COMPONENT engine
            ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(DIRECTORY include/rowmax/engine include/rowmax/doctor DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rowmax
            COMPONENT engine)
    install(EXPORT rowmax-engine NAMESPACE rowmax:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rowmax COMPONENT engine)
    install(TARGETS rowmax_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT engine)
  endif()
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/rowmax-config.cmake.in
    ${PROJECT_BINARY_DIR}/rowmax-config.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rowmax)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/rowmax-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/rowmax-config.cmake ${PROJECT_BINARY_DIR}/rowmax-config-version.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rowmax COMPONENT attention)
endfunction()
