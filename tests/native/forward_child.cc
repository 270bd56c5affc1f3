// For test_aarch64.py: one batch through the C library. forward_child MODEL SET THREADS reads rows, length, ids, types
// and lengths (32-bit whole numbers) from standard input and writes the outputs, as floats, to standard output; to
// standard error it writes the instruction set.
#include <bertpass.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

std::vector<std::int32_t> numbers(std::size_t count) {
  std::vector<std::int32_t> out(count);
  if (std::fread(out.data(), sizeof out[0], count, stdin) != count) std::exit(4);
  return out;
}

void check(bertpass_status status) {
  if (status == BERTPASS_OK) return;
  std::fprintf(stderr, "%s\n", bertpass_error());
  std::exit(3);
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) return 2;
  bertpass_model* model;
  bertpass_info info;
  bertpass_shape shapes[BERTPASS_MAX_OUTPUTS];
  check(bertpass_load(words[1], std::atoi(words[3]), words[2], &model));
  check(bertpass_describe(model, &info));
  const std::vector<std::int32_t> sides = numbers(2);
  const std::size_t rows = sides[0], length = sides[1];
  const std::vector<std::int32_t> ids = numbers(rows * length), types = numbers(rows * length), lengths = numbers(rows);
  check(bertpass_output_shapes(model, sides[0], sides[1], shapes));
  std::vector<float> outputs[BERTPASS_MAX_OUTPUTS];
  float* places[BERTPASS_MAX_OUTPUTS] = {};
  for (int i = 0; i < info.outputs; ++i) {
    std::size_t size = 1;
    for (int axis = 0; axis < shapes[i].axes; ++axis) size *= shapes[i].sizes[axis];
    outputs[i].resize(size);
    places[i] = outputs[i].data();
  }
  check(bertpass_forward(model, ids.data(), types.data(), lengths.data(), sides[0], sides[1], places));
  for (const std::vector<float>& output : outputs) std::fwrite(output.data(), sizeof(float), output.size(), stdout);
  std::fprintf(stderr, "%s\n", info.instruction_set);
  bertpass_free(model);
  return 0;
}
