// Self-attention over ragged rows.
#pragma once

#include "ops/rows.h"
#include "ops/team.h"

namespace bertpass::native {

// A layer's embeddings of distances as keys and as queries (He et al., arXiv:2006.03654, section 3.1); a view. Scores
// are (q k^T + their products with the content) / sqrt(3).
struct RelativeKeys {
  const char *keys, *queries;  // panels of each head in the type of the products, (head size, rows)
  Index head_bytes;            // from head to head
  Index rows;
  const std::int32_t* row;  // of distance 0; which of the rows belongs to the distance of the key less the query
};

// What is added to a head's scores by the distance from the query to the key; a view.
struct DistanceBias {
  const float* centre = nullptr;  // the first head's, of distance 0; null where nothing is added
  Index stride = 0;               // from head to head

  // (2 length - 1) elements around the one that this points to, and kPanel after them that may be read.
  const float* of(Index head) const { return centre ? centre + head * stride : nullptr; }
};

// The angles by which queries and keys are turned, a view: row t of either is for place t in its sequence.
struct Rotary {
  const float *cosines = nullptr, *sines = nullptr;  // (places, half)
  Index half = 0;                                    // half a head's size; 0 where nothing is turned
};

// What a layer's attention is beside the plain one.
struct AttentionForm {
  DistanceBias bias;
  Rotary rotary;
  Index window = 0;  // how far on either side a token attends; 0: to all
  const RelativeKeys* relative = nullptr;  // without any of the others, where there is one
  const Index* keys = nullptr;  // of each sequence, how many of its first tokens are attended to; null: all
};

// Bytes of working memory that attention() needs for each thread, sequences of at most `longest` tokens; window: with
// a window, or with keys; distances: rows of RelativeKeys, or 0.
Index attention_scratch(const Kernels& kernels, Type type, Index longest, Index head_size, bool window,
                        Index distances = 0);

// out = softmax(q k^T + bias) v for each sequence and head; the scale 1 / sqrt(head_size) is already in q.
//
// Sequence s has length offsets[s + 1] - offsets[s] and follows sequence s - 1; offsets[0] stands for row 0. A row of
// qkv (float32 or bfloat16, as the products then are) holds q, k and v of the first head, then those of the second and
// so on; a row of out (float32 or bfloat16) holds the heads beside each other. q and k are turned in place. Scores exist
// for a few queries at a time only: memory grows with the length, not with its square. scratch: attention_scratch() for
// each thread, on cache lines.
void attention(const Kernels& kernels, const Team& team, const Index* offsets, Index sequences, Index heads,
               Index head_size, const Rows& qkv, const AttentionForm& form, const Rows& out, char* scratch,
               Index scratch_of_a_thread);

// Whether attend_head() can be used: in bfloat16, where the kernels have one for whole heads.
bool attends_heads(const Kernels& kernels, Type type, Index head_size);

// Head number `head` in the calling thread: the columns of qkv begin with its q, k and v, those of out with its own.
void attend_head(const Kernels& kernels, const Index* offsets, Index sequences, Index head, Index head_size,
                 const Rows& qkv, const AttentionForm& form, const Rows& out, char* scratch);

}  // namespace bertpass::native
