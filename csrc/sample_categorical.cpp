// Actions drawn from a softmax (pyagent/ops/sample_categorical.py has the rule and the shapes).
//
// A row is never sorted. Bounds that need no order leave the candidates for a cut; their weights are counted in buckets
// of their range, and only the bucket in which the cut falls is looked at more closely. Whatever is summed is summed in
// double, in an order that depends on the row alone.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "parallel.h"
#include "rows.h"
#include "tensors.h"

namespace pyagent {
namespace {

constexpr int64_t kNone = -1;
constexpr int64_t kBlock = 64;      // actions whose probabilities are summed as one while a draw is located
constexpr int64_t kBuckets = 2048;  // of a row's range
constexpr size_t kFew = 64;         // candidates that are simply sorted
constexpr int kMostPasses = 4;

struct Rule {
  double temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
};

// One row at a time, with the memory for it.
template <class T>
class Sampler {
 public:
  Sampler(int64_t A, const Rule& rule)
      : A_(A), rule_(rule), logits_(A + kPad), weights_(A + kPad), actions_(A), blocks_(A / kBlock + 1) {}

  // The first action up to which a share of more than `uniform` of the probability lies; kNone where there is none.
  int64_t choose(const T* logits, const bool* mask, double uniform) {
    count_ = A_;
    is_compact_ = false;
    std::copy_n(logits, A_, logits_.data());
    if (mask) keep([&](int64_t i) { return mask[i]; });
    const T largest = count_ > 0 ? largest_of(logits_.data(), count_) : -kInfinity;
    if (!(std::abs(largest) < kInfinity)) return kNone;
    if (rule_.top_k && *rule_.top_k < count_) {
      keep_a_few(*rule_.top_k);
      const Last last =
          last_of(static_cast<double>(*rule_.top_k), [](int64_t) { return true; }, [](int64_t) { return 1.0; });
      keep([&](int64_t i) { return !last.ranks_before(logits_[i], i); });
    }
    exponentiate(largest);
    double total = sum();
    if (rule_.top_p && *rule_.top_p < 1) {
      // Weights below the bound are together less than what may be left out.
      const double least = (1 - *rule_.top_p) * total / (2 * static_cast<double>(count_));
      const Last last = last_of(
          *rule_.top_p * total, [&](int64_t i) { return weights_[i] >= least; },
          [&](int64_t i) { return static_cast<double>(weights_[i]); });
      for (int64_t i = 0; i < count_; ++i) weights_[i] = last.ranks_before(logits_[i], i) ? T(0) : weights_[i];
      total = sum();
    }
    const int64_t place = locate(uniform * total);
    return is_compact_ ? actions_[place] : place;
  }

 private:
  static constexpr T kInfinity = std::numeric_limits<T>::infinity();
  static constexpr int64_t kPad = 4;  // so that vectors and sums by fours need no special end

  // Rank is by logit, and by place among equals.
  struct Last {
    T logit;
    int64_t place;
    bool ranks_before(T other, int64_t other_place) const {
      return (logit > other) | ((logit == other) & (place < other_place));
    }
  };

  template <class Wanted>
  void keep(const Wanted& wanted) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count_; ++i) kept += move(i, kept, wanted(i));
    count_ = kept, is_compact_ = true;
  }

  bool move(int64_t from, int64_t to, bool stays) {
    const int64_t action = is_compact_ ? actions_[from] : from;
    logits_[to] = logits_[from], actions_[to] = action;
    return stays;
  }

  // Keeps at least k, all that rank above them, and few others: the k-th largest of the blocks' largest bounds them.
  void keep_a_few(int64_t k) {
    const int64_t blocks = count_ / kBlock;
    if (k > blocks) return;
    largest_.resize(static_cast<size_t>(2 * blocks));
    for (int64_t i = 0; i < blocks; ++i) largest_[i] = largest_[blocks + i] = largest_of(&logits_[i * kBlock], kBlock);
    std::nth_element(&largest_[blocks], &largest_[blocks + k - 1], largest_.data() + 2 * blocks, std::greater<T>());
    const T least = largest_[blocks + k - 1];
    int64_t kept = 0;
    for (int64_t first = 0, block = 0; first < count_; first += kBlock, ++block) {
      if (block < blocks && largest_[block] < least) continue;
      for (int64_t i = first; i < std::min(count_, first + kBlock); ++i) kept += move(i, kept, logits_[i] >= least);
    }
    count_ = kept, is_compact_ = true;
  }

  // The first by rank with which the weights reach `wanted` > 0 (the last, should none), of those that are candidates.
  template <class Candidate, class Weight>
  Last last_of(double wanted, const Candidate& is_candidate, const Weight& weight) {
    candidates_.resize(static_cast<size_t>(count_));
    int64_t found = 0;
    for (int64_t i = 0; i < count_; ++i) {
      candidates_[found] = i;
      found += is_candidate(i);
    }
    candidates_.resize(static_cast<size_t>(found));
    double before = 0;  // the weight of all that rank before the candidates
    for (int pass = 0; pass < kMostPasses && candidates_.size() > kFew; ++pass)
      if (!narrow(wanted, weight, &before)) break;
    const auto last = [&](int64_t i) { return Last{logits_[i], i}; };
    std::sort(candidates_.begin(), candidates_.end(),
              [&](int64_t i, int64_t j) { return last(i).ranks_before(logits_[j], j); });
    for (int64_t i : candidates_)
      if ((before += weight(i)) >= wanted) return last(i);
    return last(candidates_.back());
  }

