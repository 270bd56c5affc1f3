// The order in which query, key and value stand as one: head by head, its query rows, key rows, value rows. MXNet's
// interleaved attention operators, packed layers and the CUDA engine read them so; frameworks keep them apart.
#pragma once

#include <array>
#include <cstddef>

namespace bertpass::native {

// out[(h * 3 + i) * head_bytes ...] = parts[i][h * head_bytes ...] for every head h and i = query, key, value.
// `out` has 3 * heads * head_bytes bytes and overlaps none of the parts, which have heads * head_bytes each.
void interleave(const std::array<const void*, 3>& parts, std::size_t heads, std::size_t head_bytes, void* out);

// The opposite.
void deinterleave(const void* joined, std::size_t heads, std::size_t head_bytes, const std::array<void*, 3>& parts);

}  // namespace bertpass::native
