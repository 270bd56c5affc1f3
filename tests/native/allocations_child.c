/* For the test of a forward's allocations: load the packed model named on the command line, then read batches from
 * standard input, each as its number of rows, the length that they are padded to and each row's tokens. Prints for each
 * how many pieces of memory of 1 KiB or more its forward asked for, by any thread: this program's functions stand in
 * for the C library's, which keeps the real ones by the names below. */
#include <bertpass.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t unit, size_t size);

static long asked;

static size_t counted(size_t size) {
  if (size >= 1024) __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
  return size;
}

void* malloc(size_t size) { return __libc_malloc(counted(size)); }
void* calloc(size_t count, size_t size) { return __libc_calloc(count, (counted(count * size), size)); }
void* realloc(void* old, size_t size) { return __libc_realloc(old, counted(size)); }
void* aligned_alloc(size_t unit, size_t size) { return __libc_memalign(unit, counted(size)); }
void* memalign(size_t unit, size_t size) { return __libc_memalign(unit, counted(size)); }
int posix_memalign(void** out, size_t unit, size_t size) {
  *out = __libc_memalign(unit, counted(size));
  return *out ? 0 : ENOMEM;
}

static long forward(const bertpass_model* model, int rows, int length) {
  int32_t* ids = calloc((size_t)rows * length, sizeof *ids);
  int32_t* lengths = calloc((size_t)rows, sizeof *lengths);
  bertpass_shape shapes[BERTPASS_MAX_OUTPUTS];
  float* outputs[BERTPASS_MAX_OUTPUTS] = {NULL};
  long before = -1;
  int i, read = 1;
  for (i = 0; i < rows; ++i) read &= scanf("%d", &lengths[i]) == 1;
  if (read && bertpass_output_shapes(model, rows, length, shapes) == BERTPASS_OK) {
    outputs[0] = calloc((size_t)(shapes[0].sizes[0] * shapes[0].sizes[1] * shapes[0].sizes[2]), sizeof(float));
    before = __atomic_load_n(&asked, __ATOMIC_RELAXED);
    if (bertpass_forward(model, ids, NULL, lengths, rows, length, outputs) != BERTPASS_OK) before = -1;
  }
  free(ids);
  free(lengths);
  free(outputs[0]);
  return before < 0 ? -1 : __atomic_load_n(&asked, __ATOMIC_RELAXED) - before;
}

int main(int argc, char** argv) {
  bertpass_model* model;
  int rows, length;
  if (argc != 4 || bertpass_load(argv[1], atoi(argv[2]), argv[3], &model) != BERTPASS_OK) {
    fprintf(stderr, "%s\n", bertpass_error());
    return 1;
  }
  while (scanf("%d %d", &rows, &length) == 2) printf("%ld\n", forward(model, rows, length));
  bertpass_free(model);
  return 0;
}