  // Leaves the candidates of one bucket of their range; false where that cannot tell them apart.
  template <class Weight>
  bool narrow(double wanted, const Weight& weight, double* before) {
    T low = logits_[candidates_[0]], high = low;
    for (int64_t i : candidates_) low = std::min(low, logits_[i]), high = std::max(high, logits_[i]);
    const double top = high, scale = kBuckets / (top - static_cast<double>(low));
    if (!(scale > 0 && scale < std::numeric_limits<double>::infinity())) return false;
    const auto bucket_of = [&](int64_t i) {
      return std::min(static_cast<int64_t>((top - static_cast<double>(logits_[i])) * scale), kBuckets - 1);
    };
    buckets_.assign(kBuckets, 0.0);
    for (int64_t i : candidates_) buckets_[bucket_of(i)] += weight(i);
    int64_t bucket = 0;
    while (bucket + 1 < kBuckets && *before + buckets_[bucket] < wanted) *before += buckets_[bucket++];
    size_t kept = 0;
    for (int64_t i : candidates_) {
      candidates_[kept] = i;
      kept += bucket_of(i) == bucket;
    }
    candidates_.resize(kept);
    return true;
  }

  void exponentiate(T largest) {
    constexpr int64_t W = Simd<T>::kWidth;
    std::fill_n(&logits_[count_], kPad, -kInfinity);
    const T temperature = std::max(static_cast<T>(rule_.temperature), std::numeric_limits<T>::min());
    for (int64_t i = 0; i < count_; i += W)
      store<T>(&weights_[i], exp_nonpositive<T>((load<T>(&logits_[i]) - largest) / temperature));
    std::fill_n(&weights_[count_], kPad, T(0));
  }

  // Of each block and of all weights.
  double sum() {
    double all = 0;
    for (int64_t first = 0, block = 0; first < count_; first += kBlock, ++block) {
      double parts[4] = {};
      for (int64_t i = first; i < std::min(count_, first + kBlock); i += 4)
        for (int64_t j = 0; j < 4; ++j) parts[j] += weights_[i + j];
      all += blocks_[block] = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    }
    return all;
  }

  // The first place with which the weights exceed `share`; the last that has one, should rounding leave it behind all.
  int64_t locate(double share) const {
    int64_t first = 0;
    double before = 0, after = 0;
    for (int64_t block = 0; block * kBlock < count_ && after <= share; ++block) {
      if (blocks_[block] == 0) continue;
      first = block * kBlock, before = after;
      after += blocks_[block];
    }
    int64_t place = kNone;
    for (int64_t i = first; i < std::min(count_, first + kBlock) && (place == kNone || before <= share); ++i) {
      if (weights_[i] == 0) continue;
      place = i;
      before += weights_[i];
    }
    return place;
  }

  int64_t A_, count_ = 0;
  bool is_compact_ = false;  // whether `actions_` says which actions the places are
  const Rule& rule_;
  std::vector<T> logits_, weights_, largest_;
  std::vector<int64_t> actions_, candidates_;
  std::vector<double> blocks_, buckets_;
};

template <class T>
Tensor draw(const Tensor& logits, const Tensor& uniform, const Rule& rule, const OptionalTensor& mask) {
  STD_TORCH_CHECK(logits.dim() == 2, "logits: got ", logits.dim(), " dimensions, want 2");
  STD_TORCH_CHECK(rule.temperature > 0, "temperature: got ", rule.temperature);
  STD_TORCH_CHECK(!rule.top_k || *rule.top_k >= 1, "top_k: got ", rule.top_k.value_or(0));
  STD_TORCH_CHECK(!rule.top_p || *rule.top_p > 0, "top_p: got ", rule.top_p.value_or(0));
  const int64_t N = logits.size(0), A = logits.size(1);
  const Argument<T> held_logits("logits", logits, {N, A});
  const Argument<double> held_uniform("uniform", uniform, {N});
  const Argument<bool> held_mask("mask", mask, {N, A});
  const T* rows = held_logits.get();
  const double* u = held_uniform.get();
  const bool* allowed = held_mask.get();
  for (int64_t n = 0; n < N; ++n) STD_TORCH_CHECK(u[n] >= 0 && u[n] < 1, "uniform: got ", u[n], ", want [0, 1)");
  Tensor action = new_tensor<int64_t>({N});
  int64_t* out = data<int64_t>(action);
  parallel_over(N, N * (32 * A + 64), [&](int64_t begin, int64_t end) {
    Sampler<T> sampler(A, rule);
    for (int64_t n = begin; n < end; ++n)
      out[n] = sampler.choose(rows + n * A, allowed ? allowed + n * A : nullptr, u[n]);
  });
  for (int64_t n = 0; n < N; ++n)
    STD_TORCH_CHECK(out[n] != kNone, "logits: row ", n, " has NaN, +inf or no allowed action");
  return action;
}

Tensor sample_categorical(const Tensor& logits, const Tensor& uniform, double temperature, std::optional<int64_t> top_k,
                          std::optional<double> top_p, const OptionalTensor& mask) {
  const Rule rule{temperature, top_k, top_p};
  return with_dtype("logits", logits, [&](auto zero) { return draw<decltype(zero)>(logits, uniform, rule, mask); });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "sample_categorical(Tensor logits, Tensor uniform, float temperature, int? top_k, float? top_p, Tensor? mask) "
      "-> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("sample_categorical", TORCH_BOX(&pyagent::sample_categorical)); }
