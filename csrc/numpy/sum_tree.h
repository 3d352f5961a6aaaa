// A sum tree over priorities (pyagent/replay/sum_tree.py has the maths), no Python in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pyagent {

// Not for use from two threads at once.
class SumTree {
 public:
  // Wide nodes make a shallow tree, of five levels for a million leaves. Leaves are float32, one cache line a node, as
  // fetching them is most of the work when the tree is not in the cache; sums are float64, two lines.
  static constexpr int64_t kBits = 4, kFanOut = 1 << kBits;

  explicit SumTree(int64_t capacity) : capacity_(capacity), leaves_(parents(capacity)) {
    int64_t nodes = parents(capacity);
    do levels_.emplace_back(nodes = parents(nodes));
    while (nodes > 1);
  }

  int64_t capacity() const { return capacity_; }
  double total() const { return levels_.back().total(0); }
  float get(int64_t leaf) const { return leaves_[above(leaf)].of[place(leaf)]; }

  // Of several equal indices the last one counts. Every sum above is made again from its children, never changed by a
  // difference: nothing drifts, and the tree is a function of its leaves, whatever came before.
  void update(const int64_t* leaf, const float* priority, int64_t count) {
    touched_.resize(static_cast<size_t>(count));
    int64_t* const touched = touched_.data();
    for (int64_t i = 0; i < count; ++i) {
      touched[i] = above(leaf[i]);
      prefetch(leaves_[touched[i]]);
      prefetch(levels_[0].sums[above(touched[i])]);
    }
    for (int64_t i = 0; i < count; ++i) leaves_[touched[i]].of[place(leaf[i])] = priority[i];
    int64_t nodes = levels_[0].take([this](int64_t node) { return total(leaves_[node]); }, touched, count);
    for (size_t k = 1; k < levels_.size(); ++k) {
      const Level& below = levels_[k - 1];
      nodes = levels_[k].take([&below](int64_t node) { return below.total(node); }, touched, nodes);
    }
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
      for (size_t level = levels_.size(); level-- > 0;) {
        for (int64_t i = 0; i < size; ++i) {
          node[i] = node[i] * kFanOut + choose(levels_[level].running[node[i]], rest[i]);
          if (level > 0) {
            prefetch(levels_[level - 1].running[node[i]]);
          } else {
            prefetch(leaves_[node[i]]);
          }
        }
      }
      for (int64_t i = 0; i < size; ++i) {
        Node running;
        accumulate(leaves_[node[i]], running);
        node[i] = node[i] * kFanOut + choose(running, rest[i]);
        priority[begin + i] = get(node[i]);
      }
    }
  }

 private:
  static constexpr int64_t kBlock = 64;

  static int64_t parents(int64_t count) { return (count + kFanOut - 1) >> kBits; }
  static int64_t above(int64_t index) { return index >> kBits; }
  static int64_t place(int64_t index) { return index & (kFanOut - 1); }

  template <class T>
  using Pair [[gnu::vector_size(16), gnu::may_alias]] = T;

  template <class Real>
  struct alignas(64) Children {
    Real of[kFanOut];
  };
  using Leaves = Children<float>;
  using Node = Children<double>;

  struct Level {
    explicit Level(int64_t nodes) : sums(nodes), running(nodes), marked(nodes) {}

    double total(int64_t node) const { return running[node].of[kFanOut - 1]; }

    // Takes the totals of `count` nodes below; the nodes here that changed, each once, take their places in `nodes`.
    template <class Total>
    int64_t take(const Total& total_below, int64_t* nodes, int64_t count) {
      Node *const to = sums.data(), *const to_running = running.data();
      uint8_t* const marks = marked.data();
      int64_t changed = 0;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t child = nodes[i], node = above(child);
        to[node].of[place(child)] = total_below(child);
        nodes[changed] = node;
        changed += !marks[node];
        marks[node] = 1;
      }
      for (int64_t i = 0; i < changed; ++i) {
        accumulate(to[nodes[i]], to_running[nodes[i]]);
        marks[nodes[i]] = 0;
      }
      return changed;
    }

    std::vector<Node> sums;       // of each child
    std::vector<Node> running;    // sums of the first 1, 2, … 16 children
    std::vector<uint8_t> marked;  // while `take` lists it
  };

  template <class Real>
  static void prefetch(const Children<Real>& node) {
    for (size_t line = 0; line < sizeof node; line += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(&node) + line);
    }
  }

  template <class Real>
  static void accumulate(const Children<Real>& values, Node& running) {
    double sum = 0;
    for (int64_t k = 0; k < kFanOut; ++k) running.of[k] = sum += values.of[k];
  }

  static double total(const Leaves& leaves) {
    double part[4] = {};  // four, because one would wait for every addition
    for (int64_t k = 0; k < kFanOut; k += 4) {
      for (int64_t j = 0; j < 4; ++j) part[j] += leaves.of[k + j];
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
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
  std::vector<Leaves> leaves_;  // priorities
  std::vector<Level> levels_;   // the last has one node
  std::vector<int64_t> touched_;
};

}  // namespace pyagent
