// Sums of the rows of a matrix that share a segment: the gradient of rows that were gathered.
#pragma once

#include <cstdint>

struct PyagentSegmentSum {
  int64_t N, R, C;  // positions, segments, columns
  const void* in;   // [N, C], rows `stride` elements apart
  int64_t stride;
  const int64_t* order;  // [N]: the positions, stably sorted by their segment
  const int64_t* begin;  // [R+1]: where in `order` each segment begins, and where the last one ends
  float* out;            // [R, C], contiguous
  void* workspace;       // of pyagent_segment_sum_workspace_bytes
};

// out[r] = Σ in[order[k]] for k = begin[r] … begin[r+1]−1; 0 for a segment without positions. What `order` has before
// begin[0] and from begin[R] on belongs to no segment. Summed in float32, in an order that only the arguments decide.
// Returns the cudaError_t of the launches.
extern "C" int pyagent_segment_sum_f32(const PyagentSegmentSum* args, void* stream);
extern "C" int pyagent_segment_sum_bf16(const PyagentSegmentSum* args, void* stream);
extern "C" int64_t pyagent_segment_sum_workspace_bytes(int64_t N, int64_t C);
