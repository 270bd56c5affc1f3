// Things that a call needs to itself for its time, such as working memory.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

namespace bertpass::native {

// Hands out idle things, and new ones where all are in use: there are never more than calls at once.
template <class T>
class Pool {
 public:
  // A thing for the lifetime of the lease.
  class Lease {
   public:
    explicit Lease(Pool& pool) : pool_(pool), thing_(pool.take()) {}
    ~Lease() { pool_.give(std::move(thing_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    T& operator*() const { return *thing_; }

   private:
    Pool& pool_;
    std::unique_ptr<T> thing_;
  };

 private:
  std::unique_ptr<T> take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<T> thing = std::move(idle_.back());
        idle_.pop_back();
        return thing;
      }
    }
    return std::make_unique<T>();
  }

  void give(std::unique_ptr<T> thing) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(thing));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_;
};

}  // namespace bertpass::native
