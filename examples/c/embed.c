/* Sentence vectors from C: a model, token ids, numbers.
 *
 *   bertpass pack minilm minilm.safetensors --dtype bfloat16
 *   make -C examples/c
 *   examples/c/embed minilm.safetensors 101 7592 2088 102
 *
 * prints the first output for one row of these ids, a number a line, with digits enough to give back the same bits. For
 * all-MiniLM that is the vector of "hello world": ids come from the model's tokenizer, in Python
 * bertpass.load("minilm", engine="native").tokenizer.encode(["hello world"])[0].ids.
 */
#include <bertpass.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(void) {
  fprintf(stderr, "embed: %s\n", bertpass_error());
  return 1;
}

static size_t elements(const bertpass_shape* shape) {
  size_t count = 1;
  int32_t axis;
  for (axis = 0; axis < shape->axes; ++axis) count *= (size_t)shape->sizes[axis];
  return count;
}

/* A number of the command line; 0 where it is none. */
static int read_id(const char* text, int32_t* id) {
  char* end;
  long value;
  errno = 0;
  value = strtol(text, &end, 10);
  if (end == text || *end || errno || value < INT32_MIN || value > INT32_MAX) return 0;
  *id = (int32_t)value;
  return 1;
}

/* Compute one row with outputs that are already there, and print the first of them. */
static int run(const bertpass_model* model, const int32_t* ids, int32_t length, float* const* outputs, size_t count) {
  size_t i;
  if (bertpass_forward(model, ids, NULL, &length, 1, length, outputs) != BERTPASS_OK) return failed();
  for (i = 0; i < count; ++i) printf("%.9g\n", outputs[0][i]);
  return 0;
}

static int embed(const bertpass_model* model, const int32_t* ids, int32_t length) {
  bertpass_info info;
  bertpass_shape shapes[BERTPASS_MAX_OUTPUTS];
  float* outputs[BERTPASS_MAX_OUTPUTS] = {NULL, NULL};
  int32_t i;
  int code = 1, complete = 1;
  if (bertpass_describe(model, &info) != BERTPASS_OK) return failed();
  if (bertpass_output_shapes(model, 1, length, shapes) != BERTPASS_OK) return failed();
  for (i = 0; i < info.outputs; ++i) {
    outputs[i] = malloc(elements(&shapes[i]) * sizeof(float));
    complete = complete && outputs[i];
  }
  if (complete)
    code = run(model, ids, length, outputs, elements(&shapes[0]));
  else
    fprintf(stderr, "embed: not enough memory.\n");
  for (i = 0; i < info.outputs; ++i) free(outputs[i]);
  return code;
}

int main(int argc, char** argv) {
  bertpass_model* model;
  int32_t *ids, i, length = argc - 2;
  int code;
  if (length < 1) {
    fprintf(stderr, "usage: embed MODEL.safetensors ID ID ...\n");
    return 2;
  }
  ids = malloc((size_t)length * sizeof *ids);
  if (!ids) return 1;
  for (i = 0; i < length; ++i) {
    if (read_id(argv[i + 2], &ids[i])) continue;
    fprintf(stderr, "embed: '%s' is no token id.\n", argv[i + 2]);
    free(ids);
    return 2;
  }
  if (bertpass_load(argv[1], 0, NULL, &model) != BERTPASS_OK) {
    free(ids);
    return failed();
  }
  code = embed(model, ids, length);
  bertpass_free(model);
  free(ids);
  return code;
}
