/* bertpass: BERT-type encoders on CPUs, from C.
 *
 *   bertpass_model* model = NULL;
 *   if (bertpass_load("minilm.safetensors", 0, NULL, &model) != BERTPASS_OK)
 *     fprintf(stderr, "%s\n", bertpass_error());
 *
 * Models are files that "bertpass pack" writes. A file is mapped and not copied: processes that load the same one share
 * its memory, and it must not be changed in place while it is in use (replacing it by a new file is safe).
 *
 * All functions may be called from several threads at once, bertpass_forward also on one model; only bertpass_free
 * needs the model for itself. Nothing is printed and no exception comes out. The threads that compute are shared by all
 * models of a process; they sleep between calls and stay until its end.
 * Link with -lbertpass; the library needs libstdc++.
 */
#ifndef BERTPASS_H
#define BERTPASS_H

#include <stdint.h>

#if defined(__GNUC__)
#define BERTPASS_API __attribute__((visibility("default")))
#else
#define BERTPASS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; it grows when a function changes. */
#define BERTPASS_ABI 1

/* Outputs that a model has at most, and axes that an output has at most. */
#define BERTPASS_MAX_OUTPUTS 2
#define BERTPASS_MAX_AXES 3

typedef enum {
  BERTPASS_OK = 0,
  BERTPASS_BAD_MODEL = 1,     /* the file is missing, damaged or of another version */
  BERTPASS_BAD_ARGUMENT = 2,  /* a null pointer, an id, length or thread count out of range, an unknown set */
  BERTPASS_NO_MEMORY = 3,
  BERTPASS_FAILED = 4         /* anything else */
} bertpass_status;

typedef struct bertpass_model bertpass_model;

typedef struct {
  int32_t axes;                        /* 2 or 3 */
  int64_t sizes[BERTPASS_MAX_AXES];    /* of the axes; the last one's elements stand side by side */
} bertpass_shape;

/* What a model takes and computes. */
typedef struct {
  int32_t vocabulary;       /* ids are from 0 to vocabulary - 1 */
  int32_t max_length;       /* most tokens of a row, special tokens included */
  int32_t token_types;      /* types are from 0 to token_types - 1; 0 where the model has none */
  int32_t outputs;          /* 1 or 2 */
  int32_t threads;
  const char* instruction_set;  /* lives as long as the process */
} bertpass_info;

/* BERTPASS_ABI of the library. */
BERTPASS_API int32_t bertpass_abi(void);

/* What went wrong in this thread's last call that did not return BERTPASS_OK: one sentence, UTF-8, valid until this
 * thread's next call. Empty before. */
BERTPASS_API const char* bertpass_error(void);

/* Load a model.
 *   path             of a file that "bertpass pack" wrote
 *   threads          for one forward, 1 to 1024; 0 takes OMP_NUM_THREADS, else the processors of affinity and quota
 *   instruction_set  "portable", "avx2", "avx512" and so on; NULL or "" takes that of the environment variable
 *                    BERTPASS_ISA, else the fastest that the processor has
 *   model            receives the model; NULL where loading failed */
BERTPASS_API bertpass_status bertpass_load(const char* path, int32_t threads, const char* instruction_set,
                                           bertpass_model** model);

/* Give a model back; NULL is allowed. */
BERTPASS_API void bertpass_free(bertpass_model* model);

BERTPASS_API bertpass_status bertpass_describe(const bertpass_model* model, bertpass_info* info);

/* The shapes of the outputs for `rows` rows of `length` tokens, at least 1 of each, into info.outputs elements:
 *   no head         token states (rows, length, width)
 *   pooler          token states (rows, length, width), pooled output (rows, width)
 *   classifier      logits (rows, labels)
 *   answers         start and end logits (rows, length, 2)
 *   tags            logits (rows, length, labels)
 *   embeddings      sentence vectors (rows, width) */
BERTPASS_API bertpass_status bertpass_output_shapes(const bertpass_model* model, int32_t rows, int32_t length,
                                                    bertpass_shape* shapes);

/* Compute one batch.
 *   ids      (rows, length): token ids; what lies past a row's length is not read
 *   types    (rows, length): token types, or NULL for 0 everywhere; ignored where the model has none
 *   lengths  (rows): tokens of each row that are not padding, from 1 to length
 *   outputs  info.outputs pointers to float memory of bertpass_output_shapes; every element is written. Past a row's
 *            length token states are zero.
 * A row's result is the same, bit by bit, whatever rows stand beside it and with any number of threads. */
BERTPASS_API bertpass_status bertpass_forward(const bertpass_model* model, const int32_t* ids, const int32_t* types,
                                              const int32_t* lengths, int32_t rows, int32_t length,
                                              float* const* outputs);

#ifdef __cplusplus
}
#endif

#endif
