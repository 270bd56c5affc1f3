#include "schema/interleave.h"

#include <cstring>

namespace bertpass::native {

void interleave(const std::array<const void*, 3>& parts, std::size_t heads, std::size_t head_bytes, void* out) {
  char* to = static_cast<char*>(out);
  for (std::size_t head = 0; head < heads; ++head)
    for (const void* part : parts) {
      std::memcpy(to, static_cast<const char*>(part) + head * head_bytes, head_bytes);
      to += head_bytes;
    }
}

void deinterleave(const void* joined, std::size_t heads, std::size_t head_bytes, const std::array<void*, 3>& parts) {
  const char* from = static_cast<const char*>(joined);
  for (std::size_t head = 0; head < heads; ++head)
    for (void* part : parts) {
      std::memcpy(static_cast<char*>(part) + head * head_bytes, from, head_bytes);
      from += head_bytes;
    }
}

}  // namespace bertpass::native
