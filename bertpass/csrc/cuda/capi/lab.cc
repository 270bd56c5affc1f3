// Each kernel alone, from and to host memory: what the tests compare, with a GPU and as twins. Not part of the public
// interface. Activations have the type that is named; outputs are full of NaN before a kernel runs.
#include <vector>

#include "cuda/capi/guarded.h"
#include "cuda/encoder/batch.h"
#include "cuda/gemm/gemm.h"
#include "cuda/layer/layer.h"

using namespace bertpass::cuda;
namespace native = bertpass::native;

#define BP_LAB extern "C" BERTPASS_CUDA_API bertpass_cuda_status

namespace {

// Device memory for one call; everything runs on one stream of its own.
class Lab {
 public:
  cudaStream_t stream() const { return stream_.get(); }

  const void* give(const void* host, std::size_t bytes) {
    if (!host) return nullptr;
    void* const to = take(bytes);
    check(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream()), "copying to the device");
    return to;
  }
  const float* floats(const void* host, std::size_t count) { return static_cast<const float*>(give(host, 4 * count)); }

  void* room(std::size_t bytes) {
    const std::vector<unsigned char> poison(bytes, 0xff);
    void* const to = take(bytes);
    check(cudaMemcpyAsync(to, poison.data(), bytes, cudaMemcpyHostToDevice, stream()), "copying to the device");
    check(cudaStreamSynchronize(stream()), "copying to the device");
    return to;
  }

  void fetch(void* host, const void* device, std::size_t bytes) {
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()), "copying from the device");
    check(cudaStreamSynchronize(stream()), "a kernel");
  }

  // A batch on the device as the encoder sees it. ids may be null where the kernel reads none.
  Bucket batch(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, int sequences, int length,
               int queries) {
    const BatchLayout layout(sequences, sequences * length, queries);
    std::vector<char> host(layout.bytes);
    const std::vector<std::int32_t> none(static_cast<std::size_t>(sequences) * length);
    char* const device = static_cast<char*>(take(layout.bytes));
    const Inputs inputs{ids ? ids : none.data(), types, lengths, sequences, length, false};
    const auto [batch, bytes] = write_batch(inputs, queries, layout, host.data(), device);
    check(cudaMemcpyAsync(device, host.data(), bytes, cudaMemcpyHostToDevice, stream()), "copying to the device");
    check(cudaStreamSynchronize(stream()), "copying to the device");
    return {bucket_of(batch.tokens), tile_bucket_of(batch.tiles), reinterpret_cast<const Batch*>(device),
            reinterpret_cast<const std::int32_t*>(device + layout.offsets),
            reinterpret_cast<const Tile*>(device + layout.tiles)};
  }
  // One sequence of `rows` tokens, for kernels that only ask how many there are.
  Bucket rows(int rows) { return batch(nullptr, nullptr, &rows, 1, rows, 64); }

 private:
  void* take(std::size_t bytes) {
    memory_.push_back(device_memory(bytes));
    return memory_.back().get();
  }
  StreamOwner stream_ = ::bertpass::cuda::stream();
  std::vector<DeviceMemory> memory_;
};

std::size_t bytes_of(Dtype dtype, std::int64_t count) { return static_cast<std::size_t>(count) * size_of(dtype); }

std::int64_t sum(const std::int32_t* lengths, int sequences) {
  std::int64_t all = 0;
  for (int s = 0; s < sequences; ++s) all += lengths[s];
  return all;
}

}  // namespace

// out: (tokens, units) of the type.
BP_LAB bertpass_cuda_lab_embed(const char* dtype, const std::int32_t* ids, const std::int32_t* types,
                               const std::int32_t* lengths, std::int32_t sequences, std::int32_t length, const void* words,
                               std::int32_t vocabulary, const void* positions, std::int32_t position_count,
                               const void* type_table, std::int32_t token_types, const float* gamma, const float* beta,
                               float epsilon, std::int32_t units, void* out) {
  return guarded({ids, lengths, words, positions, gamma, beta, out}, [&] {
    const Dtype type = dtype_of(dtype);
    Lab lab;
    const Bucket bucket = lab.batch(ids, types, lengths, sequences, length, 64);
    const Tables tables{lab.give(words, bytes_of(type, vocabulary * units)),
                        lab.give(positions, bytes_of(type, position_count * units)),
                        lab.give(type_table, bytes_of(type, token_types * units)), vocabulary, token_types};
    const Norm norm{lab.floats(gamma, units), lab.floats(beta, units), epsilon};
    void* const to = lab.room(bytes_of(type, bucket.rows * units));
    embed(type, bucket.batch, bucket.offsets, tables, norm, units, bucket.rows, to, lab.stream());
    lab.fetch(out, to, bytes_of(type, sum(lengths, sequences) * units));
  });
}

