// cuda_targets.cpp by nvcc: what it includes of kernels/ is then the device's.
#include <parity/cuda_targets.cpp>
