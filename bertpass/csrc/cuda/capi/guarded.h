// From exceptions to statuses and sentences.
#pragma once

#include <bertpass_cuda.h>

#include <algorithm>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string>

#include "cuda/device/runtime.h"
#include "encoder/inputs.h"
#include "schema/names.h"
#include "cuda/kernels/kernels.h"

namespace bertpass::cuda {

// Keeps the sentence for bertpass_cuda_error.
bertpass_cuda_status fail(bertpass_cuda_status status, const char* sentence);

// Runs the work unless one of the pointers is null. Nothing that it throws leaves this library.
template <class Work>
bertpass_cuda_status guarded(std::initializer_list<const void*> given, const Work& work) noexcept {
  try {
    if (std::find(given.begin(), given.end(), nullptr) != given.end())
      return fail(BERTPASS_CUDA_BAD_ARGUMENT, "a pointer that has to be given is null.");
    work();
    return BERTPASS_CUDA_OK;
  } catch (const LostError& error) {
    return fail(BERTPASS_CUDA_LOST, error.what());
  } catch (const CudaError& error) {
    return fail(BERTPASS_CUDA_DEVICE, error.what());
  } catch (const native::WeightError& error) {
    return fail(BERTPASS_CUDA_BAD_MODEL, error.what());
  } catch (const native::InputError& error) {
    return fail(BERTPASS_CUDA_BAD_ARGUMENT, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(BERTPASS_CUDA_BAD_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return fail(BERTPASS_CUDA_NO_MEMORY, "there is not enough memory on the host.");
  } catch (const std::exception& error) {
    return fail(BERTPASS_CUDA_FAILED, error.what());
  } catch (...) {
    return fail(BERTPASS_CUDA_FAILED, "something went wrong that has no description.");
  }
}

inline std::string text(const char* given) { return given ? given : ""; }

inline Dtype dtype_of(const char* name) {
  static constexpr native::Named<Dtype> kDtypes[] = {
      {"float32", Dtype::float32}, {"float16", Dtype::float16}, {"bfloat16", Dtype::bfloat16}};
  return native::choose(text(name), kDtypes);
}

}  // namespace bertpass::cuda