BP_LAB bertpass_cuda_lab_norm(const char* dtype, const void* x, const float* gamma, const float* beta, float epsilon,
                              std::int32_t rows, std::int32_t units, void* out) {
  return guarded({x, gamma, beta, out}, [&] {
    const Dtype type = dtype_of(dtype);
    Lab lab;
    const Bucket bucket = lab.rows(rows);
    const void* const from = lab.give(x, bytes_of(type, rows * units));
    void* const to = lab.room(bytes_of(type, bucket.rows * units));
    layer_norm(type, bucket.batch, from, {lab.floats(gamma, units), lab.floats(beta, units), epsilon}, units, bucket.rows,
               to, lab.stream());
    lab.fetch(out, to, bytes_of(type, rows * units));
  });
}

BP_LAB bertpass_cuda_lab_activate(const char* dtype, const char* activation, const void* x, std::int32_t rows,
                                  std::int32_t columns, void* out) {
  return guarded({x, out}, [&] {
    const Dtype type = dtype_of(dtype);
    Lab lab;
    const Bucket bucket = lab.rows(rows);
    void* const both = lab.room(bytes_of(type, bucket.rows * columns));
    check(cudaMemcpyAsync(both, x, bytes_of(type, rows * columns), cudaMemcpyHostToDevice, lab.stream()), "copying");
    activate(type, native::choose(text(activation), native::kFunctions), false, bucket.batch, both, columns, bucket.rows, lab.stream());
    lab.fetch(out, both, bytes_of(type, rows * columns));
  });
}

// x: (rows, 2 columns); out: (rows, columns), activation(first half) (second half).
BP_LAB bertpass_cuda_lab_activate_gated(const char* dtype, const char* activation, const void* x, std::int32_t rows,
                                        std::int32_t columns, void* out) {
  return guarded({x, out}, [&] {
    const Dtype type = dtype_of(dtype);
    Lab lab;
    const Bucket bucket = lab.rows(rows);
    void* const both = lab.room(bytes_of(type, bucket.rows * 2 * columns));
    check(cudaMemcpyAsync(both, x, bytes_of(type, rows * 2 * columns), cudaMemcpyHostToDevice, lab.stream()), "copying");
    activate(type, native::choose(text(activation), native::kFunctions), true, bucket.batch, both, columns, bucket.rows,
             lab.stream());
    const std::size_t row = bytes_of(type, columns);
    for (std::int32_t i = 0; i < rows; ++i)
      lab.fetch(static_cast<char*>(out) + i * row, static_cast<const char*>(both) + 2 * i * row, row);
  });
}

// qkv: (tokens, heads, 3, size), turned in place; cosines, sines: float32 (positions, size / 2).
BP_LAB bertpass_cuda_lab_rotate(const char* dtype, void* qkv, const std::int32_t* lengths, std::int32_t sequences,
                                std::int32_t heads, std::int32_t size, const float* cosines, const float* sines,
                                std::int32_t positions) {
  return guarded({qkv, lengths, cosines, sines}, [&] {
    const Dtype type = dtype_of(dtype);
    const std::size_t bytes = bytes_of(type, sum(lengths, sequences) * heads * 3 * size);
    const int longest = *std::max_element(lengths, lengths + sequences);
    Lab lab;
    const Bucket bucket = lab.batch(nullptr, nullptr, lengths, sequences, longest, 64);
    void* const both = lab.room(bytes_of(type, static_cast<std::int64_t>(bucket.rows) * heads * 3 * size));
    check(cudaMemcpyAsync(both, qkv, bytes, cudaMemcpyHostToDevice, lab.stream()), "copying");
    const std::size_t count = static_cast<std::size_t>(positions) * size / 2;
    rotate(type, bucket.batch, bucket.offsets, both, heads, size, {lab.floats(cosines, count), lab.floats(sines, count)},
           bucket.rows, lab.stream());
    lab.fetch(qkv, both, bytes);
  });
}

// qkv: (tokens, heads, 3, size); out: (tokens, heads, size). bias: (heads, 2 reach - 1) of the distances 1 - reach to
// reach - 1, times log2(e), or null; window: as in AttentionForm.
BP_LAB bertpass_cuda_lab_attend(const char* dtype, const void* qkv, const std::int32_t* lengths, std::int32_t sequences,
                                std::int32_t heads, std::int32_t size, const float* bias, std::int32_t reach,
                                std::int32_t window, void* out) {
  return guarded({qkv, lengths, out}, [&] {
    const Dtype type = dtype_of(dtype);
    const std::int64_t tokens = sum(lengths, sequences);
    const int longest = *std::max_element(lengths, lengths + sequences);
    if (!attends(size)) throw std::invalid_argument("heads have 32, 64, 96 or 128 columns.");
    Lab lab;
    const Bucket bucket = lab.batch(nullptr, nullptr, lengths, sequences, longest, queries_of_tile(type));
    const void* const from = lab.give(qkv, bytes_of(type, tokens * heads * 3 * size));
    void* const to = lab.room(bytes_of(type, tokens * heads * size));
    prepare_attention(type, size);
    const std::int32_t stride = 2 * reach - 1;
    const float* const added = bias ? lab.floats(bias, static_cast<std::size_t>(heads) * stride) + reach - 1 : nullptr;
    attend(type, bucket.batch, bucket.tile, bucket.tiles, from, heads, size, {added, stride, window}, to, lab.stream());
    lab.fetch(out, to, bytes_of(type, tokens * heads * size));
  });
}

