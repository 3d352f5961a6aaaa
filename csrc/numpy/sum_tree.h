// A sum tree over priorities (pyagent/replay/sum_tree.py has the maths), no Python in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pyagent {

// Not for use from two threads at once.
class SumTree {
 public:
  // Wide nodes make a shallow tree, of five levels for a million leaves, and a node is two cache lines, which
  // processors fetch in pairs.
  static constexpr int64_t kBits = 4, kFanOut = 1 << kBits;

  explicit SumTree(int64_t capacity) : capacity_(capacity) {
    int64_t nodes = capacity;
    do {
      nodes = (nodes + kFanOut - 1) / kFanOut;
      levels_.emplace_back(nodes, levels_.empty());
    } while (nodes > 1 || levels_.size() == 1);
  }

  int64_t capacity() const { return capacity_; }
  double total() const { return levels_.back().running[0].of[kFanOut - 1]; }
  double get(int64_t leaf) const { return levels_[0].sums[above(leaf)].of[place(leaf)]; }

  // Of several equal indices the last one counts. Every sum above is made again from its children, never changed by a
  // difference: nothing drifts, and the tree is a function of its leaves, whatever came before.
  void update(const int64_t* leaf, const double* priority, int64_t count) {
    touched_.resize(static_cast<size_t>(count));
    int64_t* const touched = touched_.data();
    Node* const leaves = levels_[0].sums.data();
    uint8_t* const marked = levels_[0].marked.data();
    int64_t nodes = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t node = above(leaf[i]);
      prefetch(leaves[node]);
      leaves[node].of[place(leaf[i])] = priority[i];
      touched[nodes] = node;
      nodes += !marked[node];
      marked[node] = 1;
    }
    for (size_t level = 1; level < levels_.size(); ++level) {
      nodes = levels_[level].take(levels_[level - 1], touched, nodes);
    }
    levels_.back().marked[0] = 0;
  }

  // The leaves below which the prefix sums stand, and their priorities. Level by level for a block of descents: they do
  // not depend on each other, so their cache misses and their arithmetic overlap.
  void find(const double* prefix, int64_t count, int64_t* leaf, double* priority) const {
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t size = count - begin < kBlock ? count - begin : kBlock;
      int64_t* node = leaf + begin;
      double rest[kBlock];
      for (int64_t i = 0; i < size; ++i) {
        rest[i] = prefix[begin + i];
        node[i] = 0;
      }
      for (size_t level = levels_.size() - 1; level > 0; --level) {
        for (int64_t i = 0; i < size; ++i) {
          node[i] = node[i] * kFanOut + choose(levels_[level].running[node[i]], rest[i]);
          prefetch(level > 1 ? levels_[level - 1].running[node[i]] : levels_[0].sums[node[i]]);
        }
      }
      for (int64_t i = 0; i < size; ++i) {
        Node running;
        accumulate(levels_[0].sums[node[i]], running);
        node[i] = node[i] * kFanOut + choose(running, rest[i]);
        priority[begin + i] = get(node[i]);
      }
    }
  }

 private:
  static constexpr int64_t kBlock = 64;

  static int64_t above(int64_t index) { return index >> kBits; }
  static int64_t place(int64_t index) { return index & (kFanOut - 1); }

  template <class T>
  using Pair [[gnu::vector_size(16), gnu::may_alias]] = T;

  struct alignas(64) Node {
    double of[kFanOut];
  };

  struct Level {
    Level(int64_t nodes, bool leaves) : sums(nodes), running(leaves ? 0 : nodes), marked(nodes) {}

    double total(int64_t node) const {
      if (!running.empty()) return running[node].of[kFanOut - 1];
      double part[4] = {};  // four, because one would wait for every addition
      for (int64_t k = 0; k < kFanOut; k += 4) {
        for (int64_t j = 0; j < 4; ++j) part[j] += sums[node].of[k + j];
      }
      return (part[0] + part[1]) + (part[2] + part[3]);
    }

    // Takes the totals of `count` nodes below, whose marks go; the nodes here that changed take their places in
    // `nodes`.
    int64_t take(Level& below, int64_t* nodes, int64_t count) {
      Node *const to = sums.data(), *const to_running = running.data();
      uint8_t *const marks = marked.data(), *const marks_below = below.marked.data();
      int64_t changed = 0;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t child = nodes[i], node = above(child);
        marks_below[child] = 0;
        to[node].of[place(child)] = below.total(child);
        nodes[changed] = node;
        changed += !marks[node];
        marks[node] = 1;
      }
      for (int64_t i = 0; i < changed; ++i) accumulate(to[nodes[i]], to_running[nodes[i]]);
      return changed;
    }

    std::vector<Node> sums;       // of each child; of the leaves their priorities
    std::vector<Node> running;    // sums of the first 1, 2, … 16 children; the leaves' are made when they are needed
    std::vector<uint8_t> marked;  // by `update`, so that a node is listed once
  };

  static void prefetch(const Node& node) {
    for (int64_t k = 0; k < kFanOut; k += 8) __builtin_prefetch(&node.of[k]);
  }

  static void accumulate(const Node& sums, Node& running) {
    double sum = 0;
    for (int64_t k = 0; k < kFanOut; ++k) running.of[k] = sum += sums.of[k];
  }

  // The first child whose running sum is above `rest`, which becomes what is left of it below that child. The child's
  // own sum is then above 0. Rounding may leave `rest` at the last running sum or above: then it is the child that
  // reached that sum, and its last one, and so on.
  static int64_t choose(const Node& running, double& rest) {
    Pair<int64_t> below = {};  // minus the number of them at even and at odd places
    for (int64_t k = 0; k < kFanOut; k += 2) below += *reinterpret_cast<const Pair<double>*>(&running.of[k]) <= rest;
    int64_t child = -(below[0] + below[1]);
    if (__builtin_expect(child == kFanOut, 0)) {
      child = 0;
      while (running.of[child] < running.of[kFanOut - 1]) ++child;
    }
    if (child > 0) rest -= running.of[child - 1];
    return child;
  }

  int64_t capacity_;
  std::vector<Level> levels_;  // the leaves first; the last has one node
  std::vector<int64_t> touched_;
};

}  // namespace pyagent
