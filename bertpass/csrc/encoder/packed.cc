#include "encoder/packed.h"

#include <algorithm>
#include <cstring>

namespace bertpass::native {
namespace {

constexpr char kMagic[8] = {'B', 'P', 'L', 'A', 'Y', 'E', 'R', '3'};
constexpr Index kMost = 1 << 20;        // of any width, and
constexpr Index kMostLayers = 1 << 12;  // so many layers: keeps the number of bytes within 64 bits

// As it stands in memory, little-endian. After it, on the next cache line, a byte for each product of each layer.
struct Header {
  char magic[8];
  std::int32_t activation, layers, units, hidden, heads;
  float epsilon;
  std::int64_t bytes;
  std::int32_t shared, norm_first, gated;
};
constexpr Index kHeaderBytes = kLine;
static_assert(sizeof(Header) <= kHeaderBytes);

bool usable(const Header& h) {
  return h.activation >= 0 && h.activation <= static_cast<int>(Activation::silu) && h.layers >= 1 &&
         h.layers <= kMostLayers && h.units >= 1 && h.units <= kMost && h.hidden >= 1 && h.hidden <= kMost &&
         h.heads >= 1 && h.units % h.heads == 0 && h.shared >> 1 == 0 && h.norm_first >> 1 == 0 && h.gated >> 1 == 0;
}

// Where the first layer begins.
Index start_of(Index layers) { return kHeaderBytes + round_up(layers * kProductCount, kLine); }

// Where each layer begins, and the end.
std::vector<Index> places(const LayersShape& shape) {
  std::vector<Index> found;
  Index at = start_of(shape.layers);
  for (const LayerTypes& types : shape.types) {
    found.push_back(shape.shared ? start_of(shape.layers) : at);
    at = found.back() + Layer::bytes(types, shape.widths, shape.form);
  }
  found.push_back(at);
  return found;
}

// The types from their bytes; PackedError where one is none.
std::vector<LayerTypes> read_types(const unsigned char* from, Index layers) {
  std::vector<LayerTypes> all(layers);
  for (LayerTypes& layer : all)
    for (const Product& product : kProducts) {
      if (*from > static_cast<int>(Type::int8))
        throw PackedError("the types of the packed layers are damaged; pack the model again.");
      layer.*product.type = static_cast<Type>(*from++);
    }
  return all;
}

}  // namespace

bool of_one_type(const std::vector<LayerTypes>& types) {
  return std::all_of(types.begin(), types.end(), [&](const LayerTypes& layer) {
    return std::all_of(std::begin(kProducts), std::end(kProducts), [&](const Product& product) {
      return layer.*product.type == types.front().*product.type;
    });
  });
}

Index packed_bytes(const LayersShape& shape) { return places(shape).back(); }

void pack_layers(const Team& team, const LayersShape& shape, const LayerWeights* weights, void* out) {
  const std::vector<Index> at = places(shape);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.activation = static_cast<std::int32_t>(shape.activation);
  header.layers = static_cast<std::int32_t>(shape.layers);
  header.units = static_cast<std::int32_t>(shape.widths.units);
  header.hidden = static_cast<std::int32_t>(shape.widths.hidden);
  header.heads = static_cast<std::int32_t>(shape.widths.heads);
  header.epsilon = shape.epsilon;
  header.bytes = at.back();
  header.shared = shape.shared;
  header.norm_first = shape.form.norm_first;
  header.gated = shape.form.gated;
  char* start = static_cast<char*>(out);
  std::memset(start, 0, at.front());
  std::memcpy(start, &header, sizeof header);
  char* type = start + kHeaderBytes;
  for (const LayerTypes& layer : shape.types)
    for (const Product& product : kProducts) *type++ = static_cast<char>(layer.*product.type);
  team.loop(shape.shared ? 1 : shape.layers, static_cast<double>(at.back()), [&](Index layer, int) {
    Layer::pack(shape.types[layer], shape.widths, shape.form, weights[layer], start + at[layer]);
  });
}

PackedLayers::PackedLayers(const void* packed, Index bytes) {
  Header header;
  if (bytes < kHeaderBytes) throw PackedError("the packed layers are cut short.");
  std::memcpy(&header, packed, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    throw PackedError("these are no packed layers of this version of bertpass; pack the model again.");
  if (!usable(header)) throw PackedError("the header of the packed layers is damaged; pack the model again.");
  if (bytes < start_of(header.layers)) throw PackedError("the packed layers are cut short; pack the model again.");
  const char* start = static_cast<const char*>(packed);
  shape_ = {{header.units, header.hidden, header.heads},
            header.layers,
            header.epsilon,
            static_cast<Activation>(header.activation),
            read_types(reinterpret_cast<const unsigned char*>(start + kHeaderBytes), header.layers),
            header.shared == 1,
            {header.norm_first != 0, header.gated != 0}};
  if (shape_.shared && !of_one_type(shape_.types))
    throw PackedError("the types of the packed layers are damaged; pack the model again.");
  const std::vector<Index> at = places(shape_);
  if (header.bytes != at.back() || bytes < header.bytes)
    throw PackedError("the packed layers are cut short; pack the model again.");
  layers_.reserve(shape_.layers);
  for (Index layer = 0; layer < shape_.layers; ++layer)
    layers_.emplace_back(shape_.types[layer], shape_.widths, shape_.form, shape_.activation, shape_.epsilon, layer,
                         start + at[layer]);
  for (Index layer = 0; layer + 1 < shape_.layers; ++layer) layers_[layer].followed_by(layers_[layer + 1]);
}

}  // namespace bertpass::native
