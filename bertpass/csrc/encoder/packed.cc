#include "encoder/packed.h"

#include <cstring>

namespace bertpass::native {
namespace {

constexpr char kMagic[8] = {'B', 'P', 'L', 'A', 'Y', 'E', 'R', '1'};
constexpr Index kMost = 1 << 20;        // of any width, and
constexpr Index kMostLayers = 1 << 12;  // so many layers: keeps the number of bytes within 64 bits

// As it stands in memory, little-endian.
struct Header {
  char magic[8];
  std::int32_t type, activation, layers, units, hidden, heads;
  float epsilon;
  std::int32_t reserved;
  std::int64_t bytes;
};
constexpr Index kHeaderBytes = kLine;
static_assert(sizeof(Header) <= kHeaderBytes);

bool usable(const Header& h) {
  return h.type >= 0 && h.type <= static_cast<int>(Type::int8) && h.activation >= 0 &&
         h.activation <= static_cast<int>(Activation::tanh) && h.layers >= 1 && h.layers <= kMostLayers && h.units >= 1 &&
         h.units <= kMost && h.hidden >= 1 && h.hidden <= kMost && h.heads >= 1 && h.units % h.heads == 0;
}

}  // namespace

Index packed_bytes(const LayersShape& shape) {
  return kHeaderBytes + shape.layers * Layer::bytes(shape.type, shape.widths);
}

void pack_layers(const Team& team, const LayersShape& shape, const LayerWeights* weights, void* out) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.type = static_cast<std::int32_t>(shape.type);
  header.activation = static_cast<std::int32_t>(shape.activation);
  header.layers = static_cast<std::int32_t>(shape.layers);
  header.units = static_cast<std::int32_t>(shape.widths.units);
  header.hidden = static_cast<std::int32_t>(shape.widths.hidden);
  header.heads = static_cast<std::int32_t>(shape.widths.heads);
  header.epsilon = shape.epsilon;
  header.bytes = packed_bytes(shape);
  char* start = static_cast<char*>(out);
  std::memset(start, 0, kHeaderBytes);
  std::memcpy(start, &header, sizeof header);
  const Index one = Layer::bytes(shape.type, shape.widths);
  team.loop(shape.layers, static_cast<double>(packed_bytes(shape)), [&](Index layer, int) {
    Layer::pack(shape.type, shape.widths, weights[layer], start + kHeaderBytes + layer * one);
  });
}

PackedLayers::PackedLayers(const void* packed, Index bytes) {
  Header header;
  if (bytes < kHeaderBytes) throw PackedError("the packed layers are cut short.");
  std::memcpy(&header, packed, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    throw PackedError("these are no packed layers of this version of bertpass; pack the model again.");
  if (!usable(header)) throw PackedError("the header of the packed layers is damaged; pack the model again.");
  shape_ = {{header.units, header.hidden, header.heads},
            header.layers,
            header.epsilon,
            static_cast<Activation>(header.activation),
            static_cast<Type>(header.type)};
  if (header.bytes != packed_bytes(shape_) || bytes < header.bytes)
    throw PackedError("the packed layers are cut short; pack the model again.");
  const Index one = Layer::bytes(shape_.type, shape_.widths);
  const char* start = static_cast<const char*>(packed) + kHeaderBytes;
  layers_.reserve(shape_.layers);
  for (Index layer = 0; layer < shape_.layers; ++layer)
    layers_.emplace_back(shape_.type, shape_.widths, shape_.activation, shape_.epsilon, start + layer * one);
}

}  // namespace bertpass::native
