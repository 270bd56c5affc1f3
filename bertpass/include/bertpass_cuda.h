/* bertpass: BERT-type encoders on NVIDIA GPUs, from C and C++. Link with -lbertpass_cuda; examples/cuda shows a program.
 *
 * A model holds weights and is shared by all threads. A context holds the device memory of one forward at a time and its
 * captured graphs: one for each thread or stream that computes at the same time. cuBLASLt is opened when a model is made.
 *
 * Nothing is printed and no exception comes out. No function but those that say so waits for the device.
 */
#ifndef BERTPASS_CUDA_H
#define BERTPASS_CUDA_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define BERTPASS_CUDA_API __attribute__((visibility("default")))
#else
#define BERTPASS_CUDA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; it grows when a function changes. */
#define BERTPASS_CUDA_ABI 3

#define BERTPASS_CUDA_MAX_OUTPUTS 2
#define BERTPASS_CUDA_MAX_AXES 3

typedef enum {
  BERTPASS_CUDA_OK = 0,
  BERTPASS_CUDA_BAD_MODEL = 1,     /* weights are missing or misshapen */
  BERTPASS_CUDA_BAD_ARGUMENT = 2,  /* a null pointer, an unknown name, an id or length out of range */
  BERTPASS_CUDA_NO_MEMORY = 3,     /* of the host */
  BERTPASS_CUDA_FAILED = 4,        /* anything else */
  BERTPASS_CUDA_DEVICE = 5, /* no GPU, driver or cuBLASLt, a model that its kernels cannot compute, or a call of CUDA failed */
  BERTPASS_CUDA_LOST = 6    /* a fault after which every later call of this process fails: start another process */
} bertpass_cuda_status;

typedef struct bertpass_cuda_model bertpass_cuda_model;
typedef struct bertpass_cuda_context bertpass_cuda_context;

/* float32 in host memory, row after row; names and shapes are those of bertpass/model/parameters.py. */
typedef struct {
  const char* name;
  const float* data;
  int64_t size; /* numbers */
} bertpass_cuda_tensor;

typedef struct {
  const char* model;      /* JSON, {"config": ..., "head": ...}, the two as bertpass/model/config.py writes them; the
                             description in a file of "bertpass pack --unpacked" is one */
  const char* dtype;      /* "float32", "float16", "bfloat16" */
  int32_t device;
  int32_t exact_gelu;     /* GELU by erf in 16 bits too, one kernel more a layer; without it its tanh form, within 5e-4 */
  int32_t measure;        /* choose algorithms of matrix products by measuring, else as cuBLASLt proposes */
  const char* measurements; /* file that keeps what was measured, or NULL */
  const char* cublaslt;     /* path of libcublasLt.so, or NULL for where the loader finds it */
} bertpass_cuda_config;

typedef struct {
  char device[256];
  int32_t major, minor, multiprocessors; /* compute capability */
  int64_t memory;                        /* bytes of the device */
  int32_t driver, runtime;               /* 1000 major + 10 minor */
  int64_t cublaslt;
  int64_t weights;                       /* bytes of the model on the device */
} bertpass_cuda_info;

typedef struct {
  int32_t axes;
  int64_t sizes[BERTPASS_CUDA_MAX_AXES];
} bertpass_cuda_shape;

/* Whether the kernels compute a model of these widths; another one is refused when it is loaded. */
static inline int bertpass_cuda_computes(int32_t units, int32_t hidden, int32_t heads) {
  const int32_t size = heads > 0 && units % heads == 0 ? units / heads : 0;
  return (size == 32 || size == 64 || size == 96 || size == 128) && units <= 2048 && hidden > 0 && hidden % 8 == 0;
}

BERTPASS_CUDA_API int32_t bertpass_cuda_abi(void);

/* What went wrong in this thread's last call that did not return BERTPASS_CUDA_OK: one sentence, UTF-8, valid until this
 * thread's next call. */
BERTPASS_CUDA_API const char* bertpass_cuda_error(void);

/* Copies the weights to the device, and waits for that. */
BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_load(const bertpass_cuda_config* config,
                                                          const bertpass_cuda_tensor* tensors, int32_t count,
                                                          bertpass_cuda_model** model);
/* After its contexts; NULL is allowed. */
BERTPASS_CUDA_API void bertpass_cuda_free(bertpass_cuda_model* model);

BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_describe(const bertpass_cuda_model* model, bertpass_cuda_info* info);

/* The shapes of the outputs for `rows` rows padded to `length` tokens, and how many outputs there are. */
BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_output_shapes(const bertpass_cuda_model* model, int32_t rows,
                                                                   int32_t length, bertpass_cuda_shape* shapes,
                                                                   int32_t* outputs);

/* Bytes of device memory for batches of at most `rows` rows and `tokens` tokens, padding included. */
BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_workspace(const bertpass_cuda_model* model, int32_t rows,
                                                               int32_t tokens, size_t* bytes);

/* memory: of bertpass_cuda_workspace bytes on the device, on an address that 256 divides, kept until the context is freed;
 * NULL lets the context allocate it. graphs: replay a captured graph for each size of batch. */
BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_context_create(const bertpass_cuda_model* model, int32_t rows,
                                                                    int32_t tokens, void* memory, int32_t graphs,
                                                                    bertpass_cuda_context** context);
/* Waits for its last forward; NULL is allowed. */
BERTPASS_CUDA_API void bertpass_cuda_context_free(bertpass_cuda_context* context);

/* Computes one batch on a stream and returns before it is done. One thread at a time for a context.
 *   ids, types  (rows, length) int32, on the device where `on_device`, else on the host; types may be NULL for 0
 *   lengths     (rows) int32, on the host: tokens of each row that are not padding, from 1 to length; from 0 where the
 *               head is "none"
 *   outputs     float32 memory on the device, each on an address that 16 divides; every element is written, past a row's
 *               end states are zero
 *   stream      a cudaStream_t of the model's device that is not being captured; NULL is the default stream
 * Host inputs are copied before it returns. Ids on the device are not checked: one outside of the vocabulary is taken as
 * the nearest inside. The first batch of a size measures, waits for that, and captures its graph. */
BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_forward(bertpass_cuda_context* context, const int32_t* ids,
                                                             const int32_t* types, const int32_t* lengths, int32_t rows,
                                                             int32_t length, int32_t on_device, float* const* outputs,
                                                             void* stream);

/* The same from and to host memory, and waits for the result. */
BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_forward_host(bertpass_cuda_context* context, const int32_t* ids,
                                                                  const int32_t* types, const int32_t* lengths,
                                                                  int32_t rows, int32_t length, float* const* outputs);

typedef struct {
  void* to;         /* host memory */
  const void* from; /* memory of the device */
  size_t bytes;
} bertpass_cuda_copy;

/* Copies from the device after what is on the stream, and waits for all of it once. */
BERTPASS_CUDA_API bertpass_cuda_status bertpass_cuda_fetch(const bertpass_cuda_copy* copies, int32_t count, int32_t device,
                                                           void* stream);

#ifdef __cplusplus
}
#endif

#endif
