# The library imports no floating-point function of the C library but those whose results are defined to the last bit: fma, sqrt, ceil, floor, ldexp.
#   cmake -DLIBRARY=<librapt.a or .so> -DNM=<nm> -P no_libm.cmake
# Undefined symbols of an archive, dynamic undefined ones of a shared library; a `@GLIBC_2.2.5` after a name is dropped.
cmake_minimum_required(VERSION 3.25)

set(functions
    acos acosh asin asinh atan atan2 atanh cbrt copysign cos cosh erf erfc exp exp10 exp2 expm1 fabs fdim fmax fmin fmod frexp hypot
    ilogb j0 j1 jn lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint nextafter nexttoward pow pow10 remainder
    remquo rint round roundeven scalb scalbln scalbn sin sincos sinh tan tanh tgamma trunc y0 y1 yn)

if(LIBRARY MATCHES "\\.so(\\.[0-9]+)*$")
  set(dynamic -D)
endif()
execute_process(COMMAND ${NM} ${dynamic} -u ${LIBRARY} OUTPUT_VARIABLE listing RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${NM} ${LIBRARY} failed: ${failed}")
endif()

string(REGEX MATCHALL "[ \t]U [^ \t\r\n]+" lines "${listing}")
list(LENGTH lines count)
if(count EQUAL 0)
  message(FATAL_ERROR "${LIBRARY}: not one undefined symbol was read, so nothing was checked")
endif()

set(found)
foreach(line IN LISTS lines)
  string(REGEX REPLACE "^[ \t]U ([^@]+).*$" "\\1" symbol "${line}")
  foreach(function IN LISTS functions)
    # exp, expf, expl, expf32, expf64x, __exp_finite, __expf_finite, and the vector variants _ZGVdN4v_exp
    if(symbol MATCHES "^(__)?${function}([fl]|f(16|32|64|128)x?)?(_finite)?$" OR symbol MATCHES "^_ZGV[a-zA-Z0-9]+_${function}f?$")
      list(APPEND found ${symbol})
    endif()
  endforeach()
endforeach()
if(found)
  list(REMOVE_DUPLICATES found)
  message(FATAL_ERROR "${LIBRARY} imports from libm: ${found}; its results differ between systems. Use src/math.")
endif()
message(STATUS "${LIBRARY}: ${count} undefined symbols, none of libm's but exact ones")
