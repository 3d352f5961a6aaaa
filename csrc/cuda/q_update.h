// Tabular Q-learning over a batch, in place (pyagent/ops/q_update.py has the maths).
#pragma once

#include <cstdint>

struct PyagentQUpdate {
  int64_t N, S, A;                             // transitions, states, actions
  void* q_table;                               // [S, A], float or double as the launcher's name says
  const int64_t *state, *action, *next_state;  // [N]
  const void *reward, *discount, *alpha;       // [N], of the table's type
  int64_t discount_stride, alpha_stride;       // in elements; 0 for one number for all
  void* workspace;                             // of pyagent_q_update_workspace_bytes
  int32_t* bad_index;                          // set to 1 where a state or action is outside of the table
};

// The result, bit for bit, of the loop over the batch in order. With a bad index the table stays as it is.
// Returns the cudaError_t of the launch.
extern "C" int pyagent_q_update_f32(const PyagentQUpdate* args, void* stream);
extern "C" int pyagent_q_update_f64(const PyagentQUpdate* args, void* stream);
extern "C" int64_t pyagent_q_update_workspace_bytes(int64_t S);
