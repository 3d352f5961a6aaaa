// The distinct tokens of a batch: each id once, and where each place finds its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace pyagent {

// Up to this many vocabulary entries a token, marking them in a table is quicker than sorting the tokens.
constexpr int64_t kTablePerToken = 32;

// All of these write the distinct tokens in order, and where each token stands among them; they return how many there
// are. Tokens are in [0, num_embeddings).
inline int64_t distinct_by_table(const int64_t* token, int64_t count, int64_t num_embeddings, int64_t* id,
                                 int64_t* row) {
  std::vector<int64_t> row_of(static_cast<size_t>(num_embeddings), -1);
  for (int64_t i = 0; i < count; ++i) row_of[static_cast<size_t>(token[i])] = 0;
  int64_t rows = 0;
  for (int64_t v = 0; v < num_embeddings; ++v) {
    if (row_of[static_cast<size_t>(v)] < 0) continue;
    id[rows] = v;
    row_of[static_cast<size_t>(v)] = rows++;
  }
  for (int64_t i = 0; i < count; ++i) row[i] = row_of[static_cast<size_t>(token[i])];
  return rows;
}

inline int64_t distinct_by_sorting(const int64_t* token, int64_t count, int64_t* id, int64_t* row) {
  std::vector<int64_t> sorted(token, token + count);
  std::sort(sorted.begin(), sorted.end());
  const int64_t rows = std::unique(sorted.begin(), sorted.end()) - sorted.begin();
  std::copy_n(sorted.begin(), rows, id);
  for (int64_t i = 0; i < count; ++i) row[i] = std::lower_bound(id, id + rows, token[i]) - id;
  return rows;
}

inline int64_t find_distinct(const int64_t* token, int64_t count, int64_t num_embeddings, int64_t* id, int64_t* row) {
  return num_embeddings <= kTablePerToken * count ? distinct_by_table(token, count, num_embeddings, id, row)
                                                  : distinct_by_sorting(token, count, id, row);
}

}  // namespace pyagent