// out = epilogue(x weight^T + bias + residual); residual may be null. x (rows, depth), weight (columns, depth).
BP_LAB bertpass_cuda_lab_product(const char* dtype, const char* cublaslt, const char* epilogue, const void* x,
                                 const void* weight, const void* bias, const void* residual, std::int32_t rows,
                                 std::int32_t depth, std::int32_t columns, void* out) {
  return guarded({x, weight, bias, out}, [&] {
    const Dtype type = dtype_of(dtype);
    const Epilogue kind = native::choose<Epilogue>(text(epilogue), {{"none", Epilogue::bias}, {"relu", Epilogue::bias_relu},
                                                                    {"gelu_tanh", Epilogue::bias_gelu_tanh}});
    Lab lab;
    Gemm gemm(cublaslt, type, nullptr);
    const int product = gemm.add({columns, depth, kind, residual != nullptr},
                                 lab.give(weight, bytes_of(type, columns * depth)), lab.give(bias, bytes_of(type, columns)));
    const void* const from = lab.give(x, bytes_of(type, rows * depth));
    const void* const added = lab.give(residual, bytes_of(type, rows * columns));
    void* const to = lab.room(bytes_of(type, rows * columns));
    void* const workspace = lab.room(kGemmWorkspace);
    gemm.prepare(rows, {}, workspace, lab.stream());
    gemm.run(product, rows, from, added, to, workspace, lab.stream());
    lab.fetch(out, to, bytes_of(type, rows * columns));
  });
}

// out: float32 (sequences, length, units).
BP_LAB bertpass_cuda_lab_unpack(const char* dtype, const void* states, const std::int32_t* lengths, std::int32_t sequences,
                                std::int32_t length, std::int32_t units, float* out) {
  return guarded({states, lengths, out}, [&] {
    const Dtype type = dtype_of(dtype);
    Lab lab;
    const Bucket bucket = lab.batch(nullptr, nullptr, lengths, sequences, length, 64);
    const void* const from = lab.give(states, bytes_of(type, sum(lengths, sequences) * units));
    const std::size_t bytes = sizeof(float) * sequences * length * units;
    void* const to = lab.room(bytes);
    unpack(type, bucket.offsets, from, sequences, length, units, static_cast<float*>(to), lab.stream());
    lab.fetch(out, to, bytes);
  });
}

// out: float32 (sequences, units).
BP_LAB bertpass_cuda_lab_pool(const char* dtype, const void* states, const std::int32_t* lengths, std::int32_t sequences,
                              std::int32_t units, const char* pooling, std::int32_t normalize, float* out) {
  return guarded({states, lengths, out}, [&] {
    const Dtype type = dtype_of(dtype);
    const int longest = *std::max_element(lengths, lengths + sequences);
    Lab lab;
    const Bucket bucket = lab.batch(nullptr, nullptr, lengths, sequences, longest, 64);
    const void* const from = lab.give(states, bytes_of(type, sum(lengths, sequences) * units));
    const std::size_t bytes = sizeof(float) * sequences * units;
    void* const to = lab.room(bytes);
    pool(type, bucket.offsets, from, sequences, units, native::choose(text(pooling), native::kPoolings), normalize != 0,
         static_cast<float*>(to), lab.stream());
    lab.fetch(out, to, bytes);
  });
}

// out: float32 (sequences, length, columns).
BP_LAB bertpass_cuda_lab_token_logits(const char* dtype, const void* states, const std::int32_t* lengths,
                                      std::int32_t sequences, std::int32_t length, std::int32_t units, const float* weight,
                                      const float* bias, std::int32_t columns, float* out) {
  return guarded({states, lengths, weight, bias, out}, [&] {
    const Dtype type = dtype_of(dtype);
    Lab lab;
    const Bucket bucket = lab.batch(nullptr, nullptr, lengths, sequences, length, 64);
    const void* const from = lab.give(states, bytes_of(type, sum(lengths, sequences) * units));
    const std::size_t bytes = sizeof(float) * sequences * length * columns;
    void* const to = lab.room(bytes);
    token_logits(type, bucket.offsets, from, lab.floats(weight, static_cast<std::size_t>(columns) * units),
                 lab.floats(bias, columns), sequences, length, units, columns, static_cast<float*>(to), lab.stream());
    lab.fetch(out, to, bytes);
  });
}

BP_LAB bertpass_cuda_lab_dense(const float* x, const float* weight, const float* bias, std::int32_t rows, std::int32_t depth,
                               std::int32_t columns, const char* activation, float* out) {
  return guarded({x, weight, bias, out}, [&] {
    Lab lab;
    const std::size_t bytes = sizeof(float) * rows * columns;
    void* const to = lab.room(bytes);
    dense(lab.floats(x, static_cast<std::size_t>(rows) * depth),
          lab.floats(weight, static_cast<std::size_t>(columns) * depth), lab.floats(bias, columns), rows, depth, columns,
          native::choose(text(activation), native::kFunctions), static_cast<float*>(to), lab.stream());
    lab.fetch(out, to, bytes);
  });
}
