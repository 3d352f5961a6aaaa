// The recurrence on CUDA, over raw device pointers (pyagent/ops/recurrence.py has the maths, csrc/core/dispatch.h the
// numbers of cells and gates). Contiguous arrays; Real is float or bfloat16, of which sums, c and what flows back
// through c stay float. Null where an array is optional: zeros, no reset, full length.
#pragma once

#include <cstdint>

// What both passes take.
struct PyagentRecurrence {
  int64_t cell;      // 0 tanh, 1 relu, 2 gru, 3 lstm; G is 1, 1, 3, 4
  int64_t bfloat16;  // whether that is what Real is
  int64_t T, B, H;
  const void* weight_hh;       // [G·H, H]
  const void* h_0;             // [B, H], optional
  const float* c_0;            // [B, H], lstm only, optional
  const unsigned char* reset;  // bool [T, B], optional
  const int64_t* lengths;      // [B], each in 0…T, optional
  int* out_of_range;           // set to 1 where a length or an index is, else left as it is
  void* workspace;             // of pyagent_recurrence_workspace_bytes, aligned as cudaMalloc does
  // For tests; 0 lets the launcher choose, and ask the device. What does not fit is cudaErrorInvalidConfiguration.
  int64_t variant;       // 1 weights in shared memory, 2 that in clusters, 3 weights read again every step
  int64_t units, lanes;  // a block takes at a time: a multiple of 8; 8, 16, 32 … 256
  int64_t multiprocessors, shared_bytes;
};

// A lane with a length out of range, and a step with an index out of range, computes as if its row were NaN.
struct PyagentRecurrenceForward : PyagentRecurrence {
  const void* rows;          // [num_rows, G·H], or without row_index [T, B, G·H]
  int64_t num_rows;          // used with row_index only
  const int64_t* row_index;  // [T, B], each in 0…num_rows−1, optional
  const void* bias_hn;       // [H], gru only, optional
  void* output;              // [T, B, H]
  void* h_n;                 // [B, H]
  float* c_n;                // [B, H], lstm only
  void* gates;               // for the backward pass [T, B, 4·H], gru (r z, W_hn h + b_hn, n) and lstm only, optional
  float* cells;              // for the backward pass [T, B, H], lstm only, optional
};

struct PyagentRecurrenceBackward : PyagentRecurrence {
  const void* output;       // these three as the forward pass wrote them
  const void* gates;        // gru and lstm
  const float* cells;       // lstm
  const void* grad_output;  // [T, B, H], optional
  const void* grad_h_n;     // [B, H], optional
  const float* grad_c_n;    // [B, H], lstm only, optional
  void* grad_gates;         // [T, B, 4·H] of gru and lstm, in the order of gates; else [T, B, H]
  void* grad_h_0;           // [B, H], optional
  float* grad_c_0;          // [B, H], lstm only, optional
};

// Neither allocates nor waits, so a CUDA graph can hold them. They return the cudaError_t of their launches, and give
// the same bits for the same arguments on the same kind of device.
extern "C" int pyagent_recurrence_forward(const PyagentRecurrenceForward* args, void* stream);
extern "C" int pyagent_recurrence_backward(const PyagentRecurrenceBackward* args, void* stream);
// Enough for either pass over these sizes.
extern "C" int64_t pyagent_recurrence_workspace_bytes(int64_t cell, int64_t bfloat16, int64_t B, int64_t H);
