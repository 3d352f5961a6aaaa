// A sum tree over priorities (pyagent/replay/sum_tree.py has the maths), no Python in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pyagent {

// Not for use from two threads at once.
class SumTree {
 public:
  // Wide nodes make a shallow tree: five levels for a million leaves, so five cache misses a descent. Eight children
  // would be one cache line and seven levels; processors fetch lines in pairs, and sixteen measured faster.
  static constexpr int64_t kFanOut = 16;

  explicit SumTree(int64_t capacity) : capacity_(capacity) {
    for (int64_t count = capacity;;) {
      count = (count + kFanOut - 1) / kFanOut;
      levels_.emplace_back(count);
      marks_.emplace_back(count, uint8_t{0});
      if (count == 1) break;
    }
  }

  int64_t capacity() const { return capacity_; }
  double total() const { return sum(levels_.back()[0]); }
  double get(int64_t leaf) const { return levels_[0][leaf / kFanOut].child[leaf % kFanOut]; }

  // Of several equal indices the last one counts. Every sum above is made again from its children, never changed by a
  // difference: nothing drifts, and the tree is a function of its leaves, whatever came before.
  void update(const int64_t* leaf, const double* priority, int64_t count) {
    touched_.clear();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t node = leaf[i] / kFanOut;
      prefetch(levels_[0][node]);
      levels_[0][node].child[leaf[i] % kFanOut] = priority[i];
      mark(0, node, touched_);
    }
    for (size_t level = 0; level + 1 < levels_.size(); ++level) {
      above_.clear();
      for (const int64_t node : touched_) {
        marks_[level][node] = 0;
        levels_[level + 1][node / kFanOut].child[node % kFanOut] = sum(levels_[level][node]);
        mark(level + 1, node / kFanOut, above_);
      }
      touched_.swap(above_);
    }
    for (const int64_t node : touched_) marks_.back()[node] = 0;
  }

  // The leaves below which the sums stand, and their priorities. Level by level for a block of descents: they do not
  // depend on each other, so their cache misses overlap.
  void find(const double* prefix, int64_t count, int64_t* leaf, double* priority) const {
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t size = count - begin < kBlock ? count - begin : kBlock;
      int64_t* node = leaf + begin;
      double rest[kBlock];
      for (int64_t i = 0; i < size; ++i) {
        rest[i] = prefix[begin + i];
        node[i] = 0;
      }
      for (size_t level = levels_.size(); level-- > 0;) {
        for (int64_t i = 0; i < size; ++i) {
          node[i] = node[i] * kFanOut + descend(levels_[level][node[i]], rest[i]);
          if (level > 0) prefetch(levels_[level - 1][node[i]]);
        }
      }
      for (int64_t i = 0; i < size; ++i) priority[begin + i] = get(node[i]);
    }
  }

 private:
  static constexpr int64_t kBlock = 32;

  struct alignas(64) Node {
    double child[kFanOut] = {};
  };

  static void prefetch(const Node& node) {
    for (int64_t k = 0; k < kFanOut; k += 8) __builtin_prefetch(&node.child[k]);
  }

  // Four running sums, because one would wait for every addition; always the same order.
  static double sum(const Node& node) {
    double part[4] = {};
    for (int64_t k = 0; k < kFanOut; k += 4) {
      for (int64_t j = 0; j < 4; ++j) part[j] += node.child[k + j];
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
  }

  // The first child whose running sum is above `rest`, which becomes what is left of it below that child. It is never a
  // child of sum 0. Rounding may leave `rest` at the sum of all or above: then it is the last child that is not 0.
  static int64_t descend(const Node& node, double& rest) {
    double running[kFanOut];
    running[0] = node.child[0];
    for (int64_t k = 1; k < kFanOut; ++k) running[k] = running[k - 1] + node.child[k];
    int64_t child = 0;
    for (int64_t k = 0; k < kFanOut; ++k) child += running[k] <= rest;
    if (child == kFanOut) {
      do --child;
      while (child > 0 && node.child[child] == 0);
      rest = node.child[child];
    } else if (child > 0) {
      rest -= running[child - 1];
    }
    return child;
  }

  void mark(size_t level, int64_t node, std::vector<int64_t>& list) {
    if (marks_[level][node]) return;
    marks_[level][node] = 1;
    list.push_back(node);
  }

  int64_t capacity_;
  std::vector<std::vector<Node>> levels_;    // leaves first; the children of the last level's one node are the top sums
  std::vector<std::vector<uint8_t>> marks_;  // nodes that `update` has listed
  std::vector<int64_t> touched_, above_;
};

}  // namespace pyagent
