// libbertpass.so: the C functions of bertpass/include/bertpass.h.
#include <bertpass.h>

#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <new>

#include "capi/mapped_file.h"
#include "capi/packed_model.h"
#include "kernels/select.h"
#include "ops/processors.h"

namespace native = bertpass::native;

struct bertpass_model {
  native::LoadedModel loaded;
};

namespace {

constexpr std::int32_t kMostThreads = 1024;

thread_local char last_error[1024] = "";

bertpass_status fail(bertpass_status status, const char* sentence) {
  std::snprintf(last_error, sizeof last_error, "%s", sentence);
  return status;
}

// Nothing that is thrown leaves this library.
template <class Work>
bertpass_status guarded(const Work& work) noexcept {
  try {
    return work();
  } catch (const native::FileError& error) {
    return fail(BERTPASS_BAD_MODEL, error.what());
  } catch (const native::InputError& error) {
    return fail(BERTPASS_BAD_ARGUMENT, error.what());
  } catch (const native::InstructionSetError& error) {
    return fail(BERTPASS_BAD_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return fail(BERTPASS_NO_MEMORY, "there is not enough memory for this model or batch.");
  } catch (const std::exception& error) {
    return fail(BERTPASS_FAILED, error.what());
  } catch (...) {
    return fail(BERTPASS_FAILED, "something went wrong that has no description.");
  }
}

bool anything_null(std::initializer_list<const void*> pointers) {
  return std::find(pointers.begin(), pointers.end(), nullptr) != pointers.end();
}

bertpass_status null_pointer() { return fail(BERTPASS_BAD_ARGUMENT, "a pointer that has to be given is null."); }

bertpass_status no_batch() { return fail(BERTPASS_BAD_ARGUMENT, "a batch has at least one row and one token."); }

}  // namespace

std::int32_t bertpass_abi() { return BERTPASS_ABI; }

const char* bertpass_error() { return last_error; }

bertpass_status bertpass_load(const char* path, std::int32_t threads, const char* instruction_set,
                              bertpass_model** model) {
  return guarded([&] {
    if (model) *model = nullptr;
    if (anything_null({path, model})) return null_pointer();
    if (threads < 0 || threads > kMostThreads)
      return fail(BERTPASS_BAD_ARGUMENT, "threads must be from 1 to 1024, or 0 for those of the processors.");
    const int count = threads ? threads : std::min(native::default_threads(), kMostThreads);
    *model = new bertpass_model{native::load_packed_model(path, count, instruction_set ? instruction_set : "")};
    return BERTPASS_OK;
  });
}

void bertpass_free(bertpass_model* model) { delete model; }

bertpass_status bertpass_describe(const bertpass_model* model, bertpass_info* info) {
  return guarded([&] {
    if (anything_null({model, info})) return null_pointer();
    const native::ModelConfig& config = model->loaded.config;
    const native::Model& engine = *model->loaded.model;
    const auto number = [](native::Index value) { return static_cast<std::int32_t>(value); };  // loading saw to it
    *info = {number(config.vocabulary), number(config.max_length), number(config.token_types),
             static_cast<std::int32_t>(engine.output_shapes(1, 1).size()), engine.threads(), engine.instruction_set()};
    return BERTPASS_OK;
  });
}

bertpass_status bertpass_output_shapes(const bertpass_model* model, std::int32_t rows, std::int32_t length,
                                       bertpass_shape* shapes) {
  return guarded([&] {
    if (anything_null({model, shapes})) return null_pointer();
    if (rows < 1 || length < 1) return no_batch();
    for (const std::vector<native::Index>& sizes : model->loaded.model->output_shapes(rows, length)) {
      shapes->axes = static_cast<std::int32_t>(sizes.size());
      std::fill(shapes->sizes, shapes->sizes + BERTPASS_MAX_AXES, 1);
      std::copy(sizes.begin(), sizes.end(), shapes->sizes);
      ++shapes;
    }
    return BERTPASS_OK;
  });
}

bertpass_status bertpass_forward(const bertpass_model* model, const std::int32_t* ids, const std::int32_t* types,
                                 const std::int32_t* lengths, std::int32_t rows, std::int32_t length,
                                 float* const* outputs) {
  return guarded([&] {
    if (anything_null({model, ids, lengths, outputs})) return null_pointer();
    if (rows < 1 || length < 1) return no_batch();
    const native::Model& engine = *model->loaded.model;
    const std::size_t count = engine.output_shapes(rows, length).size();
    if (std::find(outputs, outputs + count, nullptr) != outputs + count) return null_pointer();
    engine.forward(ids, types, lengths, rows, length, outputs);
    return BERTPASS_OK;
  });
}
