// Which tokens of a batch are text, and where they stand in the packed rows that layers compute and in the caller's
// arrays, which may be padded.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/kernels.h"

namespace bertpass::native {

class Ragged {
 public:
  // From the number of tokens of each sequence. The caller's arrays have room for `padded` tokens per sequence; 0 says
  // that they are packed too. Both forms allocate only where there are more sequences than ever before.
  void set(const std::int32_t* lengths, Index sequences, Index padded = 0) {
    padded_ = padded;
    keys_.clear();
    offsets_.resize(sequences + 1);
    offsets_[0] = longest_ = 0;
    for (Index s = 0; s < sequences; ++s) {
      offsets_[s + 1] = offsets_[s] + lengths[s];
      longest_ = std::max<Index>(longest_, lengths[s]);
    }
  }

  // From where each sequence of packed arrays begins, and the end of the last one.
  // keys: of each sequence, how many of its first tokens are attended to; null: all.
  void set(const std::int64_t* offsets, Index sequences, const std::int64_t* keys = nullptr) {
    padded_ = longest_ = 0;
    keys_.assign(keys, keys + (keys ? sequences : 0));
    offsets_.assign(offsets, offsets + sequences + 1);
    for (Index s = 0; s < sequences; ++s) longest_ = std::max(longest_, length(s));
  }

  Index sequences() const { return static_cast<Index>(offsets_.size()) - 1; }
  Index tokens() const { return offsets_.back(); }
  Index longest() const { return longest_; }
  Index start(Index sequence) const { return offsets_[sequence]; }
  Index length(Index sequence) const { return offsets_[sequence + 1] - offsets_[sequence]; }
  // In the caller's arrays: whether they are padded, their room for tokens, where a sequence begins, and its room.
  bool padded() const { return padded_ != 0; }
  Index places() const { return padded_ ? sequences() * padded_ : tokens(); }
  Index place(Index sequence) const { return padded_ ? sequence * padded_ : offsets_[sequence]; }
  Index room(Index sequence) const { return padded_ ? padded_ : length(sequence); }
  // The sequence that a row belongs to.
  Index sequence(Index row) const {
    return std::upper_bound(offsets_.begin(), offsets_.end(), row) - offsets_.begin() - 1;
  }
  // From a sequence on: its first row, the next one's and so on.
  const Index* offsets(Index first) const { return offsets_.data() + first; }
  // The same of the tokens that are attended to; null where all are.
  const Index* keys(Index first) const { return keys_.empty() ? nullptr : keys_.data() + first; }

  // The first sequence of part `number` of `parts` that have about as many tokens each.
  Index part_start(Index number, Index parts) const {
    const Index wanted = tokens() * number / parts;
    if (number == parts) return sequences();
    Index first = 0;
    while (first < sequences() && (offsets_[first] + offsets_[first + 1]) / 2 < wanted) ++first;
    return first;
  }

  // The sequence after a group that begins with `first`: as many as have `most` tokens together, at least one.
  Index group_end(Index first, Index most) const {
    Index last = first + 1;
    while (last < sequences() && offsets_[last + 1] - offsets_[first] <= most) ++last;
    return last;
  }

 private:
  std::vector<Index> offsets_ = {0}, keys_;
  Index longest_ = 0, padded_ = 0;
};

}  // namespace bertpass::native
