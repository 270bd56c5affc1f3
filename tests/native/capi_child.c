/* For the fuzz test: load each file named on the command line and, where that works, compute a small batch. Prints how
 * many files loaded. A sanitizer ends the program where memory is misused. */
#include <bertpass.h>
#include <stdio.h>
#include <stdlib.h>

static int use(const char* path) {
  static const int32_t ids[6] = {1, 2, 3, 4, 0, 0}, types[6] = {0, 0, 0, 0, 0, 0}, lengths[2] = {3, 1};
  bertpass_model* model;
  bertpass_info info;
  bertpass_shape shapes[BERTPASS_MAX_OUTPUTS];
  float* outputs[BERTPASS_MAX_OUTPUTS] = {NULL, NULL};
  int32_t i;
  if (bertpass_load(path, 1, "portable", &model) != BERTPASS_OK) return 0;
  if (bertpass_describe(model, &info) == BERTPASS_OK &&
      bertpass_output_shapes(model, 2, 3, shapes) == BERTPASS_OK) {
    for (i = 0; i < info.outputs; ++i) {
      int64_t size = shapes[i].sizes[0] * shapes[i].sizes[1] * shapes[i].sizes[2];
      outputs[i] = malloc((size_t)size * sizeof(float));
    }
    bertpass_forward(model, ids, types, lengths, 2, 3, outputs);
    for (i = 0; i < info.outputs; ++i) free(outputs[i]);
  }
  bertpass_free(model);
  return 1;
}

int main(int argc, char** argv) {
  int i, loaded = 0;
  for (i = 1; i < argc; ++i) loaded += use(argv[i]);
  printf("%d\n", loaded);
  return 0;
}
