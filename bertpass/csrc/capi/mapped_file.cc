#include "capi/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace bertpass::native {

MappedFile map_file(const std::string& path) {
  const auto refuse = [&](const char* why) { throw FileError(path + " cannot be read: " + why + "."); };
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) refuse(std::strerror(errno));
  struct stat about {};
  const bool known = ::fstat(file, &about) == 0 && S_ISREG(about.st_mode);
  const std::size_t bytes = known ? static_cast<std::size_t>(about.st_size) : 0;
  void* const memory = bytes ? ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  const int reason = errno;
  ::close(file);  // the mapping stays
  if (!known) refuse("it is not a file");
  if (!bytes) refuse("it is empty");
  if (memory == MAP_FAILED) refuse(std::strerror(reason));
  const auto unmap = [bytes](const char* data) { ::munmap(const_cast<char*>(data), bytes); };
  return {std::shared_ptr<const char>(static_cast<const char*>(memory), unmap), static_cast<Index>(bytes)};
}

}  // namespace bertpass::native
