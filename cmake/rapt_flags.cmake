# The flags of rapt's own sources. They stand after everything that the including project put into CMAKE_CXX_FLAGS, so that its -Ofast, -ffast-math or
# -march=native reach its own code and not the numeric contract.
include(CheckCXXCompilerFlag)

function(rapt_private_flags target)
  set(flags
    -fno-fast-math -ffp-contract=off
    # Each part of -ffast-math by itself: g++ leaves alone what was asked for by name.
    -fno-unsafe-math-optimizations -fno-associative-math -fno-reciprocal-math -fno-finite-math-only -fsigned-zeros
    # Instruction sets are chosen at run time; sources compiled for the builder's own processor would hide the smaller ones from Highway.
    -march=x86-64 -mtune=generic -mno-avx -mno-fma -mfpmath=sse
    -fexceptions)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -ftrapping-math -fno-single-precision-constant -mno-recip)
    # Parameter blocks of some hundred bytes: by moves, not by string instructions, which are slow to start.
    list(APPEND flags -mmemcpy-strategy=vector_loop:1024:noalign,libcall:-1:noalign -mmemset-strategy=vector_loop:1024:noalign,libcall:-1:noalign)
  endif()
  target_compile_options(${target} PRIVATE ${flags})
  # Without a build type nothing is optimised; a SIMD library is of no use then.
  target_compile_options(${target} PRIVATE $<$<CONFIG:>:-O2>)
  # -ffast-math at link time makes g++ add a start-up file that flushes subnormals to zero in the whole program.
  target_link_options(${target} PRIVATE -fno-fast-math -fno-unsafe-math-optimizations)
  if(PROJECT_IS_TOP_LEVEL)
    rapt_warnings(${target})
  endif()
endfunction()

function(rapt_warnings target)
  # clang counts signedness as conversion, g++ does not. g++ 12 takes "x" + std::string for copies that overlap (GCC bug 105329).
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion $<$<CXX_COMPILER_ID:Clang>:-Wno-sign-conversion>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
endfunction()
