// The layout that MXNet's interleaved attention operators read: head by head, its query rows, key rows, value rows.
#pragma once

#include <array>
#include <cstddef>

namespace bertpass {

// out[(h * 3 + i) * head_bytes ...] = parts[i][h * head_bytes ...] for every head h and i = query, key, value.
// `out` has 3 * heads * head_bytes bytes and overlaps none of the parts, which have heads * head_bytes each.
void interleave(const std::array<const void*, 3>& parts, std::size_t heads, std::size_t head_bytes, void* out);

}  // namespace bertpass
