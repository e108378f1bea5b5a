// runtime.hpp, launch.hpp and tensor_map.hpp by the CUDA runtime.
#include <kernels/runtime/launch.hpp>
#include <kernels/runtime/tensor_map.hpp>

#include <cuda.h>

#include <cstring>
#include <string>

namespace rapt {
inline namespace v0 {
namespace runtime {
namespace {

failure said(const char* function, cudaError_t status) {
  if (status == cudaSuccess) return {};
  // Else the next launch would report it once more.
  (void)cudaGetLastError();
  return {errc::cuda, std::string(function) + ": " + cudaGetErrorString(status)};
}

}  // namespace

failure describe_device(int device, device_properties& to) {
  const auto ask = [&](cudaDeviceAttr attribute, int& value) {
    return said("cudaDeviceGetAttribute", cudaDeviceGetAttribute(&value, attribute, device));
  };
  device_properties found;
  if (failure f = ask(cudaDevAttrMultiProcessorCount, found.multiprocessors)) return f;
  if (failure f = ask(cudaDevAttrComputeCapabilityMajor, found.major)) return f;
  if (failure f = ask(cudaDevAttrComputeCapabilityMinor, found.minor)) return f;
  if (failure f = ask(cudaDevAttrMaxSharedMemoryPerBlockOptin, found.shared_bytes)) return f;
  to = found;
  return {};
}
failure select_device(int device) { return said("cudaSetDevice", cudaSetDevice(device)); }

failure allocate(std::size_t bytes, void*& to) { return said("cudaMalloc", cudaMalloc(&to, bytes)); }
void free(void* data) noexcept { cudaFree(data); }

failure copy(void* to, const void* from, std::size_t bytes, direction way, stream s) {
  const cudaMemcpyKind kind = way == direction::to_device ? cudaMemcpyHostToDevice
                              : way == direction::to_host ? cudaMemcpyDeviceToHost
                                                          : cudaMemcpyDeviceToDevice;
  return said("cudaMemcpyAsync", cudaMemcpyAsync(to, from, bytes, kind, s));
}
failure fill(void* to, int byte, std::size_t bytes, stream s) { return said("cudaMemsetAsync", cudaMemsetAsync(to, byte, bytes, s)); }

failure create_stream(stream& to) { return said("cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(&to, cudaStreamNonBlocking)); }
void destroy(stream s) noexcept { cudaStreamDestroy(s); }
failure synchronize(stream s) { return said("cudaStreamSynchronize", cudaStreamSynchronize(s)); }

failure create_event(event& to) { return said("cudaEventCreateWithFlags", cudaEventCreateWithFlags(&to, cudaEventDisableTiming)); }
void destroy(event e) noexcept { cudaEventDestroy(e); }
failure record(event e, stream s) { return said("cudaEventRecord", cudaEventRecord(e, s)); }
failure wait(stream s, event e) { return said("cudaStreamWaitEvent", cudaStreamWaitEvent(s, e, 0)); }
failure synchronize(event e) { return said("cudaEventSynchronize", cudaEventSynchronize(e)); }

failure describe_tensor(const tensor_layout& layout, tensor_map& to) {
  if (failure f = check_layout(layout)) return f;
  static_assert(sizeof(CUtensorMap) == sizeof(tensor_map) && alignof(CUtensorMap) <= alignof(tensor_map));
  // By way of the runtime, so that nothing is linked against the driver.
  using encode = decltype(cuTensorMapEncodeTiled);
  struct {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    cudaError_t asked = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  } static const driver;
  if (failure f = said("cudaGetDriverEntryPointByVersion", driver.asked)) return f;
  if (driver.found != cudaDriverEntryPointSuccess) return {errc::cuda, "cuTensorMapEncodeTiled: the driver does not have it"};
  cuuint64_t extents[5], strides[4];
  cuuint32_t box[5], steps[5];
  for (int d = 0; d < layout.rank; ++d) {
    extents[d] = static_cast<cuuint64_t>(layout.extents[d]), box[d] = static_cast<cuuint32_t>(layout.box[d]), steps[d] = 1;
    if (d + 1 < layout.rank) strides[d] = static_cast<cuuint64_t>(layout.strides[d]) * 2;
  }
  CUtensorMap map;
  // Bits are copied, so that the type need not be known.
  const CUresult status = reinterpret_cast<encode*>(driver.function)(
      &map, CU_TENSOR_MAP_DATA_TYPE_UINT16, static_cast<cuuint32_t>(layout.rank), const_cast<void*>(layout.data), extents, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) return {errc::cuda, "cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status))};
  std::memcpy(&to, &map, sizeof to);
  return {};
}

failure last_error() { return said("cudaGetLastError", cudaGetLastError()); }

failure launch(const void* kernel, unsigned cluster_blocks, simt::index3 grid, unsigned num_threads, std::size_t shared_bytes, void** params,
               stream s) {
  const cudaError_t allowed = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  if (failure f = said("cudaFuncSetAttribute", allowed)) return f;
  if (cluster_blocks == 1)
    return said("cudaLaunchKernel", cudaLaunchKernel(kernel, dim3(grid.x, grid.y, grid.z), dim3(num_threads), params, shared_bytes, s));
  cudaLaunchAttribute clusters{};
  clusters.id = cudaLaunchAttributeClusterDimension;
  clusters.val.clusterDim = {cluster_blocks, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(grid.x, grid.y, grid.z), config.blockDim = dim3(num_threads), config.dynamicSmemBytes = shared_bytes, config.stream = s;
  config.attrs = &clusters, config.numAttrs = 1;
  return said("cudaLaunchKernelExC", cudaLaunchKernelExC(&config, kernel, params));
}

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
