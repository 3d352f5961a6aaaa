// What threads do together: barriers of a block, grid, cluster and warp, and what the lanes of a warp exchange.
#pragma once

#include "emu/scheduler.h"

namespace emu {

enum Site { kGridSync = 2, kClusterSync, kWarpSync, kBallot, kExchange, kExchangeDone, kShuffle, kBlockSync = 1000 };

// Waits until `needed` threads have come. Barriers order memory between them, shuffles do not. Threads that meet at
// different `site`s of the source took different branches, which no barrier or shuffle allows.
EMU_INTERNAL inline void meet(Meeting& meeting, int needed, bool orders, const char* what, int line, int site) {
  Thread& me = this_thread();
  me.waits_at = what;
  me.line = line;
  char* const place = &meeting.place[meeting.generation & 1];
  if (meeting.arrived && meeting.site != site) {
    fail(std::string("divergent collective: ") + what + " line " + std::to_string(line) +
         " meets another call site (line " + std::to_string(meeting.line) + ")");
  }
  meeting.site = site;
  meeting.line = line;
  if (orders) release(place);
  if (++meeting.arrived >= needed) {
    open(meeting);
    maybe_yield();
  } else {
    meeting.waiting.push_back(&me);
    give_turn_away();
  }
  if (orders) acquire(place);
  me.waits_at = "";
}

EMU_INTERNAL inline void sync_block(int line, int site) {
  Hidden hidden;
  Block& block = *this_thread().block;
  meet(block.barrier, block.alive, true, "__syncthreads", line, site);
}

// The number of threads with a vote.
EMU_INTERNAL inline int sync_block_count(bool vote, int line, int site) {
  Hidden hidden;
  Block& block = *this_thread().block;
  int& votes = block.votes[block.barrier.generation & 1];
  if (block.barrier.arrived == 0) votes = 0;
  votes += vote;
  sync_block(line, site);
  return votes;
}

EMU_INTERNAL inline void sync_grid() {
  Hidden hidden;
  if (!kernel->cooperative) fail("grid.sync() in a launch that is not cooperative");
  meet(kernel->grid_barrier, static_cast<int>(kernel->alive), true, "grid.sync", 0, kGridSync);
}

EMU_INTERNAL inline void sync_cluster() {
  Hidden hidden;
  Block& block = *this_thread().block;
  int alive = 0;
  for (const Block* peer : *block.cluster) alive += peer->alive;
  meet(*block.cluster_barrier, alive, true, "cluster.sync", 0, kClusterSync);
}

struct WarpView {
  WarpMeeting& meeting;
  unsigned turn;  // of the two that the meeting keeps
};

EMU_INTERNAL inline WarpView meet_warp(unsigned mask, Site site, bool orders, const char* what, const void* object,
                                       unsigned long long value) {
  Hidden hidden;
  Thread& me = this_thread();
  Block& block = *me.block;
  const int lane = me.rank & 31, warp = me.rank >> 5, lanes = block.threads - warp * 32;
  if (!(mask >> lane & 1)) fail(std::string(what) + ": the calling lane is not in the mask");
  if (lanes < 32) mask &= (1u << lanes) - 1;
  WarpMeeting& meeting = block.warps[warp][mask];
  const unsigned turn = me.warp_meetings[mask]++ & 1;
  meeting.object[turn][lane] = object;
  meeting.value[turn][lane] = value;
  meet(meeting, __builtin_popcount(mask), orders, what, 0, site);
  return {meeting, turn};
}

// The value of lane `source`, or the caller's own where that is outside of its group of `width`.
template <class T>
EMU_INTERNAL T shuffle(unsigned mask, T value, int source, int width) {
  Hidden hidden;
  static_assert(sizeof(T) <= 8);
  unsigned long long bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  const WarpView warp = meet_warp(mask, Site(kShuffle + sizeof(T)), false, "__shfl_sync", nullptr, bits);
  const int lane = this_thread().rank & 31;
  if (source < 0 || (lane & ~(width - 1)) != (source & ~(width - 1))) source = lane;
  if (!(mask >> source & 1)) fail("__shfl_sync reads a lane outside of the mask");
  std::memcpy(&value, &warp.meeting.value[warp.turn][source], sizeof value);
  return value;
}

EMU_INTERNAL inline unsigned ballot(unsigned mask, bool vote) {
  Hidden hidden;
  const WarpView warp = meet_warp(mask, kBallot, false, "__ballot_sync", nullptr, vote);
  const int lanes = this_thread().block->threads - (this_thread().rank & ~31);
  unsigned votes = 0;
  for (int lane = 0; lane < 32 && lane < lanes; ++lane) {
    if ((mask >> lane & 1) && warp.meeting.value[warp.turn][lane]) votes |= 1u << lane;
  }
  return votes;
}

// Objects of all lanes of a full warp, to be read until `done_exchanging`.
template <class T>
struct Exchanged {
  WarpView warp;
  EMU_INTERNAL T operator[](int lane) const {
    Hidden hidden;
    return *static_cast<const T*>(warp.meeting.object[warp.turn][lane]);
  }
};

template <class T>
EMU_INTERNAL Exchanged<T> exchange(const T& mine, const char* what) {
  return {meet_warp(~0u, kExchange, false, what, &mine, 0)};
}

EMU_INTERNAL inline void done_exchanging(const char* what) { meet_warp(~0u, kExchangeDone, false, what, nullptr, 0); }

}  // namespace emu

#define __syncthreads() emu::sync_block(__LINE__, emu::kBlockSync + __COUNTER__)
#define __syncthreads_count(vote) emu::sync_block_count((vote) != 0, __LINE__, emu::kBlockSync + __COUNTER__)
#define __syncthreads_or(vote) (__syncthreads_count(vote) > 0)
#define __syncthreads_and(vote) (__syncthreads_count(!(vote)) == 0)

constexpr int warpSize = 32;

inline void __syncwarp(unsigned mask = ~0u) { emu::meet_warp(mask, emu::kWarpSync, true, "__syncwarp", nullptr, 0); }

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  const int mine = emu::this_thread().rank & 31;
  return emu::shuffle(mask, value, (mine & ~(width - 1)) | (lane & (width - 1)), width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  return emu::shuffle(mask, value, (emu::this_thread().rank & 31) ^ bits, width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  return emu::shuffle(mask, value, (emu::this_thread().rank & 31) + static_cast<int>(distance), width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  return emu::shuffle(mask, value, (emu::this_thread().rank & 31) - static_cast<int>(distance), width);
}
inline unsigned __ballot_sync(unsigned mask, int vote) { return emu::ballot(mask, vote); }
inline int __any_sync(unsigned mask, int vote) { return emu::ballot(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return emu::ballot(mask, !vote) == 0; }
