# What rapt is built from. A program that brings its own copy declares it with FetchContent and OVERRIDE_FIND_PACKAGE; these calls then find it.
macro(rapt_need package debian_package)
  find_package(${package} ${ARGN} QUIET)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "rapt needs ${package} ${ARGN}: on Debian and Ubuntu `apt install ${debian_package}`")
  endif()
endmacro()

rapt_need(hwy libhwy-dev 1.0.3)
rapt_need(nlohmann_json nlohmann-json3-dev 3.11)
rapt_need(xxHash libxxhash-dev 0.8)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
