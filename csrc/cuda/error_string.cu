// What CUDA calls an error that a launcher returned.
#include <cuda_runtime.h>

extern "C" const char* pyagent_cuda_error_string(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}
