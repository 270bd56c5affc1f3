#include "passes/encoder_weights.h"

#include <algorithm>
#include <cstring>

#include "graph/error.h"
#include "schema/parameters.h"

namespace bertpass {
namespace {

constexpr char kMagic[8] = {'B', 'P', 'F', 'L', 'O', 'A', 'T', '1'};

// As it stands in memory, little-endian; zeros after it.
struct Header {
  char magic[8];
  std::uint64_t fingerprint;
  std::int64_t floats;
};
static_assert(sizeof(Header) <= kHeaderFloats * sizeof(float));

// Of the weights' bits, eight bytes at a time: each word is mixed in by a multiplication with an odd number (2^64 over
// the golden ratio) and a shift, both of which lose nothing.
std::uint64_t fingerprint(const float* weights, std::int64_t count) {
  std::uint64_t mixed = static_cast<std::uint64_t>(count);
  for (std::int64_t i = 0; i < count; i += 2) {
    std::uint64_t word = 0;
    std::memcpy(&word, weights + i, sizeof(float) * static_cast<std::size_t>(std::min<std::int64_t>(2, count - i)));
    mixed = (mixed ^ word) * 0x9e3779b97f4a7c15u;
    mixed ^= mixed >> 32;
  }
  return mixed;
}

Header header_of(const float* weights) {
  Header header;
  std::memcpy(&header, weights, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    throw PassError(std::string("the weights of ") + kEncoderOperator +
                    " are not in this version's form for a GPU; deploy the model again.");
  return header;
}

// In the order of encoder_tensors().
std::vector<const float*> pointers(const native::ModelConfig& config, const EncoderMatch& match) {
  std::vector<const float*> found = match.tables;
  for (const native::LayerWeights& weights : match.weights)
    native::each(native::layer_table(), "", config, 0,
                 [&](const auto& row, const std::string&, const native::Shape&) { found.push_back(weights.*row.place); });
  return found;
}

}  // namespace

std::vector<EncoderTensor> encoder_tensors(const EncoderOperator& op) {
  std::vector<EncoderTensor> all;
  for (const native::Parameter& parameter : native::parameters(op.config()))
    all.push_back({parameter.name, native::size_of(parameter.shape)});
  if (op.token_types) std::swap(all[1], all[2]);  // words, positions, types: the order of the operator's inputs
  return all;
}

std::int64_t unpacked_floats(const EncoderOperator& op) {
  std::int64_t floats = kHeaderFloats;
  for (const EncoderTensor& tensor : encoder_tensors(op)) floats += tensor.size;
  return floats;
}

void write_unpacked(const EncoderOperator& op, const EncoderMatch& match, float* out) {
  const std::vector<EncoderTensor> tensors = encoder_tensors(op);
  const std::vector<const float*> from = pointers(op.config(), match);
  float* to = out + kHeaderFloats;
  for (std::size_t i = 0; i < tensors.size(); ++i) to = std::copy_n(from[i], tensors[i].size, to);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.floats = to - out;
  header.fingerprint = fingerprint(out + kHeaderFloats, header.floats - kHeaderFloats);
  std::memset(out, 0, kHeaderFloats * sizeof(float));
  std::memcpy(out, &header, sizeof header);
}

std::uint64_t fingerprint_of(const float* header) { return header_of(header).fingerprint; }

void check_unpacked(const EncoderOperator& op, const float* weights) {
  const Header header = header_of(weights);
  if (header.floats != op.packed || op.packed != unpacked_floats(op))
    throw PassError(std::string("the weights of ") + kEncoderOperator +
                    " are of another model than the graph; deploy the model again.");
  if (header.fingerprint != fingerprint(weights + kHeaderFloats, op.packed - kHeaderFloats))
    throw PassError(std::string("the weights of ") + kEncoderOperator + " are damaged; deploy the model again.");
}

}  // namespace bertpass
